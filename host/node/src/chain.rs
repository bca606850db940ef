//! Runs handlers in order and keeps each row's offset attached to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use spout_data::{
    Aside, Batch, Counts, DeadLetter, Letters, Messages, Origins, Part, PartitionId, Position, Span, Wrong,
};

use super::{Error, Handled, Handler, Kept, RowFault, Shape, Source, SourceEvent, build::CONFIG};

/// What leaves each handler, by its id.
type Shapes = Vec<(String, Shape)>;

/// Handlers in order.
#[derive(Default)]
pub struct Chain {
    handlers: Vec<Box<dyn Handler>>,
    /// What flows in, and out, as far as it is known.
    shapes: (Shape, Shape),
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.handlers.iter().map(|handler| handler.id())).finish()
    }
}

/// Rows on their way through the handlers.
struct Passing {
    parts: Vec<(RecordBatch, Origins)>,
    from: Source,
    failed: Vec<Failed>,
    late: Vec<Aside>,
    counts: Counts,
}

/// A row that a handler set aside.
struct Failed {
    stage: String,
    /// The message it came from, if that is known.
    message: Option<usize>,
    /// The row by itself, for where there is no message.
    row: RecordBatch,
    fault: RowFault,
}

impl Chain {
    /// A chain of these handlers.
    #[must_use]
    pub fn new(handlers: Vec<Box<dyn Handler>>) -> Self {
        Self { handlers, shapes: Default::default() }
    }

    /// Asks the plugins in it for what [`Chain::shape`] will say of `input`.
    ///
    /// # Errors
    /// A plugin that cannot be asked, or refuses such rows.
    pub async fn prepare(&mut self, input: &Shape) -> Result<(), Error> {
        let mut shape = input.clone();
        for handler in &mut self.handlers {
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
        for handler in &mut self.handlers {
            shape = handler.shape(&shape)?;
            shapes.push((handler.id().to_owned(), shape.clone()));
        }
        self.shapes = (input, shape);
        Ok(shapes)
    }

    /// As [`Chain::shapes_of`], as far as the handlers take such rows; and the number of the first that does not, with why.
    pub async fn shapes_until(&mut self, input: Shape) -> (Shapes, Option<(usize, Error)>) {
        let mut shapes: Vec<(String, Shape)> = Vec::with_capacity(self.handlers.len());
        for (number, handler) in self.handlers.iter_mut().enumerate() {
            let input = shapes.last().map_or(&input, |(_, shape)| shape);
            match handler.prepare(input).await.and_then(|()| handler.shape(input)) {
                Ok(shape) => shapes.push((handler.id().to_owned(), shape)),
                Err(error) => return (shapes, Some((number, error))),
            }
        }
        (shapes, None)
    }

    /// Whether what comes out is one stream, in which sources can no longer be told apart.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.handlers.iter().any(|handler| handler.merges())
    }

    /// The shortest time after which a handler no longer waits for a source that has nothing.
    #[must_use]
    pub fn idle_after(&self) -> Option<Duration> {
        self.handlers.iter().filter_map(|handler| handler.idle_after()).min()
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
        let mut passing = Passing { late, counts, ..Passing::of(parts, Source::Partition(span.partition)) };
        for handler in &mut self.handlers {
            pass(handler.as_mut(), &mut passing).await?;
        }
        let mut batches = passing.join(span, &messages, dead);
        if let Some(last) = batches.last_mut() {
            last.unknown = unknown;
        }
        Ok(batches)
    }

    /// Passes rows through all handlers where this chain is within a handler: they have no span of their own, and what
    /// is kept or set aside is said by their indices.
    ///
    /// # Errors
    /// The first error of a handler.
    pub(super) async fn rows(&mut self, records: RecordBatch, from: Source) -> Result<Handled, Error> {
        let mut passing = Passing::of(vec![(records, Origins::Each)], from);
        for handler in &mut self.handlers {
            pass(handler.as_mut(), &mut passing).await?;
        }
        Ok(passing.handled())
    }

    /// Tells the handlers events of the partitions; the rows they release, each passed through the handlers after it.
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
        let mut merged = false;
        for handler in &mut self.handlers {
            pass(handler.as_mut(), &mut held).await?;
            // Behind a handler that merges there are no partitions any more.
            if !merged || event == SourceEvent::Cut {
                let handled = handler.on_event(event).await?;
                add(handler.as_ref(), &mut held, handled);
            }
            merged |= handler.merges();
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
        for handler in &mut self.handlers {
            pass(handler.as_mut(), &mut held).await?;
            let last = handler.finish().await?;
            add(handler.as_ref(), &mut held, last);
        }
        Ok(held)
    }

    /// The state of every handler that has any: `<handler>` or `<handler>/<part>`.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut states = BTreeMap::new();
        for handler in &mut self.handlers {
            let parts = handler.snapshot().await?;
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

/// Passes what is on its way through one handler.
async fn pass(handler: &mut dyn Handler, passing: &mut Passing) -> Result<(), Error> {
    for (records, origins) in std::mem::take(&mut passing.parts) {
        let before = records.clone();
        let handled = handler.handle(records, passing.from).await?;
        passing.counts.filter(handler.id(), left_out(before.num_rows(), &handled));
        passing.failed.extend(handled.faults.into_iter().map(|fault| Failed {
            stage: handler.id().to_owned(),
            message: origins.message(fault.row as usize),
            row: before.slice((fault.row as usize).min(before.num_rows()), 1),
            fault,
        }));
        refuse(handler, passing, handled.refused);
        set_aside(handler, passing, handled.late_rows, handled.late);
        passing.parts.extend(handled.outputs.into_iter().map(|(records, kept)| (records, after(&origins, &kept))));
    }
    if handler.merges() {
        passing.from = Source::Merged;
    }
    Ok(())
}

/// How many of `rows` a handler left out: those that are in no output and were not set aside either. Of outputs that are new
/// rows only the handler knows.
fn left_out(rows: usize, handled: &Handled) -> u64 {
    let kept = handled.outputs.iter().map(|(_, kept)| match kept {
        Kept::All => Some(rows as u64),
        Kept::Rows(list) => Some(list.len() as u64),
        Kept::Fresh => None,
    });
    match kept.sum::<Option<u64>>().filter(|_| !handled.outputs.is_empty()) {
        Some(kept) => (rows as u64).saturating_sub(kept + handled.faults.len() as u64 + handled.late_rows),
        None => handled.filtered,
    }
}

/// Adds rows that a handler released; they came from nowhere in particular.
fn add(handler: &dyn Handler, held: &mut Passing, released: Handled) {
    held.counts.filter(handler.id(), released.filtered);
    refuse(handler, held, released.refused);
    set_aside(handler, held, released.late_rows, released.late);
    held.parts.extend(released.outputs.into_iter().map(|(records, _)| (records, Origins::Unknown)));
}

fn refuse(handler: &dyn Handler, passing: &mut Passing, refused: Vec<(RecordBatch, RowFault)>) {
    let failed = |(row, fault)| Failed { stage: handler.id().to_owned(), message: None, row, fault };
    passing.failed.extend(refused.into_iter().map(failed));
}

fn set_aside(handler: &dyn Handler, passing: &mut Passing, rows: u64, late: Vec<RecordBatch>) {
    if rows == 0 {
        return;
    }
    let aside = |rows, records| Aside { handler: handler.id().to_owned(), rows, records };
    let kept: u64 = late.iter().map(|records| records.num_rows() as u64).sum();
    passing.late.extend(late.into_iter().map(|records| aside(records.num_rows() as u64, Some(records))));
    if rows > kept {
        passing.late.push(aside(rows - kept, None));
    }
}

/// The span of rows that no run of offsets is behind.
fn nowhere() -> Span {
    Span { partition: PartitionId::default(), start: 0, next: Position::default() }
}

fn after(origins: &Origins, kept: &Kept) -> Origins {
    match kept {
        Kept::All => origins.clone(),
        Kept::Rows(rows) => origins.take(rows),
        Kept::Fresh => Origins::Unknown,
    }
}

impl Passing {
    fn of(parts: Vec<(RecordBatch, Origins)>, from: Source) -> Self {
        Self { parts, from, failed: Vec::new(), late: Vec::new(), counts: Counts::default() }
    }

    /// Puts the span back: the last batch carries all of it and everything set aside.
    fn join(self, span: Span, messages: &Arc<Messages>, mut dead: Vec<DeadLetter>) -> Vec<Batch> {
        let mut letters = Letters::new(&span, messages);
        dead.extend(self.failed.into_iter().map(|failed| failed.dead_letter(&mut letters)));
        let start = Span { next: Position::at(span.start), ..span.clone() };
        let batch = |(records, origins)| Batch {
            records,
            span: start.clone(),
            origins,
            messages: Arc::clone(messages),
            dead: Vec::new(),
            late: Vec::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
        };
        let mut out: Vec<Batch> = self.parts.into_iter().map(batch).collect();
        if out.is_empty() {
            out.push(batch((RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())), Origins::Each)));
        }
        if let Some(last) = out.last_mut() {
            (last.span, last.dead, last.late, last.counts) = (span, dead, self.late, self.counts);
        }
        out
    }

    fn join_held(self) -> Vec<Batch> {
        let counted = self.counts != Counts::default();
        if self.parts.is_empty() && self.failed.is_empty() && self.late.is_empty() && !counted {
            Vec::new()
        } else {
            self.join(nowhere(), &Arc::default(), Vec::new())
        }
    }

    /// What a handler whose rows these are says of them.
    fn handled(self) -> Handled {
        let kept = |origins| match origins {
            Origins::Each => Kept::All,
            Origins::Taken(rows) => Kept::Rows(rows.to_vec()),
            Origins::Unknown => Kept::Fresh,
        };
        let fault = |failed: Failed| {
            let row = failed.message.and_then(|row| u32::try_from(row).ok());
            let reason = format!("{}: {}", failed.stage, failed.fault.reason);
            let fault = RowFault { row: row.unwrap_or_default(), code: failed.fault.code, reason };
            (row.is_some(), failed.row, fault)
        };
        let (known, unknown): (Vec<_>, Vec<_>) = self.failed.into_iter().map(fault).partition(|(known, ..)| *known);
        Handled {
            outputs: self.parts.into_iter().map(|(records, origins)| (records, kept(origins))).collect(),
            faults: known.into_iter().map(|(_, _, fault)| fault).collect(),
            refused: unknown.into_iter().map(|(_, row, fault)| (row, fault)).collect(),
            late_rows: self.late.iter().map(|aside| aside.rows).sum(),
            late: self.late.into_iter().filter_map(|aside| aside.records).collect(),
            filtered: self.counts.filtered_rows(),
        }
    }
}

impl Failed {
    /// The raw message behind the row; the row itself as JSON where a handler had already made new rows.
    fn dead_letter(self, letters: &mut Letters<'_>) -> DeadLetter {
        let RowFault { code, reason, .. } = self.fault;
        letters.letter(self.message, Wrong { stage: self.stage, code, reason }, || as_json(&self.row))
    }
}

fn as_json(row: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    match writer.write(row).and_then(|()| writer.finish()) {
        Ok(()) => writer.into_inner(),
        Err(error) => error.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::Int64Array, datatypes::Int64Type};
    use async_trait::async_trait;

    use super::*;

    /// Keeps even numbers, sets 7 aside.
    struct Even;

    #[async_trait]
    impl Handler for Even {
        fn id(&self) -> &str {
            "even"
        }

        fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
            Ok(input.clone())
        }

        async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
            use arrow::array::AsArray;
            let numbers = batch.column(0).as_primitive::<Int64Type>();
            let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(|&i| numbers.value(i as usize) % 2 == 0).collect();
            let faults = (0..batch.num_rows() as u32)
                .filter(|&i| numbers.value(i as usize) == 7)
                .map(|row| RowFault { row, code: "seven".into(), reason: "is seven".into() })
                .collect();
            let kept: Int64Array = rows.iter().map(|&row| Some(numbers.value(row as usize))).collect();
            let records = RecordBatch::try_from_iter([("n", Arc::new(kept) as _)]).unwrap();
            Ok(Handled { faults, ..Handled::one(records, Kept::Rows(rows)) })
        }
    }

    fn batch(numbers: &[i64]) -> Batch {
        let mut messages = Messages::default();
        for (index, number) in numbers.iter().enumerate() {
            messages.values.push(format!("raw {number}").as_bytes());
            messages.offsets.push(100 + index as u64);
        }
        let column = Arc::new(Int64Array::from(numbers.to_vec()));
        Batch {
            records: RecordBatch::try_from_iter([("n", column as _)]).unwrap(),
            span: Span { partition: 3.into(), start: 100, next: Position::at(100 + numbers.len() as u64) },
            origins: Origins::Each,
            messages: Arc::new(messages),
            dead: Vec::new(),
            late: Vec::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
        }
    }

    #[tokio::test]
    async fn a_row_keeps_its_offset_through_the_chain() {
        let mut chain = Chain::new(vec![Box::new(Even), Box::new(Even)]);
        let out = chain.handle(batch(&[2, 3, 4, 7])).await.unwrap();
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].records.num_rows(), 2);
        assert_eq!(out[0].origins, Origins::Taken([0, 2].into()));
        assert_eq!((out[0].span.start, out[0].span.next.offset), (100, 104));
        assert_eq!(out[0].counts.filtered, [("even".to_owned(), 1)].into(), "3 is neither passed on nor set aside");
        let dead = &out[0].dead;
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].offset, &dead[0].value[..], dead[0].stage.as_str()), (103, b"raw 7".as_slice(), "even"));
    }
    #[tokio::test]
    async fn a_fault_of_a_stream_level_source_names_the_partition_of_its_message() {
        let mut given = batch(&[2, 7, 4, 7]);
        let mut messages = Messages::clone(&given.messages);
        (messages.partitions, messages.offsets) = (vec![5, 6, 5, 9], vec![40, 8000, 41, 3]);
        given.messages = Arc::new(messages);
        given.span = Span { partition: PartitionId::default(), start: 12, next: Position::at(16) };
        let out = Chain::new(vec![Box::new(Even)]).handle(given).await.unwrap();
        let dead: Vec<(u32, u64)> = out[0].dead.iter().map(|letter| (letter.partition.number, letter.offset)).collect();
        assert_eq!(dead, [(6, 8000), (9, 3)]);
    }
}
