//! Pipelines that a store has by name: what the verbs `create`, `update`, `start`, `stop`, `delete` and `list` do with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;
use spout_keeper::{Specs, Wanted};
use spout_repo::Commit;
use spout_spec::Loaded;

use super::{
    Global,
    error::Error,
    print::{Printer, Table, short},
};

/// What was done to pipelines.
#[derive(Debug, Serialize)]
struct Done<'a> {
    pipelines: Vec<&'a str>,
    done: &'a str,
    /// The commit of the repo of specs that says so; none where it was so already.
    commit: Option<&'a str>,
}

/// A pipeline of a store, as it is listed.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// What is to become of it: `running` or `stopped`.
    wanted: &'static str,
    /// Its newest commit.
    head: Option<String>,
    commits: u64,
    description: String,
}

pub(super) async fn create(files: &[PathBuf], global: &Global, printer: &mut Printer) -> Result<()> {
    let (specs, wanted) = (Specs::open(&global.store_to_make().await?).await?, read(files)?);
    let commit = specs.create(&wanted).await?;
    said(&names(&wanted), "created", Some(&commit), printer)
}

pub(super) async fn update(files: &[PathBuf], global: &Global, printer: &mut Printer) -> Result<()> {
    let (specs, wanted) = (Specs::open(&global.store_to_write().await?).await?, read(files)?);
    let commit = specs.update(&wanted).await?;
    said(&names(&wanted), "updated", Some(&commit), printer)
}

pub(super) async fn set_running(name: &str, running: bool, global: &Global, printer: &mut Printer) -> Result<()> {
    let specs = Specs::open(&global.store_to_write().await?).await?;
    let commit = specs.set_running(name, running).await?;
    let done = match (running, &commit) {
        (true, Some(_)) => "started",
        (true, None) => "running already",
        (false, Some(_)) => "stopped",
        (false, None) => "stopped already",
    };
    said(&[name], done, commit.as_ref(), printer)
}

pub(super) async fn delete(name: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let specs = Specs::open(&global.store_to_write().await?).await?;
    let commit = specs.delete(name).await?;
    said(&[name], "deleted", Some(&commit), printer)
}

pub(super) async fn list(global: &Global, printer: &mut Printer) -> Result<()> {
    let store = global.store().await?;
    let wanted = match Specs::existing(&store).await? {
        Some(specs) => specs.all().await?,
        None => Vec::new(),
    };
    let mut lines = Vec::new();
    for wanted in wanted {
        let loaded = wanted.load().ok();
        let branch = loaded.as_ref().map_or("master", |loaded| loaded.spec.commit.branch.as_str());
        let branches = match store.repo(&wanted.name).await {
            Ok(repo) => repo.branches().await?,
            // It has not run yet.
            Err(_) => Vec::new(),
        };
        let branch = branches.into_iter().find(|there| there.name == branch);
        let description = loaded.map(|Loaded { spec, .. }| spec.description).unwrap_or_default();
        lines.push(Line {
            wanted: if wanted.wish.running { "running" } else { "stopped" },
            head: branch.as_ref().and_then(|branch| branch.head.as_ref()).map(|head| head.header.id.clone()),
            commits: branch.map_or(0, |branch| branch.commits),
            name: wanted.name,
            description,
        });
    }
    let table = |lines: &[Line]| {
        Table::new(
            &["name", "wanted", "head", ">commits", "description"],
            lines.iter().map(|line| {
                let head = line.head.as_deref().map_or_else(|| "-".to_owned(), short);
                vec![
                    line.name.clone(),
                    line.wanted.to_owned(),
                    head,
                    line.commits.to_string(),
                    line.description.clone(),
                ]
            }),
        )
    };
    printer.list(&lines, table, "no pipelines in this store; `spout create pipeline -f SPEC` makes one")
}

/// The pipelines of files, each checked on its own.
fn read(files: &[PathBuf]) -> Result<Vec<Wanted>> {
    let mut all = Vec::new();
    for file in files {
        let unreadable = |source| Error::ReadFile { path: file.clone(), source };
        let text = fs::read_to_string(file).map_err(unreadable)?;
        let absolute = std::path::absolute(file).map_err(unreadable)?;
        all.extend(Wanted::of_file(&text, file, absolute.parent().unwrap_or(Path::new("/")))?);
    }
    Ok(all)
}

fn names(all: &[Wanted]) -> Vec<&str> {
    all.iter().map(|wanted| wanted.name.as_str()).collect()
}

fn said(names: &[&str], done: &str, commit: Option<&Commit>, printer: &mut Printer) -> Result<()> {
    let id = commit.map(|commit| commit.header.id.as_str());
    if printer.json() {
        return printer.value(&Done { pipelines: names.to_vec(), done, commit: id });
    }
    let all = names.join(", ");
    printer.line(match id {
        Some(id) => {
            format!("{all}: {done} in commit {} of {}; `spout serve` makes it so", short(id), spout_repo::SPECS)
        }
        None => format!("{all}: {done}"),
    })
}
