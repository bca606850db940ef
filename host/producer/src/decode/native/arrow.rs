//! `arrow`: one Arrow IPC stream a message. It comes from strangers, so it is measured before arrow-ipc allocates for it.

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    ipc::{self, MessageHeader, reader::StreamDecoder, root_as_message},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DecoderKind, Opening};
use crate::{
    SchemaText, UnknownFields,
    decode::{
        Native,
        conform::{Conforming, Unpack, Unpacked},
        decimals::in_range,
    },
};

/// Settings of the native `arrow` decoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ArrowSpec {
    /// Whether compressed buffers are accepted, as in `true`. Set it only for senders you trust.
    pub compression: bool,
    /// Columns and their types, as in `{id: int64, name: utf8}`. Without it: those of the first message, from then on.
    pub schema: Option<SchemaText>,
    /// What a column outside the schema does to its message.
    pub unknown: UnknownFields,
}

impl DecoderKind for ArrowSpec {
    fn declared(&self) -> Option<&SchemaText> {
        self.schema.as_ref()
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        let unpack = ArrowStreams { compression: self.compression };
        Ok(Box::new(Conforming::new(unpack, opening.schema.clone(), self.unknown)))
    }
}

/// Most columns, nested ones included.
const COLUMNS: usize = 4096;
/// Deepest nesting of columns.
const DEPTH: usize = 32;
/// Rows that a batch may have whatever its bytes are; more have a bit at least in one of its columns.
const ROWS: u64 = 1 << 20;
/// Most bytes that the buffers of one message unpack to.
const UNPACKED: u64 = 256 << 20;
/// Most compressed bytes in LZ4, whose frames do not keep to the size they state; it grows at most 255-fold.
const LZ4: u64 = 4 << 20;

/// Reads one stream after the other.
#[derive(Debug)]
struct ArrowStreams {
    compression: bool,
}

impl Unpack for ArrowStreams {
    const NAME: &'static str = "arrow";

    fn unpack(&mut self, value: &[u8]) -> Result<Unpacked, String> {
        measure(value, self.compression)?;
        let (mut decoder, mut rest) = (StreamDecoder::new(), Buffer::from(value));
        let mut batches = Vec::new();
        while !rest.is_empty() {
            if let Some(batch) = decoder.decode(&mut rest).map_err(|error| error.to_string())? {
                batches.push(batch);
            }
        }
        decoder.finish().map_err(|error| error.to_string())?;
        batches.iter().try_for_each(in_range)?;
        if let (true, Some(schema)) = (batches.is_empty(), decoder.schema()) {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches.into())
    }
}

/// Walks the messages of a stream and refuses what would cost more than it brings.
fn measure(mut rest: &[u8], compression: bool) -> Result<(), String> {
    if rest.starts_with(b"ARROW1") {
        return Err("it is an Arrow file; only the stream format is supported".into());
    }
    let mut unpacked = 0;
    let mut schema = false;
    while !rest.is_empty() {
        let size = u32_at(rest, 0)?;
        let (size, head) = if size == u32::MAX { (u32_at(rest, 4)?, 8) } else { (size, 4) };
        let size = size as usize;
        if size == 0 {
            return if rest.len() == head && schema {
                Ok(())
            } else {
                Err("there are bytes after the end of the stream, or no schema before it".into())
            };
        }
        let metadata = rest.get(head..).and_then(|rest| rest.get(..size)).ok_or_else(cut)?;
        let message = root_as_message(metadata).map_err(|error| format!("a message header is broken: {error}"))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| "a body has a negative length")?;
        let body = rest[head + size..].get(..body).ok_or_else(cut)?;
        rest = &rest[head + size + body.len()..];
        let batch = match message.header_type() {
            MessageHeader::Schema => {
                columns(message.header_as_schema())?;
                schema = true;
                continue;
            }
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
            _ => return Err("a message is neither a schema nor a batch nor a dictionary".into()),
        };
        let batch = batch.ok_or("a batch has no content")?;
        let (claimed, most) = (batch.length(), ROWS.max(8 * body.len() as u64));
        if u64::try_from(claimed).map_err(|_| "a batch has a negative number of rows")? > most {
            return Err(format!("a batch of {} bytes claims {claimed} rows, more than {most}", body.len()));
        }
        unpacked += buffers(batch, body, compression)?;
        if unpacked > UNPACKED {
            return Err(format!("its buffers unpack to more than {UNPACKED} bytes; send smaller batches"));
        }
    }
    if schema { Ok(()) } else { Err("it is not an Arrow IPC stream".into()) }
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or_else(cut)?;
    Ok(u32::from_le_bytes(*word))
}

fn cut() -> String {
    "the stream is cut short".into()
}

/// Counts columns without recursion, which a sender could drive.
fn columns(schema: Option<ipc::Schema<'_>>) -> Result<(), String> {
    let fields = schema.and_then(|schema| schema.fields()).ok_or("the schema has no fields")?;
    let mut left: Vec<(usize, ipc::Field<'_>)> = fields.iter().map(|field| (1, field)).collect();
    let mut count = 0;
    while let Some((depth, field)) = left.pop() {
        count += 1;
        left.extend(field.children().into_iter().flatten().map(|child| (depth + 1, child)));
        if depth > DEPTH || count + left.len() > COLUMNS {
            return Err(format!("the schema has more than {COLUMNS} columns, or columns nested deeper than {DEPTH}"));
        }
    }
    match count {
        0 => Err("the schema has no fields".into()),
        _ => Ok(()),
    }
}

/// What the buffers of a batch unpack to, in bytes.
fn buffers(batch: ipc::RecordBatch<'_>, body: &[u8], compression: bool) -> Result<u64, String> {
    let codec = batch.compression().map(|compression| compression.codec());
    if codec.is_some() && !compression {
        return Err("its buffers are compressed; set `compression: true` if you trust the sender".into());
    }
    let (mut unpacked, mut packed) = (0_u64, 0_u64);
    for buffer in batch.buffers().into_iter().flatten() {
        let range = || Some((usize::try_from(buffer.offset()).ok()?, usize::try_from(buffer.length()).ok()?));
        let bytes = range().and_then(|(from, length)| body.get(from..)?.get(..length));
        let bytes = bytes.ok_or("a buffer reaches beyond its body")?;
        let stated = match bytes.first_chunk() {
            Some(length) if codec.is_some() => i64::from_le_bytes(*length),
            _ => -1,
        };
        packed += if stated < 0 { 0 } else { bytes.len() as u64 };
        unpacked = unpacked.saturating_add(u64::try_from(stated).unwrap_or(bytes.len() as u64));
    }
    if codec == Some(ipc::CompressionType::LZ4_FRAME) && packed > LZ4 {
        return Err(format!("it has more than {LZ4} bytes in LZ4; send smaller batches, or use zstd"));
    }
    // A row has at least one bit somewhere: what has none is a claim that costs the sender nothing.
    let most = unpacked.saturating_mul(8).max(64);
    let rows = u64::try_from(batch.length()).map_err(|_| "a batch has a negative length")?;
    let nodes = batch.nodes().into_iter().flatten().map(|node| u64::try_from(node.length()).unwrap_or(u64::MAX));
    if nodes.chain([rows]).all(|rows| rows <= most) {
        Ok(unpacked)
    } else {
        Err(format!("a batch claims more rows than its {unpacked} bytes can hold"))
    }
}
