//! `spout inspect repo`, and what a started commit of it holds so far.

use anyhow::Result;
use serde_json::json;
use spout_api::Pending;
use spout_repo::Store;

use super::{
    super::{
        list::table_of_branches,
        print::{Printer, Table, grouped, local_time, size},
    },
    branch::{of_decoder, print_settled},
};

pub(super) async fn inspect(store: &Store, name: &str, printer: &mut Printer) -> Result<()> {
    let repo = store.repo(name).await?;
    let info = store.repos().await?.into_iter().find(|info| info.name == name);
    let (description, created_ms) = info.map(|info| (info.description, info.created_ms)).unwrap_or_default();
    let (branches, tags, started) = (repo.branches().await?, repo.tags().await?, repo.started().await?);
    let retention = repo.retention().await?;
    let mut settled = Vec::with_capacity(branches.len());
    for branch in &branches {
        settled.push(of_decoder(&repo, branch).await?);
    }
    if printer.json() {
        let branches: Vec<_> = branches
            .iter()
            .zip(&settled)
            .map(|(branch, settled)| {
                json!({
                    "name": branch.name, "head": branch.head.as_ref().map(|head| &head.header.id), "commits": branch.commits,
                    "epoch": branch.epoch, "pipeline": branch.pipeline, "settled": settled,
                })
            })
            .collect();
        let tags: Vec<_> = tags.iter().map(|tag| json!({"name": tag.name, "commit": tag.commit.header.id})).collect();
        let started: Vec<_> = started.iter().map(|started| &started.id).collect();
        return printer.value(&json!({
            "name": name, "description": description, "created_ms": created_ms, "retention": retention,
            "branches": branches, "tags": tags, "started": started,
        }));
    }
    let waiting = started.iter().map(|started| format!("{} to {}", started.id, started.branch));
    printer.facts(&[
        ("repo", name.to_owned()),
        ("description", description),
        ("created", local_time(created_ms)),
        ("keeps", retention.to_string()),
        ("tags", tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(" ")),
        ("started commits", waiting.collect::<Vec<_>>().join("\n")),
    ])?;
    if branches.is_empty() {
        return printer.line("nothing is committed yet");
    }
    printer.line("")?;
    let lines: Vec<_> = branches.iter().cloned().map(Into::into).collect();
    printer.table(&table_of_branches(&lines))?;
    for (branch, settled) in branches.iter().zip(&settled) {
        print_settled(&branch.name, settled.as_deref(), printer)?;
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
