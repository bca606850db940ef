//! `repo`: the commits of another repo, each read exactly once. Only this folder reads the repo.
//!
//! The offset is the number of the newest commit that was read whole; where a large one may be split, the token says
//! which part is next. The token also names the newest commit, so that a branch that was set to others is noticed.
//!
//! **Invariant**: unless the spec says `split`, what was read as one, a commit or a run of them, becomes one commit.

mod branch;
mod cron;
mod cursor;
mod letters;
mod producer;
mod reading;
#[cfg(test)]
mod tests;
mod token;
mod trigger;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_data::Period;
use spout_repo::path;

pub use self::cron::Cron;
use self::producer::RepoProducer;
pub(super) use self::{
    branch::Branch,
    cursor::{CommitRun, Cursor, Next},
    token::Place,
    trigger::Trigger,
};
use crate::{
    Error, FramingSpec, MetadataColumn, OutOfRange, Peek, Producer, Promise, SourceContext, SourceSpec, Upstream,
};

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
    /// below `/dead-letter/`, `/late/` and `/.datums/`. A commit without any of them leads to no commit here.
    #[serde(default)]
    pub path: Option<String>,
    /// The same as `path`, by Pachyderm's name.
    #[serde(default)]
    pub glob: Option<String>,
    /// When commits are read as one, as in `{time: 1h}`. Without it, each is read by itself.
    #[serde(default)]
    pub trigger: Option<Trigger>,
    /// Whether `commit.flush` decides about commits here, so that a large one may become several and small ones may become one.
    /// Without it, each that is read becomes one.
    #[serde(default)]
    pub split: bool,
    /// Where to start if this pipeline has not read the repo yet, as in `latest`.
    #[serde(default)]
    pub start: RepoStart,
    /// How a commit is read: `rows` of its table files, whole `files`, `lines` (messages by `framing`), or its `deadLetters`, each
    /// as the message that it was.
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
    /// `deadLetters` only: those of this one of several producers.
    #[serde(default)]
    pub producer: Option<String>,
    /// Not for `rows`: columns added to every row, as in `[key, timestamp]`: the path, and the time of the commit; of a dead
    /// letter, those of its message.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
    /// Whether it is the pipeline's own branch, whose dead letters are replayed into it: those of whole messages that no decoder took,
    /// up to the commit that is the newest now.
    #[serde(skip)]
    pub own: bool,
}

fn branch() -> String {
    "master".into()
}

fn every() -> Period {
    Period(Duration::from_secs(1))
}

impl SourceSpec for RepoSpec {
    fn reach(&self) -> Option<Reach> {
        None
    }

    fn reads(&self) -> String {
        let what = match self.mode {
            RepoMode::Rows => "rows",
            RepoMode::Files => "files",
            RepoMode::Lines => "lines",
            RepoMode::DeadLetters => "dead letters",
        };
        let start = match &self.start {
            RepoStart::Earliest => "the first commit".into(),
            RepoStart::Latest => "the next commit".into(),
            RepoStart::Commit(id) => format!("commit {id}"),
        };
        let path = self.files().map(|path| format!(":{path}")).unwrap_or_default();
        format!("{what} of the commits of {}@{}{path}, from {start} or the last one read", self.repo, self.branch)
    }

    fn peek(&self) -> Peek {
        Peek::Harmless
    }

    fn promise(&self) -> Promise {
        Promise::REPLAYABLE
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let refused = |key, error: Option<spout_repo::Error>| error.map(|error| (key, error.to_string()));
        refused("repo", path::repo_name(&self.repo).err())
            .or_else(|| refused("branch", path::branch_name(&self.branch).err()))
            .or_else(|| refused("path", path::pattern(self.path.as_deref()?).err()))
            .or_else(|| refused("glob", path::pattern(self.glob.as_deref()?).err()))
            .or_else(|| self.trigger.as_ref()?.problem(self.mode == RepoMode::Rows).map(|why| ("trigger", why)))
            .or_else(|| self.contradiction())
    }

    fn decodes(&self) -> bool {
        self.mode != RepoMode::Rows
    }

    fn topic(&self) -> Option<&str> {
        Some(&self.repo)
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &self.metadata
    }

    fn unended(&self) -> String {
        format!("the pipeline that writes {}@{} has not ended", self.repo, self.branch)
    }

    fn upstream(&self) -> Option<Upstream<'_>> {
        // Of itself it waits for nothing.
        (!self.own).then_some(Upstream::Branch(&self.repo, &self.branch))
    }

    fn replays(&self) -> bool {
        self.own
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let SourceContext { store, writer_over, until_ended, .. } = context;
        Ok(Box::new(RepoProducer::new(self.clone(), store.clone(), writer_over, until_ended)))
    }
}

impl RepoSpec {
    /// The dead letters of the branch of a pipeline, those of `producer` only where one is named.
    pub(super) fn dead_letters(repo: &str, branch: &str, producer: Option<&str>, metadata: &[MetadataColumn]) -> Self {
        Self {
            repo: repo.to_owned(),
            branch: branch.to_owned(),
            path: None,
            glob: None,
            trigger: None,
            split: true,
            start: RepoStart::Earliest,
            mode: RepoMode::DeadLetters,
            framing: FramingSpec::default(),
            rewritten: Rewritten::Fail,
            on_out_of_range: OutOfRange::default(),
            every: every(),
            producer: producer.map(str::to_owned),
            metadata: metadata.to_vec(),
            own: false,
        }
    }

    /// The files that are read, where the spec names any.
    fn files(&self) -> Option<&str> {
        let letters = (self.mode == RepoMode::DeadLetters).then_some("/dead-letter/");
        self.path.as_deref().or(self.glob.as_deref()).or(letters)
    }

    /// The first key that contradicts the mode, or cannot be, and what to do.
    fn contradiction(&self) -> Option<(&'static str, String)> {
        match self.mode {
            RepoMode::Lines => {
                if let Some(problem) = self.framing.problem() {
                    return Some(problem);
                }
            }
            _ if self.framing != FramingSpec::default() => {
                return Some(("framing", "`framing` is for `mode: lines`; set that, or leave it out".into()));
            }
            RepoMode::Rows if !self.metadata.is_empty() => {
                let why = "committed rows have no messages; use `mode: lines` or `mode: files`, or leave it out";
                return Some(("metadata", why.into()));
            }
            RepoMode::Rows | RepoMode::Files | RepoMode::DeadLetters => {}
        }
        if self.producer.is_some() && self.mode != RepoMode::DeadLetters {
            return Some(("producer", "`producer` is for `mode: deadLetters`; set that, or leave it out".into()));
        }
        if self.path.is_some() && self.glob.is_some() {
            return Some(("glob", "`glob` and `path` are the same; leave out one of them".into()));
        }
        if self.split && self.trigger.is_some() {
            let why = "`flush` decides about commits where `split` is set; leave out one of `split` and `trigger`";
            return Some(("split", why.into()));
        }
        match &self.start {
            RepoStart::Commit(id) if id.len() < 4 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Some(("start", "write the id of a commit, or at least four digits of it".into()))
            }
            _ => None,
        }
    }
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
    /// Each dead letter is the message that it was. Those that hold a part of one, or a row that a handler had made, are left out.
    #[serde(rename = "deadLetters", alias = "dead_letters")]
    DeadLetters,
}

impl RepoMode {
    /// Whether files are read that are tables.
    fn reads_tables(self) -> bool {
        matches!(self, Self::Rows | Self::DeadLetters)
    }
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
