//! What can go wrong where a plugin is run for each file.

use spout_base::error::{Coded, Kind};
use thiserror::Error;

use crate::Error;

/// An error of a pipeline that runs its plugin for each file.
#[derive(Debug, Error)]
pub enum PerFileError {
    /// Nothing could be made of a file of the input.
    #[error(
        "nothing could be made of {path} of repo `{repo}`, so its commit leads to none; repair the file, then squash that commit into the one with the repair (`spout squash commit`), or set `errors.file: dead-letter` to go on without the file"
    )]
    Datum {
        /// The repo.
        repo: String,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The plugin failed.
    #[error("transformer `{plugin}` failed")]
    Transformer {
        /// Its name.
        plugin: String,
        /// What the plugin room said.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// Two files of the input are made into one of the output.
    #[error(
        "{path} was already made of {other}, and each file of the output is made of one of the input; let the plugin make its name from the path of its input"
    )]
    Shared {
        /// The file of the output.
        path: String,
        /// The other file of the input.
        other: String,
    },
    /// The plugin does what only a spout can.
    #[error("a plugin that is run for each file cannot {what}")]
    NotASpout {
        /// What.
        what: &'static str,
    },
    /// The plugin deletes a file that it has not put.
    #[error("{path} was not put for this file of the input, so it cannot be deleted for it")]
    NotPut {
        /// The file of the output.
        path: String,
    },
    /// What the host noted of the files of an output cannot be read.
    #[error(
        "{path} does not say what was made of which file: {reason}; restore it from an older commit, or make everything anew with --reprocess"
    )]
    Index {
        /// Where it is noted.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The marker of the branch is not that of a pipeline that runs file by file.
    #[error(
        "the branch was written by a pipeline that did not read `{repo}` file by file; begin anew with --reprocess, or write to another branch"
    )]
    ForeignMarker {
        /// The repo of the input.
        repo: String,
    },
}

impl Coded for PerFileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Datum { source, .. } => source.kind(),
            Self::Transformer { source, .. } => source.kind(),
            Self::Shared { .. } | Self::NotASpout { .. } | Self::NotPut { .. } => Kind::Plugin,
            Self::Index { .. } => Kind::Corrupt,
            Self::ForeignMarker { .. } => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Datum { source, .. } => source.code(),
            Self::Transformer { source, .. } => source.code(),
            Self::Shared { .. } => "E0353",
            Self::NotASpout { .. } | Self::NotPut { .. } => "E0354",
            Self::Index { .. } | Self::ForeignMarker { .. } => "E0355",
        }
    }
}
