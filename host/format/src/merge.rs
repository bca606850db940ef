//! One table out of files whose columns differ: columns meet by name, what a file lacks is null.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray,
        new_null_array,
    },
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
};

/// A column whose types do not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Its name, with what it is within.
    pub column: String,
    /// Its type in the one.
    pub left: DataType,
    /// Its type in the other.
    pub right: DataType,
}

/// The schema that holds the rows of both.
///
/// # Errors
/// The first column whose types do not meet.
pub fn merge(left: &Schema, right: &Schema) -> Result<Schema, Clash> {
    Ok(Schema::new(fields(left.fields(), right.fields(), "")?))
}

fn fields(left: &Fields, right: &Fields, within: &str) -> Result<Fields, Clash> {
    let mut merged: Vec<FieldRef> = Vec::with_capacity(left.len().max(right.len()));
    for field in left {
        let name = format!("{within}{}", field.name());
        merged.push(match right.iter().find(|other| other.name() == field.name()) {
            Some(other) if other.data_type() == field.data_type() => nullable(field, field.data_type().clone()),
            Some(other) => nullable(field, data_type(field.data_type(), other.data_type(), &name)?),
            None => nullable(field, field.data_type().clone()),
        });
    }
    for field in right {
        if !left.iter().any(|other| other.name() == field.name()) {
            merged.push(nullable(field, field.data_type().clone()));
        }
    }
    Ok(merged.into())
}

/// Metadata is dropped: it may differ from file to file and no query asks for it.
fn nullable(field: &Field, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type, true))
}

fn data_type(left: &DataType, right: &DataType, name: &str) -> Result<DataType, Clash> {
    use DataType as T;
    Ok(match (left, right) {
        (left, right) if left == right => left.clone(),
        (T::Null, other) | (other, T::Null) => other.clone(),
        (T::Struct(left), T::Struct(right)) => T::Struct(fields(left, right, &format!("{name}."))?),
        (T::List(left), T::List(right)) => {
            T::List(nullable(left, data_type(left.data_type(), right.data_type(), &format!("{name}[]"))?))
        }
        (T::LargeList(left), T::LargeList(right)) => {
            T::LargeList(nullable(left, data_type(left.data_type(), right.data_type(), &format!("{name}[]"))?))
        }
        (left, right) if signed(left) && signed(right) => T::Int64,
        (left, right) if unsigned(left) && unsigned(right) => T::UInt64,
        (T::Float16 | T::Float32 | T::Float64, T::Float16 | T::Float32 | T::Float64) => T::Float64,
        (left, right) if text(left) && text(right) => T::Utf8,
        (left, right) => return Err(Clash { column: name.to_owned(), left: left.clone(), right: right.clone() }),
    })
}

fn signed(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
}

fn unsigned(data_type: &DataType) -> bool {
    matches!(data_type, DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64)
}

fn text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => text(values),
        _ => false,
    }
}

/// `batch` with the columns of `schema`, which came out of [`merge`].
///
/// # Errors
/// Where a value has no place in the wider type.
pub fn adapt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => array(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
}

fn array(from: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (from.data_type(), to) {
        (there, wanted) if there == wanted => Ok(ArrayRef::clone(from)),
        (DataType::Null, wanted) => Ok(new_null_array(wanted, from.len())),
        (DataType::Struct(_), DataType::Struct(wanted)) => {
            let there = from.as_struct();
            let columns = wanted
                .iter()
                .map(|field| match there.column_by_name(field.name()) {
                    Some(column) => array(column, field.data_type()),
                    None => Ok(new_null_array(field.data_type(), from.len())),
                })
                .collect::<Result<Vec<_>, _>>()?;
            let made = StructArray::try_new_with_length(wanted.clone(), columns, there.nulls().cloned(), from.len())?;
            Ok(Arc::new(made))
        }
        (DataType::List(_), DataType::List(item)) => list::<i32>(from, item),
        (DataType::LargeList(_), DataType::LargeList(item)) => list::<i64>(from, item),
        (_, wanted) => cast(from, wanted),
    }
}

fn list<O: OffsetSizeTrait>(from: &ArrayRef, item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let there = from.as_list::<O>();
    let values = array(there.values(), item.data_type())?;
    let made =
        GenericListArray::<O>::try_new(FieldRef::clone(item), there.offsets().clone(), values, there.nulls().cloned())?;
    Ok(Arc::new(made))
}
