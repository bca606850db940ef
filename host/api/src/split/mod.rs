//! One input put as many files, each with some of its records: Pachyderm's `put file --split`.
//!
//! The files are named by 16 hex digits, in order. `Cutter` cuts an input into them, `records` finds where records end.

mod cutter;
mod records;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::cutter::Cutter;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// A line.
    Line,
    /// A JSON value, however many lines it has.
    Json,
    /// A record of CSV, whose quoted values may have line ends.
    Csv,
}

impl SplitBy {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// How an input is cut into files. Without a target, each record is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// What a record is.
    pub by: SplitBy,
    /// So many records at the beginning are a header, with which every file begins.
    #[serde(default)]
    pub header_records: u64,
    /// A file ends after so many records; 0 is no target.
    #[serde(default)]
    pub target_file_datums: u64,
    /// A file ends with the record that brings it to so many bytes, its header not counted; 0 is no target.
    #[serde(default)]
    pub target_file_bytes: u64,
}

impl Split {
    /// Whether a file with so many records and bytes is complete.
    fn is_full(&self, records: u64, bytes: u64) -> bool {
        let none = self.target_file_datums == 0 && self.target_file_bytes == 0;
        let datums = self.target_file_datums > 0 && records >= self.target_file_datums;
        none || datums || self.target_file_bytes > 0 && bytes >= self.target_file_bytes
    }
}

/// The name of a file.
pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}")
}

/// The number of the file at `path`, if it is one directly in `directory`.
pub(crate) fn number(path: &str, directory: &str) -> Option<u64> {
    let name = path.strip_prefix(directory.trim_end_matches('/'))?.strip_prefix('/')?;
    let hex = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    hex.then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_number_of_its_directory() {
        assert_eq!(name(255), "00000000000000ff");
        let check = |path: &str, expected: Option<u64>| assert_eq!(number(path, "/d/"), expected, "{path}");
        check("/d/00000000000000ff", Some(255));
        check("/d/00000000000000FF", None);
        check("/d/e/00000000000000ff", None);
        check("/d00000000000000ff", None);
        check("/d/ff", None);
        assert_eq!(number("/0000000000000001", "/"), Some(1));
    }
}
