//! `spout inspect repo`, and what a started commit of it holds so far.

use anyhow::Result;
use serde_json::json;
use spout_repo::{Repo, Started, Store};

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
    printer.table(&table_of_branches(&branches))?;
    for (branch, settled) in branches.iter().zip(&settled) {
        print_settled(&branch.name, settled.as_deref(), printer)?;
    }
    Ok(())
}

/// What was put into a started commit and deleted from it so far.
pub(super) async fn started(repo: &Repo, started: &Started, printer: &mut Printer) -> Result<()> {
    let (put, deleted) = repo.pending(started).await?;
    if printer.json() {
        let put: Vec<_> = put.iter().map(|file| json!({"path": file.path, "size": file.blob.size})).collect();
        return printer.value(&json!({
            "repo": repo.name(), "branch": started.branch, "commit": started.id, "at_ms": started.at_ms,
            "finished": false, "put": put, "deleted": deleted,
        }));
    }
    printer.facts(&[
        ("started commit", started.id.clone()),
        ("repo", format!("{}@{}", repo.name(), started.branch)),
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
            let how = format!("{:?}", file.how).to_lowercase();
            let rows = file.table.as_ref().map(|table| grouped(table.rows)).unwrap_or_default();
            vec![file.path.clone(), how, rows, size(file.blob.size)]
        }),
    ))
}
