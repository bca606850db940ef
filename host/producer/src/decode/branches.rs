//! Columns that no repo has a type for: unions become the type of their one branch, or a struct of their branches, and structs
//! without a field become the text `{}`.
//!
//! ```text
//! ["int"]                    int
//! ["null", "int", "string"]  {int: …, string: …}: the branch that was sent has the value, the others are null
//! ```
//!
//! **Invariant**: what was sent can be told from what was not: the null branch makes the whole struct null.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
        UInt32Array, UnionArray, new_null_array,
    },
    buffer::NullBuffer,
    compute::take,
    datatypes::{DataType, Field, FieldRef, Fields, Schema},
    error::ArrowError,
};

/// `batch` without unions and empty structs.
///
/// # Errors
/// What the kernels say; never for an array that is valid.
pub(super) fn plain(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.schema_ref().fields().iter().any(|field| odd(field.data_type())) {
        return Ok(batch);
    }
    let (fields, columns) = columns(batch.schema_ref().fields(), batch.columns())?;
    let schema = Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}

/// Whether there is anything to be made plain in a type.
fn odd(kind: &DataType) -> bool {
    match kind {
        DataType::Union(..) => true,
        DataType::Struct(fields) => fields.is_empty() || fields.iter().any(|field| odd(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => odd(item.data_type()),
        _ => false,
    }
}

fn columns(fields: &Fields, arrays: &[ArrayRef]) -> Result<(Fields, Vec<ArrayRef>), ArrowError> {
    let arrays: Vec<ArrayRef> = arrays.iter().map(column).collect::<Result<_, _>>()?;
    let field = |(field, array): (&FieldRef, &ArrayRef)| Field::new(field.name(), array.data_type().clone(), true);
    Ok((fields.iter().zip(&arrays).map(field).collect(), arrays))
}

fn column(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        kind if !odd(kind) => Ok(Arc::clone(array)),
        DataType::Union(..) => union(array.as_union()),
        DataType::Struct(fields) if fields.is_empty() => {
            let text = |row: usize| array.is_valid(row).then_some("{}");
            Ok(Arc::new((0..array.len()).map(text).collect::<StringArray>()))
        }
        DataType::Struct(fields) => {
            let (fields, inner) = columns(fields, array.as_struct().columns())?;
            Ok(Arc::new(StructArray::try_new(fields, inner, array.nulls().cloned())?))
        }
        DataType::List(_) => {
            let own: &ListArray = array.as_list();
            let values = column(own.values())?;
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(item, own.offsets().clone(), values, own.nulls().cloned())?))
        }
        DataType::Map(entry, sorted) => {
            let own = array.as_map();
            let DataType::Struct(fields) = entry.data_type() else { return Ok(Arc::clone(array)) };
            let inner = [own.keys(), own.values()].map(column).into_iter().collect::<Result<Vec<_>, _>>()?;
            let names = fields.iter().zip(&inner).enumerate();
            let fields: Fields =
                names.map(|(at, (field, array))| Field::new(field.name(), array.data_type().clone(), at > 0)).collect();
            let entries = StructArray::try_new(fields.clone(), inner, None)?;
            let entry = Arc::new(Field::new(entry.name(), DataType::Struct(fields), false));
            let offsets = own.offsets().clone();
            Ok(Arc::new(MapArray::try_new(entry, offsets, entries, own.nulls().cloned(), *sorted)?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn union(union: &UnionArray) -> Result<ArrayRef, ArrowError> {
    let DataType::Union(branches, _) = union.data_type() else { return Ok(Arc::new(union.clone())) };
    let (mut fields, mut values) = (Vec::new(), Vec::new());
    let mut sent = vec![false; union.len()];
    for (id, branch) in branches.iter().filter(|(_, branch)| *branch.data_type() != DataType::Null) {
        let own = |row: usize| (union.type_id(row) == id).then(|| union.value_offset(row) as u32);
        let rows: UInt32Array = (0..union.len()).map(own).collect();
        rows.iter().zip(&mut sent).for_each(|(row, sent)| *sent |= row.is_some());
        let array = take(&column(union.child(id))?, &rows, None)?;
        fields.push(Field::new(branch.name(), array.data_type().clone(), true));
        values.push(array);
    }
    match values.len() {
        0 => Ok(new_null_array(&DataType::Null, union.len())),
        1 => Ok(values.remove(0)),
        _ => {
            let nulls = sent.contains(&false).then(|| NullBuffer::from(sent));
            Ok(Arc::new(StructArray::try_new(fields.into(), values, nulls)?))
        }
    }
}
