//! Rows of a running pipeline, as they are shown to whoever looks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rows that have passed a handler of a running pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tapped {
    /// The id of the handler, or `decode`.
    pub handler: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The values of each row, in the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// How many rows have passed since somebody looks.
    pub of: u64,
    /// How many of those that were asked for were left out: they came faster than they were read, or are too large.
    #[serde(default)]
    pub missed: u64,
}
