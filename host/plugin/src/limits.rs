//! What a plugin may use up: each instance of it, and all of them in one pipeline together.

use std::{sync::LazyLock, thread, time::Duration};

use rustix::process::{Resource, getrlimit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{ByteSize, Period};
use tokio::sync::Semaphore;

/// Quotas of every plugin of a pipeline. What exceeds one ends that call, never the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Linear memory of one instance.
    pub memory: ByteSize,
    /// Linear memory and tables of all instances of a plugin together; four times `memory`, or 64 MiB a processor if that is more.
    #[serde(alias = "total_memory", skip_serializing_if = "Option::is_none")]
    pub total_memory: Option<ByteSize>,
    /// Instances of a plugin that compute at the same time, where a call takes longer than 10 ms; as many as there are processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,
    /// Longest single call, waiting included; the fetch time-out comes on top for fetches.
    pub call: Period,
    /// Table elements of one instance.
    #[serde(alias = "table_elements")]
    pub table_elements: u32,
    /// Bytes that one answer (or one host call) may hand to the host.
    pub answer: ByteSize,
    /// Resource handles one instance may hold.
    pub handles: u32,
    /// Files and directories that all instances of a plugin together may have open; two thirds of what the process may have open,
    /// at most 65,536.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    /// Threads that all instances of a plugin together may have wait for files and for names that are looked up; 64, or as many as
    /// there are processors if that is more. What hangs there longer than a call may take holds its thread until it comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Sockets that all instances of a plugin together may have open, connections and listeners.
    pub sockets: u32,
    /// Bytes a second that all connections of all instances of a plugin together may carry, in both directions; any number where it
    /// is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<ByteSize>,
    /// Bytes that all instances of a plugin together may add to directories it may write to. What it removes is given back.
    pub disk: ByteSize,
    /// Partitions that a source may have.
    pub partitions: u32,
    /// Keyed state of one handler: keys and values, most of them in temporary files of the host.
    pub state: ByteSize,
    /// Log bytes a second of all instances of a plugin; what is over is dropped and counted.
    pub log: ByteSize,
    /// Columns of a schema, nested ones included.
    pub columns: u32,
    /// Nesting depth of a schema.
    pub depth: u32,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            memory: ByteSize(256 << 20),
            total_memory: None,
            processors: None,
            call: Period(Duration::from_secs(10)),
            table_elements: 100_000,
            answer: ByteSize(64 << 20),
            handles: 4096,
            files: None,
            threads: None,
            sockets: 256,
            traffic: None,
            disk: ByteSize(10 << 30),
            partitions: 10_000,
            state: ByteSize(1 << 30),
            log: ByteSize(1 << 20),
            columns: 4096,
            depth: 32,
        }
    }
}

/// Asked once: a memory that grows asks often, and the system looks into files for it.
static PROCESSORS: LazyLock<u64> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, |count| count.get() as u64));

/// Instances whose full memory a plugin may have.
const FULL: u64 = 4;

/// Memory for the instances of a plugin in the lane of one processor.
const A_PROCESSOR: u64 = 64 << 20;

/// Threads that wait for files where the spec does not say.
const THREADS: u64 = 64;

/// Most files that are open where the spec does not say.
const FILES: u32 = 1 << 16;

impl LimitsSpec {
    /// Memory of all instances of a plugin together. Where the spec does not say, it grows with the machine, whose processors are
    /// as many as lanes are by default: so many small plugins always have room, and a hostile one cannot have its own share as
    /// often as it has partitions.
    #[must_use]
    pub fn together(&self) -> u64 {
        let usual = self.memory.0.saturating_mul(FULL).max(A_PROCESSOR.saturating_mul(*PROCESSORS));
        self.total_memory.map_or(usual, |total| total.0)
    }

    /// Instances that compute at the same time.
    pub(super) fn processors(&self) -> usize {
        let most = self.processors.map_or(*PROCESSORS, u64::from).max(1);
        usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }

    /// Threads that wait for files.
    pub(super) fn threads(&self) -> usize {
        let most = self.threads.map_or(THREADS.max(*PROCESSORS), u64::from).max(1);
        usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }

    /// Files of all instances of a plugin together.
    pub(super) fn open_files(&self) -> u32 {
        let share = |most: u64| u32::try_from(most / 3 * 2).unwrap_or(FILES).min(FILES);
        self.files.unwrap_or_else(|| getrlimit(Resource::Nofile).current.map_or(FILES, share))
    }
}
