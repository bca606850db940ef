//! What a format stores in the place of a type that it, or the readers of Delta tables, lack; and back.
//!
//! Every replacement holds every value exactly, so that what is read back is what was written. The one case in which a
//! value may not fit, nanoseconds within a list or a struct, is found by [`misfits`](super::misfits) before anything is
//! written. docs/types.md shows the table of types, formats and replacements; a test compares the two.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int16Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit, TimestampNanosecondType},
    error::ArrowError,
};

use super::{
    Error, Format,
    convert::{convert, with_nanos},
};

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
pub struct Stored {
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
    pub fn new(format: Format, given: &SchemaRef) -> Result<Self, Error> {
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
        let in_file =
            if fields.iter().eq(given.fields().iter()) { SchemaRef::clone(given) } else { Schema::new(fields).into() };
        Ok(Self { given: SchemaRef::clone(given), in_file, nanos })
    }

    /// The columns in the file.
    #[must_use]
    pub fn in_file(&self) -> &SchemaRef {
        &self.in_file
    }

    /// `batch`, which has the columns that were given, as the file has it.
    ///
    /// # Errors
    /// For a value that has no place there, which [`misfits`](super::misfits) finds.
    pub fn store<'a>(&self, batch: &'a RecordBatch) -> Result<Cow<'a, RecordBatch>, ArrowError> {
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

    /// Rows of a file with the columns `wanted` of those given, in that order and of the types given. Files of earlier
    /// versions have them under their own names and of their own types.
    ///
    /// # Errors
    /// Where the file lacks a column, or has it as a type that does not stand for the one given.
    pub fn restore(&self, batch: &RecordBatch, wanted: Option<&[usize]>) -> Result<RecordBatch, ArrowError> {
        let all: Vec<usize>;
        let wanted = match wanted {
            Some(wanted) => wanted,
            None => {
                all = (0..self.given.fields().len()).collect();
                all.as_slice()
            }
        };
        let schema = SchemaRef::new(self.given.project(wanted)?);
        let mut columns = Vec::with_capacity(wanted.len());
        for (&index, field) in wanted.iter().zip(schema.fields()) {
            let named = self.in_file.fields().get(index).and_then(|field| batch.column_by_name(field.name()));
            let column = named.or_else(|| batch.column_by_name(field.name())).ok_or_else(|| {
                ArrowError::SchemaError(format!("the file has no column `{}`, although it was committed", field.name()))
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
#[must_use]
pub fn nanos_name(given: &Schema, index: usize) -> String {
    let mut name = format!("{}{NANOS}", given.field(index).name());
    while given.fields().iter().any(|field| field.name().eq_ignore_ascii_case(&name)) {
        name.push('_');
    }
    name
}

/// Indexes of the columns `wanted` of a table in a Parquet file of it, with those that hold their nanoseconds. A file that
/// has none of those is not asked for more than it has.
#[must_use]
pub fn in_parquet(given: &Schema, wanted: &[usize]) -> Vec<usize> {
    let nanos = nanos_columns(given);
    let rests = nanos.iter().enumerate().filter(|(_, index)| wanted.contains(index));
    wanted.iter().copied().chain(rests.map(|(place, _)| given.fields().len() + place)).collect()
}

fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
}

/// The field in a file, or the type that has no place there.
fn stored_field(format: Format, field: &FieldRef) -> Result<FieldRef, DataType> {
    let data_type = stored(format, field.data_type())?;
    if data_type == *field.data_type() {
        Ok(FieldRef::clone(field))
    } else {
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }
}

/// What a format stores in the place of a type, or the type that has no place there.
pub(super) fn stored(format: Format, data_type: &DataType) -> Result<DataType, DataType> {
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
    if format == Format::Ndjson && !text { Ok(DataType::List(inside)) } else { Ok(DataType::Map(inside, sorted)) }
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
