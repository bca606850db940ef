//! User settings of the JSON decoder: the same natively and in the plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Coerce, Error, Evolve, Result, Unknown};

/// Settings of the `json` decoder; `S` is the type of a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "JsonSettings")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, bound(deserialize = "S: Deserialize<'de>"))]
pub struct Settings<S> {
    /// Columns and their types, in order, as in `{id: int64, at: "timestamp(ms, UTC)", user: {name: utf8}, tags:
    /// [utf8]}`. Without it the schema is inferred from the first messages and then fixed for the life of the branch.
    pub schema: Option<S>,
    /// What to do with a message that has a field outside the schema.
    pub unknown: Unknown,
    /// The JSON text column that `unknown: capture` adds: `{"user.team": 7, "tags[2].x": null}`.
    pub unknown_column: String,
    /// `add-columns`: fields outside the schema become nullable columns, from the commit with their first values on.
    /// Their types are inferred as for the first messages. Not with `unknown`; native decoder only.
    #[serde(skip_serializing_if = "Evolve::is_none")]
    pub evolve: Evolve,
    /// Looser choices, each by name and off by default.
    pub coerce: Coerce,
    /// What to do with a message that repeats a key in one object.
    pub duplicates: Duplicates,
    /// How deeply objects and lists may nest, at most 1024.
    pub depth: u32,
    /// Most columns inferred or added, including those of nested objects; further fields count as unknown.
    pub columns: u32,
}

/// What to do with a message that repeats a key in one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The message is a dead letter: one of the two values would be lost.
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
