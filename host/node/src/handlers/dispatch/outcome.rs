//! What the chains of a `dispatch` made of one batch, put back into the order of its rows.

use arrow::{array::RecordBatch, compute::interleave_record_batch, error::ArrowError};

use crate::{Handled, Kept, RowFault};

/// What came of the rows of one batch so far.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) handled: Handled,
    /// Parts whose rows are known, to be put in the order of the batch.
    parts: Vec<(RecordBatch, Vec<u32>)>,
}

impl Outcome {
    /// Adds what a chain made of the `rows` of the batch; of none, where it only let go of what it held.
    pub(super) fn add(&mut self, handled: Handled, rows: &[u32]) {
        let row = |row: u32| rows.get(row as usize).or(rows.first()).copied().unwrap_or_default();
        for (records, kept) in handled.outputs {
            match kept {
                Kept::All if records.num_rows() == rows.len() => self.parts.push((records, rows.to_vec())),
                Kept::Rows(list) => self.parts.push((records, list.into_iter().map(row).collect())),
                Kept::All | Kept::Fresh => {
                    self.release();
                    self.handled.outputs.push((records, Kept::Fresh));
                }
            }
        }
        let fault = |fault: RowFault| RowFault { row: row(fault.row), ..fault };
        self.handled.faults.extend(handled.faults.into_iter().map(fault));
        self.handled.late_rows += handled.late_rows;
        self.handled.filtered += handled.filtered;
        self.handled.late.extend(handled.late);
        self.handled.refused.extend(handled.refused);
    }

    /// What came so far comes before what comes now.
    pub(super) fn release(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        self.handled.outputs.extend(parts.into_iter().map(|(records, rows)| (records, Kept::Rows(rows))));
    }

    /// Puts the rows of parts beside each other in the order they came in.
    pub(super) fn settle(mut self) -> Result<Handled, ArrowError> {
        let one = self.parts.windows(2).all(|two| two[0].0.schema() == two[1].0.schema());
        if self.parts.len() > 1 && one {
            let part = |(part, (_, rows)): (usize, &(RecordBatch, Vec<u32>))| {
                rows.iter().enumerate().map(|(at, row)| (*row, part, at)).collect::<Vec<_>>()
            };
            let mut places: Vec<(u32, usize, usize)> = self.parts.iter().enumerate().flat_map(part).collect();
            places.sort_by_key(|(row, ..)| *row);
            let kept = places.iter().map(|(row, ..)| *row).collect();
            let places: Vec<(usize, usize)> = places.into_iter().map(|(_, part, at)| (part, at)).collect();
            let parts: Vec<&RecordBatch> = self.parts.iter().map(|(records, _)| records).collect();
            self.parts = vec![(interleave_record_batch(&parts, &places)?, kept)];
        }
        self.release();
        Ok(self.handled)
    }
}
