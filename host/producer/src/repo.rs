//! Reads the commits of another repo, exactly once: the only file of this room that knows the repo.
//!
//! The offset is the number of the newest commit that was read whole; where a large one is read in parts, the token says
//! which part is next. The token also names the newest commit, so that a branch that was set to others is noticed.

use std::{fmt, iter::Peekable, sync::Arc};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use spout_base::error::Coded;
use spout_codec::Attribute;
use spout_data::{Blobs, Marker, Messages, PartitionId, Position, Provenance, Span, Upstream};
use spout_plugin::Progress;
use spout_repo::{Added, AddedFile, Follower, Reference, Repo, Store, path};

use super::{
    Error, Fetched, Fetcher, Found, Framer, OutOfRange, Producer, ProducerTraits, RepoMode, RepoSpec, RepoStart,
    repo_spec::Rewritten,
};

/// Messages and bytes of one fetch.
const MESSAGES: usize = 8192;
const BYTES: usize = 4 << 20;
/// A first line that is longer does not go with the others of its file.
const FIRST: usize = 64 << 10;

/// Says whether the pipeline that writes the upstream branch still runs in this process.
pub type Runs = Arc<dyn Fn() -> bool + Send + Sync>;

/// Reads the commits of another repo.
pub struct RepoProducer {
    source: Source,
    told: bool,
}

/// Which branch is read, and how.
#[derive(Clone)]
struct Source {
    spec: RepoSpec,
    store: Store,
    runs: Runs,
    /// Whether a branch whose own sources have all ended is taken to have ended too.
    ends: bool,
}

impl RepoProducer {
    /// Reads a branch of `store`. `runs` says whether its pipeline still runs here: as long as it does, the branch is not
    /// idle. `ends`: it has ended when everything that its own pipeline reads has.
    #[must_use]
    pub fn new(spec: RepoSpec, store: Store, runs: Runs, ends: bool) -> Self {
        Self { source: Source { spec, store, runs, ends }, told: false }
    }
}

#[async_trait]
impl Producer for RepoProducer {
    fn traits(&self) -> ProducerTraits {
        ProducerTraits {
            discover_every: std::time::Duration::from_secs(3600),
            drains: false,
            finite: false,
            readers: None,
        }
    }

    async fn partitions(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(Vec::new());
        }
        let spec = &self.source.spec;
        let mut found = Found::only(marker, &format!("{}@{}", spec.repo, spec.branch));
        if found.committed.is_none() && initial {
            found.start = self.source.start().await?;
        }
        Ok(vec![found])
    }

    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher> {
        let (source, number, token) = (self.source.clone(), found.start.offset, Token::read(&found.start));
        let cursor = Cursor { source, number, token, follower: None, sound: None };
        Box::new(RepoFetcher { cursor, reading: None })
    }
}

/// What a position holds besides the number of the newest commit that was read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    /// Id of that commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    after: String,
    /// How far the run of commits behind it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
    /// It began at a branch without commits: `latest` must not mean a later one after a crash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    begun: bool,
}

/// A place within a run of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// Number of the last commit of the run.
    last: u64,
    /// Everything that this commit holds is read, because the history before it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    /// The file that is next.
    file: usize,
    /// Rows or messages of it that were read.
    done: u64,
}

impl Token {
    fn read(position: &Position) -> Self {
        // One that cannot be read says nothing: the number alone has to do.
        position.token.as_deref().and_then(|token| serde_json::from_slice(token).ok()).unwrap_or_default()
    }

    fn at(&self, number: u64) -> Position {
        if *self == Self::default() {
            Position::at(number)
        } else {
            Position { offset: number, token: serde_json::to_vec(self).ok() }
        }
    }
}

impl Source {
    fn failed(&self, doing: &'static str, source: spout_repo::Error) -> Error {
        let (repo, branch) = (self.spec.repo.clone(), self.spec.branch.clone());
        let source: Arc<dyn Coded> = Arc::new(source);
        Error::Upstream { repo, branch, doing, source }
    }

    /// The upstream repo, if it is there.
    async fn repo(&self) -> Result<Option<Repo>, Error> {
        match self.store.repo(&self.spec.repo).await {
            Ok(repo) => Ok(Some(repo)),
            Err(spout_repo::Error::UnknownRepo { .. }) => Ok(None),
            Err(error) => Err(self.failed("opening", error)),
        }
    }

    /// Where a first run begins.
    async fn start(&self) -> Result<Position, Error> {
        let before = |number: u64| Token::default().at(number.saturating_sub(1));
        match &self.spec.start {
            RepoStart::Earliest => Ok(Position::default()),
            RepoStart::Latest => {
                let begun = Token { begun: true, ..Token::default() }.at(0);
                let Some(repo) = self.repo().await? else { return Ok(begun) };
                let mut follower = repo.follow(&self.spec.branch);
                let head = follower.refresh().await.map_err(|error| self.failed("opening", error))?;
                let after =
                    |head: &spout_repo::Commit| Token { after: head.id.clone(), ..Token::default() }.at(head.number);
                Ok(head.map_or(begun, after))
            }
            RepoStart::Commit(id) => {
                let repo = self.store.repo(&self.spec.repo).await.map_err(|error| self.failed("opening", error))?;
                let commit = repo.resolve(&Reference::head(&self.spec.repo, id)).await;
                let commit = commit.map_err(|error| self.failed("finding the start of", error))?;
                let mut follower = repo.follow(&self.spec.branch);
                follower.refresh().await.map_err(|error| self.failed("opening", error))?;
                let there = follower.commit(commit.number).await.map_err(|error| self.failed("opening", error))?;
                match there.filter(|there| there.id == commit.id) {
                    Some(there) => Ok(before(there.number)),
                    None => Err(self.gone(format!("its branch does not lead to commit {id}"))),
                }
            }
        }
    }

    fn gone(&self, what: String) -> Error {
        Error::Gone { repo: self.spec.repo.clone(), branch: self.spec.branch.clone(), what }
    }

    /// Whether the file at `path` is read.
    fn wants(&self, path: &str) -> Result<bool, Error> {
        let selection = path::Selection::new(self.spec.path.as_deref());
        Ok(selection.map_err(|error| self.failed("reading", error))?.contains(path))
    }
}

/// Reads one run of commits after the other.
struct RepoFetcher {
    cursor: Cursor,
    reading: Option<Reading>,
}

/// Where it is in the branch.
struct Cursor {
    source: Source,
    /// Number of the newest commit that was read whole.
    number: u64,
    token: Token,
    follower: Option<Follower>,
    /// The head and the number that were last found to belong together.
    sound: Option<(String, u64)>,
}

/// A run of commits that is being read.
struct Reading {
    provenance: Provenance,
    at_ms: i64,
    /// `None` for those that are not read.
    files: Vec<Option<AddedFile>>,
    part: Part,
    open: Option<Open>,
}

impl Reading {
    fn pass_over(&mut self) {
        while matches!(self.files.get(self.part.file), Some(None)) {
            self.part.file += 1;
        }
    }
}

/// The file that is being read.
enum Open {
    /// And the rest of a batch that was more than what was wanted at once.
    Rows(Peekable<spout_format::Batches>, Option<RecordBatch>),
    Messages(Blobs),
}

/// What comes next.
enum Next {
    Run(Box<Reading>),
    /// Nothing of it is read.
    Jump(u64),
    /// Nothing; and whether more is expected, because the upstream pipeline still runs.
    Nothing(Progress, bool),
}

#[async_trait]
impl Fetcher for RepoFetcher {
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        let Self { cursor, reading } = self;
        let mut open = match reading.take() {
            Some(open) => open,
            None => match cursor.next().await? {
                Next::Run(open) => *open,
                Next::Jump(to) => {
                    cursor.number = to;
                    return Ok(Fetched { jump: Some(to), ..cursor.fetched(to, Progress::More) });
                }
                Next::Nothing(progress, expects) => {
                    return Ok(Fetched { expects, ..cursor.fetched(cursor.number, progress) });
                }
            },
        };
        let start = cursor.number;
        let content = cursor.content(&mut open, most as usize).await?;
        let over = open.part.file >= open.files.len();
        cursor.pass(&open, over);
        let mut fetched = cursor.fetched(start, Progress::More);
        if let Some(content) = content {
            fetched.provenance.push(open.provenance.clone());
            match content {
                Content::Rows(rows) => fetched.rows = Some(rows),
                Content::Messages(messages) => fetched.messages = messages,
            }
        }
        *reading = (!over).then_some(open);
        Ok(fetched)
    }
}

enum Content {
    Rows(RecordBatch),
    Messages(Messages),
}

impl Cursor {
    /// A run from `start` to here, with nothing in it yet.
    fn fetched(&self, start: u64, progress: Progress) -> Fetched {
        let span = Span { partition: PartitionId::default(), start, next: self.token.at(self.number) };
        let head = self.follower.as_ref().and_then(Follower::head);
        let high_watermark = head.map(|head| head.number);
        Fetched { high_watermark, ..Fetched::new(Messages::default(), span, progress) }
    }

    /// Goes behind what was read of a run.
    fn pass(&mut self, reading: &Reading, over: bool) {
        if over {
            self.number = reading.part.last;
            self.token = Token { after: reading.provenance.upstream.commit.clone(), ..Token::default() };
        } else {
            self.token.part = Some(reading.part)
        }
    }

    /// The next run of commits, or nothing after a while.
    async fn next(&mut self) -> Result<Next, Error> {
        // Looked at first: what its pipeline committed before it stopped is then seen.
        let runs = (self.source.runs)();
        let failed = |error| self.source.failed("reading", error);
        if self.follower.is_none() {
            self.follower = self.source.repo().await?.map(|repo| repo.follow(&self.source.spec.branch));
        }
        let Some(follower) = &mut self.follower else {
            if self.number > 0 {
                return Err(self.source.gone("the repo is gone".into()));
            }
            tokio::time::sleep(self.source.spec.every.0).await;
            return Ok(Next::Nothing(Progress::Idle, runs));
        };
        let head = follower.refresh().await.map_err(failed)?;
        let number = head.map_or(0, |head| head.number);
        let sound = (head.map(|head| head.id.clone()).unwrap_or_default(), self.number);
        let over = self.source.ends && !runs && head.is_some_and(|head| has_ended(&head.marker));
        if self.sound.as_ref() != Some(&sound) {
            if let Some(what) = self.lost(number).await? {
                return self.enter_anew(number, what).await;
            }
            self.sound = Some(sound);
        }
        if number <= self.number {
            if over {
                return Ok(Next::Nothing(Progress::Ended, false));
            }
            if let Some(follower) = &mut self.follower {
                follower.wait(self.source.spec.every.0).await;
            }
            return Ok(Next::Nothing(Progress::Idle, runs));
        }
        self.open().await.map(|open| Next::Run(Box::new(open)))
    }

    /// Why it cannot go on where it is, if it cannot.
    async fn lost(&self, head: u64) -> Result<Option<String>, Error> {
        let failed = |error| self.source.failed("reading", error);
        let Some(follower) = &self.follower else { return Ok(None) };
        if head < self.number {
            return Ok(Some(format!("commit number {} was read, and the branch has {head}", self.number)));
        }
        if !self.token.after.is_empty()
            && let Some(there) = follower.commit(self.number).await.map_err(failed)?
            && there.id != self.token.after
        {
            let (ours, theirs) = (short(&self.token.after), short(&there.id));
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
    async fn enter_anew(&mut self, head: u64, what: String) -> Result<Next, Error> {
        let Some(follower) = &self.follower else { return Err(self.source.gone(what)) };
        let to = match self.source.spec.on_out_of_range {
            OutOfRange::Fail => return Err(self.source.gone(what)),
            OutOfRange::Latest => head,
            OutOfRange::Earliest => {
                let first = follower.first().await.map_err(|error| self.source.failed("reading", error))?;
                first.saturating_sub(1)
            }
        };
        let (repo, branch) = (&self.source.spec.repo, &self.source.spec.branch);
        tracing::warn!(repo, branch, what, to, "continuing after another commit, as `onOutOfRange` says");
        self.token = Token::default();
        Ok(Next::Jump(to))
    }

    /// Opens the run of commits behind the newest that was read, where it was left.
    async fn open(&self) -> Result<Reading, Error> {
        let failed = |error| self.source.failed("reading", error);
        let gone = || self.source.gone("the repo is gone".into());
        let follower = self.follower.as_ref().ok_or_else(gone)?;
        let begin = |last, whole| Part { last, whole, file: 0, done: 0 };
        let part = match self.token.part {
            Some(part) => part,
            None if self.number > 0 => begin(follower.run_from(self.number + 1), false),
            None => match follower.first().await.map_err(failed)? {
                0 | 1 => begin(follower.run_from(1), false),
                first => begin(first, true),
            },
        };
        let added = if part.whole {
            let commit = follower.commit(part.last).await.map_err(failed)?.ok_or_else(gone)?;
            follower.whole(commit).await
        } else {
            follower.added(self.number + 1, part.last).await
        };
        let Added { commit, files, rewritten } = added.map_err(failed)?;
        for file in rewritten {
            let counts = file.how == "reverted" || self.source.wants(&file.path)?;
            if counts && self.source.spec.rewritten == Rewritten::Fail {
                let (repo, branch) = (self.source.spec.repo.clone(), self.source.spec.branch.clone());
                let (commit, how, path) = (short(&file.commit).to_owned(), file.how, file.path);
                return Err(Error::Rewritten { repo, branch, commit, how, path });
            }
        }
        let wanted = |file: AddedFile| {
            let fits = self.source.spec.mode != RepoMode::Rows || file.format.is_some();
            Ok((fits && self.source.wants(&file.path)?).then_some(file))
        };
        let files = files.into_iter().map(wanted).collect::<Result<_, _>>()?;
        let (repo, branch) = (self.source.spec.repo.clone(), self.source.spec.branch.clone());
        let upstream = Upstream { repo, branch, commit: commit.id, lookup: false };
        let provenance = Provenance { upstream, global: commit.global };
        let mut reading = Reading { provenance, at_ms: commit.finished_ms, files, part, open: None };
        reading.pass_over();
        Ok(reading)
    }

    /// The next rows or messages of a run, `most` at once; `None` if it has no more. The part says afterwards what follows them.
    async fn content(&self, reading: &mut Reading, most: usize) -> Result<Option<Content>, Error> {
        while let Some(Some(file)) = reading.files.get(reading.part.file) {
            let open = match &mut reading.open {
                Some(open) => open,
                none => none.insert(self.file(file, reading.part.done).await?),
            };
            let (content, more) = match open {
                Open::Rows(batches, rest) => {
                    let batch = match rest.take() {
                        Some(rest) => Some(rest),
                        None => {
                            batches.next().transpose().map_err(|error| self.source.failed("reading", error.into()))?
                        }
                    };
                    let (batch, later) = batch.map(|batch| cut(batch, most)).unzip();
                    *rest = later.flatten();
                    let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
                    reading.part.done += rows as u64;
                    (batch.filter(|_| rows > 0).map(Content::Rows), rest.is_some() || batches.peek().is_some())
                }
                Open::Messages(values) => {
                    let first = usize::try_from(reading.part.done).unwrap_or(usize::MAX);
                    let mut messages = some(values, first, most, &file.path, reading.at_ms);
                    if self.source.spec.mode == RepoMode::Lines && !messages.is_empty() && values.get(0).len() <= FIRST
                    {
                        let value = values.get(0).to_vec();
                        messages.attributes.push(Attribute { first: 0, name: "first".into(), value });
                    }
                    reading.part.done += messages.len() as u64;
                    let more = (reading.part.done as usize) < values.len();
                    ((!messages.is_empty()).then_some(Content::Messages(messages)), more)
                }
            };
            if !more {
                (reading.part.file, reading.part.done, reading.open) = (reading.part.file + 1, 0, None);
                reading.pass_over();
            }
            if content.is_some() {
                return Ok(content);
            }
        }
        Ok(None)
    }

    /// Opens a file behind the `done` rows or messages that were read.
    async fn file(&self, file: &AddedFile, done: u64) -> Result<Open, Error> {
        let failed = |error| self.source.failed("reading", error);
        let gone = || self.source.gone("the repo is gone".into());
        let follower = self.follower.as_ref().ok_or_else(gone)?;
        let mut values = Blobs::default();
        match self.source.spec.mode {
            RepoMode::Rows => {
                let rows = follower.rows(file, None).await.map_err(failed)?;
                let rows = rows.unwrap_or_else(|| Box::new(std::iter::empty()));
                return Ok(Open::Rows(skipping(rows, done).peekable(), None));
            }
            RepoMode::Files => values.push(&follower.read(file).await.map_err(failed)?),
            RepoMode::Lines => {
                let bytes = follower.read(file).await.map_err(failed)?;
                let mut framer = Framer::new(&self.source.spec.framing)?;
                framer.push(&bytes, &mut values)?;
                framer.finish(&mut values)?;
            }
        }
        Ok(Open::Messages(values))
    }
}

/// Whether everything that the pipeline of a branch reads has ended.
fn has_ended(marker: &Marker) -> bool {
    !marker.partitions.is_empty() && marker.partitions.values().all(|partition| partition.ended)
}

/// The batches behind the first `done` rows.
fn skipping(batches: spout_format::Batches, done: u64) -> spout_format::Batches {
    let mut left = usize::try_from(done).unwrap_or(usize::MAX);
    Box::new(batches.filter_map(move |batch| {
        let batch = match batch {
            Ok(batch) => batch,
            error => return Some(error),
        };
        let skipped = left.min(batch.num_rows());
        left -= skipped;
        let rest = batch.num_rows() - skipped;
        (rest > 0).then(|| Ok(batch.slice(skipped, rest)))
    }))
}

/// The first `most` rows, and the others if there are any.
fn cut(batch: RecordBatch, most: usize) -> (RecordBatch, Option<RecordBatch>) {
    if batch.num_rows() > most {
        (batch.slice(0, most), Some(batch.slice(most, batch.num_rows() - most)))
    } else {
        (batch, None)
    }
}

/// Some messages from the one at `first` on, no more than `most`.
fn some(values: &Blobs, first: usize, most: usize, path: &str, at_ms: i64) -> Messages {
    let mut messages = Messages::default();
    let mut keys = Blobs::default();
    for index in first..values.len().min(first.saturating_add(MESSAGES.min(most))) {
        if messages.values.bytes.len() >= BYTES {
            break;
        }
        messages.values.push(values.get(index));
        keys.push(path.as_bytes());
        messages.timestamps_ms.push(at_ms);
    }
    messages.keys = Some(keys);
    messages
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl fmt::Debug for RepoProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepoProducer").field("spec", &self.source.spec).finish_non_exhaustive()
    }
}

impl fmt::Debug for RepoFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { number, token, .. } = &self.cursor;
        f.debug_struct("RepoFetcher").field("number", number).field("token", token).finish_non_exhaustive()
    }
}
