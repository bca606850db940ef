//! `spout list commit`: the line of commits that leads to one, and commits that wait to be finished.

use anyhow::Result;
use serde::Serialize;
use spout_data::Counts;
use spout_repo::{Commit, Error as RepoError, Reference, Repo, Started};

use super::super::{
    Global,
    commit::{Tags, shown, tags_of},
    print::{Printer, Table, grouped, local_time, short, size},
};

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
        Some(before) => printer.line(format!("{} earlier not shown; -n COUNT shows more", grouped(before))),
        None => Ok(()),
    }
}

/// A branch without a commit is there, and is no error.
async fn nothing_yet(repo: &Repo, reference: &Reference, error: RepoError, printer: &mut Printer) -> Result<()> {
    let branches = repo.branches().await.unwrap_or_default();
    let fresh = branches.iter().any(|branch| branch.name == reference.target && branch.head.is_none());
    if fresh && reference.back == 0 && reference.at_ms.is_none() {
        printer.list(&[] as &[Commit], |commits| table(commits, &Tags::new()), "no commits yet")
    } else {
        Err(error.into())
    }
}

/// How many messages or rows met one fate.
type Count = fn(&Counts) -> u64;

/// What else became of messages, and where the table says so.
const FATES: [(&str, Count); 5] = [
    (">late", Counts::late_rows),
    (">filtered", Counts::filtered_rows),
    (">dropped", |counts| counts.dropped),
    (">empty", |counts| counts.empty),
    (">unknown", |counts| counts.unknown.names.len() as u64),
];

/// Commits as a table; of what else became of messages only what there is.
fn table(commits: &[Commit], tags: &Tags) -> Table {
    let met = |(_, of): &&(&str, fn(&Counts) -> u64)| commits.iter().any(|commit| of(&commit.counts) > 0);
    let fates: Vec<_> = FATES.iter().filter(met).collect();
    let mut heads = vec!["commit", "finished", ">rows", ">dead"];
    heads.extend(fates.iter().map(|(head, _)| *head));
    heads.extend([">files", ">size", "reason", "tags"]);
    Table::new(
        &heads,
        commits.iter().map(|commit| {
            let counts = &commit.counts;
            let mut line = vec![short(&commit.header.id), local_time(commit.header.at_ms)];
            line.extend([counts.rows, counts.dead_letters].map(grouped));
            line.extend(fates.iter().map(|(_, of)| grouped(of(counts))));
            line.extend([grouped(commit.files.len() as u64), size(commit.size()), commit.reason.clone()]);
            line.push(tags.get(&commit.header.id).map(|tags| tags.join(" ")).unwrap_or_default());
            line
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
    printer.list(&lines, table, "no started commits; `spout start commit REPO@BRANCH` creates one")
}
