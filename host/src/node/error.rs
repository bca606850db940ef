//! What can go wrong between a batch and the next.

use arrow::error::ArrowError;
use thiserror::Error;

use crate::{
    error::{Coded, Kind},
    plugin,
};

/// An error of one handler.
#[derive(Debug, Error)]
pub enum Error {
    /// The user's expression does not fit the rows.
    #[error("handler \"{handler}\": cannot use the expression `{expression}`: {reason}")]
    Expression {
        /// Id of the handler.
        handler: String,
        /// The expression as written.
        expression: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The spec of the handler does not fit the rows.
    #[error("handler \"{handler}\": {reason}")]
    Spec {
        /// Id of the handler.
        handler: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A kernel refused the rows.
    #[error("handler \"{handler}\" cannot process a batch of {rows} rows")]
    Kernel {
        /// Id of the handler.
        handler: String,
        /// Rows of the batch.
        rows: usize,
        /// What the kernel said.
        #[source]
        source: ArrowError,
    },
    /// The plugin behind a handler failed.
    #[error("handler \"{handler}\" failed")]
    Plugin {
        /// Id of the handler.
        handler: String,
        /// What the plugin room said.
        #[source]
        source: Box<plugin::Error>,
    },
    /// The plugin fails on everything, so there is no single row to set aside.
    #[error(
        "handler \"{handler}\": the plugin failed {failures} times in a row over {rows} rows, also on single rows; mend the plugin, nothing of this batch was committed"
    )]
    Hopeless {
        /// Id of the handler.
        handler: String,
        /// Failures in a row.
        failures: u32,
        /// Rows of the batch.
        rows: usize,
        /// The failure seen first.
        #[source]
        source: Box<plugin::Error>,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Expression { .. } | Self::Spec { .. } => Kind::Spec,
            Self::Kernel { .. } => Kind::Internal,
            Self::Plugin { source, .. } => source.kind(),
            Self::Hopeless { .. } => Kind::Plugin,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Expression { .. } => "E0401",
            Self::Spec { .. } => "E0402",
            Self::Kernel { .. } => "E0403",
            Self::Plugin { source, .. } => source.code(),
            Self::Hopeless { .. } => "E0404",
        }
    }
}
