//! What one entry of a spec's `consumers` list can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{file::FileSpec, print::PrintSpec};

/// Where batches go besides the repo. All of these are at least once; only the repo is exactly once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ConsumerSpec {
    /// Prints rows as a table.
    Print(PrintSpec),
    /// Appends rows to a file outside the repo.
    File(FileSpec),
}
