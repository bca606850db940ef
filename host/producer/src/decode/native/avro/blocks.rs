//! Avro object containers: whole where all of one can be read, otherwise block by block and record by record.
//!
//! ```text
//! header | count size records marker | count size records marker | …
//! ```
//!
//! A block says how many bytes it has, and ends in the container's marker: what is broken of one is set aside with its place, and
//! reading goes on at the next block, or where the marker is found again. A record that is broken takes those behind it in its
//! block with it where nothing says any more how long it is.

use std::{
    borrow::Cow,
    io::{Cursor, Read},
};

use arrow::array::RecordBatch;
use arrow_avro::{
    reader::{Decoder, ReaderBuilder},
    schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore},
};

use super::{
    names::spelled_out,
    shape::{Shape, length, take, varint},
};
use crate::decode::{conform::Unpacked, decimals::in_range};

/// Most bytes that the blocks of one container unpack to.
const UNPACKED: u64 = 256 << 20;
/// What the rows of one container may take: a record may have fields of no bytes, and one byte may say that all of many are null.
const ROOM: u64 = 1 << 30;
/// Rows of one batch.
const ROWS: usize = 8192;
/// A container with more broken rows and blocks is set aside whole.
const BROKEN: usize = 1000;
/// Our own number for the container's schema.
const ID: u32 = 1;

/// The rows of a container.
///
/// # Errors
/// Nothing of it can be read.
pub(super) fn container(value: &[u8]) -> Result<Unpacked, String> {
    let header = Header::read(value)?;
    match whole(value, &header) {
        Ok(batches) => Ok(batches.into()),
        Err(reason) if header.shape.weightless() => Err(reason),
        Err(_) => Salvage::new(value, &header)?.finish(),
    }
}

/// What stands in front of the blocks.
#[derive(Debug)]
struct Header<'a> {
    schema: serde_json::Value,
    shape: Shape,
    codec: &'a str,
    marker: &'a [u8],
    /// Where the blocks begin.
    end: usize,
}

impl<'a> Header<'a> {
    fn read(value: &'a [u8]) -> Result<Self, String> {
        let mut rest = value.strip_prefix(b"Obj\x01").ok_or("it is not an Avro object container")?;
        let (mut schema, mut codec) = (None, "null");
        loop {
            let count = varint(&mut rest)?;
            if count < 0 {
                length(&mut rest)?;
            }
            if count == 0 {
                break;
            }
            for _ in 0..count.unsigned_abs() {
                let size = length(&mut rest)?;
                let key = take(&mut rest, size)?;
                let size = length(&mut rest)?;
                let entry = take(&mut rest, size)?;
                match key {
                    b"avro.schema" => schema = Some(entry),
                    b"avro.codec" => codec = std::str::from_utf8(entry).map_err(|_| "the codec is not UTF-8")?,
                    _ => {}
                }
            }
        }
        let schema: serde_json::Value = serde_json::from_slice(schema.ok_or("the container has no schema")?)
            .map_err(|error| format!("the container's schema is not JSON: {error}"))?;
        let shape = Shape::of(&schema)?;
        let marker = take(&mut rest, 16)?;
        Ok(Self { schema, shape, codec, marker, end: value.len() - rest.len() })
    }
}

/// The rows of a container of which everything can be read.
fn whole(value: &[u8], header: &Header<'_>) -> Result<Vec<RecordBatch>, String> {
    let rows = measure(value, header)?;
    let reader = ReaderBuilder::new().with_batch_size(ROWS).build(Cursor::new(value));
    let reader = reader.map_err(|error| error.to_string())?;
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    batches.iter().try_for_each(in_range)?;
    match batches.iter().map(RecordBatch::num_rows).sum::<usize>() {
        0 if rows == 0 => Ok(vec![RecordBatch::new_empty(schema)]),
        read if read == rows => Ok(batches),
        read => Err(format!("{read} of {rows} records could be read")),
    }
}

/// Walks a container: its rows are what its blocks say, and it unpacks to a bounded size. arrow-avro takes one that is cut
/// short for one that ends, and a block with more rows than it states keeps it busy for ever.
fn measure(value: &[u8], header: &Header<'_>) -> Result<usize, String> {
    let (mut rest, mut rows, mut left, mut room) = (&value[header.end..], 0_usize, UNPACKED, ROOM);
    while !rest.is_empty() {
        let block = Block::read(&mut rest, header)?;
        let data = unpack(header.codec, block.data, left)?;
        left -= data.len() as u64;
        if header.shape.weightless() && block.count > 0 {
            return Err("its records have zero bytes, which is not supported".into());
        }
        let mut data = &*data;
        (0..block.count).try_for_each(|_| header.shape.skip(&mut data, &mut room))?;
        if !data.is_empty() {
            return Err("a block has bytes after its records".into());
        }
        rows = rows.checked_add(block.count).ok_or("there are too many records")?;
    }
    Ok(rows)
}

/// One block, as it stands in the container.
struct Block<'a> {
    count: usize,
    data: &'a [u8],
}

impl<'a> Block<'a> {
    fn read(rest: &mut &'a [u8], header: &Header<'_>) -> Result<Self, String> {
        let count = length(rest)?;
        let size = length(rest)?;
        let data = take(rest, size)?;
        if take(rest, 16)? == header.marker {
            Ok(Self { count, data })
        } else {
            Err("a block does not end in the container's marker".into())
        }
    }
}

/// A container that is broken, and what was read of it.
struct Salvage<'a> {
    value: &'a [u8],
    header: &'a Header<'a>,
    store: SchemaStore,
    left: u64,
    room: u64,
    out: Unpacked,
}

impl<'a> Salvage<'a> {
    fn new(value: &'a [u8], header: &'a Header<'a>) -> Result<Self, String> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let schema = AvroSchema::new(spelled_out(&header.schema).to_string());
        store.set(Fingerprint::Id(ID), schema).map_err(|error| error.to_string())?;
        let mut salvage = Self { value, header, store, left: UNPACKED, room: ROOM, out: Unpacked::default() };
        // So that the columns are known, whatever becomes of the rows.
        let schema = salvage.decoder(1)?.schema();
        salvage.out.batches.push(RecordBatch::new_empty(schema));
        Ok(salvage)
    }

    fn decoder(&self, rows: usize) -> Result<Decoder, String> {
        let builder = ReaderBuilder::new().with_batch_size(rows).with_writer_schema_store(self.store.clone());
        builder.build_decoder().map_err(|error| error.to_string())
    }

    /// Reads all blocks.
    fn finish(mut self) -> Result<Unpacked, String> {
        let mut at = self.header.end;
        while at < self.value.len() {
            let mut rest = &self.value[at..];
            let next = match Block::read(&mut rest, self.header) {
                Ok(block) => {
                    let next = self.value.len() - rest.len();
                    self.block(at, next, &block);
                    next
                }
                Err(reason) => {
                    let next = self.marker_after(at);
                    self.set_aside(&self.value[at..next], format!("the block at byte {at}: {reason}"));
                    next
                }
            };
            if self.out.broken.len() > BROKEN {
                let first = self.out.broken.first().map_or("", |(_, reason)| reason);
                return Err(format!("more than {BROKEN} of its records and blocks are broken; the first: {first}"));
            }
            at = next;
        }
        Ok(self.out)
    }

    fn set_aside(&mut self, bytes: &[u8], reason: String) {
        self.out.broken.push((bytes.to_vec(), reason));
    }

    /// Behind the next marker; the end if there is none.
    fn marker_after(&self, at: usize) -> usize {
        let found = self.value[at..].windows(16).position(|window| window == self.header.marker);
        found.map_or(self.value.len(), |found| at + found + 16)
    }

    /// Reads the records of the block from byte `at` up to `next`.
    fn block(&mut self, at: usize, next: usize, block: &Block<'_>) {
        let data = match unpack(self.header.codec, block.data, self.left) {
            Ok(data) => data,
            Err(reason) => return self.set_aside(&self.value[at..next], format!("the block at byte {at}: {reason}")),
        };
        self.left -= data.len() as u64;
        let (mut rest, mut sound, mut broken): (&[u8], usize, Option<String>) = (&data, 0, None);
        while sound < block.count && broken.is_none() {
            let before = rest;
            match self.header.shape.skip(&mut rest, &mut self.room) {
                Ok(()) => sound += 1,
                Err(reason) => (rest, broken) = (before, Some(reason)),
            }
        }
        if broken.is_none() && !rest.is_empty() {
            // Then it does not have the records that it says, and none can be told from another.
            let reason = format!("the block at byte {at} has {} bytes after its records", rest.len());
            return self.set_aside(&self.value[at..next], reason);
        }
        let (mut from, mut number): (&[u8], usize) = (&data, 1);
        while number <= sound {
            let records = self.records(&mut from, ROWS.min(sound + 1 - number));
            self.read(at, number, &records);
            number += records.len().max(1);
        }
        if let Some(reason) = broken {
            let place = format!("the block at byte {at}, record {} of {}", sound + 1, block.count);
            self.set_aside(rest, format!("{place}: {reason}; what follows it in the block is set aside with it"));
        }
    }

    /// The next `count` records, which are known to be whole.
    fn records<'d>(&self, from: &mut &'d [u8], count: usize) -> Vec<&'d [u8]> {
        let record = |_| {
            let before = *from;
            // What it takes was counted.
            self.header.shape.skip(from, &mut { u64::MAX }).ok()?;
            Some(&before[..before.len() - from.len()])
        };
        (0..count).map_while(record).collect()
    }

    /// Makes rows of records, the first of which is the `number`th of its block; those that are broken are found by halving.
    fn read(&mut self, at: usize, number: usize, records: &[&[u8]]) {
        if records.is_empty() || self.out.broken.len() > BROKEN {
            return;
        }
        match self.rows(records) {
            Ok(batch) => self.out.batches.push(batch),
            Err(reason) if records.len() == 1 => {
                self.set_aside(records[0], format!("the block at byte {at}, record {number}: {reason}"));
            }
            Err(_) => {
                let (one, other) = records.split_at(records.len() / 2);
                self.read(at, number, one);
                self.read(at, number + one.len(), other);
            }
        }
    }

    fn rows(&self, records: &[&[u8]]) -> Result<RecordBatch, String> {
        let mut decoder = self.decoder(records.len())?;
        for record in records {
            let prefixed = [&[0], &ID.to_be_bytes()[..], record].concat();
            decoder.decode(&prefixed).map_err(|error| error.to_string())?;
        }
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        let batch = batch.filter(|batch| batch.num_rows() == records.len()).ok_or("it is not a complete record")?;
        in_range(&batch)?;
        Ok(batch)
    }
}

/// A block as it was before it was compressed, if that is at most `most` bytes.
fn unpack<'a>(codec: &str, block: &'a [u8], most: u64) -> Result<Cow<'a, [u8]>, String> {
    let too_large = || format!("its blocks unpack to more than {UNPACKED} bytes; write smaller containers");
    let read = |reader: &mut dyn Read| {
        let mut out = Vec::new();
        reader.take(most + 1).read_to_end(&mut out).map_err(|error| format!("a block is broken: {error}"))?;
        Ok::<_, String>(out)
    };
    let out: Cow<'_, [u8]> = match codec {
        "null" => block.into(),
        "deflate" => read(&mut flate2::read::DeflateDecoder::new(block))?.into(),
        "zstandard" => {
            let mut decoder = zstd::stream::read::Decoder::new(block).map_err(|error| error.to_string())?;
            decoder.window_log_max(25).map_err(|error| error.to_string())?;
            read(&mut decoder)?.into()
        }
        "snappy" => snappy(block, most)?.into(),
        other => {
            return Err(format!("the codec `{other}` is not supported; use null, deflate, snappy or zstandard"));
        }
    };
    if out.len() as u64 <= most { Ok(out) } else { Err(too_large()) }
}

/// Unpacks a Snappy block: the size it unpacks to stands in front, a checksum (which arrow-avro compares) behind.
fn snappy(block: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let broken = |error: snap::Error| format!("a block is broken: {error}");
    let (block, _) = block.split_last_chunk::<4>().ok_or("a block is cut short")?;
    if snap::raw::decompress_len(block).map_err(broken)? as u64 > most {
        return Err(format!("its blocks unpack to more than {UNPACKED} bytes; write smaller containers"));
    }
    snap::raw::Decoder::new().decompress_vec(block).map_err(broken)
}
