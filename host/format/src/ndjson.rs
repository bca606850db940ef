//! NDJSON: one object a line; a null column is left out.
//!
//! What JSON has no word for is a text: `"NaN"`, `"Infinity"` and `"-Infinity"`. Where there are maps, nulls are written, so
//! that a null entry differs from a missing one.

use std::{borrow::Cow, io::Cursor, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, FieldRef, Float16Type, Float32Type, Float64Type, Schema, SchemaRef},
    error::ArrowError,
    json::{
        ReaderBuilder,
        writer::{Encoder, EncoderFactory, EncoderOptions, LineDelimitedWriter, NullableEncoder, WriterBuilder},
    },
};
use bytes::Bytes;

use super::{
    Batches, Error, Format, batches,
    convert::convert,
    decode_error, encode_error,
    stored::{Stored, stored},
};

pub(super) struct Writer {
    inner: LineDelimitedWriter<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { inner: options(schema).build(Vec::new()) }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.inner.write(batch).map_err(wrong)
    }

    pub(super) fn buffered(&self) -> usize {
        self.inner.get_ref().len()
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.inner.finish().map_err(wrong)?;
        Ok(self.inner.into_inner())
    }
}

fn wrong(source: ArrowError) -> Error {
    encode_error(Format::Ndjson)(source.into())
}

/// How rows of `schema` are written as JSON, here and by all who write it for others.
#[must_use]
pub fn options(schema: &Schema) -> WriterBuilder {
    let maps = schema.fields().iter().any(|field| has_map(field.data_type()));
    WriterBuilder::new().with_explicit_nulls(maps).with_encoder_factory(Arc::new(Floats))
}

/// `rows` as they can be written as JSON: a map whose keys are no texts is a list of `{key, value}`, as in files of NDJSON.
///
/// # Errors
/// What the kernels say; never for rows that are valid.
pub fn json_rows(rows: &RecordBatch) -> Result<Cow<'_, RecordBatch>, ArrowError> {
    let schema = rows.schema_ref();
    if !schema.fields().iter().any(|field| has_odd_keys(field.data_type())) {
        return Ok(Cow::Borrowed(rows));
    }
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        match stored(Format::Ndjson, field.data_type()) {
            Ok(data_type) if has_odd_keys(field.data_type()) => {
                columns.push(convert(column, &data_type)?);
                fields.push(FieldRef::new(field.as_ref().clone().with_data_type(data_type)));
            }
            _ => {
                columns.push(Arc::clone(column));
                fields.push(FieldRef::clone(field));
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map(Cow::Owned)
}

/// Whether there is a map in it whose keys are no texts.
fn has_odd_keys(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(sides) => {
                let text = |key: &FieldRef| {
                    matches!(key.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                };
                !sides.first().is_some_and(text) || sides.iter().any(|side| has_odd_keys(side.data_type()))
            }
            _ => false,
        },
        DataType::Struct(fields) => fields.iter().any(|field| has_odd_keys(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_odd_keys(item.data_type())
        }
        _ => false,
    }
}

fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_map(item.data_type())
        }
        _ => false,
    }
}

/// Numbers that JSON lacks, as texts.
#[derive(Debug)]
struct Floats;

impl EncoderFactory for Floats {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let odd = match array.data_type() {
            DataType::Float64 => array.as_primitive::<Float64Type>().iter().flatten().any(|value| !value.is_finite()),
            DataType::Float32 => array.as_primitive::<Float32Type>().iter().flatten().any(|value| !value.is_finite()),
            DataType::Float16 => array.as_primitive::<Float16Type>().iter().flatten().any(|value| !value.is_finite()),
            _ => false,
        };
        if !odd {
            return Ok(None);
        }
        let texts = match array.data_type() {
            DataType::Float64 => words(array.as_primitive::<Float64Type>().iter()),
            DataType::Float32 => words(array.as_primitive::<Float32Type>().iter()),
            _ => words(array.as_primitive::<Float16Type>().iter().map(|value| value.map(f32::from))),
        };
        Ok(Some(NullableEncoder::new(Box::new(Words(texts)), array.nulls().cloned())))
    }
}

/// A number as JSON writes it, or its name.
trait Word: Copy + serde::Serialize + Into<f64> {}

impl Word for f64 {}
impl Word for f32 {}

fn words<F: Word>(values: impl Iterator<Item = Option<F>>) -> Vec<String> {
    let word = |value: F| {
        let wide: f64 = value.into();
        match (wide.is_nan(), wide.is_infinite(), wide.is_sign_negative()) {
            (true, ..) => "\"NaN\"".to_owned(),
            (_, true, false) => "\"Infinity\"".to_owned(),
            (_, true, true) => "\"-Infinity\"".to_owned(),
            _ => serde_json::to_string(&value).unwrap_or_default(),
        }
    };
    values.map(|value| value.map(word).unwrap_or_default()).collect()
}

struct Words(Vec<String>);

impl Encoder for Words {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        out.extend(self.0.get(index).into_iter().flat_map(|word| word.bytes()));
    }
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let failed = |source| decode_error(path, Format::Ndjson, source);
    let stored = Stored::new(Format::Ndjson, schema)?;
    let in_file = match projection {
        Some(projection) => stored.in_file().project(projection).map_err(failed)?,
        None => Schema::clone(stored.in_file()),
    };
    let reader = ReaderBuilder::new(in_file.into()).build(Cursor::new(bytes)).map_err(failed)?;
    Ok(batches(path, Format::Ndjson, reader))
}
