//! The table functions: `commits('repo')`, `files('repo@ref')`, `diff('repo@a', 'repo@b')`.

use std::{ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    error::ArrowError,
};
use datafusion::{catalog::TableProvider, datasource::MemTable};
use spout_format::Format;
use spout_repo::{Commit, FileEntry, Recorded, Reference, Store};

use super::{Error, Verify, changes, failed, statement::Call};

/// A table function of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Commits,
    Files,
    Diff,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [Self::Commits, Self::Files, Self::Diff];
        all.into_iter().find(|function| function.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Commits => "commits",
            Self::Files => "files",
            Self::Diff => "diff",
        }
    }

    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Commits => "commits('repo') or commits('repo@branch')",
            Self::Files => "files('repo@branch') or files('repo@branch:/directory')",
            Self::Diff => "diff('repo@branch~1', 'repo@branch'), and '/directory' after that for less than everything",
        }
    }

    /// How many arguments it takes.
    pub(super) fn takes(self) -> RangeInclusive<usize> {
        match self {
            Self::Commits | Self::Files => 1..=1,
            Self::Diff => 2..=3,
        }
    }
}

/// The table that `call` stands for.
pub(super) async fn call(store: &Store, call: &Call, verify: Verify) -> Result<Arc<dyn TableProvider>, Error> {
    match (call.function, call.arguments.as_slice()) {
        (Function::Commits, [repo]) => Box::pin(commits(store, repo)).await,
        (Function::Files, [reference]) => files(store, reference).await,
        (Function::Diff, [before, after, more @ ..]) => {
            changes::table(store, &before.parse()?, &after.parse()?, more.first().map(String::as_str), verify).await
        }
        (function, arguments) => Err(Error::FunctionArguments {
            function: function.name(),
            what: format!("it is given {} arguments", arguments.len()),
            usage: function.usage(),
        }),
    }
}

/// The commits of every branch of a repo, or from a commit back.
async fn commits(store: &Store, text: &str) -> Result<Arc<dyn TableProvider>, Error> {
    let reference: Reference = text.parse()?;
    let mut commits: Vec<Commit<Recorded>> = Vec::new();
    if text.contains(['@', '~', '^']) {
        let (repo, from) = store.recorded(&reference).await?;
        let log = repo.recorded_log(&from.header.branch).await?;
        commits.extend(log.into_iter().skip_while(|commit| commit.header.id != from.header.id));
    } else {
        let repo = store.repo(&reference.repo).await?;
        for branch in repo.branches().await? {
            commits.extend(repo.recorded_log(&branch.name).await?);
        }
    }
    let strings = |of: fn(&Commit<Recorded>) -> Option<&str>| -> ArrayRef {
        Arc::new(commits.iter().map(of).collect::<StringArray>())
    };
    let numbers = |of: fn(&Commit<Recorded>) -> u64| -> ArrayRef {
        Arc::new(commits.iter().map(|commit| number(of(commit))).collect::<Int64Array>())
    };
    let times = |of: fn(&Commit<Recorded>) -> i64| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter_values(commits.iter().map(of)).with_timezone("+00:00"))
    };
    memory(RecordBatch::try_from_iter_with_nullable([
        ("commit", strings(|commit| Some(&commit.header.id)), false),
        ("number", numbers(|commit| commit.number), false),
        ("branch", strings(|commit| Some(&commit.header.branch)), false),
        ("parent", strings(|commit| commit.parent.as_deref()), true),
        ("started", times(|commit| commit.started_ms), false),
        ("finished", times(|commit| commit.header.at_ms), false),
        ("pipeline", strings(|commit| Some(&commit.pipeline)), false),
        ("messages", numbers(|commit| commit.counts.messages), false),
        ("rows", numbers(|commit| commit.counts.rows), false),
        ("files", numbers(|commit| commit.files.len() as u64), false),
        ("removed", numbers(|commit| commit.removed.len() as u64), false),
        ("bytes", numbers(|commit| commit.size()), false),
        ("dead_letters", numbers(|commit| commit.counts.dead_letters), false),
        ("dropped", numbers(|commit| commit.counts.dropped), false),
        ("late", numbers(|commit| commit.counts.late_rows()), false),
        ("filtered", numbers(|commit| commit.counts.filtered_rows()), false),
        ("reason", strings(|commit| Some(&commit.reason)), false),
    ]))
}

/// The files of a commit.
async fn files(store: &Store, text: &str) -> Result<Arc<dyn TableProvider>, Error> {
    let reference: Reference = text.parse()?;
    let (repo, commit) = store.recorded(&reference).await?;
    let tree = repo.tree(&commit).await?;
    let files: Vec<_> = tree.below(reference.path.as_deref().unwrap_or("/")).collect();
    let strings = |of: fn(&FileEntry) -> Option<&str>| -> ArrayRef {
        Arc::new(files.iter().map(|file| of(file)).collect::<StringArray>())
    };
    let numbers = |of: fn(&FileEntry) -> Option<u64>| -> ArrayRef {
        Arc::new(files.iter().map(|file| of(file).and_then(number)).collect::<Int64Array>())
    };
    memory(RecordBatch::try_from_iter_with_nullable([
        ("path", strings(|file| Some(&file.path)), false),
        ("format", strings(|file| file.format.map(Format::extension)), true),
        ("size", numbers(|file| Some(file.size)), false),
        ("rows", numbers(|file| file.rows), true),
        ("sha256", strings(|file| Some(&file.sha256)), false),
        ("pieces", numbers(|file| Some(file.pieces.len() as u64)), false),
    ]))
}

fn number(number: u64) -> Option<i64> {
    number.try_into().ok()
}

fn memory(batch: Result<RecordBatch, ArrowError>) -> Result<Arc<dyn TableProvider>, Error> {
    let batch = batch.map_err(|source| Error::Sql { source: source.into() })?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]);
    Ok(Arc::new(table.map_err(failed)?))
}
