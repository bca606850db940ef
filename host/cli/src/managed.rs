//! Pipelines that a store has by name: what the verbs `create`, `update`, `start`, `stop`, `delete`, `list` and `logs` do with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use futures::StreamExt as _;
use spout_api::{LogLine, PipelineLine, PipelinesChanged, SpecText};

use super::{
    Global,
    error::Error,
    print::{Printer, Table, local_time, short},
};

pub(super) async fn create(files: &[PathBuf], global: &Global, printer: &mut Printer) -> Result<()> {
    let specs = read(files)?;
    said(&global.pipelines_to_make().await?.create_pipelines(&specs).await?, global, printer)
}

pub(super) async fn update(files: &[PathBuf], reprocess: bool, global: &Global, printer: &mut Printer) -> Result<()> {
    let specs = read(files)?;
    said(&global.pipelines_to_write().await?.update_pipelines(&specs, reprocess).await?, global, printer)
}

pub(super) async fn set_running(name: &str, running: bool, global: &Global, printer: &mut Printer) -> Result<()> {
    said(&global.pipelines_to_write().await?.set_running(name, running).await?, global, printer)
}

pub(super) async fn delete(name: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    said(&global.pipelines_to_write().await?.delete_pipeline(name).await?, global, printer)
}

pub(super) async fn list(global: &Global, printer: &mut Printer) -> Result<()> {
    let table = |lines: &[PipelineLine]| {
        // A store does not know what servers do.
        let known = lines.iter().any(|line| line.state.is_some());
        let heads = ["name", "wanted", "state", "head", ">commits", "description"];
        let shown = |at: usize| known || heads.get(at) != Some(&"state");
        let heads: Vec<&str> = heads.iter().enumerate().filter(|(at, _)| shown(*at)).map(|(_, head)| *head).collect();
        Table::new(
            &heads,
            lines.iter().map(|line| {
                let head = line.head.as_deref().map_or_else(|| "-".to_owned(), short);
                let (name, wanted, commits) = (line.name.clone(), line.wanted.clone(), line.commits.to_string());
                let cells = [name, wanted, state(line), head, commits, line.description.clone()];
                cells.into_iter().enumerate().filter(|(at, _)| shown(*at)).map(|(_, cell)| cell).collect()
            }),
        )
    };
    let none = "no pipelines in this store; `spout create pipeline -f SPEC` makes one";
    printer.list(&global.pipelines().await?.pipelines().await?, table, none)
}

/// What it is doing, and the code of what is wrong.
fn state(line: &PipelineLine) -> String {
    let state = line.state.as_deref().unwrap_or("-");
    line.code.as_ref().map_or_else(|| state.to_owned(), |code| format!("{state} [{code}]"))
}

/// Prints what a pipeline has said, and with `follow` what it says, until the server or whoever reads is gone.
pub(super) async fn logs(
    name: &str,
    recent: usize,
    follow: bool,
    global: &Global,
    printer: &mut Printer,
) -> Result<()> {
    let mut lines = global.pipelines().await?.log(name, recent, follow).await?;
    while let Some(line) = lines.next().await {
        let line = line?;
        if printer.json() {
            printer.value(&line)?;
        } else {
            let LogLine { at_ms, level, text } = line;
            printer.line(format!("{} {level:<5} {text}", local_time(at_ms)))?;
        }
    }
    Ok(())
}

/// The texts of files.
fn read(files: &[PathBuf]) -> Result<Vec<SpecText>, Error> {
    files.iter().map(|file| read_one(file)).collect()
}

/// The text of a file, with the directory where its relative paths start.
pub(super) fn read_one(file: &Path) -> Result<SpecText, Error> {
    let unreadable = |source| Error::ReadFile { path: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let absolute = std::path::absolute(file).map_err(unreadable)?;
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(SpecText { text, file: file.to_owned(), base })
}

fn said(changed: &PipelinesChanged, global: &Global, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(changed);
    }
    let PipelinesChanged { pipelines, done, commit } = changed;
    let served = global.server.is_some();
    let all = pipelines.join(", ");
    printer.line(match commit {
        Some(id) => {
            let who = if served { "the server" } else { "`spout serve`" };
            format!("{all}: {done} in commit {} of {}; {who} makes it so", short(id), spout_repo::SPECS)
        }
        None => format!("{all}: {done}"),
    })
}
