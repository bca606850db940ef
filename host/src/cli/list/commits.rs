//! `spout list commit`: the line of commits that leads to one, and commits that wait to be finished.

use anyhow::Result;
use serde::Serialize;

use super::super::{
    Global,
    commit::{Tags, shown, tags_of},
    print::{Printer, Table, grouped, local_time, short, size},
};
use crate::repo::{Commit, Error as RepoError, Reference, Repo, Started};

/// As many as fit on a screen; a long history is read record by record.
const ON_A_TERMINAL: usize = 50;

pub(super) async fn list(global: &Global, reference: &str, number: Option<usize>, printer: &mut Printer) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let repo = global.store().await?.repo(&reference.repo).await?;
    let limit = number.unwrap_or(if printer.is_terminal() { ON_A_TERMINAL } else { usize::MAX });
    let commits = match repo.history(&reference, limit).await {
        Ok(commits) => commits,
        Err(error) => return nothing_yet(&repo, &reference, error, printer).await,
    };
    let tags = tags_of(&repo).await?;
    if printer.json() {
        return commits.iter().try_for_each(|commit| printer.value(&shown(commit, &tags)?));
    }
    printer.table(&table(&commits, &tags))?;
    match commits.last().map(|last| last.number - 1).filter(|before| *before > 0 && commits.len() == limit) {
        Some(before) => printer.line(format!("{} more came before; -n COUNT shows as many", grouped(before))),
        None => Ok(()),
    }
}

/// A branch without a commit is there, and is no error.
async fn nothing_yet(repo: &Repo, reference: &Reference, error: RepoError, printer: &mut Printer) -> Result<()> {
    let branches = repo.branches().await.unwrap_or_default();
    let fresh = branches.iter().any(|branch| branch.name == reference.target && branch.head.is_none());
    match fresh && reference.back == 0 && reference.at_ms.is_none() {
        true => printer.list(&[] as &[Commit], |commits| table(commits, &Tags::new()), "no commits yet"),
        false => Err(error.into()),
    }
}

fn table(commits: &[Commit], tags: &Tags) -> Table {
    Table::new(
        &["commit", "finished", ">rows", ">files", ">size", ">dead", "reason", "tags"],
        commits.iter().map(|commit| {
            let [rows, files, dead] = [commit.rows, commit.files.len() as u64, commit.dead_letters].map(grouped);
            let (id, at) = (short(&commit.id), local_time(commit.finished_ms));
            let tags = tags.get(&commit.id).map(|tags| tags.join(" ")).unwrap_or_default();
            vec![id, at, rows, files, size(commit.size()), dead, commit.reason.clone(), tags]
        }),
    )
}

#[derive(Debug, Serialize)]
struct StartedLine {
    commit: String,
    branch: String,
    at_ms: i64,
}

pub(super) async fn started(global: &Global, reference: &str, printer: &mut Printer) -> Result<()> {
    let read: Reference = reference.parse()?;
    let repo = global.store().await?.repo(&read.repo).await?;
    let here = |started: &Started| !reference.contains('@') || started.branch == read.target;
    let lines: Vec<StartedLine> = repo
        .started()
        .await?
        .into_iter()
        .filter(here)
        .map(|started| StartedLine { commit: started.id, branch: started.branch, at_ms: started.at_ms })
        .collect();
    let table = |lines: &[StartedLine]| {
        Table::new(
            &["commit", "branch", "started"],
            lines.iter().map(|line| vec![line.commit.clone(), line.branch.clone(), local_time(line.at_ms)]),
        )
    };
    printer.list(&lines, table, "no started commits; `spout start commit REPO@BRANCH` makes one")
}
