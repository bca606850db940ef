//! User settings for CSV: the same in a spec and in the plugin's settings.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Header, Style, Value};
use crate::{Coerce, DataType, Error, Result, Schema, Unknown};

/// Settings of the `csv` decoder; `S` is the type of a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, bound(deserialize = "S: Deserialize<'de>"))]
#[schemars(rename = "CsvSettings")]
pub struct Settings<S> {
    /// Columns and their types, as in `{id: int64, at: "timestamp(ms, UTC)"}`. Without it types are inferred from the
    /// first messages and then fixed for the life of the branch.
    pub schema: Option<S>,
    /// `true`: a header names the columns, in any order: that of a file, a body or a stream, or the first record of a
    /// message with several. Where messages have none, the first one names the columns for the life of the branch, and
    /// records equal to it are left out. `false`:
    /// columns are `column_1`, …, or those of the schema; or a list of names, as in `[id, name]`.
    pub header: Header,
    /// The delimiter between values, as in `;` or `tab`.
    #[serde(deserialize_with = "delimiter")]
    #[schemars(with = "String")]
    pub delimiter: char,
    /// The character that encloses values, as in `'`; doubled, it stands for itself.
    pub quote: char,
    /// Unquoted values that mean null, as in `["", NA]`.
    pub nulls: Vec<String>,
    /// Whether they mean null in quotes too.
    #[serde(alias = "quoted_nulls")]
    pub quoted_nulls: bool,
    /// What to do with messages whose header has columns outside the schema.
    pub unknown: Unknown,
    /// The JSON text column that `unknown: capture` adds: `{"team": "7", "note": null}`.
    #[serde(alias = "unknown_column")]
    pub unknown_column: String,
    /// Looser choices, each by name, as in `{trim: true}`.
    pub coerce: Coerce,
}

impl<S> Default for Settings<S> {
    fn default() -> Self {
        Self {
            schema: None,
            header: Header::Given(true),
            delimiter: ',',
            quote: '"',
            nulls: vec![String::new()],
            quoted_nulls: false,
            unknown: Unknown::default(),
            unknown_column: "_unknown".into(),
            coerce: Coerce::default(),
        }
    }
}

fn delimiter<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<char, D::Error> {
    Style::delimiter_of(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl<S> Settings<S> {
    /// The delimiter and quote characters.
    ///
    /// # Errors
    /// One of the characters is not allowed.
    pub fn style(&self) -> Result<Style> {
        Style::new(self.delimiter, self.quote)
    }

    /// Whether the settings are compatible with the declared `schema`, if any.
    ///
    /// # Errors
    /// Names the setting that is not.
    pub fn check(&self, schema: Option<&Schema>) -> Result<()> {
        self.style()?;
        if self.unknown_column.is_empty() {
            return Err(Error::config("`unknownColumn` is empty; name the column that captures unknown columns"));
        }
        let fields = schema.map(Schema::fields).unwrap_or_default();
        let nested = |data_type: &DataType| !crate::text::is_scalar(data_type) && *data_type != DataType::Null;
        if let Some(field) = fields.iter().find(|field| nested(&field.data_type)) {
            return Err(Error::config(format!(
                "column `{}` is nested, which no CSV value is; declare it as utf8",
                field.name
            )));
        }
        let mut seen = HashSet::new();
        if let Some(field) = fields.iter().find(|field| !seen.insert(field.name.as_str())) {
            return Err(Error::config(format!("column `{}` is twice in the schema", field.name)));
        }
        let Header::Names(names) = &self.header else { return Ok(()) };
        let distinct: HashSet<&str> = names.iter().map(String::as_str).collect();
        if distinct.len() != names.len() || names.is_empty() {
            return Err(Error::config("setting `header` names no column, or one twice"));
        }
        match fields.iter().find(|field| !distinct.contains(field.name.as_str())) {
            Some(field) => Err(Error::config(format!(
                "column `{}` is in the schema and not in `header`, which names the values of a record in order",
                field.name
            ))),
            None => Ok(()),
        }
    }

    /// The same without a schema.
    #[must_use]
    pub fn bare(&self) -> Settings<()> {
        Settings {
            schema: None,
            header: self.header.clone(),
            delimiter: self.delimiter,
            quote: self.quote,
            nulls: self.nulls.clone(),
            quoted_nulls: self.quoted_nulls,
            unknown: self.unknown,
            unknown_column: self.unknown_column.clone(),
            coerce: self.coerce.clone(),
        }
    }

    /// Whether a value means null.
    #[inline]
    pub(super) fn is_null(&self, value: Value<'_>) -> bool {
        (!value.quoted || self.quoted_nulls) && self.nulls.iter().any(|null| null.as_bytes() == value.bytes)
    }
}
