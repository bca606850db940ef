//! Follows the input, and makes one commit for each run of its commits.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spout_plugin::{Progress, Task, Transformer};
use spout_repo::path::Selection;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Again, Failed, Spout, commits::Commits},
    error::PerFileError,
    making::{Making, touched},
};
use crate::{
    Error,
    sources::repo::{Branch, CommitRun, Cursor, Next, Place, RepoStart},
};

/// A plugin that is run for each file of a branch.
#[derive(Debug)]
pub(super) struct PerFile {
    pub(super) task: Task,
    pub(super) branch: Branch,
    /// Files that it is run for.
    pub(super) files: Selection,
    resting: AtomicBool,
}

/// Up to where the input is read.
#[derive(Debug, Serialize, Deserialize)]
struct ReadUpto {
    /// Number of the newest commit that was read whole.
    number: u64,
    /// Its id.
    commit: String,
    /// The files that were chosen then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    glob: Option<String>,
}

impl PerFile {
    pub(super) fn new(task: Task, branch: Branch, files: Selection) -> Self {
        Self { task, branch, files, resting: AtomicBool::new(false) }
    }

    /// What the plugin failed with.
    pub(super) fn failed(&self, source: spout_plugin::Error) -> Error {
        PerFileError::Transformer { plugin: self.task.plugin.name().to_owned(), source: Box::new(source) }.into()
    }

    async fn follow(&self, commits: &Commits) -> Result<(), Error> {
        let mut cursor = self.cursor(commits).await?;
        let mut transformer = Transformer::new(self.task.clone());
        loop {
            match cursor.next().await? {
                Next::Run(run) => {
                    self.resting.store(false, Ordering::Relaxed);
                    self.pass(&run, &mut cursor, &mut transformer, commits).await?;
                }
                Next::Jump(_) => {}
                Next::Nothing(Progress::Ended, _) => return Ok(()),
                Next::Nothing(_, expects) => self.resting.store(!expects, Ordering::Relaxed),
            }
        }
    }

    /// Makes what there is to make of a run, and goes behind it.
    async fn pass(
        &self,
        run: &CommitRun,
        cursor: &mut Cursor,
        transformer: &mut Transformer,
        commits: &Commits,
    ) -> Result<(), Error> {
        let made = match touched(self, run) {
            Some(none) if none.is_empty() => None,
            touched => Making::new(self, commits, run).await?.make(touched, cursor, transformer).await?,
        };
        cursor.pass_run(run, made.is_some());
        let mut commit = match made {
            Some(commit) => commit,
            None if cursor.stays_silent() => return Ok(()),
            None => commits.begin()?,
        };
        commit.set_marker(self.marker(cursor)?)?;
        commit.made_from(run.provenance.clone());
        commit.finish().await.map(drop)
    }

    /// Where reading goes on.
    async fn cursor(&self, commits: &Commits) -> Result<Cursor, Error> {
        let Some(marker) = commits.marker() else {
            let cursor = Cursor::new(self.branch.clone(), &self.branch.start(&self.branch.spec.start).await?);
            if self.branch.spec.start != RepoStart::Earliest {
                // After a crash it must not mean a later commit.
                let mut commit = commits.begin()?;
                commit.set_marker(self.marker(&cursor)?)?;
                commit.finish().await?;
            }
            return Ok(cursor);
        };
        let ReadUpto { number, commit, glob } = self.read_upto(&marker)?;
        if glob != self.branch.spec.glob && number > 0 {
            // Other files are chosen: what the last commit holds is compared with what was made.
            return Ok(Cursor::anew(self.branch.clone(), number - 1, Place::whole(number)));
        }
        Ok(Cursor::behind(self.branch.clone(), number, commit))
    }

    fn foreign(&self) -> Error {
        PerFileError::ForeignMarker { repo: self.branch.spec.repo.clone() }.into()
    }

    fn read_upto(&self, marker: &Bytes) -> Result<ReadUpto, Error> {
        serde_json::from_slice(marker).map_err(|_| self.foreign())
    }

    fn marker(&self, cursor: &Cursor) -> Result<Vec<u8>, Error> {
        let (commit, glob) = (cursor.after().to_owned(), self.branch.spec.glob.clone());
        let upto = ReadUpto { number: cursor.number(), commit, glob };
        serde_json::to_vec(&upto).map_err(|_| self.foreign())
    }
}

#[async_trait]
impl Spout for PerFile {
    async fn run(&self, commits: &Commits, _: &CancellationToken) -> Result<(), Failed> {
        Box::pin(self.follow(commits)).await.map_err(|why| Failed { why, again: Again::Never })
    }

    fn resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }
}
