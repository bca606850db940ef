//! Parquet: snappy, dictionaries where values repeat, statistics by column chunk, no bloom filters.

use std::{fmt, io::Cursor};

use ::arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowSchemaConverter, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
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
/// Those of a [`ParquetStream`], whose bytes are kept until a row group ends.
const STREAMED_GROUP: usize = 1 << 18;
const BATCH_ROWS: usize = 8192;

pub(super) struct Writer {
    schema: SchemaRef,
    /// Rows of a row group.
    group: usize,
    state: State,
}

enum State {
    /// There are too few rows to tell how to write them.
    Waits(Sample),
    Writes(Box<RowGroups>),
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        Self::in_groups(schema, ROW_GROUP)
    }

    fn in_groups(schema: &SchemaRef, group: usize) -> Result<Self, Error> {
        ArrowSchemaConverter::new().convert(schema).map_err(|source| encode_error(Format::Parquet)(source.into()))?;
        Ok(Self { schema: SchemaRef::clone(schema), group, state: State::Waits(Sample::default()) })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let sample = match &mut self.state {
            State::Writes(writer) => return writer.write(batch).map_err(wrong),
            State::Waits(sample) => sample,
        };
        sample.take(batch);
        if sample.is_whole() {
            let sample = std::mem::take(sample);
            self.state = State::Writes(Box::new(opened(&self.schema, self.group, sample)?));
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
        let (bytes, metadata) = self.ended()?.finish().map_err(wrong)?;
        Ok((bytes, columns::from_parquet((given, in_file), metadata.row_groups(), extremes)))
    }

    /// The writer, with all rows in it.
    fn ended(self) -> Result<Box<RowGroups>, Error> {
        Ok(match self.state {
            State::Waits(sample) => Box::new(opened(&self.schema, self.group, sample)?),
            State::Writes(writer) => writer,
        })
    }
}

/// Rows as a Parquet file for others, with the types that they have, written as the files of commits are; its bytes are taken while
/// more rows come.
pub struct ParquetStream(Writer);

impl fmt::Debug for ParquetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetStream").field("buffered", &self.0.buffered()).finish_non_exhaustive()
    }
}

impl ParquetStream {
    /// A file of rows of these columns.
    ///
    /// # Errors
    /// [`Error::Encode`] where Parquet cannot hold one of them.
    pub fn new(schema: &SchemaRef) -> Result<Self, Error> {
        Writer::in_groups(schema, STREAMED_GROUP).map(Self)
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::Encode`] where a value or the schema does not fit.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.0.write(batch)
    }

    /// What was written since this was last asked.
    #[must_use]
    pub fn taken(&mut self) -> Vec<u8> {
        match &mut self.0.state {
            State::Waits(_) => Vec::new(),
            State::Writes(writer) => writer.taken(),
        }
    }

    /// Ends the file; its last bytes.
    ///
    /// # Errors
    /// [`Error::Encode`] where the rows cannot be written.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        let (bytes, _) = self.0.ended()?.finish().map_err(wrong)?;
        Ok(bytes)
    }
}

/// A writer that has written the rows of `sample`; a file that is no longer than a sample has a dictionary for each column.
fn opened(schema: &SchemaRef, group: usize, sample: Sample) -> Result<RowGroups, Error> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_bloom_filter_enabled(false)
        .set_max_row_group_row_count(Some(group))
        .set_created_by(concat!("spout ", env!("CARGO_PKG_VERSION")).to_owned());
    if let Some(first) = sample.first() {
        properties = chosen(properties, &first);
    }
    let mut writer = RowGroups::new(schema, properties.build(), group).map_err(wrong)?;
    for batch in sample.into_batches() {
        writer.write(&batch).map_err(wrong)?;
    }
    Ok(writer)
}

fn wrong(source: ParquetError) -> Error {
    encode_error(Format::Parquet)(source.into())
}

/// What is known of a file, to read its texts as views where `table` has them so: they are not copied out of their pages then.
#[must_use]
pub fn with_views(file: ArrowReaderMetadata, table: &Schema) -> ArrowReaderMetadata {
    let is_view = |index: usize, field: &Field| {
        let wanted = table.fields().get(index).map(|wanted| wanted.data_type());
        wanted == Some(&DataType::Utf8View) && *field.data_type() == DataType::Utf8
    };
    let own = file.schema().fields().iter().enumerate();
    if !own.clone().any(|(index, field)| is_view(index, field)) {
        return file;
    }
    let fields: Fields = own
        .map(|(index, field)| {
            if is_view(index, field) {
                field.as_ref().clone().with_data_type(DataType::Utf8View).into()
            } else {
                field.clone()
            }
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, file.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(schema.into());
    ArrowReaderMetadata::try_new(file.metadata().clone(), options).unwrap_or(file)
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let wrong = |source: ParquetError| decode_error(path, Format::Parquet, source);
    let mut pages = Cursor::new(bytes.clone());
    let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).map_err(wrong)?;
    let metadata = with_views(metadata, schema);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let mut builder = builder.with_batch_size(BATCH_ROWS);
    // A value that was stored may be as large as it is, and its page with it.
    measured_pages(&mut pages, builder.metadata(), u64::MAX).map_err(|why| wrong(ParquetError::General(why)))?;
    if let Some(projection) = projection {
        let mask = ProjectionMask::roots(builder.parquet_schema(), in_parquet(schema, projection));
        builder = builder.with_projection(mask);
    }
    Ok(batches(path, Format::Parquet, builder.build().map_err(wrong)?))
}
