//! `spout list`: repos, branches, commits, files, in pachctl's words; and Delta tables.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Global,
    commit::shown,
    print::{Printer, Table, count, grouped, local_time, short, size},
    publish,
};
use crate::repo::{BranchInfo, Commit, Error as RepoError, FileEntry, Reference, Repo, published};

/// List repos, branches, commits, files or Delta tables.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout list repo
  spout list branch github-events
  spout list commit github-events@master
  spout list table github-events
  spout list file github-events@master:/events
  spout list file github-events@master~1 --recursive")]
pub(super) struct List {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All repos of the store.
    #[command(after_help = "Examples:\n  spout list repo\n  spout list repo --json | jq .name")]
    Repo,
    /// The branches of a repo.
    #[command(after_help = "Examples:\n  spout list branch github-events")]
    Branch {
        /// Name of the repo.
        repo: String,
    },
    /// The commits of a branch, newest first.
    #[command(
        after_help = "Examples:\n  spout list commit github-events\n  spout list commit github-events@master -n 5"
    )]
    Commit {
        /// `repo`, `repo@branch` or `repo@branch~2`.
        reference: String,
        /// Most commits listed.
        #[arg(short = 'n', long, value_name = "COUNT")]
        number: Option<usize>,
    },
    /// The Delta tables of a branch, as they are published.
    #[command(
        after_help = "Examples:\n  spout list table github-events\n  spout list table github-events@master --json | jq .root"
    )]
    Table {
        /// `repo` or `repo@branch`.
        reference: String,
    },
    /// The files of a commit.
    #[command(
        after_help = "Examples:\n  spout list file github-events@master\n  spout list file github-events@master~1:/events/"
    )]
    File {
        /// `repo@branch`, `repo@branch~2` or `repo@<commit id>`, then maybe `:/path`.
        reference: String,
        /// Every file below, instead of directories.
        #[arg(short, long)]
        recursive: bool,
    },
}

impl List {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Repo => repos(global, printer).await,
            What::Branch { repo } => branches(&global.store().await?.repo(repo).await?, printer).await,
            What::Commit { reference, number } => commits(global, reference, *number, printer).await,
            What::Table { reference } => tables(global, reference, printer).await,
            What::File { reference, recursive } => files(global, reference, *recursive, printer).await,
        }
    }
}

#[derive(Debug, Serialize)]
struct RepoLine {
    name: String,
    description: String,
    created_ms: i64,
    branches: usize,
    commits: u64,
}

async fn repos(global: &Global, printer: &mut Printer) -> Result<()> {
    let store = global.store().await?;
    let mut lines = Vec::new();
    for info in store.repos().await? {
        let branches = store.repo(&info.name).await?.branches().await?;
        lines.push(RepoLine {
            name: info.name,
            description: info.description,
            created_ms: info.created_ms,
            branches: branches.len(),
            commits: branches.iter().map(|branch| branch.commits).sum(),
        });
    }
    let table = |lines: &[RepoLine]| {
        Table::new(
            &["name", "created", ">branches", ">commits", "description"],
            lines.iter().map(|line| {
                let numbers = [line.branches.to_string(), grouped(line.commits as u64)];
                let [branches, commits] = numbers;
                vec![line.name.clone(), local_time(line.created_ms), branches, commits, line.description.clone()]
            }),
        )
    };
    let none = format!("no repos in {}; `spout run SPEC` makes one for each pipeline", store.url());
    printer.list(&lines, table, &none)
}

async fn branches(repo: &Repo, printer: &mut Printer) -> Result<()> {
    let branches = repo.branches().await?;
    if printer.json() {
        for branch in &branches {
            let mut line = serde_json::to_value(branch)?;
            if let (Some(fields), Some(head)) = (line.as_object_mut(), &branch.head) {
                fields.insert("head".into(), head.id.clone().into());
            }
            printer.value(&line)?;
        }
        return Ok(());
    }
    let table = |branches: &[BranchInfo]| {
        Table::new(
            &["name", "head", ">commits", "finished", "pipeline"],
            branches.iter().map(|branch| {
                let head = branch.head.as_ref();
                let (id, at) = (head.map(|head| short(&head.id)), head.map(|head| local_time(head.finished_ms)));
                let (id, at) = (id.unwrap_or_else(|| "-".into()), at.unwrap_or_else(|| "-".into()));
                vec![branch.name.clone(), id, grouped(branch.commits), at, branch.pipeline.clone()]
            }),
        )
    };
    let none = format!("no branches in the repo {}; the first commit of a pipeline makes one", repo.name());
    printer.list(&branches, table, &none)
}

async fn commits(global: &Global, reference: &str, number: Option<usize>, printer: &mut Printer) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let store = global.store().await?;
    let repo = store.repo(&reference.repo).await?;
    let from = match repo.resolve(&reference).await {
        Ok(commit) => commit,
        Err(error) => {
            let fresh =
                repo.branches().await?.iter().any(|branch| branch.name == reference.target && branch.head.is_none());
            return match fresh && reference.back == 0 {
                true => {
                    printer.list(&[] as &[Commit], table_of_commits, "no commits yet; the pipeline has not flushed")
                }
                false => Err(error.into()),
            };
        }
    };
    let log = repo.log(&from.branch).await?;
    let wanted = log.into_iter().filter(|commit| commit.sequence <= from.sequence);
    let commits: Vec<Commit> = wanted.take(number.unwrap_or(usize::MAX)).collect();
    match printer.json() {
        true => commits.iter().try_for_each(|commit| printer.value(&shown(commit)?)),
        false => printer.table(&table_of_commits(&commits)),
    }
}

async fn tables(global: &Global, reference: &str, printer: &mut Printer) -> Result<()> {
    let branch = publish::branch(reference, "list table")?;
    let repo = global.store().await?.repo(&branch.repo).await?;
    publish::show(published(&repo, &branch.target).await?, reference, printer)
}

fn table_of_commits(commits: &[Commit]) -> Table {
    Table::new(
        &["commit", "finished", ">rows", ">files", ">size", ">dead", "reason"],
        commits.iter().map(|commit| {
            let [rows, files, dead] = [commit.rows, commit.files.len() as u64, commit.dead_letters].map(grouped);
            let (id, at) = (short(&commit.id), local_time(commit.finished_ms));
            vec![id, at, rows, files, size(commit.size()), dead, commit.reason.clone()]
        }),
    )
}

#[derive(Debug, Serialize)]
struct FileLine {
    path: String,
    r#type: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

async fn files(global: &Global, reference: &str, recursive: bool, printer: &mut Printer) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let (repo, commit) = global.store().await?.resolve(&reference).await?;
    let tree = repo.tree(&commit).await?;
    let prefix = reference.path.as_deref().unwrap_or("/");
    let below: Vec<&FileEntry> = tree.below(prefix).collect();
    if below.is_empty() && prefix != "/" {
        let nearest = tree.file(prefix).err();
        return Err(nearest
            .unwrap_or_else(|| RepoError::UnknownFile {
                path: prefix.to_owned(),
                commit: commit.id.clone(),
                nearest: String::new(),
            })
            .into());
    }
    let lines = if recursive { below.into_iter().map(file_line).collect() } else { one_level(prefix, &below) };
    let table = |lines: &[FileLine]| {
        Table::new(
            &["path", "type", ">rows", ">size"],
            lines.iter().map(|line| {
                let rows = line.rows.map(grouped).unwrap_or_default();
                vec![line.path.clone(), line.format.unwrap_or(line.r#type).to_owned(), rows, size(line.size)]
            }),
        )
    };
    let none = format!("no files in commit {} of {}@{}", short(&commit.id), repo.name(), commit.branch);
    printer.list(&lines, table, &none)?;
    if !printer.json() && !lines.is_empty() {
        let bytes = lines.iter().map(|line| line.size).sum();
        printer.line(format!(
            "{}, {}",
            count(lines.len() as u64, "entry").replace("entrys", "entries"),
            size(bytes)
        ))?;
    }
    Ok(())
}

fn file_line(file: &FileEntry) -> FileLine {
    FileLine {
        path: file.path.clone(),
        r#type: "file",
        size: file.size,
        rows: file.rows,
        format: file.format.map(|format| format.extension()),
        sha256: Some(file.sha256.clone()),
    }
}

/// Files directly in `prefix`, and its directories with the sums of what is below them.
fn one_level(prefix: &str, below: &[&FileEntry]) -> Vec<FileLine> {
    let base = if prefix == "/" { "/".to_owned() } else { format!("{}/", prefix.trim_end_matches('/')) };
    let mut lines: BTreeMap<String, FileLine> = BTreeMap::new();
    for file in below {
        let inner = file.path.strip_prefix(&base).unwrap_or_default();
        let Some((directory, _)) = inner.split_once('/') else {
            lines.insert(file.path.clone(), file_line(file));
            continue;
        };
        let path = format!("{base}{directory}/");
        let empty = FileLine { path: path.clone(), r#type: "dir", size: 0, rows: None, format: None, sha256: None };
        let line = lines.entry(path).or_insert(empty);
        line.size += file.size;
        line.rows = match (line.rows, file.rows) {
            (Some(a), Some(b)) => Some(a + b),
            (rows, None) | (None, rows) => rows,
        };
    }
    lines.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size: u64, rows: Option<u64>) -> FileEntry {
        FileEntry { path: path.into(), format: None, size, rows, sha256: String::new(), pieces: Vec::new() }
    }

    #[test]
    fn one_level_sums_directories() {
        let files = [entry("/a/x", 1, Some(2)), entry("/a/b/y", 10, Some(3)), entry("/z", 5, None)];
        let all: Vec<&FileEntry> = files.iter().collect();
        let shown = |prefix: &str, files: &[&FileEntry]| -> Vec<(String, u64, Option<u64>)> {
            one_level(prefix, files).into_iter().map(|line| (line.path, line.size, line.rows)).collect()
        };
        assert_eq!(shown("/", &all), [("/a/".into(), 11, Some(5)), ("/z".into(), 5, None)]);
        assert_eq!(shown("/a", &all[..2]), [("/a/b/".into(), 10, Some(3)), ("/a/x".into(), 1, Some(2))]);
    }
}
