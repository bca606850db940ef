//! The schema that all decoders of a pipeline keep to, and how it becomes wider while they run.
//!
//! Rows are decoded and passed on under [`SchemaGuard`], of which any number are held at once. Columns are added when none is: so
//! whoever gets rows from all decoders has got everything of one edition before anything of the next.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, RwLock};

use super::{evolve::with_added, native::is_settled};

/// The schema that every partition's decoder keeps to: declared, taken from the head, or settled by the first rows.
#[derive(Clone, Debug, Default)]
pub struct SchemaPin {
    settled: Arc<Mutex<Option<SchemaRef>>>,
    /// How often columns were added since the start.
    edition: Arc<RwLock<u64>>,
}

/// As long as it is held, no column is added.
#[derive(Debug)]
pub struct SchemaGuard {
    edition: u64,
    held: Option<OwnedRwLockReadGuard<u64>>,
}

impl SchemaGuard {
    /// How often columns were added since the start.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Lets columns be added before it is gone.
    pub(super) fn let_go(&mut self) {
        self.held = None;
    }
}

impl SchemaPin {
    /// A pin that holds the schema of the last commit, if there was one.
    #[must_use]
    pub fn new(schema: Option<SchemaRef>) -> Self {
        Self { settled: Arc::new(Mutex::new(schema)), edition: Arc::default() }
    }

    /// The schema settled so far.
    pub async fn get(&self) -> Option<SchemaRef> {
        self.settled.lock().await.clone()
    }

    /// Settles a schema, unless one is.
    pub async fn settle(&self, schema: &SchemaRef) {
        let mut settled = self.settled.lock().await;
        if !is_settled(settled.as_ref()) {
            *settled = Some(Arc::clone(schema));
        }
    }

    /// Whether a schema is settled, as far as that can be said without waiting.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.try_lock().is_ok_and(|schema| is_settled(schema.as_ref()))
    }

    /// Waits while another partition settles the schema.
    pub(super) async fn hold(&self) -> OwnedMutexGuard<Option<SchemaRef>> {
        Arc::clone(&self.settled).lock_owned().await
    }

    /// Keeps the columns as they are.
    pub(super) async fn hold_schema(&self) -> SchemaGuard {
        let held = Arc::clone(&self.edition).read_owned().await;
        SchemaGuard { edition: *held, held: Some(held) }
    }

    /// Adds columns to the schema of `edition`, once nobody decodes with that any more; whether nobody else was first.
    pub(super) async fn widen(&self, edition: u64, added: &SchemaRef) -> bool {
        let mut now = self.edition.write().await;
        if *now != edition {
            return false;
        }
        let mut settled = self.settled.lock().await;
        let before = settled.take().unwrap_or_else(|| Arc::new(Schema::empty()));
        *settled = Some(with_added(before, Some(added)));
        *now += 1;
        true
    }
}
