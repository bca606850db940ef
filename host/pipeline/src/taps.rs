//! Samples of the rows after a handler of a running pipeline, for whoever looks at them.
//!
//! **Invariant**: nothing of a pipeline waits for one who looks; what there is no room for is counted and left out.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use arrow::{
    array::{Array, AsArray as _, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::DataType,
};
use serde_json::Value;
use spout_node::Watcher;
use spout_spec::{PipelineSpec, advice};
use tokio::sync::mpsc;

use super::{Error, rehearsal::as_values};

/// What leaves the decoder; no handler has this id.
pub(super) const DECODE: &str = "decode";

/// Those who may look at a pipeline at the same time.
const MOST: usize = 8;
/// Samples that one who looks may be behind.
const BEHIND: usize = 16;
/// Rows and bytes of one sample.
const ROWS: usize = 100;
const BYTES: usize = 256 << 10;

/// Where the rows of a pipeline can be looked at while it runs. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct Taps(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pipeline: String,
    /// The decoder, and the handlers in order.
    steps: Vec<String>,
    /// How many look: all that is read where nobody does.
    open: AtomicUsize,
    looking: Mutex<Vec<Looking>>,
}

/// One who looks.
#[derive(Debug)]
struct Looking {
    id: u64,
    step: usize,
    every: u64,
    seen: u64,
    missed: u64,
    samples: mpsc::Sender<Sample>,
}

/// Rows that have passed a handler.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The handler's id, or `decode`.
    pub handler: String,
    /// How many have passed since somebody looks, these included.
    pub of: u64,
    /// How many of those that were asked for were left out, because they came faster than they were looked at.
    pub missed: u64,
    rows: RecordBatch,
}

impl Sample {
    /// Names of the columns.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        self.rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The rows, for people.
    #[must_use]
    pub fn rows(&self) -> Vec<Vec<Value>> {
        as_values(&self.rows)
    }
}

/// One who looks at a pipeline; it is left alone once this is dropped.
#[derive(Debug)]
pub struct Tap {
    of: Taps,
    id: u64,
    samples: mpsc::Receiver<Sample>,
}

impl Tap {
    /// Whether it still looks at what `taps` are of: a pipeline that was made anew has others.
    #[must_use]
    pub fn is_of(&self, taps: &Taps) -> bool {
        Arc::ptr_eq(&self.of.0, &taps.0)
    }

    /// The next rows. The future may be dropped.
    pub async fn next(&mut self) -> Option<Sample> {
        self.samples.recv().await
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut looking = self.of.looking();
        looking.retain(|one| one.id != self.id);
        self.of.0.open.store(looking.len(), Ordering::Relaxed);
    }
}

impl Taps {
    /// Those of a pipeline of this spec.
    pub(super) fn of(spec: &PipelineSpec) -> Self {
        Self::at(spec.pipeline.name.clone(), steps(spec))
    }

    fn at(pipeline: String, steps: Vec<String>) -> Self {
        Self(Arc::new(Inner { pipeline, steps, open: AtomicUsize::new(0), looking: Mutex::default() }))
    }

    /// Looks at each row of so many that leaves `handler`, or the last one.
    ///
    /// # Errors
    /// [`Error::NoStep`], and [`Error::Tapped`] where enough look already.
    pub fn open(&self, handler: Option<&str>, every: u64) -> Result<Tap, Error> {
        let Inner { pipeline, steps, open, .. } = &*self.0;
        let step = match handler {
            None => steps.len().saturating_sub(1),
            Some(handler) => {
                let step = steps.iter().position(|step| step == handler);
                step.ok_or_else(|| Error::NoStep {
                    pipeline: pipeline.clone(),
                    handler: handler.to_owned(),
                    advice: advice(handler, steps.iter().map(String::as_str)),
                })?
            }
        };
        let mut looking = self.looking();
        if looking.len() >= MOST {
            return Err(Error::Tapped { pipeline: pipeline.clone(), most: MOST });
        }
        let id = looking.iter().map(|one| one.id + 1).max().unwrap_or_default();
        let (sender, samples) = mpsc::channel(BEHIND);
        looking.push(Looking { id, step, every: every.max(1), seen: 0, missed: 0, samples: sender });
        open.store(looking.len(), Ordering::Relaxed);
        Ok(Tap { of: self.clone(), id, samples })
    }

    /// Whether what leaves `handler` is what goes on to the repo, as far as nothing of it is set aside.
    #[must_use]
    pub fn is_last(&self, handler: Option<&str>) -> bool {
        handler.is_none_or(|handler| self.0.steps.last().is_some_and(|last| last == handler))
    }

    fn looking(&self) -> MutexGuard<'_, Vec<Looking>> {
        self.0.looking()
    }

    /// What shows it the rows.
    pub(super) fn watcher(&self) -> Arc<dyn Watcher> {
        Arc::clone(&self.0) as Arc<dyn Watcher>
    }
}

/// The decoder, and the handlers in order.
pub(super) fn steps(spec: &PipelineSpec) -> Vec<String> {
    std::iter::once(DECODE.to_owned()).chain(spec.node.iter().map(|node| node.id().to_owned())).collect()
}

impl Inner {
    fn looking(&self) -> MutexGuard<'_, Vec<Looking>> {
        // What is under the lock is sound at every moment.
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Inner {
    fn watches(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    fn saw(&self, step: usize, records: &RecordBatch) {
        let Some(name) = self.steps.get(step) else { return };
        self.looking().iter_mut().filter(|one| one.step == step).for_each(|one| one.saw(name, records));
    }
}

impl Looking {
    /// Takes of these rows what was asked for, as far as there is room.
    fn saw(&mut self, handler: &str, records: &RecordBatch) {
        let rows = records.num_rows() as u64;
        // The first row is seen, and then one of so many.
        let first = (self.every - self.seen % self.every) % self.every;
        self.seen += rows;
        let wanted = rows.saturating_sub(first).div_ceil(self.every);
        if wanted == 0 {
            return;
        }
        self.missed += wanted;
        let Ok(room) = self.samples.try_reserve() else { return };
        let at = (0..wanted).map(|number| first + number * self.every).filter_map(|row| u32::try_from(row).ok());
        let picked = pick(records, at);
        let Ok(rows) = take_record_batch(records, &picked) else { return };
        self.missed -= picked.len() as u64;
        if rows.num_rows() > 0 {
            room.send(Sample { handler: handler.to_owned(), of: self.seen, missed: self.missed, rows });
        }
    }
}

/// As many of the rows `at` as one sample may hold. One that is too large is passed over.
fn pick(records: &RecordBatch, at: impl Iterator<Item = u32>) -> UInt32Array {
    let (mut picked, mut bytes) = (Vec::new(), 0);
    for row in at.take(ROWS) {
        let size: usize = records.columns().iter().map(|column| size(column.as_ref(), row as usize)).sum();
        if bytes + size <= BYTES {
            bytes += size;
            picked.push(row);
        }
    }
    picked.into()
}

/// Bytes of one value.
fn size(column: &dyn Array, row: usize) -> usize {
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().value(row).len(),
        DataType::BinaryView => column.as_binary_view().value(row).len(),
        _ => column.slice(row, 1).to_data().get_slice_memory_size().unwrap_or(BYTES + 1),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn taps() -> Taps {
        Taps::at("p".into(), [DECODE, "low", "who"].map(str::to_owned).to_vec())
    }

    fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    /// The numbers of a sample, of how many, and how many were left out.
    fn taken(tap: &mut Tap) -> Option<(Vec<i64>, u64, u64)> {
        let sample = tap.samples.try_recv().ok()?;
        let numbers = sample.rows().iter().filter_map(|row| row[0].as_i64()).collect();
        Some((numbers, sample.of, sample.missed))
    }

    #[test]
    fn one_of_so_many_rows_is_seen_however_batches_are_cut() {
        let taps = taps();
        let mut tap = taps.open(Some("low"), 3).unwrap();
        let watcher = taps.watcher();
        for (from, to) in [(0, 2), (2, 3), (3, 11)] {
            watcher.saw(1, &numbers(from..to));
            watcher.saw(2, &numbers(100..110));
        }
        assert_eq!(taken(&mut tap), Some((vec![0], 2, 0)));
        assert_eq!(taken(&mut tap), Some((vec![3, 6, 9], 11, 0)));
        assert_eq!(taken(&mut tap), None);
    }

    #[test]
    fn who_does_not_read_holds_nothing_up_and_is_told_what_was_left_out() {
        let taps = taps();
        let mut tap = taps.open(None, 1).unwrap();
        let watcher = taps.watcher();
        (0..100).for_each(|_| watcher.saw(2, &numbers(0..1000)));
        for sample in 1..=BEHIND as u64 {
            let (rows, of, missed) = taken(&mut tap).unwrap();
            assert_eq!((rows.len(), of, missed), (ROWS, sample * 1000, sample * (1000 - ROWS as u64)));
        }
        assert_eq!(taken(&mut tap), None);
        watcher.saw(2, &numbers(0..5));
        let missed = 100_000 - (BEHIND * ROWS) as u64;
        assert_eq!(taken(&mut tap), Some((vec![0, 1, 2, 3, 4], 100_005, missed)));
    }

    #[test]
    fn a_value_that_is_too_large_is_passed_over() {
        let taps = taps();
        let mut tap = taps.open(Some(DECODE), 1).unwrap();
        let large = "x".repeat(BYTES + 1);
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a", large.as_str(), "b"]));
        taps.watcher().saw(0, &RecordBatch::try_from_iter([("t", column)]).unwrap());
        let sample = tap.samples.try_recv().unwrap();
        assert_eq!((sample.rows(), sample.of, sample.missed), (vec![vec!["a".into()], vec!["b".into()]], 3, 1));
        assert_eq!((sample.columns(), sample.handler.as_str()), (vec!["t".to_owned()], DECODE));
    }

    #[test]
    fn only_so_many_look_and_who_has_gone_is_forgotten() {
        let taps = taps();
        assert!(!taps.watcher().watches());
        let all: Vec<Tap> = (0..MOST).map(|_| taps.open(None, 1).unwrap()).collect();
        assert!(taps.watcher().watches());
        assert!(matches!(taps.open(None, 1), Err(Error::Tapped { most: MOST, .. })));
        drop(all);
        assert!(!taps.watcher().watches());
        let error = taps.open(Some("lo"), 1).unwrap_err().to_string();
        assert!(error.contains("did you mean `low`"), "{error}");
    }
}
