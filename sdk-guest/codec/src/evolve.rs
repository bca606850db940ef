//! Columns added to a schema while a decoder runs.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Field, Result, Schema, Unknown};

/// What happens to the schema when messages have fields outside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evolve {
    /// It stays as it is, and `unknown` decides about the fields.
    #[default]
    None,
    /// They become nullable columns after the others. Rows of earlier commits have null there.
    AddColumns,
}

impl Evolve {
    /// Whether columns are added.
    #[must_use]
    pub fn adds(self) -> bool {
        self == Self::AddColumns
    }

    /// Whether this is the default.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether it is compatible with `unknown`, which handles the same fields.
    pub(crate) fn check(self, unknown: Unknown) -> Result<()> {
        let other = match unknown {
            _ if !self.adds() => return Ok(()),
            Unknown::Drop => return Ok(()),
            Unknown::Fail => "fail",
            Unknown::Capture => "capture",
        };
        Err(Error::config(format!(
            "`evolve: add-columns` and `unknown: {other}` both say what becomes of fields outside the schema; leave one of them out"
        )))
    }
}

/// The columns of `found` missing from `schema`; both together are at most `most`.
pub(crate) fn added(schema: &Schema, found: &Schema, most: usize) -> Schema {
    let known: HashSet<&str> = schema.fields().iter().map(|field| field.name.as_str()).collect();
    let new = |field: &&Field| !known.contains(field.name.as_str());
    Schema::new(found.fields().iter().filter(new).take(most.saturating_sub(known.len())).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_text;

    #[test]
    fn columns_are_added_up_to_the_most() {
        let check = |found: &str, most: usize, expected: &str| {
            let schema = |text: &str| schema_text::parse(text).unwrap();
            assert_eq!(added(&schema(r#"{"a":"int64"}"#), &schema(found), most), schema(expected), "{found}");
        };
        check(r#"{"a":"utf8"}"#, 9, "{}");
        check(r#"{"b":"utf8","a":"utf8","c":"int64"}"#, 9, r#"{"b":"utf8","c":"int64"}"#);
        check(r#"{"b":"utf8","c":"int64"}"#, 2, r#"{"b":"utf8"}"#);
        check(r#"{"b":"utf8"}"#, 1, "{}");
        check(r#"{"b":"utf8"}"#, 0, "{}");
    }

    #[test]
    fn two_words_about_one_field_are_refused() {
        assert!(Evolve::None.check(Unknown::Fail).is_ok() && Evolve::AddColumns.check(Unknown::Drop).is_ok());
        for (unknown, word) in [(Unknown::Fail, "unknown: fail"), (Unknown::Capture, "unknown: capture")] {
            assert!(Evolve::AddColumns.check(unknown).unwrap_err().to_string().contains(word));
        }
    }
}
