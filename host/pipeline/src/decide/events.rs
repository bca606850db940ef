//! The words of `decide`: what happens, what to do about it, and the thresholds it compares.

use std::time::Duration;

use spout_data::PartitionId;
use spout_producer::Boundary;

/// Flush thresholds; the first one reached cuts the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Rows of one commit.
    pub(crate) rows: u64,
    /// Arrow bytes of one commit.
    pub(crate) bytes: u64,
    /// Time since the commit's first row or first move.
    pub(crate) time: Duration,
}

/// When a pipeline stops by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// Never.
    #[default]
    Stopped,
    /// When every partition has ended.
    Ended,
    /// When every partition has nothing for now.
    Idle,
}

/// What was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Took {
    pub(crate) partition: PartitionId,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) moved: bool,
    /// It was the last of the partition.
    pub(crate) ended: bool,
    /// Somebody waits for the commit of it, and should not wait longer than this.
    pub(crate) awaited: Option<Duration>,
    /// Commits of other repos that the open commit comes from, this included.
    pub(crate) upstream: usize,
    /// Where it stands in a commit of the source's own.
    pub(crate) boundary: Boundary,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A partition was found, or is read again.
    Opened(PartitionId),
    /// Rows were taken, or a position moved on without any.
    Took(Took),
    /// A source's own place moved on, without a message: the next commit says so, and before a stop there is one.
    Placed,
    /// The partition has nothing for now; and whether somebody is there who may send.
    Idle(PartitionId, bool),
    /// The partition has nothing ever again.
    Ended(PartitionId),
    /// The partition has given all that its producer had taken when it was told to stop.
    Drained(PartitionId),
    /// Columns were added, and what this partition has next is the first that has them: it belongs into another commit than
    /// what was taken before.
    Widened(PartitionId),
    /// What handlers held back came after the last commit was cut: so many rows and bytes, in any batch or none.
    Released { rows: u64, bytes: u64, any: bool },
    /// All partitions of the source are known.
    Discovered,
    /// The commit that was cut is finished.
    Committed,
    /// Somebody asked for a commit now.
    Forced,
    /// The process holds too much memory.
    MemoryHigh,
    /// Somebody asked the pipeline to stop.
    Shutdown,
    /// Time passed.
    Tick,
}

/// Why a commit was cut. Stands in the commit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rows,
    Bytes,
    Time,
    Awaited,
    Upstream,
    Source,
    Schema,
    Ended,
    Idle,
    Forced,
    Memory,
    Shutdown,
}

impl Reason {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Time => "time",
            Self::Awaited => "awaited",
            Self::Upstream => "upstream",
            Self::Source => "source",
            Self::Schema => "schema",
            Self::Ended => "ended",
            Self::Idle => "idle",
            Self::Forced => "forced",
            Self::Memory => "memory",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Notify the handlers that a partition has had nothing for so long.
    Quiet(PartitionId, Duration),
    /// Let handlers give the rows they hold back; no message will follow.
    Finish,
    /// The same where no commit is open; [`Event::Released`] says what came of it.
    Release,
    /// Cut a commit.
    Cut(Reason),
    /// Fetch no more.
    Drain,
    /// Leave what lanes still have: after the order to stop nothing came of it any more.
    Abandon,
    /// Say that the end of the source is waited for, which has nothing.
    Hint,
    /// Everything taken is committed and nothing is wanted any more.
    Stop,
}
