//! The branch that is published: the one place here that reads records and trees.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::path::Path;

use super::super::{
    Error,
    branch::{Layout, placed},
    record::{self, Blob, Commit, Record},
    reference::Reference,
    repository::Repo,
    tree::Tree,
};

/// The commits of a branch, and the schemas they name.
#[derive(Debug)]
pub(super) struct Commits {
    pub(super) repo: Repo,
    pub(super) branch: String,
    schemas: HashMap<String, SchemaRef>,
}

impl Commits {
    pub(super) fn new(repo: &Repo, branch: &str) -> Self {
        Self { repo: repo.clone(), branch: branch.to_owned(), schemas: HashMap::new() }
    }

    /// How logs name the branch.
    pub(super) fn app(&self) -> String {
        format!("{}/{}", self.repo.name(), self.branch)
    }

    /// The newest commit, if there is one.
    pub(super) async fn head(&self) -> Result<Option<Commit>, Error> {
        match self.repo.resolve(&Reference::head(self.repo.name(), &self.branch)).await {
            Ok(commit) => Ok(Some(commit)),
            Err(Error::UnknownCommit { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The commit of this sequence; `None` if the record is a claim, or is not there (any more).
    pub(super) async fn at(&self, sequence: u64) -> Result<Option<Commit>, Error> {
        Ok(match self.record(sequence).await? {
            Some(Record::Commit(commit)) => Some(commit.light()),
            _ => None,
        })
    }

    /// The first commit behind `sequence`. Before the first record that is kept there may be a gap.
    pub(super) async fn after(&self, sequence: u64) -> Result<Option<Commit>, Error> {
        let mut next = sequence + 1;
        loop {
            match self.record(next).await? {
                Some(Record::Commit(commit)) => return Ok(Some(commit.light())),
                Some(Record::Claim(_)) => next += 1,
                None if next == 1 => match self.oldest().await? {
                    Some(oldest) if oldest > next => next = oldest,
                    _ => return Ok(None),
                },
                None => return Ok(None),
            }
        }
    }

    async fn oldest(&self) -> Result<Option<u64>, Error> {
        let listed = self.repo.objects.list(&self.repo.layout.branch(&self.branch)).await?;
        Ok(listed.iter().find_map(|(path, _)| Layout::sequence(path)))
    }

    async fn record(&self, sequence: u64) -> Result<Option<Record>, Error> {
        let path = self.repo.layout.record(&self.branch, sequence);
        let Some(bytes) = self.repo.objects.find(&path).await? else { return Ok(None) };
        let object = self.repo.objects.shown(&path);
        let record = record::parse(&object, &bytes)?;
        placed(&record, &self.branch, sequence).map_err(|reason| Error::BadRecord { object, reason })?;
        Ok(Some(record))
    }

    /// Whether the files of `commit` are not those of the commit before it with its own puts and deletes.
    pub(super) fn whole(&self, commit: &Commit, after: u64) -> bool {
        after == 0 && commit.parent.is_some()
    }

    /// The files of `commit`.
    pub(super) async fn tree(&self, commit: &Commit) -> Result<Tree, Error> {
        self.repo.tree(commit).await
    }

    /// The columns of the schema that a file of `commit` names.
    pub(super) async fn schema(&mut self, key: &str, commit: &Commit) -> Result<SchemaRef, Error> {
        if !self.schemas.contains_key(key) {
            let tree = self.tree(commit).await?;
            for piece in tree.files().flat_map(|file| &file.pieces) {
                if let (Some(table), Some(schema)) = (&piece.table, tree.schema(piece)) {
                    self.schemas.entry(table.schema.clone()).or_insert_with(|| SchemaRef::clone(schema));
                }
            }
        }
        self.schemas.get(key).cloned().ok_or_else(|| Error::BadRecord {
            object: self.repo.objects.shown(&self.repo.layout.record(&self.branch, commit.sequence)),
            reason: format!("no record of the branch holds the schema {key}"),
        })
    }

    /// The verified bytes of a piece that is in a record; `path` is what it is wanted for.
    pub(super) async fn bytes(&self, path: &Path, blob: &Blob) -> Result<Bytes, Error> {
        self.repo.blob(&self.branch, path.as_ref(), blob).await
    }
}
