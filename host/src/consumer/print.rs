//! `print`: rows as a table on standard output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prints the first rows of each commit as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintSpec {
    /// Most rows printed of one commit.
    #[serde(default = "rows")]
    pub rows: usize,
}

fn rows() -> usize {
    10
}
