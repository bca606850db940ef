//! `kernels`: columns that the host holds for a handler, and what it computes of them when it is asked to.

mod imports;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use arrow::array::{Array, ArrayRef};
use spout_base::panicked::go_on;
use spout_kernels::{Error, Pattern, Result, Work};

use super::{
    files::Threads,
    host::{Held, Hit},
};

/// A column in the hands of a guest.
#[derive(Clone, Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Column {
    pub(super) array: ArrayRef,
    _room: Arc<Room>,
}

/// What one instance has of them.
#[derive(Debug, Default)]
pub(super) struct Kernels {
    /// What its columns take.
    bytes: Arc<AtomicUsize>,
    patterns: HashMap<String, Pattern>,
}

/// What a column takes, until the last who holds it drops it.
#[derive(Debug)]
struct Room {
    bytes: usize,
    together: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.together.fetch_sub(self.bytes, Relaxed);
    }
}

/// Compiled patterns that an instance keeps.
const PATTERNS: usize = 16;

/// Columns up to this size are computed at once, larger ones by a thread of the plugin: switching costs some microseconds.
const AT_ONCE: usize = 64 << 10;

impl Kernels {
    /// The compiled form of `text`.
    fn pattern(&mut self, text: String) -> Result<Pattern> {
        if let Some(known) = self.patterns.get(&text) {
            return Ok(known.clone());
        }
        if self.patterns.len() >= PATTERNS {
            self.patterns.clear();
        }
        let pattern = Pattern::new(&text)?;
        self.patterns.insert(text, pattern.clone());
        Ok(pattern)
    }
}

impl Held {
    /// A column to hand out.
    pub(super) fn keep(&mut self, array: ArrayRef) -> wasmtime::Result<Column> {
        let together = Arc::clone(&self.kernels.bytes);
        let bytes = size(&array);
        let all = together.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let room = Room { bytes, together };
        if all as u64 > self.limits.answer.0 {
            self.hit = Some(Hit::Answer);
            return Err(wasmtime::Error::msg("answer limit: the columns that the plugin holds"));
        }
        Ok(Column { array, _room: Arc::new(room) })
    }
}

/// What `work` makes of columns of so many bytes.
async fn compute(
    threads: &Threads,
    size: usize,
    most: usize,
    work: impl FnOnce(&Work<'_>) -> Result<ArrayRef> + Send + 'static,
) -> Result<ArrayRef> {
    if size <= AT_ONCE {
        return work(&Work { most, wanted: &|| true });
    }
    let waiting = Waiting::default();
    let wanted = Arc::clone(&waiting.0);
    let made = threads.block(move || work(&Work { most, wanted: &|| wanted.load(Relaxed) })).await;
    match made {
        Ok(made) => made,
        died => {
            // A bug in the host, which ends the call, and the pipeline with it.
            go_on(died);
            Err(Error { code: "kernel.stopped", message: "the column could not be computed".into() })
        }
    }
}

/// Whether somebody waits for a computation: no longer, once it is dropped.
struct Waiting(Arc<AtomicBool>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// Bytes of the rows of `array`.
fn size(array: &dyn Array) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}
