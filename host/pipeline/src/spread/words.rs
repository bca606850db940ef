//! What a leader and its workers say to each other: one frame each, a head as JSON and what belongs to it as bytes.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spout_base::error::Kind;
use spout_data::{Counts, PartitionId, Passing, Position, Upstream};
use spout_node::{Source, SourceEvent};
use spout_producer::{Elsewhere, Found};
use spout_repo::Prepared;

use super::super::{members::Done, totals::Reason};

/// Version of these words. A worker does no task of another version.
pub(super) const VERSION: u32 = 4;

/// What a worker is to do until it is told to cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskHead {
    pub(super) version: u32,
    pub(super) pipeline: String,
    /// The spec as it was written; secrets are named there, and read where they are needed.
    pub(super) spec: String,
    pub(super) spec_digest: String,
    /// Where relative paths of it start.
    pub(super) base: PathBuf,
    /// Digests of the plugins that may run, by name.
    pub(super) plugins: BTreeMap<String, String>,
    /// Epoch of the leader's claim.
    pub(super) epoch: u64,
    /// Number of the job since then.
    pub(super) job: u64,
    /// Which of the job's tasks it is, and of how many.
    pub(super) ordinal: usize,
    pub(super) tasks: usize,
    pub(super) mode: Mode,
    pub(super) partitions: Vec<Assigned>,
    /// Where the readers of a stream are, if it is read by some: what was taken up to there is left out by the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) readers: BTreeMap<PartitionId, Position>,
    /// Nothing is taken, and no task follows: sources are told what is durable, and let go.
    pub(super) last: bool,
    /// What the head stores of the columns, by key.
    pub(super) columns: BTreeMap<String, String>,
    /// Id that the commit will have, and what its files are named later than.
    pub(super) commit: String,
    pub(super) before_ms: i64,
    /// Nothing is taken beyond so many rows or bytes.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// The buckets of each gather, where rows go there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gathers: Vec<Vec<u16>>,
}

/// What a worker is to do with the rows of some buckets until it is told to cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GatherHead {
    #[serde(flatten)]
    pub(super) task: TaskHead,
    pub(super) buckets: Vec<u16>,
    /// How many tasks send to it.
    pub(super) readers: usize,
    /// The commit that its state is that of; none, if that is empty.
    pub(super) state: Option<String>,
    /// What the handlers are told before the first row.
    pub(super) events: Vec<EventWord>,
    /// The names of partitions.
    pub(super) labels: Vec<(PartitionId, String)>,
}

/// An event of a partition, as handlers get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EventWord {
    Opened(PartitionId),
    Idle(PartitionId, Duration),
    Ended(PartitionId),
}

impl EventWord {
    /// The word for `event`; none for what is no event of a partition.
    pub(super) fn of(event: SourceEvent) -> Option<Self> {
        match event {
            SourceEvent::Opened(Source::Partition(partition)) => Some(Self::Opened(partition)),
            SourceEvent::Idle(Source::Partition(partition), quiet) => Some(Self::Idle(partition, quiet)),
            SourceEvent::Ended(Source::Partition(partition)) => Some(Self::Ended(partition)),
            _ => None,
        }
    }

    pub(super) fn partition(self) -> PartitionId {
        match self {
            Self::Opened(partition) | Self::Idle(partition, _) | Self::Ended(partition) => partition,
        }
    }
}

impl From<EventWord> for SourceEvent {
    fn from(word: EventWord) -> Self {
        match word {
            EventWord::Opened(partition) => Self::Opened(Source::Partition(partition)),
            EventWord::Idle(partition, quiet) => Self::Idle(Source::Partition(partition), quiet),
            EventWord::Ended(partition) => Self::Ended(Source::Partition(partition)),
        }
    }
}

/// What a reading task says to a gather.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "kebab-case")]
pub(super) enum Sent {
    /// Rows of its buckets, which follow as a batch; where time counts, what each has before it is their last column.
    Rows { from: usize, partition: PartitionId, buckets: Vec<(u16, usize)>, newest: Option<i64> },
    /// A run of the partition is whole.
    Run { partition: PartitionId },
    /// Nothing more comes of this task.
    Cut,
}

/// Where rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Into files, by the worker: no handler and no consumer needs to see all of them.
    Files,
    /// To the leader.
    Rows,
    /// To those that have the handlers for their keys.
    Keys,
}

/// A partition of a task, and where its reading goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Assigned {
    pub(super) partition: PartitionId,
    pub(super) label: String,
    pub(super) at: Position,
    pub(super) committed: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) passing: Vec<Passing>,
    /// Everything before is durable, which the source is to be told: before this, or before where its reading goes on, which is not
    /// said twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) durable: Option<Durable>,
}

/// Up to where a partition is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Durable {
    Here,
    At(Position),
}

impl Assigned {
    /// Where everything before is durable.
    pub(super) fn durable(&self) -> Option<&Position> {
        match self.durable.as_ref()? {
            Durable::Here => Some(&self.at),
            Durable::At(position) => Some(position),
        }
    }
}

impl From<&Assigned> for Found {
    fn from(assigned: &Assigned) -> Self {
        let Assigned { partition, label, at, committed, passing, .. } = assigned.clone();
        Self { partition, label, start: at, committed, passing }
    }
}

/// What a task says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "kebab-case")]
pub(super) enum Word {
    /// A run was taken. Its batches follow, where the leader is to get them.
    Took(Took),
    /// A partition has nothing for now, and whether something is expected of it.
    Idle { partition: PartitionId, expects: bool },
    /// A partition has nothing ever again.
    Ended { partition: PartitionId },
    /// The source's own place is another one, at the same offset.
    Place { partition: PartitionId, position: Position },
    /// How its partitions stand and what was done since its leader's first task, now and then and at the cut.
    Stand { partitions: Vec<Elsewhere>, done: Done },
    /// What the handlers of a gather have done since it said so last.
    Handled { done: Done },
    /// Its process has little memory left: the commit is to be cut soon.
    Full,
    /// What was taken until now is all of this job.
    Cut {
        /// What is to be stored of the columns, by key.
        columns: BTreeMap<String, String>,
        /// The commits of tables that rows were looked up in.
        tables: Vec<Upstream>,
        /// What its files are named by.
        started_ms: i64,
    },
    /// What the handlers of a gather have made, as thresholds count it; and how many bytes of each reading task it is done with.
    Made { rows: u64, bytes: u64, counts: Counts, done: Vec<(usize, u64)> },
    /// Whether they held back anything, now that they are to give it.
    Finished { any: bool },
    /// The files of it are durable.
    Files(Box<Files>),
    /// This process cannot do tasks of the pipeline, and others may be able to.
    Unfit { text: String },
    /// It does not get what the member at the address `from` has for it.
    Apart { from: String, text: String },
    /// It cannot go on.
    Failed { code: String, kind: KindWord, text: String },
}

/// A run that was taken.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Took {
    pub(super) partition: PartitionId,
    /// Where the partition goes on, if it moved.
    pub(super) next: Option<Position>,
    /// The source was entered anew here.
    pub(super) jumped: Option<u64>,
    /// Somebody waits until it is durable, and should not wait longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) awaited: Option<Duration>,
    /// The rest of the run follows, before anything else of the partition.
    pub(super) partial: bool,
    /// Rows and bytes of it so far, as thresholds count them; and what became of the messages, where the leader does not get the rows.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) counts: Counts,
    /// Rows and bytes that gathers were given of it.
    #[serde(default)]
    pub(super) given: (u64, u64),
}

/// What a task has put.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) prepared: Prepared,
    pub(crate) counts: Counts,
    pub(crate) started_ms: i64,
    /// Messages set aside.
    pub(crate) dead: Vec<(PartitionId, u64)>,
    pub(crate) faults: Vec<Reason>,
}

/// A kind of error, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWord {
    Spec,
    Message,
    Plugin,
    Unavailable,
    Conflict,
    Fenced,
    Corrupt,
    Internal,
}

macro_rules! same_kinds {
    ($($kind:ident)*) => {
        impl From<Kind> for KindWord {
            fn from(kind: Kind) -> Self {
                match kind { $(Kind::$kind => Self::$kind,)* }
            }
        }

        impl From<KindWord> for Kind {
            fn from(kind: KindWord) -> Self {
                match kind { $(KindWord::$kind => Self::$kind,)* }
            }
        }
    };
}

same_kinds! { Spec Message Plugin Unavailable Conflict Fenced Corrupt Internal }

/// What a leader orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Take no more, and say what there is.
    Cut,
    /// Everything before these positions is durable, which sources are to be told: a commit was made while the task runs.
    Durable(Vec<(PartitionId, Position)>),
    /// A gather is done with so many bytes of a reading task.
    Done { task: usize, bytes: u64 },
    /// Gathers tell their handlers, once they have so many runs of these partitions.
    Event { event: EventWord, after: Vec<(PartitionId, u64)> },
    /// Gathers have them give what they hold back, in the same way.
    Finish { after: Vec<(PartitionId, u64)> },
}

impl Order {
    /// An order as it came.
    pub(super) fn read(order: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(order).map_err(|error| format!("an order that cannot be read: {error}"))
    }
}

/// A frame: the length of the head in four bytes, the head, and what belongs to it.
pub(super) fn frame<T: Serialize>(head: &T, body: &[u8]) -> Result<Bytes, serde_json::Error> {
    let head = serde_json::to_vec(head)?;
    let mut frame = BytesMut::with_capacity(4 + head.len() + body.len());
    // A head that long fits in no memory.
    frame.put_u32_le(u32::try_from(head.len()).unwrap_or(u32::MAX));
    frame.put_slice(&head);
    frame.put_slice(body);
    Ok(frame.freeze())
}

/// The head of a frame, and what belongs to it.
pub(super) fn unframe<T: DeserializeOwned>(frame: &Bytes) -> Result<(T, Bytes), String> {
    let short = || "a frame of a cluster is cut short".to_owned();
    let (length, rest) = frame.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|error| error.to_string())?;
    let head = rest.get(..length).ok_or_else(short)?;
    let head = serde_json::from_slice(head).map_err(|error| format!("the head of a frame of a cluster: {error}"))?;
    Ok((head, frame.slice(4 + length..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_cut_ones_are_refused() {
        let word = Word::Idle { partition: 7.into(), expects: true };
        let whole = frame(&word, b"body").unwrap();
        let (back, body) = unframe::<Word>(&whole).unwrap();
        assert!(matches!(back, Word::Idle { partition, expects: true } if partition == 7.into()));
        assert_eq!(body, "body");
        for cut in 0..whole.len() - 4 {
            assert!(unframe::<Word>(&whole.slice(..cut)).is_err(), "{cut}");
        }
        let mut huge = vec![255; 4];
        huge.extend_from_slice(b"{}");
        assert!(unframe::<Word>(&huge.into()).is_err());
    }
}
