//! Rows on their way through the handlers, with the messages they came from and what was set aside.

use std::sync::Arc;

use arrow::array::RecordBatch;
use spout_base::clock::{self, Instant};
use spout_data::{Aside, Batch, Counts, DeadLetter, Letters, Messages, Origins, PartitionId, Position, Span, Wrong};

use super::Counted;
use crate::{Error, Handled, Handler, Kept, RowFault, Source};

/// Rows on their way through the handlers.
pub(super) struct Passing {
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

/// Passes what is on its way through one handler.
pub(super) async fn pass(counted: &mut Counted, passing: &mut Passing) -> Result<(), Error> {
    let Counted { handler, tally } = counted;
    let handler = handler.as_mut();
    for (records, origins) in std::mem::take(&mut passing.parts) {
        let before = records.clone();
        let begun = clock::now();
        let handled = handler.handle(records, passing.from).await?;
        tally.count(before.num_rows(), &handled, begun.elapsed());
        let filtered = left_out(before.num_rows(), &handled);
        passing.counts.filter(handler.id(), filtered);
        passing.counts.keep(handler.id(), kept(before.num_rows(), filtered, &handled));
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

/// How many of `rows` a handler keeps for itself, or how many it made besides them where that is less than nothing.
fn kept(rows: usize, filtered: u64, handled: &Handled) -> i64 {
    let out: usize = handled.outputs.iter().map(|(records, _)| records.num_rows()).sum();
    let gone = (out + handled.faults.len() + handled.refused.len()) as u64 + handled.late_rows + filtered;
    i64::try_from(rows).unwrap_or(i64::MAX).saturating_sub_unsigned(gone)
}

/// Adds rows that a handler released since it was asked; they came from nowhere in particular.
pub(super) fn add(counted: &Counted, held: &mut Passing, released: Handled, asked: Instant) {
    let handler = counted.handler.as_ref();
    counted.tally.count(0, &released, asked.elapsed());
    held.counts.filter(handler.id(), released.filtered);
    held.counts.keep(handler.id(), kept(0, released.filtered, &released));
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
    pub(super) fn of(parts: Vec<(RecordBatch, Origins)>, from: Source) -> Self {
        Self { parts, from, failed: Vec::new(), late: Vec::new(), counts: Counts::default() }
    }

    /// The rows as they are now.
    pub(super) fn rows(&self) -> impl Iterator<Item = &RecordBatch> {
        self.parts.iter().map(|(records, _)| records)
    }

    /// With what was set aside and counted before.
    pub(super) fn with(self, late: Vec<Aside>, counts: Counts) -> Self {
        Self { late, counts, ..self }
    }

    /// Puts the span back: the last batch carries all of it and everything set aside.
    pub(super) fn join(self, span: Span, messages: &Arc<Messages>, mut dead: Vec<DeadLetter>) -> Vec<Batch> {
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
            // No message is behind it that the last one does not count.
            counts: Counts { made: Some(0), ..Counts::default() },
        };
        let mut out: Vec<Batch> = self.parts.into_iter().map(batch).collect();
        if out.is_empty() {
            out.push(batch((RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())), Origins::Each)));
        }
        if let Some(last) = out.last_mut() {
            let made = self.counts.made.or(Some(0));
            (last.span, last.dead, last.late, last.counts) = (span, dead, self.late, Counts { made, ..self.counts });
        }
        out
    }

    pub(super) fn join_held(self) -> Vec<Batch> {
        let counted = self.counts != Counts::default();
        if self.parts.is_empty() && self.failed.is_empty() && self.late.is_empty() && !counted {
            Vec::new()
        } else {
            self.join(nowhere(), &Arc::default(), Vec::new())
        }
    }

    /// What a handler whose rows these are says of them.
    pub(super) fn handled(self) -> Handled {
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
