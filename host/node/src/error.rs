//! What can go wrong between a batch and the next.

use std::sync::Arc;

use arrow::error::ArrowError;
use spout_base::error::{Coded, Kind};
use thiserror::Error;

/// An error of one handler.
#[derive(Debug, Error)]
pub enum Error {
    /// The user's expression does not fit the rows.
    #[error("handler `{handler}`: cannot use the expression `{expression}`: {reason}")]
    Expression {
        /// Id of the handler.
        handler: String,
        /// The expression as written.
        expression: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// An expression has no value for rows that were looked at together, such as those of a commit or a window.
    #[error(
        "handler `{handler}`: the expression `{expression}` has no value: {reason}; cast to a wider type, as in `cast(… as decimal(38, 0))`, or filter such rows out first"
    )]
    Value {
        /// Id of the handler.
        handler: String,
        /// The expression as written.
        expression: String,
        /// What has no value, and why.
        reason: String,
    },
    /// The spec of the handler does not fit the rows.
    #[error("handler `{handler}`: {reason}")]
    Spec {
        /// Id of the handler.
        handler: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What the last commit stores of a handler's state is not what the handler gave.
    #[error(
        "handler `{handler}`: cannot read its state from the last commit: {reason}; `spout run --reset-node {handler}` starts it empty"
    )]
    State {
        /// Id of the handler.
        handler: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The state of the last commit was made under another spec.
    #[error(
        "handler `{handler}`: its state was written with a different spec ({what}); restore the spec, or start it empty with `spout run --reset-node {handler}`"
    )]
    Changed {
        /// Id of the handler.
        handler: String,
        /// What differs.
        what: String,
    },
    /// The last commit holds state of a handler that the spec no longer has.
    #[error(
        "the last commit holds state of handler `{handler}`, which the spec no longer has; restore it, or discard its state with `spout run --reset-node {handler}`"
    )]
    Gone {
        /// Id of the handler.
        handler: String,
    },
    /// A handler holds more than it may.
    #[error("handler `{handler}` holds {held}, which is more than its limit of {limit}; {remedy}")]
    Limit {
        /// Id of the handler.
        handler: String,
        /// What it holds: groups, rows, bytes.
        held: String,
        /// The limit, in the same unit.
        limit: String,
        /// What to do.
        remedy: String,
    },
    /// A query over batches asks for something that depends on how rows were cut into them.
    #[error(
        "handler `{handler}`: {operator} needs several rows at once, but batches can be cut anywhere; set `per: commit`, or put the query after a `window`"
    )]
    Across {
        /// Id of the handler.
        handler: String,
        /// The operator, in SQL's words.
        operator: String,
    },
    /// The table that rows are looked up in is not there.
    #[error("handler \"{handler}\": the table {table} cannot be looked in: {advice}")]
    NoTable {
        /// Id of the handler.
        handler: String,
        /// The table, as in `customers@master`.
        table: String,
        /// What is missing, and what to do.
        advice: String,
    },
    /// The table that rows are looked up in cannot be read.
    #[error("handler \"{handler}\" cannot read the table {table}")]
    Table {
        /// Id of the handler.
        handler: String,
        /// The table.
        table: String,
        /// What reading says.
        #[source]
        source: Arc<dyn Coded>,
    },
    /// The table has two rows of one key, and the spec says that it must not.
    #[error(
        "handler \"{handler}\": the table {table} has two rows with {key}; remove one of them, or let the last one count with `duplicates: last`"
    )]
    Duplicate {
        /// Id of the handler.
        handler: String,
        /// The table.
        table: String,
        /// The key, as in `id = 7`.
        key: String,
    },
    /// The columns of the table are others than at the start.
    #[error(
        "handler \"{handler}\": in commit {commit} of the table {table} {what}; start the pipeline again to use it as it is now, or put the table right"
    )]
    TableChanged {
        /// Id of the handler.
        handler: String,
        /// The table.
        table: String,
        /// The commit that has other columns.
        commit: String,
        /// What differs.
        what: String,
    },
    /// Rows came too late, and the spec says to stop then.
    #[error(
        "handler `{handler}`: {rows} rows of a batch arrived too late, the first at {time}; raise the lateness, or choose what to do with them: `late: side` or `late: drop`"
    )]
    Late {
        /// Id of the handler.
        handler: String,
        /// Late rows of the batch.
        rows: u64,
        /// Event time of the first one.
        time: String,
    },
    /// A kernel refused the rows.
    #[error("handler `{handler}` cannot process a batch of {rows} rows")]
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
    #[error("handler `{handler}` failed")]
    Plugin {
        /// Id of the handler.
        handler: String,
        /// What the plugin room said.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// The plugin fails on everything, so there is no single row to set aside.
    #[error(
        "handler `{handler}`: the plugin failed {failures} times in a row over {rows} rows, even on single rows; fix the plugin. Nothing of this batch was committed"
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
        source: Box<spout_plugin::Error>,
    },
}

impl Error {
    /// The spec of `handler` does not fit the rows.
    pub(crate) fn spec(handler: &str, reason: impl Into<String>) -> Self {
        Self::Spec { handler: handler.to_owned(), reason: reason.into() }
    }

    /// What is stored of the state of `handler` is not what it gave.
    pub(crate) fn state(handler: &str, reason: impl ToString) -> Self {
        Self::State { handler: handler.to_owned(), reason: reason.to_string() }
    }

    /// What an error of a kernel over rows of `handler` becomes.
    pub(crate) fn kernel(handler: &str, rows: usize) -> impl Fn(ArrowError) -> Self + Copy {
        move |source| Self::Kernel { handler: handler.to_owned(), rows, source }
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Expression { .. } | Self::Spec { .. } | Self::Across { .. } => Kind::Spec,
            Self::State { .. } => Kind::Corrupt,
            Self::Changed { .. } | Self::Gone { .. } | Self::Limit { .. } => Kind::Spec,
            Self::Duplicate { .. } | Self::TableChanged { .. } => Kind::Spec,
            Self::NoTable { .. } => Kind::Unavailable,
            Self::Table { source, .. } => source.kind(),
            Self::Value { .. } | Self::Late { .. } => Kind::Message,
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
            Self::State { .. } => "E0405",
            Self::Changed { .. } => "E0406",
            Self::Gone { .. } => "E0407",
            Self::Limit { .. } => "E0408",
            Self::Late { .. } => "E0409",
            Self::Across { .. } => "E0410",
            Self::Value { .. } => "E0411",
            Self::NoTable { .. } => "E0412",
            Self::Duplicate { .. } => "E0413",
            Self::TableChanged { .. } => "E0414",
            Self::Table { source, .. } => source.code(),
        }
    }
}
