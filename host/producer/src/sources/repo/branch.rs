//! The branch that is read: where reading begins, and which of its files are read.

use std::sync::Arc;

use spout_base::error::Coded;
use spout_data::Position;
use spout_repo::{Commit, Reference, Repo, Store, path};
use tokio_util::sync::CancellationToken;

use super::{RepoSpec, RepoStart, token::Token};
use crate::Error;

/// Which branch is read, and how.
#[derive(Clone, Debug)]
pub(in crate::sources) struct Branch {
    pub(in crate::sources) spec: RepoSpec,
    pub(in crate::sources) store: Store,
    /// Cancelled when the pipeline that writes it is over; `None` where none of this run does.
    pub(in crate::sources) writer_over: Option<CancellationToken>,
    /// Whether a branch whose own sources have all ended is taken to have ended too.
    pub(in crate::sources) ends: bool,
    /// Whether files that are removed or overwritten count as something to read.
    pub(in crate::sources) tracks: bool,
}

impl Branch {
    pub(in crate::sources) fn failed(&self, doing: &'static str, source: spout_repo::Error) -> Error {
        let (repo, branch) = (self.spec.repo.clone(), self.spec.branch.clone());
        let source: Arc<dyn Coded> = Arc::new(source);
        Error::Upstream { repo, branch, doing, source }
    }

    /// The upstream repo, if it is there.
    pub(in crate::sources) async fn repo(&self) -> Result<Option<Repo>, Error> {
        match self.store.repo(&self.spec.repo).await {
            Ok(repo) => Ok(Some(repo)),
            Err(spout_repo::Error::UnknownRepo { .. }) => Ok(None),
            Err(error) => Err(self.failed("opening", error)),
        }
    }

    /// Where a run begins that nothing was committed before.
    pub(in crate::sources) async fn start(&self, start: &RepoStart) -> Result<Position, Error> {
        let before = |number: u64| Token::default().at(number.saturating_sub(1));
        match start {
            RepoStart::Earliest => Ok(Position::default()),
            RepoStart::Latest => {
                let begun = Token { begun: true, ..Token::default() }.at(0);
                let Some(repo) = self.repo().await? else { return Ok(begun) };
                let mut follower = repo.follow(&self.spec.branch);
                let head = follower.refresh().await.map_err(|error| self.failed("opening", error))?;
                let after = |head: &Commit| Token { after: head.header.id.clone(), ..Token::default() }.at(head.number);
                Ok(head.map_or(begun, after))
            }
            RepoStart::Commit(id) => {
                let repo = self.store.repo(&self.spec.repo).await.map_err(|error| self.failed("opening", error))?;
                let commit = repo.resolve(&Reference::head(&self.spec.repo, id)).await;
                let commit = commit.map_err(|error| self.failed("finding the start of", error))?;
                let mut follower = repo.follow(&self.spec.branch);
                follower.refresh().await.map_err(|error| self.failed("opening", error))?;
                let there = follower.commit(commit.number).await.map_err(|error| self.failed("opening", error))?;
                match there.filter(|there| there.header.id == commit.header.id) {
                    Some(there) => Ok(before(there.number)),
                    None => Err(self.gone(format!("its branch does not lead to commit {id}"))),
                }
            }
        }
    }

    pub(in crate::sources) fn gone(&self, what: String) -> Error {
        Error::Gone { repo: self.spec.repo.clone(), branch: self.spec.branch.clone(), what }
    }

    /// Whether the file at `path` is read.
    pub(in crate::sources) fn wants(&self, path: &str) -> Result<bool, Error> {
        let selection = path::Selection::new(self.spec.files());
        Ok(selection.map_err(|error| self.failed("reading", error))?.contains(path))
    }

    /// Whether the pipeline that writes it still runs in this process.
    pub(in crate::sources) fn is_written(&self) -> bool {
        self.writer_over.as_ref().is_some_and(|over| !over.is_cancelled())
    }
}
