//! Rows that the files of a commit cannot hold are set aside as the messages they came from, before anybody sees them.

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
    error::ArrowError,
};
use spout_data::{Aside, Batch, DeadLetter, Letters, Origins, Wrong};
use spout_format::{Format, Misfit, misfits};

use super::encode;

/// What set a row aside.
const STAGE: &str = "commit";

/// Takes the rows out of `batch` that a file of `format` cannot hold, and late rows that a Parquet file cannot: each becomes
/// a dead letter, and its neighbours stay.
///
/// # Errors
/// If the rows that stay are too large for one batch.
pub(super) fn fit(format: Format, batch: &mut Batch) -> Result<(), ArrowError> {
    let found = misfits(format, &batch.records);
    if !found.is_empty() {
        let mut letters = Letters::new(&batch.span, &batch.messages);
        let letter = |misfit| letter(misfit, &batch.records, &mut letters, batch.origins.message(misfit.row));
        batch.dead.extend(found.iter().map(letter));
        let (records, rows) = without(&batch.records, &found)?;
        batch.origins = match batch.origins {
            Origins::Unknown => Origins::Unknown,
            ref known => known.take(&rows),
        };
        batch.records = records;
    }
    for Aside { records, .. } in &mut batch.late {
        let Some(late) = records else { continue };
        let found = misfits(Format::Parquet, late);
        if !found.is_empty() {
            let mut letters = Letters::new(&batch.span, &batch.messages);
            batch.dead.extend(found.iter().map(|misfit| letter(misfit, late, &mut letters, None)));
            *late = without(late, &found)?.0;
        }
    }
    Ok(())
}

/// The raw message behind a row; the row itself as JSON where a handler had made new rows.
fn letter(misfit: &Misfit, rows: &RecordBatch, letters: &mut Letters<'_>, message: Option<usize>) -> DeadLetter {
    let wrong = Wrong { stage: STAGE.to_owned(), code: misfit.code.to_owned(), reason: misfit.reason.clone() };
    letters.letter(message, wrong, || {
        encode::ndjson(&rows.slice(misfit.row, 1)).unwrap_or_else(|error| error.to_string().into_bytes())
    })
}

/// The rows that stay, and which they are.
fn without(rows: &RecordBatch, found: &[Misfit]) -> Result<(RecordBatch, Vec<u32>), ArrowError> {
    let mut stays = vec![true; rows.num_rows()];
    for misfit in found {
        if let Some(stays) = stays.get_mut(misfit.row) {
            *stays = false;
        }
    }
    let kept = (0u32..).zip(&stays).filter(|(_, stays)| **stays).map(|(row, _)| row).collect();
    Ok((filter_record_batch(rows, &BooleanArray::from(stays))?, kept))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray as _, Int64Array, TimestampSecondArray};

    use super::*;
    use spout_data::{Blobs, Messages, Position, Span};

    fn batch(origins: Origins) -> Batch {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX, 60]));
        let mut values = Blobs::default();
        [&b"zero"[..], b"one", b"two", b"three"].into_iter().for_each(|value| values.push(value));
        let messages = Messages { values, offsets: vec![10, 11, 12, 13], ..Messages::default() };
        let late = RecordBatch::try_from_iter([("id", Arc::clone(&ids)), ("at", Arc::clone(&times))]).unwrap();
        Batch {
            span: Span { partition: 7.into(), start: 10, next: Position::at(14) },
            origins,
            messages: Arc::new(messages),
            late: vec![Aside { handler: "w".into(), rows: 3, records: Some(late.clone()) }],
            ..Batch::held(late)
        }
    }

    #[test]
    fn a_row_that_does_not_fit_is_set_aside_as_its_message() {
        let mut held = batch(Origins::Taken([1, 2, 3].into()));
        fit(Format::Parquet, &mut held).unwrap();
        let ids = |rows: &RecordBatch| rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        assert_eq!((ids(&held.records), held.origins), (vec![1, 3], Origins::Taken([1, 3].into())));
        assert_eq!(ids(held.late[0].records.as_ref().unwrap()), [1, 3]);
        let [letter, late] = held.dead.as_slice() else { panic!("{:?}", held.dead) };
        assert_eq!((letter.partition, letter.offset, &letter.value[..]), (7.into(), 12, &b"two"[..]));
        assert_eq!((letter.stage.as_str(), letter.code.as_str()), ("commit", "commit.time"));
        assert!(
            letter.reason.starts_with("column `at` is 9223372036854775807 s, outside the years"),
            "{}",
            letter.reason
        );
        assert!(late.value.starts_with(b"{\"id\":2"), "{late:?}");
    }

    #[test]
    fn rows_that_handlers_made_are_kept_as_json() {
        let mut made = batch(Origins::Unknown);
        fit(Format::Arrow, &mut made).unwrap();
        assert_eq!((made.records.num_rows(), made.origins, made.dead[0].offset), (2, Origins::Unknown, 10));
        assert!(made.dead[0].value.starts_with(b"{\"id\":2"), "{:?}", made.dead);
    }
}
