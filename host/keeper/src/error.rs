//! What can go wrong with the pipelines of a store, besides what their rooms say.

use spout_base::error::{Coded, Kind};

/// The code of a pipeline that another server runs.
pub(super) const ELSEWHERE: &str = "E0956";

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A spec that cannot be used.
    #[error(transparent)]
    Spec(#[from] spout_spec::Error),
    /// A pipeline that cannot run.
    #[error(transparent)]
    Pipeline(#[from] Box<spout_pipeline::Error>),
    /// The store.
    #[error(transparent)]
    Repo(#[from] spout_repo::Error),
    /// A pipeline that is to be new is there.
    #[error(
        "there is a pipeline `{name}` already; `spout update pipeline` changes it, `spout delete pipeline {name}` removes it"
    )]
    Exists {
        /// Its name.
        name: String,
    },
    /// A pipeline that is to be there is not.
    #[error(
        "there is no pipeline `{name}` in this store; `spout list pipeline` lists them, `spout create pipeline` makes one"
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A pipeline runs beside those of the store.
    #[error(
        "the pipeline `{name}` runs here, but it is that of a file that the server was given, and none of the store's: change the file and start the server again, or leave the file out and have the store keep it with `spout create pipeline -f FILE`"
    )]
    OfCommandLine {
        /// Its name.
        name: String,
    },
    /// A file of the repo of specs that was not written by us.
    #[error(
        "{}:{path} does not say what is to become of the pipeline: {reason}; delete the file, and the pipeline runs",
        spout_repo::SPECS
    )]
    Wish {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A spec under another name than its own.
    #[error("{}:/{name}.yaml has to hold one pipeline, of the name `{name}`", spout_repo::SPECS)]
    Misnamed {
        /// What the file is named after.
        name: String,
    },
    /// It would begin anew without what it has been sent.
    #[error(
        "the pipeline {name} would lose rows: it takes what others send, which cannot be read again; update it without --reprocess, or with another `commit.branch`"
    )]
    NotRead {
        /// Its name.
        name: String,
    },
    /// Another server runs it.
    #[error("{holder} runs it for this store; this server takes it over when that one is gone")]
    Elsewhere {
        /// The process and its machine.
        holder: String,
    },
    /// No such plugin is kept.
    #[error(
        "the store keeps no plugin `{name}`; `/v1/plugins` lists those it does, and PUT `/v1/plugins/{name}` puts one"
    )]
    NoPlugin {
        /// Its name.
        name: String,
    },
    /// A plugin that a pipeline needs.
    #[error("the plugin `{name}` is used by the pipeline {pipeline}; delete that, or update it, before")]
    PluginUsed {
        /// Its name.
        name: String,
        /// Who uses it.
        pipeline: String,
    },
    /// Nobody here knows what a pipeline is made of.
    #[error(
        "nobody here knows the spec of the pipeline {name}, which has only its commits in this store; ask whoever runs it, or create it with `spout create pipeline`"
    )]
    NoSpec {
        /// Its name.
        name: String,
    },
    /// Others kept changing the same pipelines.
    #[error("the pipeline {name} was changed by somebody else meanwhile; look at it, and try again")]
    Changed {
        /// Its name, or several.
        name: String,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Spec(inner) => inner.kind(),
            Self::Pipeline(inner) => inner.kind(),
            Self::Repo(inner) => inner.kind(),
            Self::Exists { .. }
            | Self::Unknown { .. }
            | Self::OfCommandLine { .. }
            | Self::Wish { .. }
            | Self::Misnamed { .. }
            | Self::NoPlugin { .. }
            | Self::PluginUsed { .. }
            | Self::NoSpec { .. }
            | Self::NotRead { .. } => Kind::Spec,
            Self::Elsewhere { .. } | Self::Changed { .. } => Kind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Spec(inner) => inner.code(),
            Self::Pipeline(inner) => inner.code(),
            Self::Repo(inner) => inner.code(),
            Self::Exists { .. } => "E0951",
            Self::Unknown { .. } | Self::OfCommandLine { .. } => "E0952",
            Self::Wish { .. } | Self::Misnamed { .. } => "E0953",
            Self::Changed { .. } => "E0954",
            Self::NotRead { .. } => "E0955",
            Self::Elsewhere { .. } => ELSEWHERE,
            Self::NoPlugin { .. } => "E0957",
            Self::PluginUsed { .. } => "E0958",
            Self::NoSpec { .. } => "E0592",
        }
    }
}
