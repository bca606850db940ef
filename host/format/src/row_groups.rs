//! The row groups of a Parquet file. Columns are encoded side by side where processors are free for that.
//!
//! **Invariant**: a file does not depend on who encoded it. Each column takes its rows in their order, whoever works on it.

use std::{cmp::Reverse, mem, panic, thread};

use ::arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, SchemaRef},
};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::Result,
    file::{metadata::ParquetMetaData, properties::WriterProperties, writer::SerializedFileWriter},
};

use super::helpers::{Help, Work};

/// Arrow bytes that wait to be encoded together: a few milliseconds of work, which a thread more is worth.
const TOGETHER: usize = 4 << 20;
/// Fewer are encoded alone.
const ALONE: usize = 512 << 10;

/// A Parquet file, row group by row group.
pub(super) struct RowGroups {
    file: SerializedFileWriter<Vec<u8>>,
    writers: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    longest: usize,
    open: Option<RowGroup>,
}

/// The row group that takes rows.
struct RowGroup {
    columns: Vec<Column>,
    rows: usize,
    /// Rows that are not encoded yet, and their size.
    waiting: Vec<RecordBatch>,
    bytes: usize,
}

/// A column of the schema, which has several in the file where it is nested.
struct Column {
    at: usize,
    field: FieldRef,
    open: Vec<ArrowColumnWriter>,
    done: Vec<ArrowColumnChunk>,
}

impl RowGroups {
    /// A file for rows of `schema`, with row groups of `longest` rows.
    pub(super) fn new(schema: &SchemaRef, properties: WriterProperties, longest: usize) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties))?;
        let (file, writers) = writer.into_serialized_writer()?;
        Ok(Self { file, writers, schema: SchemaRef::clone(schema), longest, open: None })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let group = match &mut self.open {
                Some(group) => group,
                None => self.open.insert(self.begun()?),
            };
            let rows = (self.longest - group.rows).min(batch.num_rows() - from);
            group.take(batch.slice(from, rows))?;
            from += rows;
            if group.rows == self.longest {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn begun(&self) -> Result<RowGroup> {
        let field = |(at, field): (usize, &FieldRef)| Column {
            at,
            field: FieldRef::clone(field),
            open: Vec::new(),
            done: Vec::new(),
        };
        let mut columns: Vec<Column> = self.schema.fields().iter().enumerate().map(field).collect();
        let writers = self.writers.create_column_writers(self.file.flushed_row_groups().len())?;
        for (leaf, writer) in writers.into_iter().enumerate() {
            if let Some(column) = columns.get_mut(self.file.schema_descr().get_column_root_idx(leaf)) {
                column.open.push(writer);
            }
        }
        Ok(RowGroup { columns, rows: 0, waiting: Vec::new(), bytes: 0 })
    }

    fn end_group(&mut self) -> Result<()> {
        let Some(mut group) = self.open.take() else { return Ok(()) };
        group.encode(true)?;
        let mut into = self.file.next_row_group()?;
        for chunk in group.columns.into_iter().flat_map(|column| column.done) {
            chunk.append_to_row_group(&mut into)?;
        }
        into.close()?;
        Ok(())
    }

    /// Memory that is held, about.
    pub(super) fn buffered(&self) -> usize {
        let open = |group: &RowGroup| {
            let writers = group.columns.iter().flat_map(|column| &column.open);
            group.bytes + writers.map(ArrowColumnWriter::memory_size).sum::<usize>()
        };
        self.file.bytes_written() + self.open.as_ref().map_or(0, open)
    }

    /// The bytes that were written since they were last taken.
    pub(super) fn taken(&mut self) -> Vec<u8> {
        mem::take(self.file.inner_mut())
    }

    /// Ends the file; its bytes that were not taken.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, ParquetMetaData)> {
        self.end_group()?;
        let metadata = self.file.finish()?;
        // `into_inner` would finish once more, and that is refused.
        Ok((mem::take(self.file.inner_mut()), metadata))
    }
}

impl RowGroup {
    fn take(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows();
        self.bytes += rows.columns().iter().map(|column| size(column)).sum::<usize>();
        self.waiting.push(rows);
        if self.bytes >= TOGETHER { self.encode(false) } else { Ok(()) }
    }

    /// Encodes the rows that wait; the `last` ones end the columns.
    fn encode(&mut self, last: bool) -> Result<()> {
        let rows = mem::take(&mut self.waiting);
        let help = if mem::take(&mut self.bytes) < ALONE { Help::none() } else { Help::of(self.columns.len()) };
        let mut columns: Vec<&mut Column> = self.columns.iter_mut().collect();
        // What takes longest comes first, or all would wait for it in the end.
        columns.sort_by_cached_key(|column| Reverse(column.size(&rows)));
        let work = Work::new(columns);
        let encode = || work.all(|column| column.encode(&rows, last));
        if help.count() == 0 {
            return encode();
        }
        thread::scope(|scope| {
            let others: Vec<_> =
                (0..help.count()).map_while(|_| thread::Builder::new().spawn_scoped(scope, encode).ok()).collect();
            let own = encode();
            others.into_iter().fold(own, |so_far, other| {
                let encoded = other.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
                so_far.and(encoded)
            })
        })
    }
}

impl Column {
    fn size(&self, rows: &[RecordBatch]) -> usize {
        rows.iter().filter_map(|rows| rows.columns().get(self.at)).map(|column| size(column)).sum()
    }

    fn encode(&mut self, rows: &[RecordBatch], last: bool) -> Result<()> {
        for column in rows.iter().filter_map(|rows| rows.columns().get(self.at)) {
            for (writer, leaf) in self.open.iter_mut().zip(compute_leaves(&self.field, column)?) {
                writer.write(&leaf)?;
            }
        }
        if last {
            self.done = mem::take(&mut self.open).into_iter().map(ArrowColumnWriter::close).collect::<Result<_>>()?;
        }
        Ok(())
    }
}

/// Bytes of the values of `column` alone, where it is a part of a longer one.
pub(super) fn size(column: &dyn ::arrow::array::Array) -> usize {
    let data = column.to_data();
    data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Array as _, ArrayRef, Int64Array, ListArray, StringArray, StructArray},
        datatypes::{Field, Int64Type},
    };

    use super::*;

    fn rows(from: i64, count: i64) -> RecordBatch {
        let ids = Int64Array::from_iter_values(from..from + count);
        let names =
            StringArray::from_iter((from..from + count).map(|n| (n % 7 != 0).then(|| format!("name {}", n % 900))));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (from..from + count).map(|n| (n % 3 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>())),
        );
        let id: ArrayRef = Arc::new(ids.clone());
        let name: ArrayRef = Arc::new(names.clone());
        let inner = StructArray::from(vec![
            (Arc::new(Field::new("id", id.data_type().clone(), true)), id),
            (Arc::new(Field::new("name", name.data_type().clone(), true)), name),
        ]);
        let columns: [(&str, ArrayRef); 4] =
            [("id", Arc::new(ids)), ("inner", Arc::new(inner)), ("list", Arc::new(lists)), ("name", Arc::new(names))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn properties(longest: usize) -> WriterProperties {
        WriterProperties::builder().set_max_row_group_row_count(Some(longest)).build()
    }

    #[test]
    fn a_file_is_the_one_that_the_library_would_write_whoever_encodes_its_columns() {
        let batches: Vec<RecordBatch> = (0..12).map(|n| rows(n * 10_000, 10_000)).collect();
        let schema = batches[0].schema();
        for longest in [1 << 20, 30_000, 7_000] {
            let mut theirs = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties(longest))).unwrap();
            let mut ours = RowGroups::new(&schema, properties(longest), longest).unwrap();
            for batch in &batches {
                theirs.write(batch).unwrap();
                ours.write(batch).unwrap();
                assert!(ours.buffered() > 0);
            }
            let (bytes, metadata) = ours.finish().unwrap();
            assert_eq!(metadata.num_row_groups(), 120_000_usize.div_ceil(longest));
            assert!(bytes == theirs.into_inner().unwrap(), "in row groups of {longest}");
        }
    }

    #[test]
    fn what_one_column_refuses_is_what_the_file_refuses() {
        let schema = rows(0, 1).schema();
        let mut file = RowGroups::new(&schema, properties(1 << 20), 1 << 20).unwrap();
        // A text where the schema has numbers.
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..200_000).map(|n| format!("{n:09}"))));
        let mut columns = rows(0, 200_000).columns().to_vec();
        columns[0] = text;
        let names = ["id", "inner", "list", "name"];
        let wrong = RecordBatch::try_from_iter_with_nullable(names.iter().zip(columns).map(|(n, c)| (*n, c, true)));
        file.write(&wrong.unwrap()).and_then(|()| file.finish().map(drop)).unwrap_err();
    }
}
