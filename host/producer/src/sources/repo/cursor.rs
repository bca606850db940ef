//! Where reading stands in a branch: which run of commits is next, and why it cannot go on, if it cannot.

use std::fmt;

use spout_data::{Marker, Messages, PartitionId, Position, Provenance, Span, Upstream};
use spout_plugin::Progress;
use spout_repo::{Added, AddedFile, Follower};

use super::{
    RepoMode, Rewritten,
    branch::Branch,
    reading::{Content, Reading},
    token::{Place, Token},
};
use crate::{Error, Fetched, OutOfRange};

/// Where it is in the branch.
pub(super) struct Cursor {
    branch: Branch,
    /// Number of the newest commit that was read whole.
    number: u64,
    token: Token,
    follower: Option<Follower>,
    /// The head and the number that were last found to belong together.
    sound: Option<(String, u64)>,
}

/// What comes next.
pub(super) enum Next {
    Run(Box<Reading>),
    /// Nothing of it is read.
    Jump(u64),
    /// Nothing; and whether more is expected, because the upstream pipeline still runs.
    Nothing(Progress, bool),
}

impl Cursor {
    /// Goes on in `branch` at `start`.
    pub(super) fn new(branch: Branch, start: &Position) -> Self {
        Self { branch, number: start.offset, token: Token::read(start), follower: None, sound: None }
    }

    /// Number of the newest commit that was read whole.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next rows or messages of a run, `most` at once; `None` if it has no more.
    pub(super) async fn content(&self, reading: &mut Reading, most: usize) -> Result<Option<Content>, Error> {
        reading.next(&self.branch, self.follower()?, most).await
    }

    fn follower(&self) -> Result<&Follower, Error> {
        self.follower.as_ref().ok_or_else(|| self.branch.gone("the repo is gone".into()))
    }

    /// A run from `start` to here, with nothing in it yet.
    pub(super) fn fetched(&self, start: u64, progress: Progress) -> Fetched {
        let span = Span { partition: PartitionId::default(), start, next: self.token.at(self.number) };
        let head = self.follower.as_ref().and_then(Follower::head);
        let high_watermark = head.map(|head| head.number);
        Fetched { high_watermark, ..Fetched::new(Messages::default(), span, progress) }
    }

    /// Goes behind what was read of a run.
    pub(super) fn pass(&mut self, reading: &Reading, over: bool) {
        if over {
            self.number = reading.part.last;
            self.token = Token { after: reading.provenance.upstream.commit.clone(), ..Token::default() };
        } else {
            self.token.part = Some(reading.part)
        }
    }

    /// The next run of commits, or nothing after a while.
    pub(super) async fn next(&mut self) -> Result<Next, Error> {
        // Looked at first: what its pipeline committed before it stopped is then seen.
        let runs = self.branch.is_written();
        let failed = |error| self.branch.failed("reading", error);
        if self.follower.is_none() {
            self.follower = self.branch.repo().await?.map(|repo| repo.follow(&self.branch.spec.branch));
        }
        let Some(follower) = &mut self.follower else {
            if self.number > 0 {
                return Err(self.branch.gone("the repo is gone".into()));
            }
            tokio::time::sleep(self.branch.spec.every.0).await;
            return Ok(Next::Nothing(Progress::Idle, runs));
        };
        let head = follower.refresh().await.map_err(failed)?;
        let number = head.map_or(0, |head| head.number);
        let sound = (head.map(|head| head.header.id.clone()).unwrap_or_default(), self.number);
        let over = self.branch.ends && !runs && head.is_some_and(|head| has_ended(&head.marker));
        if self.sound.as_ref() != Some(&sound) {
            if let Some(what) = self.lost(number).await? {
                return self.reenter(number, what).await;
            }
            self.sound = Some(sound);
        }
        if number <= self.number {
            if over {
                return Ok(Next::Nothing(Progress::Ended, false));
            }
            if let Some(follower) = &mut self.follower {
                follower.wait(self.branch.spec.every.0).await;
            }
            return Ok(Next::Nothing(Progress::Idle, runs));
        }
        self.open().await.map(|open| Next::Run(Box::new(open)))
    }

    /// Why it cannot go on where it is, if it cannot.
    async fn lost(&self, head: u64) -> Result<Option<String>, Error> {
        let failed = |error| self.branch.failed("reading", error);
        let Some(follower) = &self.follower else { return Ok(None) };
        if head < self.number {
            return Ok(Some(format!("commit number {} was read, and the branch has {head}", self.number)));
        }
        if !self.token.after.is_empty()
            && let Some(there) = follower.commit(self.number).await.map_err(failed)?
            && there.header.id != self.token.after
        {
            let (ours, theirs) = (short(&self.token.after), short(&there.header.id));
            return Ok(Some(format!("commit number {} was {ours} and is now {theirs}", self.number)));
        }
        // At the beginning, what the first commit that is kept holds takes the place of what is gone.
        let next = self.token.part.map_or(self.number + 1, |part| if part.whole { part.last } else { self.number + 1 });
        if head > self.number
            && (self.number > 0 || self.token.part.is_some())
            && follower.commit(next).await.map_err(failed)?.is_none()
        {
            return Ok(Some(format!("commit number {next} was not read yet and is no longer kept")));
        }
        Ok(None)
    }

    /// Goes on somewhere else, if the spec says so.
    async fn reenter(&mut self, head: u64, what: String) -> Result<Next, Error> {
        let Some(follower) = &self.follower else { return Err(self.branch.gone(what)) };
        let to = match self.branch.spec.on_out_of_range {
            OutOfRange::Fail => return Err(self.branch.gone(what)),
            OutOfRange::Latest => head,
            OutOfRange::Earliest => {
                let first = follower.first().await.map_err(|error| self.branch.failed("reading", error))?;
                first.saturating_sub(1)
            }
        };
        let (repo, branch) = (&self.branch.spec.repo, &self.branch.spec.branch);
        tracing::warn!(repo, branch, what, to, "continuing after another commit, as `onOutOfRange` says");
        (self.number, self.token) = (to, Token::default());
        Ok(Next::Jump(to))
    }

    /// Opens the run of commits behind the newest that was read, where it was left.
    async fn open(&self) -> Result<Reading, Error> {
        let failed = |error| self.branch.failed("reading", error);
        let follower = self.follower()?;
        let begin = |last, whole| Place { last, whole, file: 0, done: 0 };
        let part = match self.token.part {
            Some(part) => part,
            None if self.number > 0 => begin(follower.run_from(self.number + 1), false),
            None => match follower.first().await.map_err(failed)? {
                0 | 1 => begin(follower.run_from(1), false),
                first => begin(first, true),
            },
        };
        let added = if part.whole {
            let commit = follower.commit(part.last).await.map_err(failed)?;
            let commit = commit.ok_or_else(|| self.branch.gone("the repo is gone".into()))?;
            follower.whole(commit).await
        } else {
            follower.added(self.number + 1, part.last).await
        };
        let Added { commit, files, rewritten } = added.map_err(failed)?;
        for file in rewritten {
            let counts = file.how == "reverted" || self.branch.wants(&file.path)?;
            if counts && self.branch.spec.rewritten == Rewritten::Fail {
                let (repo, branch) = (self.branch.spec.repo.clone(), self.branch.spec.branch.clone());
                let (commit, how, path) = (short(&file.commit).to_owned(), file.how, file.path);
                return Err(Error::Rewritten { repo, branch, commit, how, path });
            }
        }
        let wanted = |file: AddedFile| {
            let fits = self.branch.spec.mode != RepoMode::Rows || file.format.is_some();
            Ok((fits && self.branch.wants(&file.path)?).then_some(file))
        };
        let files = files.into_iter().map(wanted).collect::<Result<_, _>>()?;
        let (repo, branch) = (self.branch.spec.repo.clone(), self.branch.spec.branch.clone());
        let upstream = Upstream { repo, branch, commit: commit.header.id, lookup: false };
        let provenance = Provenance { upstream, global: commit.global };
        Ok(Reading::new(provenance, commit.header.at_ms, files, part))
    }
}

/// Whether everything that the pipeline of a branch reads has ended.
fn has_ended(marker: &Marker) -> bool {
    !marker.partitions.is_empty() && marker.partitions.values().all(|partition| partition.ended)
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("number", &self.number).field("token", &self.token).finish_non_exhaustive()
    }
}
