//! Parquet: snappy, dictionaries where values repeat, statistics by column chunk, no bloom filters.

use std::io::Cursor;

use ::arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowSchemaConverter, ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties},
};

use super::{
    Batches, ColumnStatistics, Error, Format, batches, columns, decode_error, encode_error,
    encodings::{Sample, chosen},
    measured_pages,
    row_groups::RowGroups,
    stored::in_parquet,
};

/// Row groups this long keep a reader's memory bounded and its statistics useful.
const ROW_GROUP: usize = 1 << 20;
const BATCH_ROWS: usize = 8192;

pub(super) struct Writer {
    schema: SchemaRef,
    state: State,
}

enum State {
    /// There are too few rows to tell how to write them.
    Waits(Sample),
    Writes(Box<RowGroups>),
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        ArrowSchemaConverter::new().convert(schema).map_err(|source| encode_error(Format::Parquet)(source.into()))?;
        Ok(Self { schema: SchemaRef::clone(schema), state: State::Waits(Sample::default()) })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let sample = match &mut self.state {
            State::Writes(writer) => return writer.write(batch).map_err(wrong),
            State::Waits(sample) => sample,
        };
        sample.take(batch);
        if sample.is_whole() {
            let sample = std::mem::take(sample);
            self.state = State::Writes(Box::new(opened(&self.schema, sample)?));
        }
        Ok(())
    }

    pub(super) fn buffered(&self) -> usize {
        match &self.state {
            State::Waits(sample) => sample.bytes(),
            State::Writes(writer) => writer.buffered(),
        }
    }

    pub(super) fn finish(
        self,
        given: &SchemaRef,
        in_file: &SchemaRef,
        extremes: &columns::Extremes,
    ) -> Result<(Vec<u8>, Vec<ColumnStatistics>), Error> {
        let writer = match self.state {
            State::Waits(sample) => Box::new(opened(&self.schema, sample)?),
            State::Writes(writer) => writer,
        };
        let (bytes, metadata) = writer.finish().map_err(wrong)?;
        Ok((bytes, columns::from_parquet((given, in_file), metadata.row_groups(), extremes)))
    }
}

/// A writer that has written the rows of `sample`; a file that is no longer than a sample has a dictionary for each column.
fn opened(schema: &SchemaRef, sample: Sample) -> Result<RowGroups, Error> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_bloom_filter_enabled(false)
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_created_by(concat!("spout ", env!("CARGO_PKG_VERSION")).to_owned());
    if let Some(first) = sample.first() {
        properties = chosen(properties, &first);
    }
    let mut writer = RowGroups::new(schema, properties.build(), ROW_GROUP).map_err(wrong)?;
    for batch in sample.into_batches() {
        writer.write(&batch).map_err(wrong)?;
    }
    Ok(writer)
}

fn wrong(source: ParquetError) -> Error {
    encode_error(Format::Parquet)(source.into())
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let wrong = |source: ParquetError| decode_error(path, Format::Parquet, source);
    let mut pages = Cursor::new(bytes.clone());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(wrong)?.with_batch_size(BATCH_ROWS);
    // A value that was stored may be as large as it is, and its page with it.
    measured_pages(&mut pages, builder.metadata(), u64::MAX).map_err(|why| wrong(ParquetError::General(why)))?;
    if let Some(projection) = projection {
        let mask = ProjectionMask::roots(builder.parquet_schema(), in_parquet(schema, projection));
        builder = builder.with_projection(mask);
    }
    Ok(batches(path, Format::Parquet, builder.build().map_err(wrong)?))
}
