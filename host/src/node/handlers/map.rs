//! `map`: adds or replaces columns by expressions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map as JsonMap, Value};

/// Adds or replaces columns; every expression sees the input columns only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// SQL expressions by the name of the column they make, in order.
    #[serde(default)]
    pub columns: JsonMap<String, Value>,
    /// Columns to leave out afterwards.
    #[serde(default)]
    pub drop: Vec<String>,
    /// If given, only these columns are kept, in this order.
    #[serde(default)]
    pub select: Vec<String>,
}
