//! What the open commit has taken: rows on their way into files, and what was set aside.

use spout_consumer::{Pending, RepoConsumer};
use spout_data::{Batch, DeadLetter, PartitionId};
use spout_repo::OpenCommit;
use spout_spec::{ErrorsSpec, OnError};

use super::{Error, build::Parts, totals::Reasons};

/// What the open commit has taken.
#[derive(Debug)]
pub(super) struct Taking {
    pipeline: String,
    errors: ErrorsSpec,
    pub(super) repo: RepoConsumer,
    /// Its messages that were set aside.
    dead: Vec<(PartitionId, u64)>,
    /// Why some of its messages could not be processed.
    faults: Reasons,
}

/// What a commit has taken, when it is cut.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) pending: Pending,
    pub(super) dead: Vec<(PartitionId, u64)>,
    pub(super) faults: Reasons,
}

impl Taking {
    /// Nothing yet, of what `parts` make for `repo`.
    pub(super) fn new(parts: &Parts, repo: RepoConsumer) -> Self {
        let (pipeline, errors) = (parts.name.clone(), parts.errors().clone());
        Self { pipeline, errors, repo, dead: Vec::new(), faults: Reasons::default() }
    }

    /// Sets rows aside that files cannot hold, and does what the spec says about messages that could not be processed; before any
    /// consumer sees the batch. `label` is the source's name for a partition.
    pub(super) fn prepare(&mut self, batch: &mut Batch, label: impl Fn(PartitionId) -> String) -> Result<(), Error> {
        self.repo.fit(batch).map_err(|source| self.failed(source))?;
        let policy = |letter: &DeadLetter| if letter.stage == "decode" { self.errors.decode } else { self.errors.node };
        if let Some(letter) = batch.dead.iter().find(|letter| policy(letter) == OnError::Fail) {
            return Err(Error::Message {
                pipeline: self.pipeline.clone(),
                partition: letter.partition,
                offset: letter.offset,
                stage: letter.stage.clone(),
                code: letter.code.clone(),
                reason: letter.reason.clone(),
            });
        }
        for letter in &batch.dead {
            self.faults.count(letter, || label(letter.partition));
        }
        let before = batch.dead.len();
        batch.dead.retain(|letter| policy(letter) == OnError::DeadLetter);
        batch.counts.dropped += (before - batch.dead.len()) as u64;
        self.dead.extend(batch.dead.iter().map(|letter| (letter.partition, letter.offset)));
        Ok(())
    }

    /// Passes a batch that is prepared to the files.
    pub(super) async fn take(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.repo.consume(batch).await.map_err(|source| self.failed(source))
    }

    /// Makes `files`, which a source has put itself, part of the commit.
    pub(super) fn join(&mut self, files: OpenCommit) {
        self.repo.join(files);
    }

    /// Ends the commit, and begins the next.
    pub(super) fn cut(&mut self) -> Taken {
        Taken {
            pending: self.repo.cut(),
            dead: std::mem::take(&mut self.dead),
            faults: std::mem::take(&mut self.faults),
        }
    }

    fn failed(&self, source: spout_consumer::Error) -> Error {
        Error::Consumer { pipeline: self.pipeline.clone(), source: Box::new(source) }
    }
}
