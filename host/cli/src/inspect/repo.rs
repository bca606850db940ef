//! `spout inspect repo`, and what a started commit of it holds so far.

use anyhow::Result;
use spout_api::{Api, Branch, Pending};

use super::{
    super::{
        list::table_of_branches,
        print::{Printer, Table, grouped, local_time, size},
    },
    branch::print_settled,
};

pub(super) async fn inspect(api: &dyn Api, name: &str, printer: &mut Printer) -> Result<()> {
    let repo = api.repo(name).await?;
    if printer.json() {
        return printer.value(&repo);
    }
    let waiting = repo.started.iter().map(|started| format!("{} to {}", started.commit, started.branch));
    printer.facts(&[
        ("repo", repo.name.clone()),
        ("description", repo.description.clone()),
        ("created", local_time(repo.created_ms)),
        ("keeps", repo.retention.to_string()),
        ("tags", repo.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(" ")),
        ("started commits", waiting.collect::<Vec<_>>().join("\n")),
    ])?;
    if repo.branches.is_empty() {
        return printer.line("nothing is committed yet");
    }
    printer.line("")?;
    let lines: Vec<Branch> = repo.branches.iter().map(|branch| branch.branch.clone()).collect();
    printer.table(&table_of_branches(&lines))?;
    for branch in &repo.branches {
        print_settled(&branch.branch.name, branch.settled.as_deref(), printer)?;
    }
    Ok(())
}

/// What was put into a started commit and deleted from it so far.
pub(super) fn pending(pending: &Pending, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(pending);
    }
    let Pending { started, put, deleted, .. } = pending;
    printer.facts(&[
        ("started commit", started.commit.clone()),
        ("repo", format!("{}@{}", started.repo, started.branch)),
        ("started", local_time(started.at_ms)),
        ("removed", deleted.join("\n")),
    ])?;
    if put.is_empty() {
        return printer.line("no file was put yet");
    }
    printer.line("")?;
    printer.table(&Table::new(
        &["file put", "how", ">rows", ">size"],
        put.iter().map(|file| {
            vec![file.path.clone(), file.how.clone(), file.rows.map(grouped).unwrap_or_default(), size(file.size)]
        }),
    ))
}
