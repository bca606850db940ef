//! What users set of the JSON decoder: the same words natively and in the plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Coerce, Error, Evolve, Result, Unknown};

/// Settings of the `json` decoder; `S` is how a schema is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "JsonSettings")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, bound(deserialize = "S: Deserialize<'de>"))]
pub struct Settings<S> {
    /// Columns and their types, in order, as in `{id: int64, at: "timestamp(ms, UTC)", user: {name: utf8}, tags: [utf8]}`.
    /// Without it the schema is inferred from the first messages and then stays as it is for the life of the branch.
    pub schema: Option<S>,
    /// What a field outside the schema does to its message.
    pub unknown: Unknown,
    /// The column that `unknown: capture` adds, of JSON text: `{"user.team": 7, "tags[2].x": null}`.
    pub unknown_column: String,
    /// `add-columns`: fields that the schema has not become nullable columns, from the commit that has their first values on.
    /// Each is typed as the first messages are. Goes without `unknown`; for the native decoder only.
    #[serde(skip_serializing_if = "Evolve::is_none")]
    pub evolve: Evolve,
    /// The looser choices, each by its name and off unless said.
    pub coerce: Coerce,
    /// What a key that stands twice in one object does to its message.
    pub duplicates: Duplicates,
    /// How deep objects and lists may stand in each other, at most 1024.
    pub depth: u32,
    /// Most columns that are inferred or added, those of nested objects included; what follows counts as unknown.
    pub columns: u32,
}

/// What a key that stands twice in one object does to its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The message is a fault: one of the two values would be lost.
    #[default]
    Fail,
    /// The last value counts, as in JavaScript.
    Last,
}

impl<S> Default for Settings<S> {
    fn default() -> Self {
        Self {
            schema: None,
            unknown: Unknown::default(),
            unknown_column: "_unknown".into(),
            evolve: Evolve::default(),
            coerce: Coerce::default(),
            duplicates: Duplicates::default(),
            depth: 128,
            columns: 2048,
        }
    }
}

impl<S> Settings<S> {
    /// The same without a schema.
    #[must_use]
    pub fn bare(&self) -> Settings<()> {
        Settings {
            schema: None,
            unknown: self.unknown,
            unknown_column: self.unknown_column.clone(),
            evolve: self.evolve,
            coerce: self.coerce.clone(),
            duplicates: self.duplicates,
            depth: self.depth,
            columns: self.columns,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.evolve.check(self.unknown)?;
        match (self.depth, self.columns, self.unknown_column.as_str()) {
            (1..=1024, 1.., name) if !name.is_empty() => Ok(()),
            (1..=1024, 1.., _) => {
                Err(Error::config("`unknownColumn` is empty; name the column that captures unknown fields"))
            }
            (1..=1024, ..) => Err(Error::config("`columns` must be at least 1")),
            _ => Err(Error::config("`depth` must be from 1 to 1024")),
        }
    }
}
