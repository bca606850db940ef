//! How a spec names the commits of another repo as a source.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::Period;

use super::{FramingSpec, MetadataColumn, OutOfRange};

/// The commits of another repo of the same store, as in `{repo: events, path: /clean/}`; each is read once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepoSpec {
    /// Name of the repo, as in `events`; a pipeline writes the repo of its own name.
    pub repo: String,
    /// Its branch, as in `master`.
    #[serde(default = "branch")]
    pub branch: String,
    /// Files that are read: a directory as in `/clean/`, or a pattern as in `/clean/**/*.parquet`. Without it, all but those
    /// below `/dead-letter/` and `/late/`.
    #[serde(default)]
    pub path: Option<String>,
    /// Where to start if this pipeline has not read the repo yet, as in `latest`.
    #[serde(default)]
    pub start: RepoStart,
    /// How a commit is read: `rows` of its table files, whole `files`, or `lines` (messages by `framing`).
    #[serde(default)]
    pub mode: RepoMode,
    /// `lines` only: where messages end in a file, as in `{type: length}`.
    #[serde(default)]
    pub framing: FramingSpec,
    /// What to do when a file that may have been read is overwritten, removed or reverted, as in `pass`.
    #[serde(default)]
    pub rewritten: Rewritten,
    /// What to do when commits that were not read yet are gone, or the branch was moved, as in `earliest`.
    #[serde(default, alias = "on_out_of_range")]
    pub on_out_of_range: OutOfRange,
    /// How often to look for new commits, as in `1s`; commits of this process are seen at once.
    #[serde(default = "every")]
    pub every: Period,
    /// `files` and `lines` only: columns added to every row, as in `[key, timestamp]`: the path, and the time of the commit.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
}

fn branch() -> String {
    "master".into()
}

fn every() -> Period {
    Period(Duration::from_secs(1))
}

/// Where to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum RepoStart {
    /// With everything that the branch holds.
    #[default]
    Earliest,
    /// With the next commit that is made.
    Latest,
    /// With this commit, given by its id or the start of it.
    Commit(String),
}

/// How a commit is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RepoMode {
    /// The rows of table files, which need no decoder; other files are left out.
    #[default]
    Rows,
    /// Each file is one message; of a file that grew, what was added.
    Files,
    /// Each file is cut into messages by `framing`.
    Lines,
}

/// What to do about files that may have been read and no longer exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rewritten {
    /// Stop and name the file: what was made from it cannot be undone.
    #[default]
    Fail,
    /// Continue: a file that overwrites another is read as if it were added, and what was made from removed files stays.
    Pass,
}
