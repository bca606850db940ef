//! Parquet: snappy, dictionaries, statistics by column chunk, no bloom filters.

use std::io::Cursor;

use ::arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::properties::{EnabledStatistics, WriterProperties},
};

use super::{
    Batches, ColumnStatistics, Error, Format, batches, columns, decode_error, encode_error, measured_pages,
    stored::in_parquet,
};

/// Row groups this long keep a reader's memory bounded and its statistics useful.
const ROW_GROUP: usize = 1 << 20;
const BATCH_ROWS: usize = 8192;

pub(super) struct Writer {
    inner: ArrowWriter<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(true)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_bloom_filter_enabled(false)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_created_by(concat!("spout ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let inner = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties))
            .map_err(|source| encode_error(Format::Parquet)(source.into()))?;
        Ok(Self { inner })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.inner.write(batch).map_err(|source| encode_error(Format::Parquet)(source.into()))
    }

    pub(super) fn buffered(&self) -> usize {
        self.inner.bytes_written() + self.inner.memory_size()
    }

    pub(super) fn finish(
        mut self,
        given: &SchemaRef,
        in_file: &SchemaRef,
        extremes: &columns::Extremes,
    ) -> Result<(Vec<u8>, Vec<ColumnStatistics>), Error> {
        let wrong = |source: parquet::errors::ParquetError| encode_error(Format::Parquet)(source.into());
        let metadata = self.inner.finish().map_err(wrong)?;
        // `into_inner` would finish once more, and that is refused.
        let bytes = std::mem::take(self.inner.inner_mut());
        Ok((bytes, columns::from_parquet((given, in_file), metadata.row_groups(), extremes)))
    }
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let wrong = |source: parquet::errors::ParquetError| decode_error(path, Format::Parquet, source);
    let mut pages = Cursor::new(bytes.clone());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(wrong)?.with_batch_size(BATCH_ROWS);
    // A value that was stored may be as large as it is, and its page with it.
    measured_pages(&mut pages, builder.metadata(), u64::MAX)
        .map_err(|why| wrong(parquet::errors::ParquetError::General(why)))?;
    if let Some(projection) = projection {
        let mask = ProjectionMask::roots(builder.parquet_schema(), in_parquet(schema, projection));
        builder = builder.with_projection(mask);
    }
    Ok(batches(path, Format::Parquet, builder.build().map_err(wrong)?))
}
