//! Where reading stands in a branch: which run of commits is next, and why it cannot go on, if it cannot.

use std::{fmt, time::Duration};

use spout_base::clock;
use spout_data::{Marker, Messages, PartitionId, Position, Provenance, Span, Upstream};
use spout_plugin::Progress;
use spout_repo::{Added, AddedFile, Follower};

use super::{
    Rewritten,
    branch::Branch,
    reading::{Content, Reading},
    token::{Place, Token},
    trigger::{Counted, Waiting},
};
use crate::{Error, Fetched, OutOfRange};

/// Commits with nothing to read after which one says how far it is read: they may be collected before anything else does.
const PASSED: u64 = 1000;

/// Where it is in the branch.
pub(in crate::sources) struct Cursor {
    branch: Branch,
    /// Number of the newest commit that was read whole.
    number: u64,
    token: Token,
    /// Number of the newest commit that a commit of ours was, or will be, made for.
    marked: u64,
    follower: Option<Follower>,
    /// The head and the number that were last found to belong together.
    sound: Option<(String, u64)>,
    /// Commits behind the newest that was read, which wait for others.
    waiting: Waiting,
    /// The last commit that is read, where that is not every one to come.
    bound: Option<u64>,
}

/// A run of commits that is to be read.
pub(in crate::sources) struct CommitRun {
    pub(in crate::sources) added: Added,
    pub(in crate::sources) provenance: Provenance,
    pub(in crate::sources) part: Place,
}

/// What comes next.
pub(in crate::sources) enum Next {
    Run(Box<CommitRun>),
    /// Nothing of it is read.
    Jump(u64),
    /// Nothing; and whether more is expected, because the upstream pipeline still runs.
    Nothing(Progress, bool),
}

impl Cursor {
    /// Goes on in `branch` at `start`.
    pub(in crate::sources) fn new(branch: Branch, start: &Position) -> Self {
        let (number, token, waiting) = (start.offset, Token::read(start), Waiting::default());
        Self { branch, number, token, marked: number, follower: None, sound: None, waiting, bound: None }
    }

    /// The same that reads no commit behind that of number `bound`.
    pub(super) fn up_to(self, bound: Option<u64>) -> Self {
        Self { bound, ..self }
    }

    /// Goes on in `branch` behind the commit of that number and id.
    pub(in crate::sources) fn behind(branch: Branch, number: u64, commit: String) -> Self {
        Self::new(branch, &Token { after: commit, ..Token::default() }.at(number))
    }

    /// Goes on in `branch` behind the commit of that number, with the run that ends at `part`.
    pub(in crate::sources) fn anew(branch: Branch, number: u64, part: Place) -> Self {
        Self::new(branch, &Token { part: Some(part), ..Token::default() }.at(number))
    }

    /// Number of the newest commit that was read whole.
    pub(in crate::sources) fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing is said of commits with nothing to read, which were just passed over.
    pub(in crate::sources) fn stays_silent(&mut self) -> bool {
        let silent = !self.splits() && self.number.saturating_sub(self.marked) < PASSED;
        if !silent {
            self.marked = self.number;
        }
        silent
    }

    /// Whether commits need not stay what they are.
    pub(super) fn splits(&self) -> bool {
        self.branch.spec.split
    }

    /// The next rows or messages of a run, `most` at once; `None` if it has no more.
    pub(super) async fn content(&self, reading: &mut Reading, most: usize) -> Result<Option<Content>, Error> {
        reading.next(&self.branch, self.follower()?, most).await
    }

    pub(in crate::sources) fn follower(&self) -> Result<&Follower, Error> {
        self.follower.as_ref().ok_or_else(|| self.branch.gone("the repo is gone".into()))
    }

    /// A run from `start` to here, with nothing in it yet.
    pub(super) fn fetched(&self, start: u64, progress: Progress) -> Fetched {
        let span = Span { partition: PartitionId::default(), start, next: self.token.at(self.number) };
        let head = self.follower.as_ref().and_then(Follower::head);
        let high_watermark = head.map(|head| head.number);
        Fetched { high_watermark, ..Fetched::new(Messages::default(), span, progress) }
    }

    /// Id of the newest commit that was read whole; empty where it is not known.
    pub(in crate::sources) fn after(&self) -> &str {
        &self.token.after
    }

    /// Goes behind a run that was read whole; `made` if a commit of ours is made for it.
    pub(in crate::sources) fn pass_run(&mut self, run: &CommitRun, made: bool) {
        self.pass_whole(run.part.last, run.provenance.upstream.commit.clone(), made);
    }

    fn pass_whole(&mut self, last: u64, after: String, made: bool) {
        (self.number, self.waiting) = (last, Waiting::default());
        if made {
            self.marked = last;
        }
        self.token = Token { after, ..Token::default() };
    }

    /// Goes behind what was read of a run.
    pub(super) fn pass(&mut self, reading: &Reading, over: bool) {
        if over {
            self.pass_whole(reading.part.last, reading.provenance.upstream.commit.clone(), reading.begun);
        } else {
            self.token.part = Some(reading.part)
        }
    }

    /// The next run of commits, or nothing after a while.
    pub(in crate::sources) async fn next(&mut self) -> Result<Next, Error> {
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
        if let Some(part) = self.part(self.bound.map_or(number, |bound| bound.min(number)), over).await? {
            return self.open(part).await.map(|open| Next::Run(Box::new(open)));
        }
        if over {
            return Ok(Next::Nothing(Progress::Ended, false));
        }
        let every = self.branch.spec.every.0;
        let due = self.waiting.due_ms.map(|due| u64::try_from(due.saturating_sub(clock::wall_ms())).unwrap_or(0));
        if let Some(follower) = &mut self.follower {
            follower.wait(due.map_or(every, |due| every.min(Duration::from_millis(due)))).await;
        }
        Ok(Next::Nothing(Progress::Idle, runs))
    }

    /// The run of commits that is read next, if it is there; no commit follows the one of number `head` if that is `over`.
    async fn part(&mut self, head: u64, over: bool) -> Result<Option<Place>, Error> {
        let begin = |last, whole| Some(Place { last, whole, file: 0, done: 0 });
        if head <= self.number {
            return Ok(None);
        }
        if self.token.part.is_some() {
            return Ok(self.token.part);
        }
        let follower = self.follower()?;
        if self.number == 0 {
            let first = follower.first().await.map_err(|error| self.branch.failed("reading", error))?;
            if first > 1 {
                return Ok(begin(first, true));
            }
        }
        let Some(trigger) = &self.branch.spec.trigger else {
            return Ok(begin(follower.run_from(self.number + 1), false));
        };
        let mut waiting = self.waiting;
        loop {
            let before = waiting.last.max(self.number);
            if before >= head {
                break;
            }
            let last = follower.run_from(before + 1);
            let added = follower.added(before + 1, last).await;
            let Added { commit, files, rewritten } = added.map_err(|error| self.branch.failed("reading", error))?;
            let changes = self.branch.tracks && self.any_wanted(&rewritten)?;
            let files = self.wanted(files)?;
            let (mut rows, mut bytes) = (0, 0);
            for file in files.iter().flatten() {
                (rows, bytes) = (rows + file.rows, bytes + file.size);
            }
            if files.iter().all(Option::is_none) && !changes {
                if waiting.is_empty() {
                    return Ok(begin(last, false));
                }
                waiting.last = last;
                continue;
            }
            let next = Counted { number: last, at_ms: commit.header.at_ms, rows, bytes };
            if let Some(last) = waiting.add(trigger, next) {
                return Ok(begin(last, false));
            }
        }
        self.waiting = waiting;
        // What follows nothing waits for nothing.
        let due = over || waiting.is_due(clock::wall_ms());
        Ok(begin(waiting.last, false).filter(|_| due && !waiting.is_empty()))
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
        // What became of files in commits that are gone is seen by looking at all of them.
        let (to, part) = if !self.branch.tracks {
            (to, None)
        } else if to < head {
            (to, Some(Place::whole(to + 1)))
        } else {
            (to.saturating_sub(1), Some(Place::whole(to)).filter(|_| to > 0))
        };
        tracing::warn!(repo, branch, what, to, "continuing after another commit, as `onOutOfRange` says");
        (self.number, self.marked) = (to, to);
        (self.token, self.waiting) = (Token { part, ..Token::default() }, Waiting::default());
        Ok(Next::Jump(to))
    }

    /// The run of commits behind the newest that was read, up to `part`.
    async fn open(&self, part: Place) -> Result<CommitRun, Error> {
        let failed = |error| self.branch.failed("reading", error);
        let follower = self.follower()?;
        let added = if part.whole {
            let commit = follower.commit(part.last).await.map_err(failed)?;
            let commit = commit.ok_or_else(|| self.branch.gone("the repo is gone".into()))?;
            follower.whole(commit).await
        } else {
            follower.added(self.number + 1, part.last).await
        };
        let added = added.map_err(failed)?;
        let (repo, branch) = (self.branch.spec.repo.clone(), self.branch.spec.branch.clone());
        let commits = if part.whole { 1 } else { part.last - self.number };
        let upstream = Upstream { commits, ..Upstream::of(repo, branch, added.commit.header.id.clone()) };
        let provenance = Provenance { upstream, global: added.commit.global.clone() };
        Ok(CommitRun { added, provenance, part })
    }

    /// The rows or messages of a run.
    ///
    /// # Errors
    /// Something that may have been read is not what it was.
    pub(super) fn reading(&self, run: CommitRun) -> Result<Reading, Error> {
        let CommitRun { added: Added { commit, files, rewritten }, provenance, part } = run;
        self.heed(rewritten)?;
        Ok(Reading::new(provenance, commit.header.at_ms, self.wanted(files)?, part))
    }

    /// Whether a file that is read was removed, overwritten or reverted.
    fn any_wanted(&self, rewritten: &[spout_repo::Rewritten]) -> Result<bool, Error> {
        for file in rewritten {
            if file.how == "reverted" || self.branch.wants(&file.path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stops where something that may have been read is not what it was, unless the spec says otherwise.
    fn heed(&self, rewritten: Vec<spout_repo::Rewritten>) -> Result<(), Error> {
        for file in rewritten {
            let counts = file.how == "reverted" || self.branch.wants(&file.path)?;
            if counts && self.branch.spec.rewritten == Rewritten::Fail {
                let (repo, branch) = (self.branch.spec.repo.clone(), self.branch.spec.branch.clone());
                let (commit, how, path) = (short(&file.commit).to_owned(), file.how, file.path);
                return Err(Error::Rewritten { repo, branch, commit, how, path });
            }
        }
        Ok(())
    }

    /// The files that are read; `None` for others.
    fn wanted(&self, files: Vec<AddedFile>) -> Result<Vec<Option<AddedFile>>, Error> {
        let wanted = |file: AddedFile| {
            let fits = !self.branch.spec.mode.reads_tables() || file.format.is_some();
            Ok((fits && self.branch.wants(&file.path)?).then_some(file))
        };
        files.into_iter().map(wanted).collect()
    }
}

/// Whether everything that the pipeline of a branch reads has ended.
fn has_ended(marker: &Marker) -> bool {
    let mut own = marker.partitions.iter().filter(|(id, _)| !id.is_replay()).peekable();
    own.peek().is_some() && own.all(|(_, partition)| partition.ended)
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("number", &self.number).field("token", &self.token).finish_non_exhaustive()
    }
}
