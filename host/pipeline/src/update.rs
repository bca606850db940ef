//! What a running pipeline tells whoever started it.

use std::collections::BTreeMap;

use serde::Serialize;
use spout_data::Counts;
use spout_plugin::Metric;

use super::Reason;

/// Who wrote a branch before this run, and did not say that it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TookOver {
    /// The process and its machine.
    pub from: String,
    /// When it wrote last, in milliseconds since 1970 by its own clock.
    pub last_seen_ms: i64,
}

/// Metrics by plugin, then by name.
pub type PluginMetrics = BTreeMap<String, BTreeMap<String, Metric>>;

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
        /// Who wrote the branch before and may still do so.
        took_over: Option<TookOver>,
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
        /// Messages fetched, and what became of those that reached the consumers.
        #[serde(flatten)]
        counts: Counts,
        /// Payload bytes fetched.
        bytes: u64,
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
        /// What became of the messages in it.
        #[serde(flatten)]
        counts: Counts,
        /// The threshold that cut it.
        reason: String,
        /// Milliseconds from the cut until it was durable.
        took_ms: u64,
    },
    /// What the plugins have reported about themselves since the start; sent after a commit if it has changed, and before the
    /// stop.
    Metrics {
        /// Name of the pipeline.
        pipeline: String,
        /// By plugin, then by name.
        plugins: PluginMetrics,
        /// The pipeline is about to stop: these are the last ones.
        last: bool,
    },
    /// It has nothing to do, and is to stop only where its source ends, which that has not said it will.
    Waiting {
        /// Name of the pipeline.
        pipeline: String,
        /// What can be done about it.
        advice: String,
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
    /// The pipeline has committed everything it took, and waits until it is resumed.
    Paused {
        /// Name of the pipeline.
        pipeline: String,
    },
    /// The pipeline stopped: everything it took is committed.
    Stopped {
        /// Name of the pipeline.
        pipeline: String,
        /// What became of the messages that were committed since the start.
        #[serde(flatten)]
        counts: Counts,
        /// Commits since the start.
        commits: u64,
        /// Why some of them could not be processed, the commonest first.
        reasons: Vec<Reason>,
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

impl Update {
    /// Name of the pipeline that it is about.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        match self {
            Self::Started { pipeline, .. }
            | Self::Listening { pipeline, .. }
            | Self::Progress { pipeline, .. }
            | Self::Committed { pipeline, .. }
            | Self::Metrics { pipeline, .. }
            | Self::Waiting { pipeline, .. }
            | Self::Retrying { pipeline, .. }
            | Self::Paused { pipeline }
            | Self::Stopped { pipeline, .. }
            | Self::Failed { pipeline, .. } => pipeline,
        }
    }
}
