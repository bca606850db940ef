//! Rows on their last way: through the handlers where lanes meet, to the consumers.

use arrow::array::RecordBatch;
use spout_base::error::{Coded as _, chain};
use spout_data::{Batch, Counts, DeadLetter};
use spout_node::{Shape, SourceEvent};
use spout_repo::Differences;

use super::Run;
use crate::{Error, build::Parts, decide::Event};

impl Run<'_> {
    /// Passes `event` to the handlers; rows and bytes of what they release.
    pub(super) async fn deliver(&mut self, event: SourceEvent) -> Result<(u64, u64), Error> {
        if let Some(spread) = self.spread.as_mut().filter(|spread| spread.exchanges()) {
            spread.deliver(event);
            return Ok((0, 0));
        }
        let released = self.meeting.on_event(event).await?;
        let (mut rows, mut bytes) = (0, 0);
        for batch in released {
            let (more_rows, more_bytes) = self.take(batch).await?;
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        }
        Ok((rows, bytes))
    }

    /// Hands a batch to the consumers; rows and bytes of it, with those that are set aside.
    pub(super) async fn take(&mut self, mut batch: Batch) -> Result<(u64, u64), Error> {
        self.taking.prepare(&mut batch, |partition| self.offsets.label(partition))?;
        self.count(&batch.counts());
        let size = size(&batch);
        if self.unsaid && batch.records.num_rows() > 0 {
            self.unsaid = false;
            let shape = Shape { schema: Some(batch.records.schema()), ..Shape::default() };
            warn_of(&self.parts.name, &self.parts.differences(&shape)?);
        }
        for consumer in &mut self.consumers {
            consumer.consume(&batch).await.map_err(|source| consumer_failed(&self.parts, source))?;
        }
        self.taking.take(&mut batch).await?;
        Ok(size)
    }

    pub(super) fn count(&mut self, counts: &Counts) {
        for key in self.totals.new_keys(&counts.unknown) {
            let pipeline = &self.parts.name;
            tracing::warn!(
                pipeline,
                key,
                "messages have a key without a column; the decoder's `unknown` setting decides what happens to its values"
            );
        }
        self.seen.add(counts);
    }

    /// Rows that handlers still hold back, now that no message will follow.
    pub(super) async fn finish(&mut self) -> Result<Event, Error> {
        if let Some(spread) = self.spread.as_mut().filter(|spread| spread.exchanges()) {
            // What they release is said as it is made.
            let any = spread.finish().await?;
            return Ok(Event::Released { rows: 0, bytes: 0, any });
        }
        let batches = self.meeting.finish().await?;
        let (mut rows, mut bytes, any) = (0, 0, !batches.is_empty());
        for batch in batches {
            let (more_rows, more_bytes) = self.take(batch).await?;
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        }
        Ok(Event::Released { rows, bytes, any })
    }

    /// Lets consumers end in order. Everything is committed already, so errors here are only logged.
    pub(super) async fn end_consumers(&mut self) {
        for consumer in &mut self.consumers {
            if let Err(error) = consumer.finish().await {
                let (pipeline, code, consumer) = (&self.parts.name, error.code(), consumer.name());
                tracing::warn!(pipeline, code, consumer, error = chain(&error), "cannot close a consumer cleanly");
            }
        }
    }
}

/// Rows and bytes of a batch as thresholds count them: also those of dead letters and late rows, which a commit holds too, and
/// of where rows came from.
pub(crate) fn size(batch: &Batch) -> (u64, u64) {
    let late: u64 = batch.late.iter().map(|aside| aside.rows).sum();
    let rows = batch.records.num_rows() as u64 + batch.dead.len() as u64 + late;
    let late = batch.late.iter().filter_map(|aside| aside.records.as_ref());
    let arrow: usize = std::iter::once(&batch.records).chain(late).map(RecordBatch::get_array_memory_size).sum();
    let mut before = std::ptr::null();
    let letter = |letter: &DeadLetter| {
        // Letters of rows of one message share it.
        let shares = std::mem::replace(&mut before, letter.value.as_ptr()) == letter.value.as_ptr();
        letter.room() - if shares { letter.value.len() } else { 0 }
    };
    let dead: usize = batch.dead.iter().map(letter).sum();
    (rows, (arrow + dead + batch.origins.bytes()) as u64)
}

/// A table without a column is no surprise later.
pub(super) fn warn_of(pipeline: &str, differences: &Differences) {
    if !differences.left_out.is_empty() {
        let columns = differences.left_out.join(", ");
        tracing::warn!(
            pipeline,
            columns,
            "the Delta table will be published without columns that readers do not support"
        );
    }
}

pub(super) fn consumer_failed(parts: &Parts, source: spout_consumer::Error) -> Error {
    Error::Consumer { pipeline: parts.name.clone(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use spout_data::{Aside, Letters, Messages, Origins, Wrong};

    use super::*;

    #[test]
    fn what_is_set_aside_counts_toward_a_commit() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let records = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let held = Batch::held(records.clone());
        let (rows, bytes) = size(&held);
        assert_eq!((rows, bytes), (1, records.get_array_memory_size() as u64));
        let mut messages = Messages { offsets: vec![0, 1], ..Messages::default() };
        messages.values.push(&[b'x'; 10_000]);
        messages.values.push(b"");
        let wrong = || Wrong { stage: "s".into(), code: "c".into(), reason: "r".into() };
        let mut letters = Letters::new(&held.span, &messages);
        // Two rows of one message, and a message of no bytes.
        let dead = [0, 0, 1].map(|message| letters.letter(Some(message), wrong(), Vec::new)).to_vec();
        let late = vec![Aside { handler: "w".into(), rows: 3, records: Some(records) }];
        let (more_rows, more) = size(&Batch { dead, late, origins: Origins::Taken([0].into()), ..held.clone() });
        assert_eq!(more_rows, 1 + 3 + 3);
        assert!(
            (2 * bytes + 10_000 + 3 * 256..2 * bytes + 11_000 + 3 * 256).contains(&more),
            "{more}, with rows of {bytes}"
        );
    }
}
