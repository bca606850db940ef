//! What can go wrong with a query.

use spout_base::error::{Cause, Coded, Kind};

/// An error of the SQL room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A commit or a file cannot be read.
    #[error(transparent)]
    Repo(#[from] spout_repo::Error),
    /// The rows of a file cannot be read.
    #[error(transparent)]
    Format(#[from] spout_format::Error),
    /// The statement names no table of ours.
    #[error("there is no table `{table}`{nearest}; tables are named after repos, with `_` for `-` and `.`")]
    UnknownTable { table: String, nearest: String },
    /// A table name fits several repos.
    #[error("table `{table}` could be repo {repos}; write the repo's name in double quotes")]
    AmbiguousTable { table: String, repos: String },
    /// Nothing tabular in the commit.
    #[error("{reference} holds no table files; `spout list file {reference}` shows what it holds")]
    NoTable { reference: String },
    /// All that came was set aside.
    #[error(
        "{reference} has no rows: every message was set aside ({letters} dead letters); `spout sql 'select code, reason from {table} limit 10'` shows why"
    )]
    OnlyDeadLetters { reference: String, letters: u64, table: String },
    /// A query met an error of ours on its way.
    #[error("the query failed: {what}")]
    Query {
        /// What the error says.
        what: String,
        /// Its kind.
        kind: Kind,
        /// Its code.
        code: &'static str,
    },
    /// The statement failed.
    #[error("the statement cannot be run as written")]
    Sql { source: Cause },
    /// The statement would change something.
    #[error("only queries can be run on a repo, but this is `{what}`; pipelines make commits")]
    NotAQuery { what: String },
    /// A table function cannot do with what it is given.
    #[error("`{function}` cannot be called like this: {what}; write {usage}")]
    FunctionArguments { function: &'static str, what: String, usage: &'static str },
    /// The rows of a diff would have two columns of one name.
    #[error(
        "the rows of {reference} have a column `{column}`, which `diff` adds itself; compare the files, or leave that column out"
    )]
    ChangeColumn { reference: String, column: &'static str },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::Format(error) => error.kind(),
            Self::Query { kind, .. } => *kind,
            _ => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Repo(error) => error.code(),
            Self::Format(error) => error.code(),
            Self::UnknownTable { .. } => "E0550",
            Self::AmbiguousTable { .. } => "E0551",
            Self::NoTable { .. } => "E0552",
            Self::OnlyDeadLetters { .. } => "E0573",
            Self::Sql { .. } => "E0553",
            Self::Query { code, .. } => code,
            Self::NotAQuery { .. } => "E0554",
            Self::FunctionArguments { .. } => "E0560",
            Self::ChangeColumn { .. } => "E0561",
        }
    }
}
