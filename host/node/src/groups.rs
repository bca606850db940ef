//! Rows by group: one part for each distinct tuple of some columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{SortOptions, partition, sort_to_indices, take_record_batch},
    datatypes::{DataType, Schema},
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::utils::normalize_float_zero;

use super::{Error, columns, sorting::stable_order};

/// The columns of `outer` groups, then those of `own` that are not among them.
pub(super) fn nested(outer: &[String], own: &[String]) -> Vec<String> {
    let mut columns = outer.to_vec();
    for column in own {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    columns
}

/// Checks that rows of `schema` can be grouped by `columns`.
///
/// # Errors
/// [`Error::Spec`] of the handler `handler` that names the column.
pub(super) fn check(handler: &str, schema: &Schema, columns: &[String]) -> Result<(), Error> {
    for column in columns {
        let field = columns::field(handler, schema, column, "to group by")?;
        if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
            let reason = format!("rows cannot be grouped by column `{column}`, which is {}", field.data_type());
            return Err(Error::spec(handler, reason));
        }
    }
    Ok(())
}

/// The values of `columns` by row, as bytes that sort as they do, nulls first; -0.0 is 0.0.
///
/// # Errors
/// What a kernel says; never for columns that [`check`] let pass.
pub(super) fn rows(columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let columns: Vec<ArrayRef> = columns.iter().map(normalize_float_zero).collect();
    RowConverter::new(fields)?.convert_columns(&columns)
}

/// The order by value, nulls first, of groups that differ; without keys there is at most one.
///
/// # Errors
/// What a kernel says; never for columns that [`check`] let pass.
pub(super) fn by_key(keys: &[ArrayRef], groups: usize) -> Result<UInt32Array, ArrowError> {
    match keys {
        [] => Ok(UInt32Array::from_iter_values(0..u32::try_from(groups).unwrap_or(u32::MAX))),
        [key] if key.data_type().is_numeric() || matches!(key.data_type(), DataType::Timestamp(..)) => {
            sort_to_indices(key, Some(SortOptions::default()), None)
        }
        keys => {
            let rows = rows(keys)?;
            let mut order: Vec<u32> = (0..u32::try_from(groups).unwrap_or(u32::MAX)).collect();
            order.sort_unstable_by_key(|&row| rows.row(row as usize));
            Ok(order.into())
        }
    }
}

/// The groups of `batch`, ordered by value with nulls first; the rows of each in their order, with their indices.
///
/// # Errors
/// What a kernel says; never for columns that [`check`] let pass.
pub(super) fn split(batch: &RecordBatch, columns: &[String]) -> Result<Vec<(RecordBatch, UInt32Array)>, ArrowError> {
    let rows = batch.num_rows();
    let every = || UInt32Array::from_iter_values(0..u32::try_from(rows).unwrap_or(u32::MAX));
    if columns.is_empty() || rows == 0 {
        return Ok(vec![(batch.clone(), every())]);
    }
    let keys: Vec<ArrayRef> = columns
        .iter()
        .map(|name| {
            let missing = || ArrowError::SchemaError(format!("column `{name}` is gone"));
            batch.column_by_name(name).cloned().ok_or_else(missing)
        })
        .collect::<Result<_, _>>()?;
    let order = stable_order(keys.iter().map(|key| (Arc::clone(key), SortOptions::default())), rows)?;
    let sorted = take_record_batch(batch, &order)?;
    let keys: Vec<ArrayRef> = columns.iter().filter_map(|name| sorted.column_by_name(name).cloned()).collect();
    let ranges = partition(&keys)?.ranges();
    Ok(ranges
        .into_iter()
        .map(|range| {
            let rows = order.slice(range.start, range.len());
            (sorted.slice(range.start, range.len()), rows)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn groups_come_by_value_and_nulls_are_one() {
        let hosts = StringArray::from(vec![Some("b"), None, Some("a"), Some("b"), None]);
        let numbers = Int64Array::from(vec![0, 1, 2, 3, 4]);
        let batch = RecordBatch::try_from_iter([("h", Arc::new(hosts) as _), ("n", Arc::new(numbers) as _)]).unwrap();
        let groups = split(&batch, &["h".to_owned()]).unwrap();
        let rows: Vec<Vec<u32>> = groups.iter().map(|(_, rows)| rows.values().to_vec()).collect();
        assert_eq!(rows, [vec![1, 4], vec![2], vec![0, 3]]);
        assert_eq!(split(&batch, &[]).unwrap()[0].0, batch);
        assert!(check("g", batch.schema_ref(), &["x".to_owned()]).unwrap_err().to_string().contains("are h, n"));
        assert_eq!(nested(&["a".into(), "b".into()], &["b".into(), "c".into()]), ["a", "b", "c"]);
    }
}
