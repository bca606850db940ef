//! Reads pieces one after the other and sends their rows: whole and verified, or, of a large Parquet file of which little
//! is needed, the parts that are.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    physical_optimizer::pruning::PruningPredicate,
    physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder},
};
use futures::{StreamExt, stream};
use spout_base::error::Cause;
use spout_format::{Batches, Format, Stored, adapt, decode, in_parquet};
use spout_repo::Place;
use tokio::sync::mpsc::Sender;

use super::Error;
use super::{
    Verify,
    pieces::{Pieces, TablePiece},
    ranges::{Footer, Sparse},
};

/// Files, or row groups of one, that are fetched while one is being decoded.
pub(super) const AHEAD: usize = 2;
/// Smaller files are read whole: one request costs more than their bytes, and what is read whole is verified.
const SMALL: u64 = 256 << 10;
/// Rows of one batch whose columns are not in the file.
const ROWS: u64 = 64 << 10;

/// The columns a query needs.
pub(super) struct Wanted {
    schema: SchemaRef,
    /// Those that are in files.
    in_files: SchemaRef,
    /// For each column, its place among the partition columns if it is one.
    partitions: Vec<Option<usize>>,
}

impl Wanted {
    pub(super) fn new(pieces: &Pieces, schema: &SchemaRef) -> Self {
        let place = |name: &String| pieces.partitions.fields().iter().position(|field| field.name() == name);
        let partitions: Vec<_> = schema.fields().iter().map(|field| place(field.name())).collect();
        let in_files = schema.fields().iter().zip(&partitions).filter(|(_, place)| place.is_none());
        let in_files = Schema::new(in_files.map(|(field, _)| Arc::clone(field)).collect::<Vec<_>>()).into();
        Self { schema: SchemaRef::clone(schema), in_files, partitions }
    }

    /// Which columns of a file these are.
    fn of(&self, own: &Schema) -> Vec<usize> {
        let wanted = |name: &String| self.in_files.column_with_name(name).is_some();
        own.fields().iter().enumerate().filter(|(_, field)| wanted(field.name())).map(|(index, _)| index).collect()
    }

    /// Rows of a file, or `rows` of which no column of the file is needed, as the query wants them.
    fn batch(&self, rows: usize, batch: Option<&RecordBatch>, piece: &TablePiece) -> DataFusionResult<RecordBatch> {
        let adapted = batch.map(|batch| adapt(batch, &self.in_files)).transpose()?;
        let mut in_files = adapted.iter().flat_map(RecordBatch::columns);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            match partition.and_then(|index| piece.values.get(index)) {
                Some(value) => columns.push(value.to_array_of_size(rows)?),
                None => columns.extend(in_files.next().cloned()),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}

/// What `explain analyze` shows.
#[derive(Clone)]
pub(super) struct Counts {
    rows: Count,
    files: Count,
    bytes: Count,
    groups: Count,
    pruned: Count,
}

impl Counts {
    pub(super) fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            rows: MetricBuilder::new(metrics).output_rows(partition),
            files: counter("pieces_read"),
            bytes: counter("bytes_read"),
            groups: counter("row_groups_read"),
            pruned: counter("row_groups_pruned"),
        }
    }
}

/// One piece, ready to be decoded.
enum Source {
    /// No column of it is asked for.
    Rows,
    /// All of its bytes.
    Whole(bytes::Bytes),
    /// These row groups of it, of which nothing was read so far.
    Groups(Footer, Vec<usize>),
}

/// Reads for one partition of a scan.
pub(super) struct Reader {
    pub(super) pieces: Arc<Pieces>,
    pub(super) wanted: Wanted,
    pub(super) table: SchemaRef,
    pub(super) predicate: Option<Arc<PruningPredicate>>,
    pub(super) counts: Counts,
    pub(super) to: Sender<DataFusionResult<RecordBatch>>,
}

/// How many rows may still be sent; none if nobody wants more.
type Room = Option<usize>;

impl Reader {
    /// Sends the rows of the pieces `run`, at most `limit`.
    pub(super) async fn run(self, run: Vec<usize>, limit: Option<usize>) -> DataFusionResult<()> {
        let reader = &Arc::new(self);
        let sources = stream::iter(run).filter_map(|index| {
            let piece = reader.pieces.list.get(index).cloned();
            std::future::ready(piece.map(Arc::new))
        });
        let sources = sources.map(|piece| async move { (Arc::clone(&piece), reader.open(&piece).await) });
        let mut sources = std::pin::pin!(sources.buffered(AHEAD));
        let mut room = Some(limit.unwrap_or(usize::MAX));
        while let Some((piece, source)) = sources.next().await {
            room = match source.map_err(external)? {
                Source::Groups(footer, groups) => reader.groups(&piece, &footer, groups, room).await?,
                source => reader.decode(&piece, room, move |reader, piece| reader.whole(piece, source)).await?,
            };
            if room.is_none_or(|room| room == 0) {
                break;
            }
        }
        Ok(())
    }

    async fn open(&self, piece: &TablePiece) -> Result<Source, Error> {
        self.counts.files.add(1);
        if self.wanted.in_files.fields().is_empty() && self.pieces.verify == Verify::Parts {
            return Ok(Source::Rows);
        }
        match self.footer(piece).await {
            Some((footer, groups)) => Ok(Source::Groups(footer, groups)),
            None => {
                let bytes = self.pieces.repo.piece(&piece.file, &piece.piece).await?;
                self.counts.bytes.add(bytes.len());
                Ok(Source::Whole(bytes))
            }
        }
    }

    /// The footer and the row groups to read, where reading parts is worth it. An error is no answer: reading all of the
    /// file will meet it again, and name it.
    async fn footer(&self, piece: &TablePiece) -> Option<(Footer, Vec<usize>)> {
        let blob = &piece.piece.blob;
        let Place::Object(name) = &blob.place else { return None };
        let columns = self.wanted.of(&piece.schema);
        let all = self.predicate.is_none() && columns.len() == piece.schema.fields().len();
        if piece.info.format != Format::Parquet || blob.size < SMALL || self.pieces.verify == Verify::Whole || all {
            return None;
        }
        let wanted = in_parquet(&piece.schema, &columns);
        let wanted = (piece.schema.as_ref(), wanted.as_slice());
        let footer = Footer::read(&self.pieces.repo, name, blob.size, piece.info.rows, wanted).await.ok()??;
        self.counts.bytes.add(usize::try_from(footer.read).unwrap_or(0));
        let groups = footer.groups(&self.table, self.predicate.as_deref());
        let ranges = groups.kept.iter().flat_map(|&group| footer.ranges(group));
        let needed = ranges.fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
        if needed > blob.size / 2 {
            return None;
        }
        self.counts.pruned.add(groups.pruned);
        self.counts.groups.add(groups.kept.len());
        Some((footer, groups.kept))
    }

    /// Sends the rows of row groups, the next being fetched while one is decoded.
    async fn groups(
        self: &Arc<Self>,
        piece: &Arc<TablePiece>,
        footer: &Footer,
        groups: Vec<usize>,
        mut room: Room,
    ) -> DataFusionResult<Room> {
        let fetched = stream::iter(groups).map(|group| async move { (group, self.group(piece, footer, group).await) });
        let mut fetched = fetched.buffered(AHEAD);
        while let Some((group, bytes)) = fetched.next().await {
            let (bytes, footer) = (bytes.map_err(external)?, footer.clone());
            let decoded = self.decode(piece, room, move |reader, piece| {
                let (path, columns) = (piece.file.path.clone(), reader.wanted.of(&piece.schema));
                let stored = Stored::new(Format::Parquet, &piece.schema)?;
                let rows = footer.rows(bytes, vec![group]).map_err(|source| unreadable(&path, source))?;
                Ok(Box::new(rows.map(move |batch| {
                    let batch = batch.and_then(|batch| stored.restore(&batch, Some(&columns)));
                    batch.map_err(|source| unreadable(&path, source))
                })))
            });
            room = match decoded.await {
                Ok(room) => room,
                Err(error) => return Err(self.damage(piece).await.map_or(error, |damage| external(damage.into()))),
            };
            if room.is_none_or(|room| room == 0) {
                break;
            }
        }
        Ok(room)
    }

    async fn group(&self, piece: &TablePiece, footer: &Footer, group: usize) -> Result<Sparse, Error> {
        let Place::Object(name) = &piece.piece.blob.place else { return Ok(Sparse::whole(bytes::Bytes::new())) };
        let repo = &self.pieces.repo;
        let read = Sparse::read(repo, name, piece.piece.blob.size, footer.ranges(group)).await?;
        match read {
            Some(read) => {
                self.counts.bytes.add(usize::try_from(read.read_bytes()).unwrap_or(0));
                Ok(read)
            }
            None => Err(self.damage(piece).await.unwrap_or_else(|| spout_repo::Error::DamagedFile {
                object: repo.shown(name),
                path: piece.file.path.clone(),
                reason: "its footer names bytes that it does not have".to_owned(),
            }))?,
        }
    }

    /// What is wrong with the bytes of a piece, if that can be said.
    async fn damage(&self, piece: &TablePiece) -> Option<spout_repo::Error> {
        self.pieces.repo.piece(&piece.file, &piece.piece).await.err()
    }

    fn whole(&self, piece: &TablePiece, source: Source) -> Result<Batches, Error> {
        match source {
            Source::Whole(bytes) => {
                let columns = self.wanted.of(&piece.schema);
                Ok(decode(&piece.file.path, piece.info.format, &piece.schema, bytes, Some(&columns))?)
            }
            _ => Ok(Box::new(std::iter::empty())),
        }
    }

    /// Sends the rows that `open` gives, on a thread that may be kept busy.
    async fn decode(
        self: &Arc<Self>,
        piece: &Arc<TablePiece>,
        room: Room,
        open: impl FnOnce(&Self, &TablePiece) -> Result<Batches, Error> + Send + 'static,
    ) -> DataFusionResult<Room> {
        let (reader, piece) = (Arc::clone(self), Arc::clone(piece));
        let decoding = tokio::task::spawn_blocking(move || reader.send(&piece, room, open(&reader, &piece)));
        decoding.await.map_err(|error| DataFusionError::External(error.into()))?
    }

    fn send(&self, piece: &TablePiece, mut room: Room, batches: Result<Batches, Error>) -> DataFusionResult<Room> {
        if self.wanted.in_files.fields().is_empty() {
            // That many rows are in the record's word alone: nothing is allocated for all of them.
            let mut left = piece.info.rows;
            while left > 0 && room.is_some_and(|room| room > 0) {
                let rows = left.min(ROWS);
                left -= rows;
                room = self.send_one(room, rows as usize, None, piece)?;
            }
            return Ok(room);
        }
        for batch in batches.map_err(external)? {
            let batch = batch.map_err(|error| external(error.into()))?;
            room = self.send_one(room, batch.num_rows(), Some(&batch), piece)?;
            if room.is_none_or(|room| room == 0) {
                break;
            }
        }
        Ok(room)
    }

    fn send_one(
        &self,
        room: Room,
        rows: usize,
        batch: Option<&RecordBatch>,
        piece: &TablePiece,
    ) -> DataFusionResult<Room> {
        let Some(left) = room else { return Ok(None) };
        let rows = rows.min(left);
        let batch = batch.map(|batch| batch.slice(0, rows));
        let batch = self.wanted.batch(rows, batch.as_ref(), piece)?;
        self.counts.rows.add(rows);
        let taken = rows == 0 || self.to.blocking_send(Ok(batch)).is_ok();
        Ok(taken.then(|| left - rows))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(error.into())
}

fn unreadable(path: &str, source: impl Into<Cause>) -> spout_format::Error {
    spout_format::Error::Decode { path: path.to_owned(), format: Format::Parquet.extension(), source: source.into() }
}
