//! The tables that handlers look in, read from repos: whole, or what commits have added to the version that is held.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use spout_base::{error::Coded, near::did_you_mean};
use spout_data::Upstream;
use spout_format::{Batches, Error as FormatError, adapt, decode, merge};
use spout_node::{TableError, TableFuture, TableName, TableReader, TableStore, TableVersion};
use spout_repo::{
    AddedFile, Commit, Error as RepoError, FileEntry, Follower, Piece, Reference, Repo, Store, path::Selection,
};
use tokio_util::sync::CancellationToken;

use super::link::Place;

/// How often a table that has no version yet is looked at; one that this process writes is seen at once.
const EVERY: Duration = Duration::from_secs(1);
/// Commits that are read one by one to go on from the version held; behind more than these it is read anew.
const FEW: u64 = 256;

/// The tables in the repos of a store.
#[derive(Clone, Debug)]
pub(super) struct RepoTables {
    store: Store,
    place: Place,
    stop: CancellationToken,
    /// Whether one that is missing is no error: nothing runs.
    lenient: bool,
}

impl RepoTables {
    /// Those that a pipeline looks in which stands at `place` and is to end with `stop`.
    pub(super) fn new(store: &Store, place: &Place, stop: &CancellationToken) -> Self {
        Self { store: store.clone(), place: place.clone(), stop: stop.clone(), lenient: false }
    }

    /// Those of a pipeline that is only looked at.
    pub(super) fn lenient(store: &Store) -> Self {
        let (place, stop) = (Place::default(), CancellationToken::new());
        Self { store: store.clone(), place, stop, lenient: true }
    }

    /// Why there is no table, and what to do.
    async fn missing(&self, name: &TableName) -> TableError {
        let TableName { repo, point, path, .. } = name;
        let names = self.store.names().await.unwrap_or_default();
        let (what, nearest) = if names.iter().all(|name| name != repo) {
            (format!("there is no repo `{repo}`"), did_you_mean(repo, names.iter().map(String::as_str)))
        } else {
            let below = path.as_ref().map(|path| format!(" at `{path}`")).unwrap_or_default();
            (format!("`{repo}@{point}` has no table file{below}"), String::new())
        };
        TableError::Missing(format!(
            "{what}; run the pipeline that writes it, also in the same `spout run`, or use `spout put file --table`{nearest}"
        ))
    }
}

impl TableStore for RepoTables {
    fn table(&self, name: &TableName) -> Box<dyn TableReader> {
        Box::new(RepoTable {
            tables: self.clone(),
            name: name.clone(),
            follower: None,
            held: None,
            files: VecDeque::new(),
            rows: None,
        })
    }
}

/// One table.
struct RepoTable {
    tables: RepoTables,
    name: TableName,
    follower: Option<(Repo, Follower)>,
    held: Option<Held>,
    /// What is still to be read of the version that was given last.
    files: VecDeque<TableFile>,
    rows: Option<Batches>,
}

/// The version that was given last.
#[derive(Clone, Debug)]
struct Held {
    id: String,
    number: u64,
    /// The last of its files, by path; its rows are the newest.
    last: String,
    schema: SchemaRef,
}

/// A file, or a part that was added to one.
enum TableFile {
    Piece { repo: Repo, file: FileEntry, piece: Box<Piece>, schema: SchemaRef },
    Added(AddedFile),
}

impl TableFile {
    fn schema(&self) -> Option<&SchemaRef> {
        match self {
            Self::Piece { schema, .. } => Some(schema),
            Self::Added(file) => file.schema.as_ref(),
        }
    }
}

impl TableReader for RepoTable {
    fn newer(&mut self, wait: bool) -> TableFuture<'_, Option<TableVersion>> {
        Box::pin(self.version(wait))
    }

    fn next<'a>(&'a mut self, columns: &'a SchemaRef) -> TableFuture<'a, Option<RecordBatch>> {
        Box::pin(self.batch(columns))
    }

    fn forget(&mut self) {
        (self.held, self.rows) = (None, None);
        self.files.clear();
    }
}

impl RepoTable {
    async fn version(&mut self, wait: bool) -> Result<Option<TableVersion>, TableError> {
        loop {
            // Asked before the look, which then sees the writer's last commit.
            let coming = self.writer().is_some_and(|over| !over.is_cancelled());
            if let Some(version) = self.look().await? {
                return Ok(Some(version));
            }
            if self.held.is_some() || self.tables.lenient || (coming && !wait) {
                return Ok(None);
            }
            if !coming {
                return Err(self.tables.missing(&self.name).await);
            }
            tracing::debug!(table = %self.name, "waiting for the first commit of a table");
            let stop = self.tables.stop.clone();
            if stop.run_until_cancelled(self.wait()).await.is_none() {
                return Err(TableError::Missing("it had no rows yet when the run was stopped".into()));
            }
        }
    }

    async fn batch(&mut self, columns: &SchemaRef) -> Result<Option<RecordBatch>, TableError> {
        loop {
            if let Some(batch) = self.rows.as_mut().and_then(Iterator::next) {
                return batch.map(Some).map_err(|error| failed(error.into()));
            }
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            let follower = self.follower.as_ref().map(|(_, follower)| follower);
            self.rows = open(follower, &file, columns).await.map_err(failed)?;
        }
    }

    /// Cancelled when the pipeline that writes the table is over, if it is of this run.
    fn writer(&self) -> Option<CancellationToken> {
        self.tables.place.upstream_over(&self.name.repo).filter(|_| !self.name.pinned)
    }

    async fn wait(&mut self) {
        let over = self.writer().unwrap_or_default();
        let changed = async {
            match &mut self.follower {
                Some((_, follower)) => follower.wait(EVERY).await,
                None => tokio::time::sleep(EVERY).await,
            }
        };
        over.run_until_cancelled(changed).await;
    }

    /// The version of the branch, if it is another than the one held.
    async fn look(&mut self) -> Result<Option<TableVersion>, TableError> {
        let TableName { repo: name, point, pinned, path } = &self.name;
        let selection = Selection::new(path.as_deref()).map_err(failed)?;
        if *pinned {
            if self.held.is_some() {
                return Ok(None);
            }
            let reference: Reference = format!("{name}@{point}").parse().map_err(failed)?;
            return match self.tables.store.recorded(&reference).await {
                Ok((repo, commit)) => self.whole(&repo, &commit, &selection).await,
                Err(RepoError::UnknownRepo { .. }) => Ok(None),
                Err(error) => Err(failed(error)),
            };
        }
        let (repo, mut follower) = match self.follower.take() {
            Some(open) => open,
            None => match self.tables.store.repo(name).await {
                Ok(repo) => (repo.clone(), repo.follow(point)),
                Err(RepoError::UnknownRepo { .. }) => return Ok(None),
                Err(error) => return Err(failed(error)),
            },
        };
        let head = follower.refresh().await.map_err(failed)?.cloned();
        let version = match head {
            Some(head) if self.held.as_ref().is_some_and(|held| held.id == head.header.id) => None,
            Some(head) => match self.added(&follower, &head, &selection).await? {
                Some(version) => Some(version),
                None => self.whole(&repo, &head, &selection).await?,
            },
            None if self.held.is_some() => {
                return Err(TableError::Missing(format!("branch `{point}` is gone; restore it, or stop the pipeline")));
            }
            None => None,
        };
        self.follower = Some((repo, follower));
        Ok(version)
    }

    /// What was added since the version held; nothing where the table has to be read anew: something was rewritten, commits are
    /// gone, or what was added does not come last.
    async fn added(
        &mut self,
        follower: &Follower,
        head: &Commit,
        selection: &Selection,
    ) -> Result<Option<TableVersion>, TableError> {
        let Some(held) = self.held.clone() else { return Ok(None) };
        if head.number <= held.number || head.number - held.number > FEW {
            return Ok(None);
        }
        let there = follower.commit(held.number).await.map_err(failed)?;
        if there.is_none_or(|there| there.header.id != held.id) {
            return Ok(None);
        }
        let added = match follower.added(held.number + 1, head.number).await {
            Ok(added) => added,
            Err(RepoError::Collected { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if added.rewritten.iter().any(|file| file.how == "reverted" || selection.contains(&file.path)) {
            return Ok(None);
        }
        let files = added.files.into_iter().filter(|file| file.format.is_some() && selection.contains(&file.path));
        let (mut last, mut schema, mut rows) = (held.last, held.schema, 0);
        let mut taken = VecDeque::new();
        for file in files {
            if file.path < last {
                return Ok(None);
            }
            if let Some(own) = file.schema.as_ref().filter(|own| **own != schema) {
                let Ok(both) = merge(&schema, own) else { return Ok(None) };
                schema = both.into();
            }
            last.clone_from(&file.path);
            rows += file.rows;
            taken.push_back(TableFile::Added(file));
        }
        (self.files, self.rows) = (taken, None);
        Ok(Some(self.hold(head, last, schema, false, rows)))
    }

    /// All that `commit` has; nothing where there is no table in it and none is held.
    async fn whole<M: Sync>(
        &mut self,
        repo: &Repo,
        commit: &Commit<M>,
        selection: &Selection,
    ) -> Result<Option<TableVersion>, TableError> {
        let tree = repo.tree(commit).await.map_err(failed)?;
        let is_wanted = |file: &&FileEntry| file.format.is_some() && selection.contains(&file.path);
        let files: Vec<&FileEntry> = tree.files().filter(is_wanted).collect();
        let schema = match (files.is_empty(), &self.held) {
            (false, _) => tree.columns(files.iter().copied()).map_err(failed)?,
            (true, Some(held)) => Arc::clone(&held.schema),
            (true, None) => return Ok(None),
        };
        let pieces = files.iter().flat_map(|file| file.pieces.iter().map(move |piece| (*file, piece)));
        let piece = |(file, piece): (&FileEntry, &Piece)| {
            let schema = tree.schema(piece).cloned()?;
            Some(TableFile::Piece { repo: repo.clone(), file: file.clone(), piece: Box::new(piece.clone()), schema })
        };
        (self.files, self.rows) = (pieces.filter_map(piece).collect(), None);
        let last = files.last().map(|file| file.path.clone()).unwrap_or_default();
        let rows = files.iter().filter_map(|file| file.rows).sum();
        Ok(Some(self.hold(commit, last, schema, true, rows)))
    }

    fn hold<M>(&mut self, commit: &Commit<M>, last: String, schema: SchemaRef, whole: bool, rows: u64) -> TableVersion {
        let id = commit.header.id.clone();
        self.held = Some(Held { id: id.clone(), number: commit.number, last, schema: Arc::clone(&schema) });
        let branch = if self.name.pinned { commit.header.branch.clone() } else { self.name.point.clone() };
        let repo = commit.header.repo.clone();
        TableVersion { commit: Upstream::looked_up(repo, branch, id), schema, whole, rows }
    }
}

/// The rows of a file as rows of `columns`; none where it has none of these.
async fn open(
    follower: Option<&Follower>,
    file: &TableFile,
    columns: &SchemaRef,
) -> Result<Option<Batches>, RepoError> {
    let Some(own) = file.schema() else { return Ok(None) };
    let wanted = own.fields().iter().enumerate().filter(|(_, field)| columns.index_of(field.name()).is_ok());
    let wanted: Vec<usize> = wanted.map(|(index, _)| index).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let (path, format, rows) = match (file, follower) {
        (TableFile::Piece { repo, file, piece, schema }, _) => {
            let (format, bytes) = (file.format.unwrap_or_default(), repo.piece(file, piece).await?);
            (&file.path, format, Some(decode(&file.path, format, schema, bytes, Some(&wanted))?))
        }
        (TableFile::Added(file), Some(follower)) => {
            (&file.path, file.format.unwrap_or_default(), follower.rows(file, Some(&wanted)).await?)
        }
        (TableFile::Added(_), None) => return Ok(None),
    };
    let (path, columns) = (path.clone(), Arc::clone(columns));
    let fits = move |batch: Result<RecordBatch, FormatError>| {
        adapt(&batch?, &columns).map_err(|source| {
            let (path, format) = (path.clone(), format.extension());
            FormatError::Decode { path, format, source: source.into() }
        })
    };
    Ok(rows.map(|rows| Box::new(rows.map(fits)) as Batches))
}

fn failed(error: RepoError) -> TableError {
    let error: Arc<dyn Coded> = Arc::new(error);
    TableError::Read(error)
}

#[cfg(test)]
mod tests;
