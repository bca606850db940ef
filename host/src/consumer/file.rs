//! `file`: rows appended to a file outside the repo, at least once.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::repo::Format;

/// Appends rows to a file outside the repo, as NDJSON or CSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// The file; a relative path starts at the spec's own directory.
    pub path: PathBuf,
    /// `ndjson` or `csv`.
    #[serde(default = "ndjson")]
    pub format: Format,
}

fn ndjson() -> Format {
    Format::Ndjson
}
