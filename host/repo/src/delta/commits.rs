//! The branch that is published: the one place here that reads records and trees.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::path::Path;

use crate::{
    error::Error,
    log::{Blob, Commit, Moved, Record, State, placed, seal},
    repo::Repo,
    tree::Tree,
};

/// The records of a branch, and the schemas they name.
#[derive(Debug)]
pub(super) struct Commits {
    pub(super) repo: Repo,
    pub(super) branch: String,
    schemas: HashMap<String, SchemaRef>,
}

/// What a version says of the record that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Id of the record.
    pub(super) id: String,
    pub(super) sequence: u64,
    pub(super) at_ms: i64,
    /// `repo@<commit id>`; none for a branch that was emptied.
    pub(super) commit: Option<String>,
    /// Whether the rows are the same as before, in other files.
    pub(super) compaction: bool,
}

/// What a record makes of the files of the branch.
#[derive(Debug)]
pub(super) enum Files {
    /// Those before it with the puts and deletes of a commit.
    Changed(Box<Commit<Moved>>),
    /// These.
    All(Box<Tree>),
}

impl Commits {
    pub(super) fn new(repo: &Repo, branch: &str) -> Self {
        Self { repo: repo.clone(), branch: branch.to_owned(), schemas: HashMap::new() }
    }

    /// How logs name the branch.
    pub(super) fn app(&self) -> String {
        format!("{}/{}", self.repo.name(), self.branch)
    }

    /// The sequence of the newest record, and the files there.
    pub(super) async fn head(&self) -> Result<(u64, Tree), Error> {
        let state = self.repo.known(&self.branch).await?;
        Ok((state.head.sequence, Tree::of(&state).await?))
    }

    /// The record of this sequence, if it is kept and makes a version.
    pub(super) async fn at(&self, sequence: u64) -> Result<Option<Stamp>, Error> {
        Ok(self.record(sequence).await?.as_ref().and_then(|record| self.stamp(record)))
    }

    /// Whether the record of this sequence was collected.
    pub(super) async fn is_collected(&self, sequence: u64) -> Result<bool, Error> {
        Ok(self.repo.boundary(&self.branch).await? > sequence)
    }

    /// Where the history of the branch begins; 0 if all of it is kept.
    pub(super) async fn boundary(&self) -> Result<u64, Error> {
        self.repo.boundary(&self.branch).await
    }

    /// The first record behind `sequence` that changes files, of those that are kept.
    pub(super) async fn after(&self, sequence: u64) -> Result<Option<(Stamp, Files)>, Error> {
        let (mut next, mut whole) = (sequence + 1, sequence == 0);
        loop {
            let record = match self.record(next).await? {
                None => {
                    // What comes next may have been collected.
                    let boundary = self.repo.boundary(&self.branch).await?;
                    if boundary <= next {
                        return Ok(None);
                    }
                    (next, whole) = (boundary, true);
                    self.record(next).await?
                }
                record => record,
            };
            let Some(record) = record else { return Ok(None) };
            if let Some(stamp) = self.stamp(&record) {
                return Ok(Some((stamp, self.files(record, whole).await?)));
            }
            next += 1;
        }
    }

    /// The files of a record; `whole` if what was before it is not known.
    async fn files(&self, record: Record, whole: bool) -> Result<Files, Error> {
        let sequence = record.header().sequence;
        match record {
            Record::Commit(commit) if commit.base.is_none() && (!whole || commit.parent.is_none()) => {
                Ok(Files::Changed(Box::new(commit.light())))
            }
            _ => Ok(Files::All(Box::new(self.tree(sequence).await?))),
        }
    }

    fn stamp(&self, record: &Record) -> Option<Stamp> {
        let named = |id: &str| format!("{}@{id}", self.repo.name());
        let (at_ms, commit, compaction) = match record {
            Record::Commit(commit) => (commit.header.at_ms, Some(named(&commit.header.id)), commit.compaction),
            Record::Point(point) => {
                (point.header.at_ms, point.target.as_ref().map(|target| named(&target.commit.header.id)), false)
            }
            Record::Claim(_) | Record::Squash(_) | Record::Sweep(_) => return None,
        };
        Some(Stamp { id: record.header().id.clone(), sequence: record.header().sequence, at_ms, commit, compaction })
    }

    async fn record(&self, sequence: u64) -> Result<Option<Record>, Error> {
        let path = self.repo.layout.record(&self.branch, sequence);
        let Some(bytes) = self.repo.objects.find(&path).await? else { return Ok(None) };
        let object = self.repo.objects.shown(&path);
        let record = seal::parse(&object, &bytes)?;
        placed(&record, &self.branch, sequence).map_err(|reason| Error::BadRecord { object, reason })?;
        Ok(Some(record))
    }

    /// The files of the branch after the record of `sequence`.
    pub(super) async fn tree(&self, sequence: u64) -> Result<Tree, Error> {
        let Repo { objects, layout, .. } = &self.repo;
        Tree::of(&State::at(objects, layout, self.repo.name(), &self.branch, sequence).await?).await
    }

    /// The columns of the schema that a file names after the record of `sequence`.
    pub(super) async fn schema(&mut self, key: &str, sequence: u64) -> Result<SchemaRef, Error> {
        if !self.schemas.contains_key(key) {
            let tree = self.tree(sequence).await?;
            for piece in tree.files().flat_map(|file| &file.pieces) {
                if let (Some(table), Some(schema)) = (&piece.table, tree.schema(piece)) {
                    self.schemas.entry(table.schema.clone()).or_insert_with(|| SchemaRef::clone(schema));
                }
            }
        }
        self.schemas.get(key).cloned().ok_or_else(|| Error::BadRecord {
            object: self.repo.objects.shown(&self.repo.layout.record(&self.branch, sequence)),
            reason: format!("no record of the branch has the schema {key}"),
        })
    }

    /// The verified bytes of a piece that is in a record; `path` is what it is wanted for.
    pub(super) async fn bytes(&self, path: &Path, blob: &Blob) -> Result<Bytes, Error> {
        self.repo.blob(path.as_ref(), blob).await
    }
}
