//! Commits that are put together by several commands: started, filled, then finished or dropped.
//!
//! What each command puts is kept as one object below the id; nothing of it is visible before the commit is finished.

use serde::{Deserialize, Serialize};
use spout_base::clock;

use super::{
    editor::Edit,
    open_commit::{OpenCommit, Staged},
    writer::Finished,
};
use crate::{
    error::Error,
    layout::Layout,
    log::{Attempts, FileAdded, VERSION, seal},
    object::{Created, Step},
    path,
    repo::Repo,
};

/// A commit that was started and not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Format version.
    version: u32,
    /// The id that the commit will have.
    pub id: String,
    /// The branch it will go to.
    pub branch: String,
    /// When it was started; for people.
    pub at_ms: i64,
    /// Checksum of the object.
    checksum: String,
}

/// What one command put.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    version: u32,
    staged: Staged,
    checksum: String,
}

impl Repo {
    /// Starts a commit to `branch`.
    ///
    /// # Errors
    /// [`Error::BadName`], and those of writing.
    pub async fn start_commit(&self, branch: &str) -> Result<Started, Error> {
        path::branch_name(branch)?;
        let started = Started {
            version: VERSION,
            id: clock::nonce(),
            branch: branch.to_owned(),
            at_ms: clock::wall_ms(),
            checksum: String::new(),
        };
        self.create_part(&started.id, 0, &started).await?;
        Ok(started)
    }

    async fn create_part<T: Serialize>(&self, id: &str, number: u64, part: &T) -> Result<bool, Error> {
        let path = self.layout.started_part(id, number);
        let object = self.objects.shown(&path);
        let (bytes, _) = seal::seal(&object, part)?;
        match self.objects.create(Step::Started, &path, bytes).await? {
            Created::Ours => Ok(true),
            Created::Others => Ok(false),
            Created::Nothing(source) => Err(Error::write(object, source)),
            Created::Unknown(source) => Err(Error::Unconfirmed { object, source: source.into() }),
        }
    }

    /// All started commits.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn started(&self) -> Result<Vec<Started>, Error> {
        let mut all = Vec::new();
        for id in self.objects.directories(&self.layout.started()).await? {
            let path = self.layout.started_part(&id, 0);
            if let Some(bytes) = self.objects.find(&path).await? {
                all.push(seal::read(&self.objects.shown(&path), &bytes)?);
            }
        }
        Ok(all)
    }

    /// The started commit of this id, or the start of one.
    ///
    /// # Errors
    /// [`Error::UnknownStarted`], [`Error::AmbiguousCommit`].
    pub async fn started_commit(&self, id: &str) -> Result<Started, Error> {
        let all = self.started().await?;
        let mut fitting = all.iter().filter(|started| id.len() >= 4 && started.id.starts_with(id));
        match (fitting.next(), fitting.count()) {
            (Some(only), 0) => Ok(only.clone()),
            (Some(_), more) => {
                let (repo, prefix) = (self.name().to_owned(), id.to_owned());
                Err(Error::AmbiguousCommit { repo, prefix, count: more + 1 })
            }
            (None, _) => Err(Error::UnknownStarted { repo: self.name().to_owned(), id: id.to_owned() }),
        }
    }

    /// Keeps the changes of `open` as a part of the started commit.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn stage(&self, started: &Started, open: &OpenCommit) -> Result<(), Error> {
        let mut attempts = Attempts::new();
        while attempts.another() {
            let number = self.parts(&started.id).await?.last().map_or(0, |&(number, _)| number) + 1;
            let part = Part { version: VERSION, staged: open.staged(), checksum: String::new() };
            if self.create_part(&started.id, number, &part).await? {
                return Ok(());
            }
        }
        Err(Error::Contended { repo: self.name().to_owned(), branch: started.branch.clone(), attempts: attempts.made })
    }

    async fn parts(&self, id: &str) -> Result<Vec<(u64, object_store::path::Path)>, Error> {
        let listed = self.objects.list(&self.layout.started_commit(id)).await?;
        Ok(listed.into_iter().filter_map(|(path, _)| Some((Layout::sequence(&path)?, path))).collect())
    }

    /// What was put so far, in order.
    pub(crate) async fn staged(&self, id: &str) -> Result<Vec<Staged>, Error> {
        let mut all = Vec::new();
        for (_, path) in self.parts(id).await?.into_iter().filter(|(number, _)| *number > 0) {
            if let Some(bytes) = self.objects.find(&path).await? {
                all.push(seal::read::<Part>(&self.objects.shown(&path), &bytes)?.staged);
            }
        }
        Ok(all)
    }

    /// What commands have put into the started commit so far, in order, and what they have deleted from the branch.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn pending(&self, started: &Started) -> Result<(Vec<FileAdded>, Vec<String>), Error> {
        let open = self.filled(started).await?;
        Ok((open.files, open.removed.into_iter().map(|(path, _)| path).collect()))
    }

    async fn filled(&self, started: &Started) -> Result<OpenCommit, Error> {
        let mut open = self.open_commit_on(&started.branch).with_id(&started.id);
        for staged in self.staged(&started.id).await? {
            open.restage(staged)?;
        }
        Ok(open)
    }

    /// Makes the started commit the head of its branch.
    ///
    /// # Errors
    /// As [`Editor::finish`](super::Editor::finish); the started commit then stays as it is.
    pub async fn finish_commit(&self, started: &Started) -> Result<Finished, Error> {
        self.finish_commit_by(started, Edit::new("finish commit")).await
    }

    /// The same, said to be done by `edit`.
    ///
    /// # Errors
    /// As [`Repo::finish_commit`].
    pub async fn finish_commit_by(&self, started: &Started, edit: Edit) -> Result<Finished, Error> {
        // A finish that was killed after the commit is repeated without making it twice.
        if let Some(commit) = self.known_commit(&started.branch, &started.id).await? {
            self.drop_commit(started).await?;
            return Ok(Finished::Committed(commit));
        }
        let open = self.filled(started).await?;
        let rows = open.files.iter().filter_map(|file| Some(file.table.as_ref()?.rows)).sum();
        let edit = Edit { rows, ..edit };
        let finished = Box::pin(self.edit(&started.branch).await?.finish(open, edit)).await?;
        if matches!(finished, Finished::Committed(_)) {
            self.drop_commit(started).await?;
        }
        Ok(finished)
    }

    /// Forgets the started commit; the bytes that were put go with the next collection.
    ///
    /// # Errors
    /// Those of deleting.
    pub async fn drop_commit(&self, started: &Started) -> Result<(), Error> {
        // The first part last: without it the commit is not listed any more.
        for (_, path) in self.parts(&started.id).await?.into_iter().rev() {
            self.objects.delete(Step::Delete, &path).await?;
        }
        Ok(())
    }
}
