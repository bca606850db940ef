//! Runs handlers in order and keeps each row's offset attached to it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;

use super::{Error, Handler, Kept, RowFault};
use crate::data::{Batch, DeadLetter, Origins, Position, Span};

/// Handlers in order.
#[derive(Default)]
pub struct Chain {
    handlers: Vec<Box<dyn Handler>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.handlers.iter().map(|handler| handler.id())).finish()
    }
}

impl Chain {
    /// A chain of these handlers.
    #[must_use]
    pub fn new(handlers: Vec<Box<dyn Handler>>) -> Self {
        Self { handlers }
    }

    /// Passes one batch through all handlers. The last batch of the answer carries the whole span, those before it an
    /// empty run at its start; together they are one unit that must not be cut apart.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn handle(&mut self, batch: Batch) -> Result<Vec<Batch>, Error> {
        let Batch { records, span, origins, messages, mut dead } = batch;
        let mut parts = vec![(records, origins)];
        for handler in &mut self.handlers {
            let mut passed = Vec::with_capacity(parts.len());
            for (records, origins) in parts {
                let before = records.clone();
                let handled = handler.handle(records).await?;
                dead.extend(handled.faults.iter().map(|fault| {
                    let source = Source { span: &span, origins: &origins, messages: &messages, records: &before };
                    source.dead_letter(handler.id(), fault)
                }));
                passed.extend(handled.outputs.into_iter().map(|(records, kept)| (records, after(&origins, &kept))));
            }
            parts = passed;
        }
        Ok(join(parts, span, &messages, dead))
    }

    /// The rows that handlers still hold back, each passed through the handlers after it.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn finish(&mut self) -> Result<Vec<RecordBatch>, Error> {
        let mut held: Vec<RecordBatch> = Vec::new();
        for handler in &mut self.handlers {
            let mut passed = Vec::with_capacity(held.len());
            for records in held {
                passed.extend(handler.handle(records).await?.outputs);
            }
            passed.extend(handler.finish().await?.outputs);
            held = passed.into_iter().map(|(records, _)| records).collect();
        }
        Ok(held)
    }

    /// The state of every handler that has any, by handler id.
    ///
    /// # Errors
    /// The first error of a handler.
    pub async fn snapshot(&mut self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut states = BTreeMap::new();
        for handler in &mut self.handlers {
            if let Some(state) = handler.snapshot().await? {
                states.insert(handler.id().to_owned(), state);
            }
        }
        Ok(states)
    }
}

fn after(origins: &Origins, kept: &Kept) -> Origins {
    match kept {
        Kept::All => origins.clone(),
        Kept::Rows(rows) => origins.take(rows),
        Kept::Fresh => Origins::Unknown,
    }
}

/// Puts the span back: the last batch carries all of it and everything set aside.
fn join(
    parts: Vec<(RecordBatch, Origins)>,
    span: Span,
    messages: &Arc<crate::data::Messages>,
    dead: Vec<DeadLetter>,
) -> Vec<Batch> {
    let start = Span { next: Position::at(span.start), ..span.clone() };
    let mut out: Vec<Batch> = parts
        .into_iter()
        .map(|(records, origins)| Batch {
            records,
            span: start.clone(),
            origins,
            messages: Arc::clone(messages),
            dead: Vec::new(),
        })
        .collect();
    match out.last_mut() {
        Some(last) => (last.span, last.dead) = (span, dead),
        None => out.push(Batch {
            records: RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())),
            span,
            origins: Origins::Each,
            messages: Arc::clone(messages),
            dead,
        }),
    }
    out
}

/// Where the rows of a handler's input came from.
struct Source<'a> {
    span: &'a Span,
    origins: &'a Origins,
    messages: &'a crate::data::Messages,
    records: &'a RecordBatch,
}

impl Source<'_> {
    /// The raw message behind a faulty row; the row itself as JSON where a handler had already made new rows.
    fn dead_letter(&self, stage: &str, fault: &RowFault) -> DeadLetter {
        let message = self.origins.message(fault.row as usize).filter(|&message| message < self.messages.len());
        let value = match message {
            Some(message) => self.messages.values.get(message).to_vec(),
            None => as_json(&self.records.slice((fault.row as usize).min(self.records.num_rows()), 1)),
        };
        DeadLetter {
            partition: self.span.partition,
            offset: message.and_then(|message| self.messages.offsets.get(message).copied()).unwrap_or(self.span.start),
            timestamp_ms: message.and_then(|message| self.messages.timestamps_ms.get(message).copied()),
            key: message.and_then(|message| Some(self.messages.keys.as_ref()?.get(message).to_vec())),
            value,
            stage: stage.to_owned(),
            code: fault.code.clone(),
            reason: fault.reason.clone(),
        }
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

    use super::{super::Handled, *};
    use crate::data::Messages;

    /// Keeps even numbers, sets 7 aside.
    struct Even;

    #[async_trait]
    impl Handler for Even {
        fn id(&self) -> &str {
            "even"
        }

        async fn handle(&mut self, batch: RecordBatch) -> Result<Handled, Error> {
            use arrow::array::AsArray;
            let numbers = batch.column(0).as_primitive::<Int64Type>();
            let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(|&i| numbers.value(i as usize) % 2 == 0).collect();
            let faults = (0..batch.num_rows() as u32)
                .filter(|&i| numbers.value(i as usize) == 7)
                .map(|row| RowFault { row, code: "seven".into(), reason: "is seven".into() })
                .collect();
            let kept: Int64Array = rows.iter().map(|&row| Some(numbers.value(row as usize))).collect();
            let records = RecordBatch::try_from_iter([("n", Arc::new(kept) as _)]).unwrap();
            Ok(Handled { outputs: vec![(records, Kept::Rows(rows))], faults })
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
            span: Span { partition: 3, start: 100, next: Position::at(100 + numbers.len() as u64) },
            origins: Origins::Each,
            messages: Arc::new(messages),
            dead: Vec::new(),
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
        let dead = &out[0].dead;
        assert_eq!(dead.len(), 1);
        assert_eq!(
            (dead[0].offset, dead[0].value.as_slice(), dead[0].stage.as_str()),
            (103, b"raw 7".as_slice(), "even")
        );
    }
}
