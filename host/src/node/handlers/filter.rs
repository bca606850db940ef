//! `filter`: keeps the rows for which an expression is true.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the rows for which `where` is true; null counts as not true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// A boolean SQL expression over the columns, as in `type = 'PushEvent' and actor['login'] <> 'bot'`.
    pub r#where: String,
}
