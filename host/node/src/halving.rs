//! Finds the rows that an evaluation fails on, so that the others of their batch are not lost with them.
//!
//! A batch is taken whole. Where that fails it is halved until the failing rows are alone: a row's verdict is that of the row by
//! itself, whatever rows are beside it.

use std::ops::Range;

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
    error::ArrowError,
};

use super::{Error, Handled, Kept, RowFault};

/// Code of a row whose expression has no value.
pub(super) const CODE: &str = "expression.value";

/// Runs of rows that are still to be tried, in order.
#[derive(Debug)]
pub(super) struct Halving {
    runs: Vec<Range<usize>>,
    faults: Vec<RowFault>,
}

impl Halving {
    /// All rows of a batch at once.
    pub(super) fn of(rows: usize) -> Self {
        Self { runs: std::iter::once(0..rows).collect(), faults: Vec::new() }
    }

    /// The run to try next.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        self.runs.pop()
    }

    /// `run` could not be evaluated: its halves come next, or its one row is a fault.
    ///
    /// # Errors
    /// `error`, if it is not about the values of rows.
    pub(super) fn failed(&mut self, run: Range<usize>, error: Error) -> Result<(), Error> {
        match (error, run.len()) {
            (error @ Error::Value { .. }, 0) => Err(error),
            (Error::Value { expression, reason, .. }, 1) => {
                self.faults.push(RowFault {
                    row: u32::try_from(run.start).unwrap_or(u32::MAX),
                    code: CODE.into(),
                    reason: format!("`{expression}` has no value: {reason}"),
                });
                Ok(())
            }
            (Error::Value { .. }, rows) => {
                let middle = run.start + rows / 2;
                self.runs.extend([middle..run.end, run.start..middle]);
                Ok(())
            }
            (error, _) => Err(error),
        }
    }

    /// The rows that failed alone, in order.
    pub(super) fn faults(self) -> Vec<RowFault> {
        self.faults
    }
}

/// What came of the runs of a batch, and the rows that are in none.
pub(super) type Runs<T> = (Vec<(Range<usize>, T)>, Vec<RowFault>);

/// What `take` makes of the rows of `batch`, in as few runs as it can.
///
/// # Errors
/// One that is not about the values of rows.
pub(super) fn each<T>(
    batch: &RecordBatch,
    mut take: impl FnMut(RecordBatch) -> Result<T, Error>,
) -> Result<Runs<T>, Error> {
    let mut halving = Halving::of(batch.num_rows());
    let mut runs = Vec::new();
    while let Some(run) = halving.next() {
        match take(batch.slice(run.start, run.len())) {
            Ok(made) => runs.push((run, made)),
            Err(error) => halving.failed(run, error)?,
        }
    }
    Ok((runs, halving.faults()))
}

/// The rows of `batch` that have no fault, and the place of each in it.
///
/// # Errors
/// What the kernel says; never in practice.
pub(super) fn without(batch: &RecordBatch, faults: &[RowFault]) -> Result<(RecordBatch, Vec<u32>), ArrowError> {
    let mut sound = vec![true; batch.num_rows()];
    for fault in faults {
        if let Some(sound) = sound.get_mut(fault.row as usize) {
            *sound = false;
        }
    }
    let places = (0..).zip(&sound).filter(|(_, sound)| **sound).map(|(row, _)| row).collect();
    if faults.is_empty() {
        Ok((batch.clone(), places))
    } else {
        Ok((filter_record_batch(batch, &BooleanArray::from(sound))?, places))
    }
}

/// What a handler made of the runs that it could take, a row for each row.
///
/// # Errors
/// [`Error::Kernel`] if the runs have other columns than each other; never in practice.
pub(super) fn handled(
    handler: &str,
    mut runs: Vec<(Range<usize>, RecordBatch)>,
    faults: Vec<RowFault>,
) -> Result<Handled, Error> {
    if faults.is_empty() && runs.len() == 1 {
        return Ok(runs.pop().map_or_else(Handled::default, |(_, records)| Handled::one(records, Kept::All)));
    }
    let Some(schema) = runs.first().map(|(_, records)| records.schema()) else {
        return Ok(Handled { faults, ..Handled::default() });
    };
    let rows = runs.iter().flat_map(|(run, _)| run.clone()).map(|row| row as u32).collect();
    let joined = concat_batches(&schema, runs.iter().map(|(_, records)| records));
    let joined = joined.map_err(Error::kernel(handler, 0))?;
    Ok(Handled { faults, ..Handled::one(joined, Kept::Rows(rows)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `bad` fail, also with others beside them; the runs that were taken, and the rows set aside.
    fn check(rows: usize, bad: &[usize], taken: &[Range<usize>]) {
        let mut halving = Halving::of(rows);
        let mut done = Vec::new();
        while let Some(run) = halving.next() {
            if bad.iter().any(|row| run.contains(row)) {
                let error = Error::Value { handler: "h".into(), expression: "x".into(), reason: "y".into() };
                halving.failed(run, error).unwrap();
            } else {
                done.push(run)
            }
        }
        assert_eq!(done, taken);
        assert_eq!(halving.faults().iter().map(|fault| fault.row as usize).collect::<Vec<_>>(), bad);
    }

    #[test]
    fn rows_that_fail_are_found_and_the_others_stay_in_order() {
        check(8, &[], std::slice::from_ref(&(0..8)));
        check(8, &[3], &[0..2, 2..3, 4..8]);
        check(5, &[0, 4], &[1..2, 2..3, 3..4]);
        check(1, &[0], &[]);
    }

    #[test]
    fn an_error_about_no_row_goes_through() {
        let about = |error| Halving::of(2).failed(0..2, error).unwrap_err();
        let spec = Error::Spec { handler: "h".into(), reason: "no column".into() };
        assert!(matches!(about(spec), Error::Spec { .. }));
        let error = Error::Value { handler: "h".into(), expression: "1 / 0".into(), reason: "no".into() };
        assert!(matches!(Halving::of(0).failed(0..0, error), Err(Error::Value { .. })));
    }
}
