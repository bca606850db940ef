//! The table files of a commit as one DataFusion table, read file by file.

use std::{fmt, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::{
    catalog::{Session, TableProvider},
    error::{DataFusionError, Result as DataFusionResult},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchReceiverStreamBuilder,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::{StreamExt, stream};
use tokio::sync::mpsc::Sender;

use super::super::{
    Error, FileEntry, Repo, Tree,
    format::{Format, adapt, decode},
    repository::table_schema,
    tree::Piece,
};

/// Files fetched ahead of the one being decoded.
const AHEAD: usize = 2;

/// Rows of some files of a commit.
#[derive(Debug)]
pub(super) struct RepoTable {
    schema: SchemaRef,
    pieces: Arc<Pieces>,
}

/// What all partitions of a table share.
struct Pieces {
    repo: Repo,
    tree: Tree,
    list: Vec<(FileEntry, Piece)>,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("repo", &self.repo.name()).field("files", &self.list.len()).finish()
    }
}

impl RepoTable {
    /// The union of `files`; `None` if there are none.
    pub(super) fn new(repo: Repo, tree: Tree, files: Vec<FileEntry>) -> Result<Option<Self>, Error> {
        if files.is_empty() {
            return Ok(None);
        }
        let schema = table_schema(&tree, &files)?;
        let list = files.iter().flat_map(|file| file.pieces.iter().map(|piece| (bare(file), piece.clone()))).collect();
        Ok(Some(Self { schema, pieces: Arc::new(Pieces { repo, tree, list }) }))
    }
}

/// The file without its pieces: each piece is listed on its own.
fn bare(file: &FileEntry) -> FileEntry {
    FileEntry { path: file.path.clone(), sha256: String::new(), pieces: Vec::new(), ..*file }
}

#[async_trait]
impl TableProvider for RepoTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => SchemaRef::new(self.schema.project(projection)?),
            None => SchemaRef::clone(&self.schema),
        };
        // As many partitions as there are threads, not as there are files: each holds a file in memory.
        let count = self.pieces.list.len();
        let partitions = state.config().target_partitions().clamp(1, count.max(1));
        let share = count.div_ceil(partitions).max(1);
        let partitions = (0..count).step_by(share).map(|from| {
            let to = (from + share).min(count);
            let run = Run { schema: SchemaRef::clone(&schema), pieces: Arc::clone(&self.pieces), from, to };
            Arc::new(run) as Arc<dyn PartitionStream>
        });
        let plan =
            StreamingTableExec::try_new(SchemaRef::clone(&schema), partitions.collect(), None, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// A run of the pieces of a table, read one after the other.
#[derive(Debug)]
struct Run {
    schema: SchemaRef,
    pieces: Arc<Pieces>,
    from: usize,
    to: usize,
}

impl PartitionStream for Run {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(SchemaRef::clone(&self.schema), AHEAD);
        let (to, schema, pieces) = (stream.tx(), SchemaRef::clone(&self.schema), Arc::clone(&self.pieces));
        let range = self.from..self.to;
        stream.spawn(async move {
            let fetched = stream::iter(range).map(|index| fetch(&pieces, index, schema.fields().is_empty()));
            let mut fetched = fetched.buffered(AHEAD);
            while let Some(next) = fetched.next().await {
                let source = next.map_err(|error| DataFusionError::External(error.into()))?;
                let (to, schema) = (to.clone(), SchemaRef::clone(&schema));
                let decoding = tokio::task::spawn_blocking(move || send(source, &schema, &to));
                let open = decoding.await.map_err(|error| DataFusionError::External(error.into()))??;
                if !open {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// One piece, ready to be decoded.
enum Source {
    /// Only the number of rows is asked for.
    Rows(usize),
    /// The file.
    File { path: String, format: Format, schema: SchemaRef, bytes: Bytes },
}

async fn fetch(pieces: &Pieces, index: usize, only_rows: bool) -> Result<Source, Error> {
    let (file, piece) = match pieces.list.get(index) {
        Some((file, piece)) => (file, piece),
        None => return Ok(Source::Rows(0)),
    };
    match (&piece.table, pieces.tree.schema(piece)) {
        (Some(table), _) if only_rows => Ok(Source::Rows(usize::try_from(table.rows).unwrap_or(usize::MAX))),
        (Some(table), Some(schema)) => {
            let bytes = pieces.repo.piece(&pieces.tree, file, piece).await?;
            Ok(Source::File { path: file.path.clone(), format: table.format, schema: SchemaRef::clone(schema), bytes })
        }
        _ => Ok(Source::Rows(0)),
    }
}

/// Decodes a piece and sends its rows; false if nobody wants more.
fn send(source: Source, schema: &SchemaRef, to: &Sender<DataFusionResult<RecordBatch>>) -> DataFusionResult<bool> {
    let ours = |error: Error| DataFusionError::External(error.into());
    match source {
        Source::Rows(rows) => {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(SchemaRef::clone(schema), Vec::new(), &options);
            Ok(rows == 0 || to.blocking_send(Ok(batch?)).is_ok())
        }
        Source::File { path, format, schema: own, bytes } => {
            let wanted =
                own.fields().iter().enumerate().filter(|(_, field)| schema.column_with_name(field.name()).is_some());
            let wanted: Vec<_> = wanted.map(|(index, _)| index).collect();
            for batch in decode(&path, format, &own, bytes, Some(&wanted)).map_err(ours)? {
                let batch = adapt(&batch.map_err(ours)?, schema)?;
                if to.blocking_send(Ok(batch)).is_err() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}
