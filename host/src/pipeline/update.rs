//! What a running pipeline tells whoever started it.

use serde::Serialize;

/// Something worth showing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Update {
    /// The pipeline reads from here on.
    Started {
        /// Name of the pipeline.
        pipeline: String,
        /// The newest commit there was, if any.
        head: Option<String>,
        /// Partitions known so far.
        partitions: usize,
    },
    /// The pipeline can be reached at this address.
    Listening {
        /// Name of the pipeline.
        pipeline: String,
        /// Host and port.
        address: String,
    },
    /// Counts since the start; sent a few times a second while they change.
    Progress {
        /// Name of the pipeline.
        pipeline: String,
        /// Messages fetched.
        messages: u64,
        /// Payload bytes fetched.
        bytes: u64,
        /// Rows that reached the consumers.
        rows: u64,
        /// Offsets between what was fetched and what the source has, where it says so.
        lag: Option<u64>,
    },
    /// A commit is durable and visible.
    Committed {
        /// Name of the pipeline.
        pipeline: String,
        /// Its id.
        commit: String,
        /// Its place on the branch.
        sequence: u64,
        /// Rows in its data files.
        rows: u64,
        /// Messages set aside in it.
        dead_letters: u64,
        /// The threshold that cut it.
        reason: String,
        /// Milliseconds from the cut until it was durable.
        took_ms: u64,
    },
    /// Something failed and is tried again.
    Retrying {
        /// Name of the pipeline.
        pipeline: String,
        /// What failed, with its causes.
        error: String,
        /// Its code.
        code: String,
        /// Milliseconds until the next try.
        after_ms: u64,
    },
    /// The pipeline stopped: everything it took is committed.
    Stopped {
        /// Name of the pipeline.
        pipeline: String,
        /// Rows committed since the start.
        rows: u64,
        /// Commits since the start.
        commits: u64,
    },
    /// The pipeline stopped; what was not committed will be read again.
    Failed {
        /// Name of the pipeline.
        pipeline: String,
        /// What failed, with its causes.
        error: String,
        /// Its code.
        code: String,
    },
}
