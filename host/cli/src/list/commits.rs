//! `spout list commit`: the line of commits that leads to one, and commits that wait to be finished.

use anyhow::Result;
use spout_api::{CommitInfo, Reference, Started};
use spout_data::Counts;

use super::super::{
    Global,
    error::Error,
    print::{Printer, Table, grouped, local_time, short, size},
};

/// As many as fit on a screen; a long history is read record by record.
const ON_A_TERMINAL: usize = 50;

pub(super) async fn list(global: &Global, reference: &str, number: Option<usize>, printer: &mut Printer) -> Result<()> {
    let named = reference;
    let reference: Reference = named.parse()?;
    if reference.path.is_some() {
        let what =
            format!("`{named}` names a file where a commit or branch is meant; leave out what follows the colon");
        return Err(Error::Usage { verb: "list commit", what }.into());
    }
    let limit = number.unwrap_or(if printer.is_terminal() { ON_A_TERMINAL } else { usize::MAX });
    let commits = global.api().await?.commits(&reference, limit).await?;
    printer.list(&commits, table, "no commits yet")?;
    let more = commits.last().map(|last| last.number - 1).filter(|before| *before > 0 && commits.len() == limit);
    match more.filter(|_| !printer.json()) {
        Some(before) => printer.line(format!("{} earlier not shown; -n COUNT shows more", grouped(before))),
        None => Ok(()),
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
fn table(commits: &[CommitInfo]) -> Table {
    let met = |(_, of): &&(&str, fn(&Counts) -> u64)| commits.iter().any(|commit| of(&commit.counts) > 0);
    let fates: Vec<_> = FATES.iter().filter(met).collect();
    let mut heads = vec!["commit", "finished", ">rows", ">dead"];
    heads.extend(fates.iter().map(|(head, _)| *head));
    heads.extend([">files", ">size", "reason", "tags"]);
    Table::new(
        &heads,
        commits.iter().map(|commit| {
            let counts = &commit.counts;
            let mut line = vec![short(&commit.id), local_time(commit.at_ms)];
            line.extend([counts.rows, counts.dead_letters].map(grouped));
            line.extend(fates.iter().map(|(_, of)| grouped(of(counts))));
            line.extend([grouped(commit.files.len() as u64), size(commit.size()), commit.reason.clone()]);
            line.push(commit.tags.join(" "));
            line
        }),
    )
}

pub(super) async fn started(global: &Global, reference: &str, printer: &mut Printer) -> Result<()> {
    let read: Reference = reference.parse()?;
    let branch = reference.contains('@').then_some(read.target.as_str());
    let lines = global.api().await?.started(&read.repo, branch).await?;
    let table = |lines: &[Started]| {
        Table::new(
            &["commit", "branch", "started"],
            lines.iter().map(|line| vec![line.commit.clone(), line.branch.clone(), local_time(line.at_ms)]),
        )
    };
    printer.list(&lines, table, "no started commits; `spout start commit REPO@BRANCH` creates one")
}
