//! What a format stores in the place of a type that it, or the readers of Delta tables, lack; and back.
//!
//! Every replacement holds every value exactly, so that what is read back is what was written. The one case in which a
//! value may not fit, nanoseconds within a list or a struct, is found by [`misfits`](super::misfits) before anything is
//! written. docs/types.md shows the table of types, formats and replacements; a test compares the two.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, GenericListArray, Int16Array, ListArray, MapArray,
        OffsetSizeTrait, PrimitiveArray, RecordBatch, RecordBatchOptions, StructArray,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType, Date64Type, Decimal128Type, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
    },
    error::ArrowError,
};

use super::{Error, Format};

/// Digits of the greatest unsigned number of 64 bits.
const UINT64_DIGITS: u8 = 20;
/// The greatest precision of a decimal of 128 bits, and in Delta.
const DIGITS: u8 = 38;
/// What follows the name of a column of nanoseconds in that of the column which holds those beyond the microsecond.
const NANOS: &str = "__nanos";
/// What follows the name of a column that another one's differs from only by case.
const CASE: &str = "__case";

/// Columns as they are given, and as they are in a file.
#[derive(Clone, Debug)]
pub(in crate::repo) struct Stored {
    given: SchemaRef,
    in_file: SchemaRef,
    /// Columns of nanoseconds, whose rest behind the microsecond is in a column of its own, behind all others.
    nanos: Vec<usize>,
}

impl Stored {
    /// How `format` stores columns of `given`.
    ///
    /// # Errors
    /// [`Error::NotStorable`] names the first column that it cannot hold.
    pub(in crate::repo) fn new(format: Format, given: &SchemaRef) -> Result<Self, Error> {
        let mut fields = Vec::with_capacity(given.fields().len());
        for (index, field) in given.fields().iter().enumerate() {
            let stored = stored_field(format, field).map_err(|data_type| Error::NotStorable {
                column: field.name().clone(),
                data_type: data_type.to_string(),
                format: format.extension(),
            })?;
            fields.push(named(format, given.fields(), index, stored));
        }
        let nanos = match format {
            Format::Parquet => nanos_columns(given),
            Format::Arrow | Format::Ndjson | Format::Csv => Vec::new(),
        };
        for &index in &nanos {
            let name = nanos_name(given, index);
            fields.push(Arc::new(Field::new(name, DataType::Int16, true)));
        }
        let in_file = match fields.iter().eq(given.fields().iter()) {
            true => SchemaRef::clone(given),
            false => Schema::new(fields).into(),
        };
        Ok(Self { given: SchemaRef::clone(given), in_file, nanos })
    }

    /// The columns in the file.
    pub(in crate::repo) fn in_file(&self) -> &SchemaRef {
        &self.in_file
    }

    /// `batch`, which has the columns that were given, as the file has it.
    pub(in crate::repo) fn store<'a>(&self, batch: &'a RecordBatch) -> Result<Cow<'a, RecordBatch>, ArrowError> {
        if Arc::ptr_eq(&self.given, &self.in_file) {
            return Ok(Cow::Borrowed(batch));
        }
        let fields = self.in_file.fields().iter().zip(batch.columns());
        let mut columns =
            fields.map(|(field, column)| convert(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
        for column in self.nanos.iter().filter_map(|&index| batch.columns().get(index)) {
            let nanos = column.as_primitive::<TimestampNanosecondType>();
            let rest = |nanos: i64| i16::try_from(nanos.rem_euclid(1000)).ok().filter(|rest| *rest != 0);
            columns.push(Arc::new(nanos.iter().map(|nanos| nanos.and_then(rest)).collect::<Int16Array>()));
        }
        batch_of(&self.in_file, columns, batch.num_rows()).map(Cow::Owned)
    }
}

impl Stored {
    /// Rows of a file with the columns `wanted` of those given, in that order and of the types given. Files of earlier
    /// versions have them under their own names and of their own types.
    pub(in crate::repo) fn restore(
        &self,
        batch: &RecordBatch,
        wanted: Option<&[usize]>,
    ) -> Result<RecordBatch, ArrowError> {
        let all: Vec<usize>;
        let wanted = match wanted {
            Some(wanted) => wanted,
            None => {
                all = (0..self.given.fields().len()).collect();
                &all
            }
        };
        let schema = SchemaRef::new(self.given.project(wanted)?);
        let mut columns = Vec::with_capacity(wanted.len());
        for (&index, field) in wanted.iter().zip(schema.fields()) {
            let named = self.in_file.fields().get(index).and_then(|field| batch.column_by_name(field.name()));
            let column = named.or_else(|| batch.column_by_name(field.name())).ok_or_else(|| {
                ArrowError::SchemaError(format!("the file has no column `{}`, which was committed", field.name()))
            })?;
            let rest = match (field.data_type(), column.data_type()) {
                (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                    batch.column_by_name(&nanos_name(&self.given, index))
                }
                _ => None,
            };
            columns.push(match rest {
                Some(rest) => with_nanos(column, rest, field.data_type())?,
                None => convert(column, field.data_type())?,
            });
        }
        batch_of(&schema, columns, batch.num_rows())
    }
}

/// `stored`, which stands for column `index`, under a name that readers can tell from those of the others. DuckDB ignores
/// case, and takes the first column that fits; of names that differ only by case, the one in lower case stays as it is.
fn named(format: Format, given: &Fields, index: usize, stored: FieldRef) -> FieldRef {
    let alike = |other: &FieldRef| other.name() > stored.name() && other.name().to_lowercase() == lower(&stored);
    if format != Format::Parquet || !given.iter().any(alike) {
        return stored;
    }
    let mut name = format!("{}{CASE}{index}", stored.name());
    while given.iter().any(|field| lower(field) == name.to_lowercase()) {
        name.push('_');
    }
    Arc::new(stored.as_ref().clone().with_name(name))
}

fn lower(field: &Field) -> String {
    field.name().to_lowercase()
}

/// The columns of nanoseconds of a table, by index.
fn nanos_columns(given: &Schema) -> Vec<usize> {
    let nanos = |field: &FieldRef| matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _));
    given.fields().iter().enumerate().filter(|(_, field)| nanos(field)).map(|(index, _)| index).collect()
}

/// What the column is called that holds the nanoseconds of column `index` beyond the microsecond. Readers of tables do not
/// tell upper from lower case.
pub(in crate::repo) fn nanos_name(given: &Schema, index: usize) -> String {
    let mut name = format!("{}{NANOS}", given.field(index).name());
    while given.fields().iter().any(|field| field.name().eq_ignore_ascii_case(&name)) {
        name.push('_');
    }
    name
}

/// Indexes of the columns `wanted` of a table in a Parquet file of it, with those that hold their nanoseconds. A file that
/// has none of those is not asked for more than it has.
pub(in crate::repo) fn in_parquet(given: &Schema, wanted: &[usize]) -> Vec<usize> {
    let nanos = nanos_columns(given);
    let rests = nanos.iter().enumerate().filter(|(_, index)| wanted.contains(index));
    wanted.iter().copied().chain(rests.map(|(place, _)| given.fields().len() + place)).collect()
}

fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
}

fn with_nanos(micros: &ArrayRef, rest: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if rest.null_count() == rest.len() {
        return convert(micros, to);
    }
    let rest = rest.as_primitive_opt::<arrow::datatypes::Int16Type>();
    let rest = rest.ok_or_else(|| ArrowError::SchemaError("nanoseconds are not kept as int16".to_owned()))?;
    let whole = |(micros, rest): (Option<i64>, Option<i16>)| {
        let Some(micros) = micros else { return Ok(None) };
        let nanos = micros.checked_mul(1000).and_then(|nanos| nanos.checked_add(i64::from(rest.unwrap_or(0))));
        nanos.map(Some).ok_or_else(|| beyond(micros, to))
    };
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let nanos =
        micros.iter().zip(rest.iter()).map(whole).collect::<Result<PrimitiveArray<TimestampNanosecondType>, _>>()?;
    Ok(Arc::new(nanos.with_data_type(to.clone())))
}

fn beyond(value: i64, to: &DataType) -> ArrowError {
    ArrowError::CastError(format!("the time {value} is beyond what {to} holds"))
}

/// The field in a file, or the type that has no place there.
fn stored_field(format: Format, field: &FieldRef) -> Result<FieldRef, DataType> {
    let data_type = stored(format, field.data_type())?;
    match data_type == *field.data_type() {
        true => Ok(FieldRef::clone(field)),
        false => Ok(Arc::new(field.as_ref().clone().with_data_type(data_type))),
    }
}

/// What a format stores in the place of a type, or the type that has no place there.
pub(in crate::repo) fn stored(format: Format, data_type: &DataType) -> Result<DataType, DataType> {
    use DataType as T;
    if format == Format::Csv && !flat(data_type) {
        return Err(data_type.clone());
    }
    Ok(match data_type {
        // Types that no format here has, or that nobody reads back.
        T::Union(..) | T::RunEndEncoded(..) | T::ListView(_) | T::LargeListView(_) | T::Interval(_) => {
            return Err(data_type.clone());
        }
        T::Dictionary(_, values) => stored(format, values)?,
        T::Struct(fields) if fields.is_empty() => match format {
            Format::Arrow => data_type.clone(),
            _ => T::Boolean,
        },
        T::Struct(fields) => {
            let stored = |(index, field)| Ok(named(format, fields, index, stored_field(format, field)?));
            T::Struct(fields.iter().enumerate().map(stored).collect::<Result<Fields, DataType>>()?)
        }
        T::List(item) => T::List(stored_field(format, item)?),
        T::LargeList(item) => T::LargeList(stored_field(format, item)?),
        T::FixedSizeList(item, length) => match format {
            Format::Arrow => T::FixedSizeList(stored_field(format, item)?, *length),
            _ => T::List(stored_field(format, item)?),
        },
        T::Map(entries, sorted) => map(format, entries, *sorted)?,
        plain if format == Format::Arrow => plain.clone(),
        T::Float16 => T::Float32,
        T::Date64 => T::Timestamp(TimeUnit::Millisecond, None),
        T::Duration(_) => T::Int64,
        T::Decimal128(digits, scale) if *scale < 0 => {
            let whole = digits.saturating_add(scale.unsigned_abs());
            if whole > DIGITS {
                return Err(data_type.clone());
            }
            T::Decimal128(whole, 0)
        }
        T::Decimal256(_, scale) if *scale < 0 => return Err(data_type.clone()),
        T::Decimal32(digits, scale) | T::Decimal64(digits, scale) if *scale >= 0 => T::Decimal128(*digits, *scale),
        _ if format == Format::Parquet => in_delta(data_type),
        // Texts of times have no word for most zones; the moment is the same.
        T::Timestamp(unit, Some(_)) => T::Timestamp(*unit, Some("UTC".into())),
        other => other.clone(),
    })
}

/// What Delta, and so those who read our Parquet files, has in the place of a plain type.
fn in_delta(data_type: &DataType) -> DataType {
    use DataType as T;
    match data_type {
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(UINT64_DIGITS, 0),
        T::Time32(_) => T::Int32,
        T::Time64(_) => T::Int64,
        T::Timestamp(TimeUnit::Second | TimeUnit::Nanosecond, zone) => {
            T::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        other => other.clone(),
    }
}

fn map(format: Format, entries: &FieldRef, sorted: bool) -> Result<DataType, DataType> {
    let inside = stored_field(format, entries)?;
    let text = match inside.data_type() {
        DataType::Struct(sides) => {
            let key = sides.first().map(|key| key.data_type());
            key.is_some_and(|key| matches!(key, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View))
        }
        _ => false,
    };
    // The keys of a JSON object are texts.
    match format == Format::Ndjson && !text {
        true => Ok(DataType::List(inside)),
        false => Ok(DataType::Map(inside, sorted)),
    }
}

/// Whether CSV has a text for every value, and every text a value.
fn flat(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Dictionary(_, values) => flat(values),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => false,
        other => !other.is_nested(),
    }
}

/// `array` as `to`: what stands for its type in a file, or what is given for what a file has. No value changes.
pub(in crate::repo) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    Ok(match (array.data_type(), to) {
        (from, to) if from == to => ArrayRef::clone(array),
        (T::Struct(_), T::Boolean) => {
            let there = array.nulls().cloned();
            Arc::new(BooleanArray::new(arrow::buffer::BooleanBuffer::new_set(array.len()), there))
        }
        (T::Boolean, T::Struct(fields)) if fields.is_empty() => {
            Arc::new(StructArray::new_empty_fields(array.len(), array.nulls().cloned()))
        }
        (T::Struct(_), T::Struct(fields)) => Arc::new(structs(array.as_struct(), fields)?),
        (T::List(_), T::List(item)) => list::<i32>(array, item)?,
        (T::LargeList(_), T::LargeList(item)) => list::<i64>(array, item)?,
        (T::FixedSizeList(item, _), T::List(wanted)) => {
            let same = exact(array, &T::List(FieldRef::clone(item)))?;
            convert(&same, &T::List(FieldRef::clone(wanted)))?
        }
        (T::List(_), T::FixedSizeList(item, _)) => exact(&list::<i32>(array, item)?, to)?,
        (T::FixedSizeList(..), T::FixedSizeList(item, length)) => {
            let there = array.as_fixed_size_list();
            let values = convert(there.values(), item.data_type())?;
            let (item, nulls) = (FieldRef::clone(item), there.nulls().cloned());
            Arc::new(arrow::array::FixedSizeListArray::try_new(item, *length, values, nulls)?)
        }
        (T::Map(..), T::Map(entries, sorted)) => {
            let there = array.as_map();
            let inside = entries_of(there.entries(), entries)?;
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Arc::new(MapArray::try_new(FieldRef::clone(entries), offsets, inside, nulls, *sorted)?)
        }
        (T::Map(..), T::List(item)) => {
            let there = array.as_map();
            let inside = Arc::new(entries_of(there.entries(), item)?);
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Arc::new(ListArray::try_new(FieldRef::clone(item), offsets, inside, nulls)?)
        }
        (T::List(_), T::Map(entries, sorted)) => {
            let there = array.as_list::<i32>();
            let inside = entries_of(there.values().as_struct(), entries)?;
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Arc::new(MapArray::try_new(FieldRef::clone(entries), offsets, inside, nulls, *sorted)?)
        }
        (T::Dictionary(_, values), wanted) if values.as_ref() != wanted => convert(&exact(array, values)?, wanted)?,
        (from, T::Dictionary(_, values)) if from != values.as_ref() => exact(&convert(array, values)?, to)?,
        _ => plain(array, to)?,
    })
}

fn structs(there: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let columns = there.columns().iter().zip(fields).map(|(column, field)| convert(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, there.nulls().cloned(), there.len())
}

fn entries_of(there: &StructArray, wanted: &Field) -> Result<StructArray, ArrowError> {
    match wanted.data_type() {
        DataType::Struct(fields) => structs(there, fields),
        other => Err(ArrowError::SchemaError(format!("the entries of a map are no {other}"))),
    }
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let there = array.as_list::<O>();
    let values = convert(there.values(), item.data_type())?;
    let (item, offsets) = (FieldRef::clone(item), there.offsets().clone());
    Ok(Arc::new(GenericListArray::<O>::try_new(item, offsets, values, there.nulls().cloned())?))
}

fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    use TimeUnit as U;
    Ok(match (array.data_type(), to) {
        (T::UInt64, T::Decimal128(..)) => {
            let there = array.as_primitive::<UInt64Type>();
            let made: Decimal128Array = there.unary::<_, Decimal128Type>(i128::from);
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Date64, T::Timestamp(U::Millisecond, None)) => {
            Arc::new(array.as_primitive::<Date64Type>().reinterpret_cast::<TimestampMillisecondType>())
        }
        (T::Timestamp(U::Millisecond, None), T::Date64) => {
            Arc::new(array.as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Date64Type>())
        }
        (T::Timestamp(U::Nanosecond, _), T::Timestamp(U::Microsecond, _)) => {
            let there = array.as_primitive::<TimestampNanosecondType>();
            let made = there.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000));
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Timestamp(U::Microsecond, _), T::Timestamp(U::Nanosecond, _)) => {
            let there = array.as_primitive::<TimestampMicrosecondType>();
            let made = there.try_unary::<_, TimestampNanosecondType, ArrowError>(|micros| {
                micros.checked_mul(1000).ok_or_else(|| beyond(micros, to))
            })?;
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Timestamp(U::Second, _), T::Timestamp(U::Microsecond, _)) => {
            let there = array.as_primitive::<TimestampSecondType>();
            let made = there.try_unary::<_, TimestampMicrosecondType, ArrowError>(|seconds| {
                seconds.checked_mul(1_000_000).ok_or_else(|| beyond(seconds, to))
            })?;
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Timestamp(U::Microsecond, _), T::Timestamp(U::Second, _)) => {
            let there = array.as_primitive::<TimestampMicrosecondType>();
            let made = there.unary::<_, TimestampSecondType>(|micros| micros.div_euclid(1_000_000));
            Arc::new(made.with_data_type(to.clone()))
        }
        // The same moments under another zone.
        (T::Timestamp(from, _), T::Timestamp(unit, _)) if from == unit => {
            arrow::array::make_array(array.to_data().into_builder().data_type(to.clone()).build()?)
        }
        _ => exact(array, to)?,
    })
}

/// A cast that fails where a value has no counterpart.
fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}
