//! What can be wrong with a spec. Every message names the file and the line.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use spout_base::{
    error::{Coded, Kind},
    reach::Reach,
};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line, counted from 1.
    pub line: usize,
}

impl Place {
    pub(super) fn new(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// What can be wrong with a spec.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or is not readable text.
    #[error("cannot read the spec {}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The text is neither YAML nor JSON.
    #[error("{at}: this is neither YAML nor JSON: {what}")]
    Syntax {
        /// Where.
        at: Place,
        /// What the parser said.
        what: String,
    },
    /// The file holds no pipeline.
    #[error("{} contains no pipeline; `spout schema --example` prints one to start from", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A key nobody knows.
    #[error("{at}: unknown key `{key}` at `{path}`; {advice}")]
    UnknownKey {
        /// Where.
        at: Place,
        /// The key.
        key: String,
        /// The key with what it is within.
        path: String,
        /// The nearest known key, or all of them.
        advice: String,
    },
    /// A value of the wrong type, or one that is not allowed.
    #[error("{at}: `{path}` is {found}; {expected}")]
    WrongValue {
        /// Where.
        at: Place,
        /// The key with what it is within.
        path: String,
        /// What is there.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// A key that has to be there is not.
    #[error("{at}: {within} has no {missing}; {advice}")]
    Missing {
        /// Where the map starts.
        at: Place,
        /// What the key should be within.
        within: String,
        /// The key or keys.
        missing: String,
        /// What to write.
        advice: String,
    },
    /// The file is larger or deeper than a spec has reason to be.
    #[error("{at}: too much for a spec: {what}")]
    TooMuch {
        /// Where.
        at: Place,
        /// Which limit.
        what: String,
    },
    /// One key is written twice.
    #[error("{at}: the key `{key}` is already given on line {first}; keep one of them")]
    TwiceKey {
        /// The second time.
        at: Place,
        /// The key.
        key: String,
        /// Line of the first time.
        first: usize,
    },
    /// A stream that is read as one of the other kind.
    #[error(
        "{at}: {}",
        if *.is {
            format!("the source of plugin `{plugin}` forgets messages once they are acknowledged; read it with `consumerType: acked`")
        } else {
            format!("the source of plugin `{plugin}` is not acknowledged; read it with `consumerType: highlevel`")
        }
    )]
    Acknowledged {
        /// Where.
        at: Place,
        /// The key with what it is within.
        key: String,
        /// The plugin.
        plugin: String,
        /// Whether it is acknowledged.
        is: bool,
    },
    /// A name, path or template that cannot be one.
    #[error("{at}: `{path}` is `{value}`, which cannot be {what}; {rule}")]
    BadName {
        /// Where.
        at: Place,
        /// The key with what it is within.
        path: String,
        /// The name.
        value: String,
        /// What it should be.
        what: &'static str,
        /// What one looks like.
        rule: String,
    },
    /// A key of Pinot's `streamConfigs` that is unknown, or whose value cannot be used.
    #[error("{at}: streamConfigs key `{key}` {what}")]
    StreamConfigs {
        /// Where.
        at: Place,
        /// The key.
        key: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// Parts of a spec that do not go together.
    #[error("{at}: pipeline `{pipeline}`: {what}")]
    Contradiction {
        /// Where.
        at: Place,
        /// The key with what it is within.
        key: String,
        /// The pipeline.
        pipeline: String,
        /// What contradicts what, and what to do.
        what: String,
    },
    /// Dead letters that cannot go into the table of their own pipeline.
    #[error(
        "{at}: pipeline `{pipeline}`: its dead letters cannot be replayed into its own table, because the handler `{handler}` has state, and takes rows in the order of their sources, which letters have lost; replay them into a repo of their own, without --into-source"
    )]
    NotReplayed {
        /// Where.
        at: Place,
        /// The pipeline.
        pipeline: String,
        /// The handler.
        handler: String,
    },
    /// Two handlers of one chain have the same id.
    #[error("{at}: pipeline `{pipeline}` has two handlers with the id `{id}`; give each its own")]
    TwiceHandler {
        /// The second one.
        at: Place,
        /// The pipeline.
        pipeline: String,
        /// The id.
        id: String,
    },
    /// Something is granted to a plugin that the pipeline does not use.
    #[error("{at}: pipeline `{pipeline}` grants something to the plugin `{plugin}` but does not use it; {advice}")]
    StrayGrant {
        /// Where.
        at: Place,
        /// The pipeline.
        pipeline: String,
        /// The plugin.
        plugin: String,
        /// The nearest plugin in use, or all of them.
        advice: String,
    },
    /// It reaches more of the machine than its sender may.
    #[error(
        "{at}: pipeline `{pipeline}`: `{key}` reaches {reach} of the machine that runs it, which is not allowed to specs that are sent there; leave it out, or start the server with `--allow {reach}`"
    )]
    Reaches {
        /// Where.
        at: Place,
        /// The pipeline.
        pipeline: String,
        /// The key.
        key: String,
        /// What it reaches.
        reach: Reach,
    },
    /// Two pipelines have the same name.
    #[error("{at}: the pipeline name `{pipeline}` is already taken by {first}; give each pipeline its own name")]
    TwicePipeline {
        /// The second one.
        at: Place,
        /// The name.
        pipeline: String,
        /// The first one.
        first: Place,
    },
    /// Two pipelines write one branch.
    #[error(
        "{at}: pipeline `{pipeline}` writes `{branch}`, as {first} does; only one pipeline can write a branch: \
         change pipeline.name or commit.branch"
    )]
    TwiceBranch {
        /// The second one.
        at: Place,
        /// Its name.
        pipeline: String,
        /// `repo@branch`.
        branch: String,
        /// The first one.
        first: Place,
    },
}

impl Error {
    /// Where it is; `None` for a file that cannot be read at all.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Read { .. } | Self::Empty { .. } => None,
            Self::Syntax { at, .. }
            | Self::UnknownKey { at, .. }
            | Self::WrongValue { at, .. }
            | Self::Missing { at, .. }
            | Self::TooMuch { at, .. }
            | Self::TwiceKey { at, .. }
            | Self::BadName { at, .. }
            | Self::StreamConfigs { at, .. }
            | Self::Contradiction { at, .. }
            | Self::NotReplayed { at, .. }
            | Self::TwiceHandler { at, .. }
            | Self::Reaches { at, .. }
            | Self::Acknowledged { at, .. }
            | Self::StrayGrant { at, .. }
            | Self::TwicePipeline { at, .. }
            | Self::TwiceBranch { at, .. } => Some(at),
        }
    }

    /// The file that it is about.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. } | Self::Empty { path } => Some(path),
            other => other.place().map(|place| place.file.as_path()),
        }
    }

    /// The key that it is about, with what that is within.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        match self {
            Self::UnknownKey { path, .. } | Self::WrongValue { path, .. } | Self::BadName { path, .. } => {
                Some(path.clone())
            }
            Self::Missing { within, .. } => Some(within.trim_matches('`').to_owned()),
            Self::TwiceKey { key, .. } => Some(key.clone()),
            Self::StreamConfigs { key, .. } => Some(format!("producer.streamConfigs.{key}")),
            Self::Contradiction { key, .. } | Self::Reaches { key, .. } | Self::Acknowledged { key, .. } => {
                Some(key.clone())
            }
            Self::StrayGrant { plugin, .. } => Some(format!("grants.{plugin}")),
            Self::TwiceHandler { .. } | Self::NotReplayed { .. } => Some("node".into()),
            Self::TwicePipeline { .. } | Self::TwiceBranch { .. } => Some("pipeline.name".into()),
            Self::Read { .. } | Self::Empty { .. } | Self::Syntax { .. } | Self::TooMuch { .. } => None,
        }
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "E0101",
            Self::Syntax { .. } => "E0102",
            Self::UnknownKey { .. } => "E0103",
            Self::WrongValue { .. } => "E0104",
            Self::Missing { .. } | Self::Empty { .. } => "E0105",
            Self::TooMuch { .. } => "E0106",
            Self::TwiceKey { .. } => "E0107",
            Self::BadName { .. } => "E0108",
            Self::StreamConfigs { .. } => "E0109",
            Self::Contradiction { .. } => "E0110",
            Self::NotReplayed { .. } => "E0117",
            Self::TwicePipeline { .. } => "E0111",
            Self::TwiceBranch { .. } => "E0112",
            Self::TwiceHandler { .. } => "E0113",
            Self::StrayGrant { .. } => "E0114",
            Self::Reaches { .. } => "E0115",
            Self::Acknowledged { .. } => "E0116",
        }
    }
}
