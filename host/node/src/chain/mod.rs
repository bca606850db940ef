//! Runs handlers in order and keeps each row's offset attached to it.

mod passing;
#[cfg(test)]
mod tests;
mod watching;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use spout_base::clock;
use spout_data::{Batch, Origins, Part};

pub use self::watching::Watcher;
use self::{
    passing::{Passing, add, pass},
    watching::Watched,
};
use super::{Beside, Error, Handled, Handler, Keys, Shape, Source, SourceEvent, Tally, build::CONFIG};

/// What leaves each handler, by its id.
type Shapes = Vec<(String, Shape)>;

/// A handler of a chain, and what counts its rows.
struct Counted {
    handler: Box<dyn Handler>,
    tally: Arc<Tally>,
}

/// Handlers in order.
#[derive(Default)]
pub struct Chain {
    handlers: Vec<Counted>,
    /// What flows in, and out, as far as it is known.
    shapes: (Shape, Shape),
    /// Who may look at its rows.
    watched: Option<Watched>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.handlers.iter().map(|counted| counted.handler.id())).finish()
    }
}

impl Chain {
    /// A chain of these handlers.
    #[must_use]
    pub fn new(handlers: Vec<Box<dyn Handler>>) -> Self {
        let counted = |handler| Counted { handler, tally: Arc::default() };
        Self { handlers: handlers.into_iter().map(counted).collect(), shapes: Default::default(), watched: None }
    }

    /// The same whose handlers are counted by these, in order.
    #[must_use]
    pub fn counted_by<'a>(mut self, tallies: impl IntoIterator<Item = &'a Arc<Tally>>) -> Self {
        self.handlers.iter_mut().zip(tallies).for_each(|(counted, tally)| counted.tally = Arc::clone(tally));
        self
    }

    /// The same, whose rows `by` may look at: so many handlers are `before` it, and what `enters` it is seen where nobody before it
    /// has shown that.
    #[must_use]
    pub fn watched(self, by: Arc<dyn Watcher>, before: usize, enters: bool) -> Self {
        Self { watched: Some(Watched { by, before, enters }), ..self }
    }

    /// Who looks at its rows now, if anybody does.
    fn watching(&self) -> Option<Watched> {
        self.watched.as_ref().filter(|watched| watched.by.watches()).cloned()
    }

    /// Asks the plugins in it for what [`Chain::shape`] will say of `input`.
    ///
    /// # Errors
    /// A plugin that cannot be asked, or refuses such rows.
    pub async fn prepare(&mut self, input: &Shape) -> Result<(), Error> {
        let mut shape = input.clone();
        for Counted { handler, .. } in &mut self.handlers {
            handler.prepare(&shape).await?;
            // What else is wrong is said where the shape is asked for.
            let Ok(next) = handler.shape(&shape) else { break };
            shape = next;
        }
        Ok(())
    }

    /// What comes out when rows of the shape `input` go in.
    ///
    /// # Errors
    /// The first handler that such rows are not for.
    pub fn shape(&mut self, input: Shape) -> Result<Shape, Error> {
        let last = self.shapes_of(input.clone())?.pop().map_or(input, |(_, shape)| shape);
        Ok(last)
    }

    /// What comes out of each handler, by id, when rows of the shape `input` go in.
    ///
    /// # Errors
    /// As [`Chain::shape`].
    pub fn shapes_of(&mut self, input: Shape) -> Result<Vec<(String, Shape)>, Error> {
        let mut shapes = Vec::with_capacity(self.handlers.len());
        let mut shape = input.clone();
        for Counted { handler, .. } in &mut self.handlers {
            shape = handler.shape(&shape)?;
            shapes.push((handler.id().to_owned(), shape.clone()));
        }
        self.shapes = (input, shape);
        Ok(shapes)
    }

    /// As [`Chain::shapes_of`], as far as the handlers take such rows; and the number of the first that does not, with why.
    pub async fn shapes_until(&mut self, input: Shape) -> (Shapes, Option<(usize, Error)>) {
        let mut shapes: Vec<(String, Shape)> = Vec::with_capacity(self.handlers.len());
        for (number, Counted { handler, .. }) in self.handlers.iter_mut().enumerate() {
            let input = shapes.last().map_or(&input, |(_, shape)| shape);
            match handler.prepare(input).await.and_then(|()| handler.shape(input)) {
                Ok(shape) => shapes.push((handler.id().to_owned(), shape)),
                Err(error) => return (shapes, Some((number, error))),
            }
        }
        (shapes, None)
    }

    /// Whether what comes out is one stream, in which sources can no longer be distinguished.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.handlers.iter().any(|counted| counted.handler.merges())
    }

    /// The shortest time after which a handler no longer waits for a source that has nothing.
    #[must_use]
    pub fn idle_after(&self) -> Option<Duration> {
        self.handlers.iter().filter_map(|counted| counted.handler.idle_after()).min()
    }

    /// Passes one batch through all handlers. The last batch of the answer carries the whole span, those before it an
    /// empty run at its start; together they are one unit that must not be cut apart.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn handle(&mut self, batch: Batch) -> Result<Vec<Batch>, Error> {
        self.learn(&batch.records).await?;
        let Batch { records, span, origins, messages, dead, late, unknown, counts } = batch;
        let parts = if records.num_columns() == 0 { Vec::new() } else { vec![(records, origins)] };
        let mut passing = Passing::of(parts, Source::Partition(span.partition)).with(late, counts);
        let watching = self.watching();
        watching.iter().for_each(|watched| watched.show(0, passing.rows()));
        for (at, counted) in self.handlers.iter_mut().enumerate() {
            pass(counted, &mut passing).await?;
            watching.iter().for_each(|watched| watched.show(at + 1, passing.rows()));
        }
        let mut batches = passing.join(span, &messages, dead);
        if let Some(last) = batches.last_mut() {
            last.unknown = unknown;
        }
        Ok(batches)
    }

    /// By what rows may be split on their way into its first handler; none if that has to have all.
    #[must_use]
    pub fn keys(&self) -> Option<Keys> {
        self.handlers.first()?.handler.keys()
    }

    /// As [`Chain::handle`], for rows of some keys; `beside` is what is to be known of the others.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn handle_beside(&mut self, batch: Batch, beside: Option<Beside>) -> Result<Vec<Batch>, Error> {
        // Before it is told: that may open it.
        self.learn(&batch.records).await?;
        if let (Some(first), Some(beside)) = (self.handlers.first_mut(), beside) {
            first.handler.expect(beside);
        }
        self.handle(batch).await
    }

    /// Passes rows through all handlers where this chain is within a handler: they have no span of their own, and what
    /// is kept or set aside is said by their indices.
    ///
    /// # Errors
    /// The first error of a handler.
    pub(super) async fn rows(&mut self, records: RecordBatch, from: Source) -> Result<Handled, Error> {
        let mut passing = Passing::of(vec![(records, Origins::Each)], from);
        for counted in &mut self.handlers {
            pass(counted, &mut passing).await?;
        }
        Ok(passing.handled())
    }

    /// Passes the handlers events of the partitions; the rows they release, each passed through the handlers after it.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Batch>, Error> {
        Ok(self.pass_event(event).await?.join_held())
    }

    /// The same where this chain is within a handler.
    pub(super) async fn on_event_within(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        Ok(self.pass_event(event).await?.handled())
    }

    async fn pass_event(&mut self, event: SourceEvent) -> Result<Passing, Error> {
        let mut held = Passing::of(Vec::new(), Source::Merged);
        let (mut merged, watching) = (false, self.watching());
        for (at, counted) in self.handlers.iter_mut().enumerate() {
            pass(counted, &mut held).await?;
            // Behind a handler that merges there are no partitions any more.
            if !merged || event == SourceEvent::Cut {
                let begun = clock::now();
                let handled = counted.handler.on_event(event).await?;
                add(counted, &mut held, handled, begun);
            }
            watching.iter().for_each(|watched| watched.show(at + 1, held.rows()));
            merged |= counted.handler.merges();
        }
        Ok(held)
    }

    /// The rows that handlers still hold back, each passed through the handlers after it.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn finish(&mut self) -> Result<Vec<Batch>, Error> {
        Ok(self.finished().await?.join_held())
    }

    /// The same where this chain is within a handler.
    pub(super) async fn finish_within(&mut self) -> Result<Handled, Error> {
        Ok(self.finished().await?.handled())
    }

    async fn finished(&mut self) -> Result<Passing, Error> {
        let mut held = Passing::of(Vec::new(), Source::Merged);
        let watching = self.watching();
        for (at, counted) in self.handlers.iter_mut().enumerate() {
            pass(counted, &mut held).await?;
            let begun = clock::now();
            let last = counted.handler.finish().await?;
            add(counted, &mut held, last, begun);
            watching.iter().for_each(|watched| watched.show(at + 1, held.rows()));
        }
        Ok(held)
    }

    /// The state of every handler that has any: `<handler>` or `<handler>/<part>`.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut states = BTreeMap::new();
        for Counted { handler, tally } in &mut self.handlers {
            let begun = clock::now();
            let parts = handler.snapshot().await?;
            tally.worked(begun.elapsed());
            if let Some(config) = handler.config().filter(|_| !parts.is_empty()) {
                states.insert(format!("{}/{CONFIG}", handler.id()), Part::from(config.to_string().into_bytes()));
            }
            states.extend(parts.into_iter().map(|(name, part)| match name.as_str() {
                "" => (handler.id().to_owned(), part),
                _ => (format!("{}/{name}", handler.id()), part),
            }));
        }
        Ok(states)
    }

    /// Checks the handlers against the columns of rows when these are seen for the first time, or are others.
    async fn learn(&mut self, records: &RecordBatch) -> Result<(), Error> {
        let schema = records.schema_ref();
        let known = self.shapes.0.schema.as_ref();
        if records.num_columns() == 0 || known.is_some_and(|known| Arc::ptr_eq(known, schema) || known == schema) {
            return Ok(());
        }
        let input = self.shapes.0.with_schema(Some(Arc::clone(schema)));
        self.prepare(&input).await?;
        self.shape(input).map(drop)
    }
}
