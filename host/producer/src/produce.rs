//! What every producer does: finds partitions, fetches their messages, learns what is durable.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Counts, Marker, Messages, PartitionId, Passing, Position, Provenance, Span};
use spout_plugin::Progress;
use spout_repo::OpenCommit;

use super::Error;

/// A partition to read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The partition.
    pub partition: PartitionId,
    /// The source's name for it.
    pub label: String,
    /// Where to start.
    pub start: Position,
    /// The offset that the last commit ends at; `None` if no commit has seen the partition.
    pub committed: Option<u64>,
    /// What is passed over where it is reached, as a marker says.
    pub passing: Vec<Passing>,
}

impl Found {
    /// The only partition of a source that has one: it goes on where `marker` says.
    #[must_use]
    pub fn only(marker: &Marker, label: &str) -> Self {
        let entry = marker.partitions.get(&PartitionId::default());
        Self {
            partition: PartitionId::default(),
            label: label.to_owned(),
            start: entry.map(|entry| entry.position.clone()).unwrap_or_default(),
            committed: entry.map(|entry| entry.position.offset),
            passing: Vec::new(),
        }
    }
}

/// What one fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// The messages, possibly none.
    pub messages: Messages,
    /// Rows that need no decoder; there is no message then.
    pub rows: Option<RecordBatch>,
    /// The run they cover; `next` may move on without any message.
    pub span: Span,
    /// Offset after the newest message that the source has, where it says so.
    pub high_watermark: Option<u64>,
    /// Whether there is more, nothing for now, or nothing ever again.
    pub progress: Progress,
    /// The source's own place, its token, is another one after it, whether or not the offset is.
    pub replaced: bool,
    /// There is nothing for now, and yet somebody is there who may send: `--until idle` goes on.
    pub expects: bool,
    /// The source was re-entered at this offset, because it no longer had the one asked for.
    pub jump: Option<u64>,
    /// Somebody waits until these messages are durable, and should not wait longer than this.
    pub awaited: Option<Duration>,
    /// The commits of other repos that they come from.
    pub provenance: Vec<Provenance>,
    /// Where it stands in a commit of the source's own.
    pub boundary: Boundary,
    /// The files of that commit, where it ends here.
    pub files: Option<Box<OpenCommit>>,
    /// What became of what a source has processed itself.
    pub counts: Counts,
}

/// Whether the pipeline may cut a commit after a run, for sources that have commits of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// It may.
    #[default]
    Free,
    /// It may not: the rest of the source's commit follows. If the pipeline stops before that, nothing of it is committed.
    Inside,
    /// It must, before anything else is taken: the source's commit ends here.
    End,
}

impl Fetched {
    /// Messages that cover `span`, and nothing more to say about them.
    #[must_use]
    pub fn new(messages: Messages, span: Span, progress: Progress) -> Self {
        Self {
            messages,
            rows: None,
            span,
            high_watermark: None,
            progress,
            replaced: false,
            expects: false,
            jump: None,
            awaited: None,
            provenance: Vec::new(),
            boundary: Boundary::Free,
            files: None,
            counts: Counts::default(),
        }
    }

    /// How many messages or rows it brought.
    #[must_use]
    pub fn count(&self) -> usize {
        self.messages.len() + self.rows.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// Whether the position is another after it. Messages alone say so too: of something large that is read in parts, all
    /// parts may have one offset.
    #[must_use]
    pub fn moves(&self) -> bool {
        let holds = self.rows.is_some() || !self.messages.is_empty();
        holds || self.jump.is_some() || self.span.start != self.span.next.offset
    }
}

/// A finished commit, as producers are notified of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Its id.
    pub commit: String,
    /// Its place on the branch.
    pub sequence: u64,
    /// Where each partition goes on that moved with it: everything before is durable.
    pub positions: BTreeMap<PartitionId, Position>,
    /// Messages that were set aside in it, as (partition, offset), sorted.
    pub dead: Vec<(PartitionId, u64)>,
}

/// How a producer has to be treated. It does not change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerTraits {
    /// How often to ask for new partitions.
    pub discover_every: Duration,
    /// What it has taken and not yet handed over would be lost: before a stop, [`Producer::drain`] is called, and its
    /// fetchers are asked until each says [`Progress::Ended`].
    pub drains: bool,
    /// When all partitions have ended there will never be another, and the pipeline is done.
    pub finite: bool,
    /// Partitions are spread over so many fetchers, by number; without it each has its own.
    pub readers: Option<u32>,
    /// Where a partition has ended, others may come after it, such as the halves of one that was split: before nothing more is
    /// expected, partitions are looked for once more.
    pub heirs: bool,
    /// To look for partitions can take as long as somebody else likes: [`Producer::look`] begins it, and nothing waits for it.
    pub beside: bool,
}

/// Where partitions are to go on, whatever was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// At the oldest message that the source has.
    Earliest,
    /// With what arrives from now on.
    Latest,
    /// At this offset.
    Offset(u64),
}

/// Reads a [`Source`](super::Source) while a pipeline runs.
#[async_trait]
pub trait Producer: fmt::Debug + Send {
    /// How it has to be treated.
    fn traits(&self) -> ProducerTraits;

    /// The partitions not returned before. Those that `marker` knows start there; others start as the spec says if `initial`
    /// (nothing was ever committed), and at the earliest message otherwise, so that nothing is left out.
    ///
    /// # Errors
    /// What the source answers.
    async fn partitions(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error>;

    /// Begins to look for partitions beside everything else, and whether it did: not while it still looks. See
    /// [`ProducerTraits::beside`].
    fn look(&mut self, _marker: &Marker) -> bool {
        false
    }

    /// What that found, as [`Producer::partitions`] would, which otherwise waits for it and has it too; never, if it was not begun.
    /// The future may be dropped.
    ///
    /// # Errors
    /// What the source answers.
    async fn looked(&mut self) -> Result<Vec<Found>, Error> {
        std::future::pending().await
    }

    /// Where each partition would go on at `goal`: those that `marker` knows, and those that are new. Nothing is read.
    ///
    /// # Errors
    /// [`Error::Unseekable`], and what the source answers.
    async fn seek(&mut self, _marker: &Marker, _goal: Goal) -> Result<Vec<Found>, Error> {
        Err(Error::Unseekable { why: "it takes what others send, and cannot ask for a message again".into() })
    }

    /// The lane that reads `partition`, named after the first partition that it may read.
    fn lane(&self, partition: PartitionId) -> PartitionId {
        let number = self.traits().readers.map_or(partition.number, |readers| partition.number % readers.max(1));
        PartitionId { number, ..partition }
    }

    /// How many consumers share the stream that this partition is a consumer of, each message of which goes to one of them; none where
    /// partitions are something else. The fetcher of a consumer is also told of the others, by [`Fetcher::committed`], and of where they are
    /// before it fetches anything; [`Readers`](super::Readers) tells whether two of them have taken the same.
    fn consumers(&self, _partition: PartitionId) -> Option<u32> {
        None
    }

    /// Fetches the messages of a partition that was returned, and of those that are added to the fetcher.
    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher>;

    /// The addresses it listens at, once partitions were returned.
    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// Notified at once of every commit, whatever its fetchers are doing: clients that wait for it are answered here.
    fn committed(&mut self, _durable: &Durable) {}

    /// Takes no more from outside; see [`ProducerTraits::drains`].
    fn drain(&mut self) {}

    /// Tells clients that still wait how it ended. Nothing is fetched any more.
    async fn close(&mut self) {}
}

/// Brings the messages of a partition, or of several where [`ProducerTraits::readers`] says so.
#[async_trait]
pub trait Fetcher: fmt::Debug + Send {
    /// Brings the messages of this partition too. Only a fetcher is asked whose producer spreads its partitions.
    fn add(&mut self, _found: Found) {}

    /// Waits until fetching is worth it. The future may be dropped.
    async fn ready(&mut self) {}

    /// The next messages or rows of one partition, or none after a while; no more than `most` (one at least) wherever a position can be between
    /// any two of them. Passing trouble is waited out here. The future may be dropped: what it had not returned is then not
    /// taken.
    ///
    /// # Errors
    /// Trouble that does not pass.
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error>;

    /// Notified between two fetches that everything before these positions is durable: a hint for sources that keep a position. Those of
    /// others are among them where [`Producer::consumers`] says so.
    async fn committed(&mut self, _upto: &BTreeMap<PartitionId, Position>) {}

    /// Whether it is to be notified of the last commit too, whatever became of the fetch before.
    fn passes_on(&self) -> bool {
        self.acknowledges()
    }

    /// Whether it cannot do without that: then a stop does not cut a fetch off, and it is asked no more after it.
    fn acknowledges(&self) -> bool {
        false
    }
}

/// What to do when the source no longer has the offset to go on at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// Stop and say which messages are gone.
    #[default]
    Fail,
    /// Continue at the oldest message available.
    Earliest,
    /// Continue with what arrives from now on.
    Latest,
}
