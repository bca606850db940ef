//! Parts of a Parquet file: its footer, and the column chunks that a query needs, each by a range of bytes.

use std::{
    io::{self, SeekFrom},
    ops::Range,
    sync::Arc,
};

use arrow::datatypes::{Schema, SchemaRef};
use bytes::{Buf, Bytes, buf::Reader};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        },
    },
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::{PageIndexPolicy, ParquetMetaDataReader, RowGroupMetaData},
        reader::{ChunkReader, Length},
    },
};
use spout_format::{measured_columns, with_views};
use spout_repo::Repo;

use super::{Error, bounds::GroupStatistics};

/// What is read of a file's end at first; footers are rarely longer.
const TAIL: u64 = 64 << 10;
/// Ranges that are nearer to each other than this are read as one: a request costs more than these bytes.
const GAP: u64 = 64 << 10;
/// Ranges of a row group that are read at once.
const AT_ONCE: usize = 8;
const BATCH_ROWS: usize = 8192;

/// A Parquet file of which the footer is known.
#[derive(Clone)]
pub(super) struct Footer {
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// Bytes read to get here.
    pub(super) read: u64,
}

/// The row groups of a file that may have rows, by index, and the number of those that cannot.
pub(super) struct Groups {
    pub(super) kept: Vec<usize>,
    pub(super) pruned: usize,
}

impl Footer {
    /// Reads the footer of the object `name`, which was committed with `size` bytes and `rows` rows, to read `columns` of it as those
    /// of `table` are. `None` if anything
    /// is not as it was committed: who then reads the whole file finds what.
    pub(super) async fn read(
        repo: &Repo,
        name: &str,
        size: u64,
        rows: u64,
        (table, columns): (&Schema, &[usize]),
    ) -> Result<Option<Self>, Error> {
        let mut from = size.saturating_sub(TAIL);
        // One byte more than there should be, so that a longer file is noticed.
        let Some(mut tail) = repo.part(name, from..size + 1).await? else { return Ok(None) };
        let mut read = tail.len() as u64;
        loop {
            if tail.len() as u64 != size - from {
                return Ok(None);
            }
            let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
            match reader.try_parse_sized(&tail, size) {
                Ok(()) => break Ok(Self::of(reader, rows, (table, columns), read)),
                Err(ParquetError::NeedMoreData(more)) if (more as u64) <= size && more > tail.len() => {
                    from = size - more as u64;
                    let Some(longer) = repo.part(name, from..size).await? else { return Ok(None) };
                    read += longer.len() as u64;
                    tail = longer;
                }
                Err(_) => break Ok(None),
            }
        }
    }

    fn of(
        mut reader: ParquetMetaDataReader,
        rows: u64,
        (table, columns): (&Schema, &[usize]),
        read: u64,
    ) -> Option<Self> {
        let metadata = Arc::new(reader.finish().ok()?);
        let sound = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns).all(|chunk| {
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            start >= 0 && chunk.compressed_size() >= 0
        });
        if !sound || u64::try_from(metadata.file_metadata().num_rows()) != Ok(rows) {
            return None;
        }
        let metadata = with_views(ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new()).ok()?, table);
        let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
        Some(Self { metadata, mask, read })
    }

    /// The row groups in which `predicate` may hold for rows of a table with these columns.
    pub(super) fn groups(&self, table: &SchemaRef, predicate: Option<&PruningPredicate>) -> Groups {
        let all = self.metadata.metadata().num_row_groups();
        let known = GroupStatistics { schema: table, file: &self.metadata };
        let kept = predicate.and_then(|predicate| predicate.prune(&known).ok());
        let keep = |group: &usize| kept.as_ref().is_none_or(|kept| kept.get(*group) != Some(&false));
        let kept: Vec<_> = (0..all).filter(keep).collect();
        Groups { pruned: all - kept.len(), kept }
    }

    /// Where the wanted columns of a row group are.
    pub(super) fn ranges(&self, group: usize) -> Vec<Range<u64>> {
        let Some(group) = self.metadata.metadata().row_groups().get(group) else { return Vec::new() };
        let wanted = group.columns().iter().enumerate().filter(|(leaf, _)| self.mask.leaf_included(*leaf));
        let mut ranges: Vec<_> =
            wanted.map(|(_, chunk)| chunk.byte_range()).map(|(at, length)| at..at.saturating_add(length)).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges
    }

    /// The rows of `groups`, out of the bytes that were read of the file.
    pub(super) fn rows(&self, bytes: Sparse, groups: Vec<usize>) -> ParquetResult<ParquetRecordBatchReader> {
        self.measure(&bytes, &groups).map_err(ParquetError::General)?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
            .with_batch_size(BATCH_ROWS)
            .with_row_groups(groups)
            .with_projection(self.mask.clone())
            .build()
    }
}

impl Footer {
    /// Looks at the pages that are read, before there is room for what they claim.
    fn measure(&self, bytes: &Sparse, groups: &[usize]) -> Result<(), String> {
        let all = self.metadata.metadata().row_groups();
        let columns = groups.iter().filter_map(|&group| all.get(group)).flat_map(|group| {
            let columns = group.columns().iter().enumerate();
            columns.filter(|(leaf, _)| self.mask.leaf_included(*leaf)).map(|(_, column)| column)
        });
        // A value that was stored may be as large as it is, and its page with it.
        measured_columns(&mut At { bytes, at: 0 }, columns, u64::MAX)
    }
}

/// Reads from some place of what was read of a file.
struct At<'a> {
    bytes: &'a Sparse,
    at: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let found = self.bytes.from(self.at).map_err(io::Error::other)?;
        let read = io::Read::read(&mut found.reader(), into)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl io::Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(distance) => self.at.checked_add_signed(distance),
            SeekFrom::End(distance) => self.bytes.size.checked_add_signed(distance),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Some bytes of a file.
#[derive(Clone)]
pub(super) struct Sparse {
    size: u64,
    /// Where each part starts; they rise and do not overlap.
    parts: Vec<(u64, Bytes)>,
}

impl Sparse {
    /// All of a file.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { size: bytes.len() as u64, parts: vec![(0, bytes)] }
    }

    /// Reads `ranges` of the object `name`; `None` if one of them is not there in full.
    pub(super) async fn read(
        repo: &Repo,
        name: &str,
        size: u64,
        ranges: Vec<Range<u64>>,
    ) -> Result<Option<Self>, Error> {
        let parts = stream::iter(joined(ranges)).map(|range| async move {
            let found = repo.part(name, range.clone()).await?;
            Ok::<_, Error>(
                found.filter(|found| found.len() as u64 == range.end - range.start).map(|found| (range.start, found)),
            )
        });
        let parts: Vec<Option<_>> = parts.buffered(AT_ONCE).try_collect().await?;
        Ok(parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| Self { size, parts }))
    }

    /// Bytes that were read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.parts.iter().map(|(_, part)| part.len() as u64).sum()
    }

    /// What there is from `start` on, to the end of its part.
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let after = self.parts.partition_point(|(from, _)| *from <= start);
        let part = after.checked_sub(1).and_then(|index| self.parts.get(index));
        let found = part.and_then(|(from, bytes)| {
            let skip = usize::try_from(start - from).ok()?;
            (skip <= bytes.len()).then(|| bytes.slice(skip..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} is in none of the column chunks the footer names")))
    }
}

/// `ranges`, which rise, with those that are near to each other as one.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Sparse {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let found = self.from(start)?;
        if found.len() >= length {
            Ok(found.slice(..length))
        } else {
            Err(ParquetError::EOF(format!("{length} bytes at {start} reach beyond their column chunk")))
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

    use super::*;

    #[test]
    fn near_ranges_are_one() {
        let check = |ranges: &[(u64, u64)], expected: &[(u64, u64)]| {
            let found = joined(ranges.iter().map(|&(from, to)| from..to).collect());
            assert_eq!(found.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), expected);
        };
        check(&[], &[]);
        check(&[(0, 10), (10, 20), (15, 18)], &[(0, 20)]);
        let far = 21 + 2 * GAP;
        check(&[(0, 10), (10 + GAP, 20 + GAP), (far, far + 1)], &[(0, 20 + GAP), (far, far + 1)]);
        check(&[(5, 5), (7, 8)], &[(7, 8)]);
    }

    /// A file with a column of numbers and one of texts, which packs well; and where the header of the second's page says how
    /// many bytes it has.
    fn file() -> (Vec<u8>, usize) {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|_| "x".repeat(20_000))));
        let rows = RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap();
        let properties =
            WriterProperties::builder().set_compression(Compression::SNAPPY).set_dictionary_enabled(false).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        let file = writer.into_inner().unwrap();
        let footer = footer(&file, &[1]);
        let at = usize::try_from(footer.ranges(0)[0].start).unwrap();
        // Kind of page and then its size unpacked, which has four bytes.
        assert!(file[at] == 0x15 && file[at + 2] == 0x15 && file[at + 3..at + 6].iter().all(|byte| *byte >= 0x80));
        (file, at + 3)
    }

    fn footer(file: &[u8], columns: &[usize]) -> Footer {
        let mut reader = ParquetMetaDataReader::new();
        reader.try_parse(&Bytes::copy_from_slice(file)).unwrap();
        Footer::of(reader, 100, (&Schema::empty(), columns), 0).unwrap()
    }

    /// Parts of a file are read as its whole is: what a page says is compared with what it is, where it is read.
    #[test]
    fn a_page_of_a_part_does_not_claim_what_it_cannot_be() {
        let (honest, size) = file();
        let rows = |file: &[u8], columns: &[usize]| {
            let read = footer(file, columns);
            let parts = read.ranges(0).into_iter().map(|range| {
                let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
                (range.start, Bytes::copy_from_slice(&file[from..to]))
            });
            let bytes = Sparse { size: file.len() as u64, parts: parts.collect() };
            read.rows(bytes, vec![0]).map(|rows| rows.map(|batch| batch.unwrap().num_rows()).sum::<usize>())
        };
        assert_eq!(rows(&honest, &[1]).unwrap(), 100);
        let mut hostile = honest;
        hostile[size..size + 4].copy_from_slice(&[0xfe, 0xff, 0xff, 0x7f]);
        assert_eq!(rows(&hostile, &[0]).unwrap(), 100, "it is not read");
        let refused = rows(&hostile, &[1]).unwrap_err().to_string();
        assert!(refused.contains("which no data does"), "{refused}");
    }

    #[test]
    fn only_what_was_read_can_be_had() {
        let parts = vec![(10, Bytes::from_static(b"abc")), (20, Bytes::from_static(b"de"))];
        let sparse = Sparse { size: 30, parts };
        assert_eq!(sparse.get_bytes(11, 2).unwrap(), "bc");
        assert_eq!(sparse.get_bytes(20, 2).unwrap(), "de");
        for (start, length) in [(9, 1), (11, 3), (14, 1), (21, 2), (25, 1)] {
            assert!(sparse.get_bytes(start, length).is_err(), "{start} {length}");
        }
    }
}
