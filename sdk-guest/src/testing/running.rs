//! A handler with its state, as the host runs it: through batches and ticks, saved and restored.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::{apply, settings};
use crate::{Batch, Handler, Result, Schema, State, Ticked, keyed::Cache};

/// A running handler.
#[derive(Debug)]
pub struct Running<H> {
    handler: H,
    cache: Rc<RefCell<Cache>>,
}

/// What a commit holds of a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// What [`Handler::snapshot`] returned.
    pub snapshot: Vec<u8>,
    /// The entries of the keyed state, as bytes.
    pub keyed: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<H: Handler> Running<H> {
    /// Opens a handler with these settings, without state.
    ///
    /// # Errors
    /// The handler's error.
    pub fn open(list: &[(&str, &str)]) -> Result<Self> {
        Self::restore(list, &Saved::default())
    }

    /// Opens a handler with the state of a commit.
    ///
    /// # Errors
    /// The handler's error.
    pub fn restore(list: &[(&str, &str)], saved: &Saved) -> Result<Self> {
        let cache = Rc::<RefCell<Cache>>::default();
        cache.borrow_mut().store.entries = saved.keyed.clone();
        let state = State::new(Some(saved.snapshot.clone()), Rc::clone(&cache));
        Ok(Self { handler: H::open(settings(list)?, state)?, cache })
    }

    /// Passes a batch through; returns the rows passed on.
    ///
    /// # Errors
    /// The handler's error.
    pub fn process(&mut self, batch: &Batch) -> Result<Batch> {
        apply(self.handler.process(batch)?, batch)
    }

    /// The columns that the handler declares to come out when those of `input` go in.
    ///
    /// # Errors
    /// The handler's error.
    pub fn output(&self, input: &Schema) -> Result<Option<Schema>> {
        self.handler.output(input)
    }

    /// Tells the handler that event time has reached `watermark_ms`.
    ///
    /// # Errors
    /// The handler's error.
    pub fn tick(&mut self, watermark_ms: i64) -> Result<Ticked> {
        self.handler.tick(watermark_ms)
    }

    /// Tells the handler that no more batches follow.
    ///
    /// # Errors
    /// The handler's error.
    pub fn finish(&mut self) -> Result<Option<Batch>> {
        self.handler.finish()
    }

    /// What a commit would hold.
    ///
    /// # Errors
    /// The handler's error.
    pub fn save(&mut self) -> Result<Saved> {
        let snapshot = self.handler.snapshot()?;
        let mut cache = self.cache.borrow_mut();
        cache.write_back();
        Ok(Saved { snapshot, keyed: cache.store.entries.clone() })
    }

    /// How often the host's keyed state was called.
    #[must_use]
    pub fn state_calls(&self) -> usize {
        self.cache.borrow().store.calls
    }
}
