//! How much a handler may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::ByteSize;

use crate::Error;

const GROUPS: u64 = 1_000_000;
const BYTES: u64 = 1 << 30;

/// What to do about too much.
const FEWER: &str = "group by fewer columns, or raise `limits.groups`";
const SHORTER_ROWS: &str = "set `time.idleAfter` if a partition is idle, shorten its periods, or raise `limits.rows`";
const SHORTER_BYTES: &str = "set `time.idleAfter` if a partition is idle, shorten its periods, or raise `limits.bytes`";

/// How much a handler may hold. If it holds more, the pipeline stops with an error, and nothing of the commit becomes
/// visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Distinct groups, as in `100000`; 1,000,000 by default.
    pub groups: u64,
    /// Rows, as in `100000`; no limit by default.
    pub rows: Option<u64>,
    /// Memory for rows and groups, as in `256MiB`; 1GiB by default.
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
        let most = self.spec.groups;
        self.at_most(groups, most, || (format!("{groups} groups"), format!("{most} groups"), FEWER))
    }

    /// Refuses to hold more rows than it may.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn rows(&self, rows: usize) -> Result<(), Error> {
        let most = self.spec.rows.unwrap_or(u64::MAX);
        self.at_most(rows, most, || (format!("{rows} rows"), format!("{most} rows"), SHORTER_ROWS))
    }

    /// Refuses to hold more memory than it may.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn bytes(&self, bytes: usize) -> Result<(), Error> {
        let most = self.spec.bytes;
        self.at_most(bytes, most.0, || (format!("{bytes} bytes"), most.to_string(), SHORTER_BYTES))
    }

    fn at_most(&self, held: usize, most: u64, said: impl Fn() -> (String, String, &'static str)) -> Result<(), Error> {
        if held as u64 <= most {
            return Ok(());
        }
        let (held, limit, remedy) = said();
        Err(Error::Limit { handler: self.handler.clone(), held, limit, remedy: remedy.into() })
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
        assert!(text.contains("`w` holds 3 groups") && text.contains("limits.groups"), "{text}");
        assert!(limits.bytes(1025).unwrap_err().to_string().contains("1KiB"));
    }
}
