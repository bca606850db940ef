//! Checkpoints: everything a log comes to, as one Parquet file, so that readers need not read the versions before it.

use std::{io::Cursor, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    error::ArrowError,
    json::{LineDelimitedWriter, ReaderBuilder},
};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::properties::WriterProperties,
};
use spout_base::error::Cause;
use spout_format::{caught, measured_pages};

use super::actions::{Action, Add, Line, MetaData, Protocol, Txn};
use crate::error::Error;

/// Versions between two checkpoints. A checkpoint holds all files of the table, so that its cost for each version is the
/// number of files divided by this; a reader reads at most this many small objects behind it. It is also what delta-rs
/// and Databricks take.
pub(super) const EVERY: u64 = 100;
/// Actions that are turned into columns at once.
const ROWS: usize = 4096;
/// What a table is stands before its files.
const STATE: usize = 8;

/// A checkpoint, not yet written.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) bytes: Bytes,
    pub(super) actions: u64,
    pub(super) adds: u64,
}

/// The checkpoint of a table with these files.
pub(super) fn make(
    protocol: &Protocol,
    meta: &MetaData,
    txn: &Txn,
    adds: impl Iterator<Item = Add>,
) -> Result<Made, Error> {
    let wrong = |source: Cause| Error::encode("a Delta checkpoint", source);
    let schema = schema();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), SchemaRef::clone(&schema), Some(properties)).map_err(|s| wrong(s.into()))?;
    let state =
        [Action::Protocol(protocol.clone()), Action::MetaData(Box::new(meta.clone())), Action::Txn(txn.clone())];
    let mut actions = 0;
    let mut all = state.into_iter().chain(adds.map(Action::Add));
    loop {
        let rows: Vec<Action> = all.by_ref().take(ROWS).collect();
        if rows.is_empty() {
            break;
        }
        actions += rows.len() as u64;
        let batch = decode(&schema, &rows).map_err(|source| wrong(source.into()))?;
        batch.iter().try_for_each(|batch| writer.write(batch)).map_err(|source| wrong(source.into()))?;
    }
    let bytes = writer.into_inner().map_err(|source| wrong(source.into()))?;
    Ok(Made { bytes: bytes.into(), actions, adds: actions - 3 })
}

fn decode(schema: &SchemaRef, rows: &[Action]) -> Result<Option<arrow::array::RecordBatch>, ArrowError> {
    let mut decoder = ReaderBuilder::new(SchemaRef::clone(schema)).with_batch_size(rows.len()).build_decoder()?;
    decoder.serialize(rows)?;
    decoder.flush()
}

/// What the table is, and how far it was published, from a checkpoint of ours.
pub(super) fn state(bytes: Bytes) -> Result<Vec<Line>, String> {
    caught(|| lines(bytes)).and_then(|lines| lines)
}

/// Most bytes of a page: far more than writers make of them.
const PAGE: u64 = 512 << 20;

fn lines(bytes: Bytes) -> Result<Vec<Line>, String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let mut pages = Cursor::new(bytes.clone());
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| said(&error))?;
    measured_pages(&mut pages, builder.metadata(), PAGE)?;
    let roots = ["protocol", "metaData", "txn"].iter().filter_map(|name| builder.schema().index_of(name).ok());
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.collect::<Vec<_>>());
    let reader = builder.with_projection(mask).with_limit(STATE).build().map_err(|error| said(&error))?;
    let mut text = LineDelimitedWriter::new(Vec::new());
    for batch in reader {
        text.write(&batch.map_err(|error| said(&error))?).map_err(|error| said(&error))?;
    }
    text.finish().map_err(|error| said(&error))?;
    let text = String::from_utf8(text.into_inner()).map_err(|error| said(&error))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| said(&error))).collect()
}

/// The columns of a checkpoint: one for each kind of action.
fn schema() -> SchemaRef {
    use DataType::{Boolean, Int32, Int64};
    let text = || DataType::Utf8;
    let file = [("path", text()), ("partitionValues", map()), ("size", Int64)];
    let add = [("modificationTime", Int64), ("dataChange", Boolean), ("stats", text())];
    let remove = [("path", text()), ("deletionTimestamp", Int64), ("dataChange", Boolean)];
    let format = group([("provider", text()), ("options", map())]);
    let meta = [
        ("id", text()),
        ("name", text()),
        ("description", text()),
        ("format", format),
        ("schemaString", text()),
        ("partitionColumns", list()),
        ("createdTime", Int64),
        ("configuration", map()),
    ];
    let protocol = [
        ("minReaderVersion", Int32),
        ("minWriterVersion", Int32),
        ("readerFeatures", list()),
        ("writerFeatures", list()),
    ];
    let columns = [
        ("txn", group([("appId", text()), ("version", Int64), ("lastUpdated", Int64)])),
        ("add", group(file.into_iter().chain(add))),
        ("remove", group(remove)),
        ("metaData", group(meta)),
        ("protocol", group(protocol)),
    ];
    Arc::new(Schema::new(fields(columns)))
}

fn fields(columns: impl IntoIterator<Item = (&'static str, DataType)>) -> Fields {
    columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect()
}

fn group(columns: impl IntoIterator<Item = (&'static str, DataType)>) -> DataType {
    DataType::Struct(fields(columns))
}

fn list() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))
}

fn map() -> DataType {
    let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry.into()), false)), false)
}
