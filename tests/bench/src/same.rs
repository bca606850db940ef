//! Whether two candidates give the same rows: a benchmark that compares others compares nothing.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::{Field, Schema},
    row::{RowConverter, Rows, SortField},
    util::display::array_value_to_string,
};

/// Checks that `mine` has the rows of `theirs`, in their order if that is `ordered`; names and widths of numbers do not matter.
///
/// # Errors
/// The first row that is not the same.
pub(crate) fn check(mine: &[RecordBatch], theirs: &[RecordBatch], ordered: bool) -> Result<()> {
    let (mine, theirs) = (whole(mine)?, whole(theirs)?);
    ensure!(
        (mine.num_rows(), mine.num_columns()) == (theirs.num_rows(), theirs.num_columns()),
        "{} rows of {} columns, the other gives {} of {}",
        mine.num_rows(),
        mine.num_columns(),
        theirs.num_rows(),
        theirs.num_columns()
    );
    let columns = mine.columns().iter().zip(theirs.columns()).map(|(mine, theirs)| Ok(cast(mine, theirs.data_type())?));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let fields = theirs.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let (rows, expected) = (converter.convert_columns(&columns)?, converter.convert_columns(theirs.columns())?);
    let sorted = |rows: &Rows| {
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        if !ordered {
            order.sort_unstable_by_key(|&row| rows.row(row));
        }
        order
    };
    let other = sorted(&rows).into_iter().zip(sorted(&expected)).find(|&(a, b)| rows.row(a) != expected.row(b));
    let Some((row, reference)) = other else { return Ok(()) };
    let line = |columns: &[ArrayRef], row| -> Result<String> {
        let cells = columns.iter().map(|column| array_value_to_string(column, row)).collect::<Result<Vec<_>, _>>()?;
        Ok(cells.join(" "))
    };
    bail!("a row is {}, the other gives {}", line(&columns, row)?, line(theirs.columns(), reference)?)
}

fn whole(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let first = batches.first().context("no rows at all")?;
    // What is nullable is of no interest.
    let fields = first.schema_ref().fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
    let batches = batches.iter().map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()));
    Ok(concat_batches(&schema, &batches.collect::<Result<Vec<_>, _>>()?)?)
}
