//! The file formats of data files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Format of a data file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    #[default]
    Parquet,
    /// Arrow IPC file.
    Arrow,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}
