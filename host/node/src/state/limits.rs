//! How much a handler may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::ByteSize;

use crate::Error;

const GROUPS: u64 = 1_000_000;
const BYTES: u64 = 1 << 30;

/// How much a handler may hold: the pipeline stops with an error, and nothing of the commit becomes visible, when it holds more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Different groups, as in `100000`; a million if nothing is said.
    pub groups: u64,
    /// Rows held, as in `100000`; any number if nothing is said.
    pub rows: Option<u64>,
    /// Memory for rows and groups, as in `256MiB`; 1GiB if nothing is said.
    pub bytes: ByteSize,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { groups: GROUPS, rows: None, bytes: ByteSize(BYTES) }
    }
}

impl LimitsSpec {
    /// The limits of the handler `handler`.
    #[must_use]
    pub(crate) fn of(&self, handler: &str) -> Limits {
        Limits { handler: handler.to_owned(), spec: *self }
    }
}

/// The limits of one running handler.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    handler: String,
    spec: LimitsSpec,
}

impl Limits {
    /// Refuses more groups than there may be.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn groups(&self, groups: usize) -> Result<(), Error> {
        if groups as u64 <= self.spec.groups {
            Ok(())
        } else {
            Err(Error::Limit {
                handler: self.handler.clone(),
                held: format!("{groups} groups"),
                limit: format!("{} groups", self.spec.groups),
                remedy: "group by fewer columns, or raise `limits.groups`".into(),
            })
        }
    }

    /// Refuses to hold more rows than it may.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn rows(&self, rows: usize) -> Result<(), Error> {
        match self.spec.rows {
            Some(most) if rows as u64 > most => Err(Error::Limit {
                handler: self.handler.clone(),
                held: format!("{rows} rows"),
                limit: format!("{most} rows"),
                remedy:
                    "set `idleAfter` of its time if one partition stands still, shorten its times, or raise `limits.rows`"
                        .into(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses to hold more memory than it may.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn bytes(&self, bytes: usize) -> Result<(), Error> {
        if bytes as u64 <= self.spec.bytes.0 {
            Ok(())
        } else {
            Err(Error::Limit {
                handler: self.handler.clone(),
                held: format!("{bytes} bytes"),
                limit: self.spec.bytes.to_string(),
                remedy:
                    "set `idleAfter` of its time if one partition stands still, shorten its times, or raise `limits.bytes`"
                        .into(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limit_is_refused_with_what_to_do() {
        let spec: LimitsSpec = serde_json::from_str(r#"{"groups": 2, "bytes": "1KiB"}"#).unwrap();
        let limits = spec.of("w");
        limits.groups(2).unwrap();
        limits.bytes(1024).unwrap();
        let text = limits.groups(3).unwrap_err().to_string();
        assert!(text.contains("\"w\" holds 3 groups") && text.contains("limits.groups"), "{text}");
        assert!(limits.bytes(1025).unwrap_err().to_string().contains("1KiB"));
    }
}
