//! `avro`: object containers, single records, single objects and Confluent messages, by arrow-avro.

mod blocks;
mod default;
mod names;
mod resolve;
mod schema;
mod shape;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_avro::{
    reader::{Decoder, ReaderBuilder},
    schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{blocks::container, names::spelled_out, resolve::Resolution, schema::Schema, shape::Shape};
use super::{DecoderKind, Opening};
use crate::{
    SchemaText, UnknownFields,
    decode::{
        Native,
        conform::{self, Conforming, Unpack, Unpacked},
        decimals::in_range,
    },
};

/// Settings of the native `avro` decoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AvroSpec {
    /// What a message is, as in `record`.
    pub encoding: AvroEncoding,
    /// The Avro schema that messages were written with: a file from the spec's directory, as in `{file: order.avsc}`, or the
    /// schema itself. A `container` brings its own.
    pub writer: Option<AvroWriter>,
    /// Columns and their types, as in `{id: int64, name: utf8}`. Without it: those of the first message, from then on.
    pub schema: Option<SchemaText>,
    /// What a field outside the schema does to its message.
    pub unknown: UnknownFields,
}

/// What a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AvroEncoding {
    /// An object container file with any number of records.
    #[default]
    Container,
    /// One record and nothing else.
    Record,
    /// One record behind the marker and fingerprint of Avro's single-object encoding.
    Single,
    /// One record behind Confluent's five bytes, which are skipped if they are there.
    Confluent,
}

/// Where a writer's schema is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AvroWriter {
    /// In a file.
    File(AvroFile),
    /// Here.
    Inline(serde_json::Value),
}

/// A file with an Avro schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AvroFile {
    /// Its path, from the spec's directory.
    pub file: PathBuf,
}

impl DecoderKind for AvroSpec {
    fn declared(&self) -> Option<&SchemaText> {
        self.schema.as_ref()
    }

    /// The file with the writer's schema, if it is in one.
    fn file(&self) -> Option<&PathBuf> {
        match &self.writer {
            Some(AvroWriter::File(writer)) => Some(&writer.file),
            _ => None,
        }
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        let unpack = self.unpack(opening.file)?;
        Ok(Box::new(Conforming::new(unpack, opening.schema.clone(), self.unknown)))
    }
}

impl AvroSpec {
    /// What reads the messages; `file` is the content of the writer's schema, where it is in a file.
    fn unpack(&self, file: Option<&[u8]>) -> Result<AvroMessages, String> {
        let writer = match (&self.writer, file) {
            (Some(AvroWriter::Inline(schema)), _) => Some(schema.clone()),
            (Some(AvroWriter::File(_)), Some(text)) => Some(
                serde_json::from_slice(text).map_err(|error| format!("the writer's schema is not JSON: {error}"))?,
            ),
            _ => None,
        };
        match (self.encoding, writer) {
            (AvroEncoding::Container, None) => Ok(AvroMessages { records: None }),
            (AvroEncoding::Container, Some(_)) => {
                Err("a container brings its writer's schema; remove `writer`, or set `encoding: record`".into())
            }
            (_, None) => Err("single records need the schema they were written with; add `writer: {file: …}`".into()),
            (encoding, Some(writer)) => Ok(AvroMessages { records: Some(Records::new(encoding, &writer, None)?) }),
        }
    }
}

/// What a record may take: so many bytes, and so many for each of its own.
const FREE: u64 = 64 << 10;
const GROWTH: u64 = 64;

/// A decoder of single records of `writer`, read as those of `reader` if there is one, for rows of `schema`, or of that schema's columns.
///
/// # Errors
/// What of the schema cannot be read.
pub(super) fn single(
    writer: &serde_json::Value,
    reader: Option<&serde_json::Value>,
    schema: Option<SchemaRef>,
    unknown: UnknownFields,
) -> Result<Box<dyn Native>, String> {
    let records = Some(Records::new(AvroEncoding::Record, writer, reader)?);
    Ok(Box::new(Conforming::new(AvroMessages { records }, schema, unknown)))
}

/// The columns of records of `writer`.
///
/// # Errors
/// As [`single`].
pub(super) fn columns_of(writer: &serde_json::Value) -> Result<SchemaRef, String> {
    let schema = Records::new(AvroEncoding::Record, writer, None)?.open()?.schema();
    conform::columns_of(schema)
}

/// Our own number for the one schema of single records.
const ID: u32 = 1;

/// Reads one message after the other.
#[derive(Debug)]
struct AvroMessages {
    records: Option<Records>,
}

impl Unpack for AvroMessages {
    const NAME: &'static str = "avro";

    fn unpack(&mut self, value: &[u8]) -> Result<Unpacked, String> {
        match &mut self.records {
            Some(records) => records.read(value).map(|batch| vec![batch].into()),
            None => container(value),
        }
    }
}

#[derive(Debug)]
struct Records {
    encoding: AvroEncoding,
    shape: Shape,
    store: SchemaStore,
    fingerprint: [u8; 8],
    /// Where records are read with another schema than they were written with.
    resolution: Option<Resolution>,
    decoder: Option<Decoder>,
}

impl Records {
    fn new(
        encoding: AvroEncoding,
        writer: &serde_json::Value,
        reader: Option<&serde_json::Value>,
    ) -> Result<Self, String> {
        let resolution = |reader: &serde_json::Value| {
            Shape::of(writer)?;
            Shape::of(reader)?;
            Resolution::new(&Schema::of(writer)?, &Schema::of(reader)?)
        };
        let reader = reader.filter(|reader| *reader != writer);
        let resolution = reader.map(resolution).transpose()?;
        let read = reader.unwrap_or(writer);
        let schema = AvroSchema::new(writer.to_string());
        let rabin = schema.fingerprint(FingerprintAlgorithm::Rabin).map_err(|error| error.to_string())?;
        let Fingerprint::Rabin(rabin) = rabin else { return Err("the writer's schema has no fingerprint".into()) };
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let schema = AvroSchema::new(spelled_out(read).to_string());
        store.set(Fingerprint::Id(ID), schema).map_err(|error| error.to_string())?;
        let (shape, fingerprint) = (Shape::of(read)?, rabin.to_le_bytes());
        let records = Self { encoding, shape, store, fingerprint, resolution, decoder: None };
        records.open()?;
        Ok(records)
    }

    fn open(&self) -> Result<Decoder, String> {
        let builder = ReaderBuilder::new().with_batch_size(1).with_writer_schema_store(self.store.clone());
        builder.build_decoder().map_err(|error| error.to_string())
    }

    fn read(&mut self, value: &[u8]) -> Result<RecordBatch, String> {
        let body = match self.encoding {
            AvroEncoding::Single => {
                let (marker, body) = value.split_at_checked(10).ok_or("the message is cut short")?;
                if marker[..2] != [0xc3, 0x01] {
                    return Err("the message is not in the single-object encoding".into());
                }
                if marker[2..] != self.fingerprint {
                    return Err("the message was written with another schema: its fingerprint differs".into());
                }
                body
            }
            AvroEncoding::Confluent if value.first() == Some(&0) && value.len() >= 5 => &value[5..],
            AvroEncoding::Confluent | AvroEncoding::Record | AvroEncoding::Container => value,
        };
        // Beyond what every record may be, a little for what it has: nulls take places that they have no bytes for.
        let mut room = FREE.saturating_add(self.shape.null()).saturating_add(GROWTH.saturating_mul(body.len() as u64));
        let resolved;
        let body = match &self.resolution {
            None => body,
            Some(resolution) => {
                resolved = resolution.resolve(body, room)?;
                &resolved
            }
        };
        let mut rest = body;
        self.shape.skip(&mut rest, &mut room)?;
        if !rest.is_empty() {
            return Err(format!("there are {} bytes after the record", rest.len()));
        }
        // A decoder that stumbled may hold half a row, so that it is put back only after it succeeded.
        let mut decoder = self.decoder.take().map_or_else(|| self.open(), Ok)?;
        let prefixed = [&[0], &ID.to_be_bytes()[..], body].concat();
        decoder.decode(&prefixed).map_err(|error| error.to_string())?;
        let batch = decoder.flush().map_err(|error| error.to_string())?.ok_or("the message has no record")?;
        self.decoder = Some(decoder);
        in_range(&batch)?;
        Ok(batch)
    }
}
