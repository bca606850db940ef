//! What one plugin instance may use up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{ByteSize, Period};

/// Quotas of every plugin instance of a pipeline. What exceeds one ends that call, never the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Linear memory of one instance.
    pub memory: ByteSize,
    /// Longest single call, waiting included; the fetch time-out comes on top for fetches.
    pub call: Period,
    /// Table elements of one instance.
    #[serde(alias = "table_elements")]
    pub table_elements: u32,
    /// Bytes that one answer (or one host call) may hand to the host.
    pub answer: ByteSize,
    /// Resource handles one instance may hold.
    pub handles: u32,
    /// Sockets one instance may have open, connections and listeners.
    pub sockets: u32,
    /// Keyed state of one handler: keys and values, most of them in temporary files of the host.
    pub state: ByteSize,
    /// Log bytes a second; what is over is dropped and counted.
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
            call: Period(Duration::from_secs(10)),
            table_elements: 100_000,
            answer: ByteSize(64 << 20),
            handles: 4096,
            sockets: 256,
            state: ByteSize(1 << 30),
            log: ByteSize(1 << 20),
            columns: 4096,
            depth: 32,
        }
    }
}
