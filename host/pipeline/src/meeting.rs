//! The handlers where lanes meet. They have state, so a call that hangs can only be given up together with everything that was
//! taken since the last commit.

use std::collections::BTreeMap;

use spout_base::{
    error::Coded as _,
    trace::{self, Context},
};
use spout_data::{Batch, Part, Span};
use spout_node::SourceEvent;
use tokio_util::sync::CancellationToken;

use super::{Error, keyed::Handlers, overdue::unless_overdue};

/// The first handler with state and all after it.
#[derive(Debug)]
pub(super) struct Meeting {
    pipeline: String,
    handlers: Handlers,
    stop: CancellationToken,
}

impl Meeting {
    /// The handlers of `pipeline`, which do not keep it once `stop` is cancelled.
    pub(super) fn new(pipeline: &str, handlers: Handlers, stop: &CancellationToken) -> Self {
        Self { pipeline: pipeline.to_owned(), handlers, stop: stop.clone() }
    }

    /// Passes a batch that the span `fetch` brought through the handlers.
    pub(super) async fn handle(&mut self, batch: Batch, fetch: Option<Context>) -> Result<Vec<Batch>, Error> {
        let Span { partition, start, ref next } = batch.span;
        let (pipeline, next) = (self.pipeline.clone(), next.offset);
        let mut doing = trace::within("meet", fetch);
        doing.note("spout.rows", batch.records.num_rows() as u64);
        let handled = unless_overdue(&pipeline, "a handler", &self.stop, self.handlers.handle(batch)).await?;
        let handled = handled.inspect_err(|error| doing.fail(error.code()));
        handled.map_err(|source| Error::Node { pipeline, partition, start, next, source: Box::new(source) })
    }

    /// Tells them events; what they release.
    pub(super) async fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Batch>, Error> {
        let heard = unless_overdue(&self.pipeline, "a handler", &self.stop, self.handlers.on_event(event)).await?;
        heard.map_err(|source| self.failed("brought on", source))
    }

    /// What they still hold back, now that no message will follow.
    pub(super) async fn finish(&mut self) -> Result<Vec<Batch>, Error> {
        let held = unless_overdue(&self.pipeline, "a handler", &self.stop, self.handlers.finish()).await?;
        held.map_err(|source| self.failed("finished", source))
    }

    /// Their state.
    pub(super) async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let state = unless_overdue(&self.pipeline, "a handler", &self.stop, self.handlers.snapshot()).await?;
        state.map_err(|source| self.failed("saved", source))
    }

    fn failed(&self, doing: &'static str, source: spout_node::Error) -> Error {
        Error::State { pipeline: self.pipeline.clone(), doing, source: Box::new(source) }
    }
}
