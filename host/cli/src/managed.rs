//! Pipelines that a store has by name: what the verbs `create`, `update`, `start`, `stop`, `delete`, `list` and `logs` do with them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use futures::StreamExt as _;
use spout_api::{LogLine, PipelineLine, Pipelines as _, PipelinesChanged, SpecText};
use spout_base::bounded;
use spout_spec::MAX_BYTES;

use super::{
    Global,
    error::Error,
    print::{Printer, Table, local_time, short},
};

pub(super) async fn create(files: &[PathBuf], global: &Global, printer: &mut Printer) -> Result<()> {
    let specs = read(files)?;
    said(&global.pipelines_to_make().await?.create_pipelines(&specs).await?, printer)?;
    if printer.json() { Ok(()) } else { printer.line("`spout serve` runs what the store has") }
}

pub(super) async fn update(files: &[PathBuf], reprocess: bool, global: &Global, printer: &mut Printer) -> Result<()> {
    let specs = read(files)?;
    said(&global.pipelines_to_write().await?.update_pipelines(&specs, reprocess).await?, printer)
}

pub(super) async fn set_running(name: &str, running: bool, global: &Global, printer: &mut Printer) -> Result<()> {
    said(&global.steering(name).await?.set_running(name, running).await?, printer)
}

pub(super) async fn delete(name: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    said(&global.pipelines_to_write().await?.delete_pipeline(name).await?, printer)
}

pub(super) async fn list(global: &Global, printer: &mut Printer) -> Result<()> {
    let table = |lines: &[PipelineLine]| {
        Table::new(
            &["name", "wanted", "state", "head", ">commits", "description"],
            lines.iter().map(|line| {
                let head = line.head.as_deref().map_or_else(|| "-".to_owned(), short);
                let (name, wanted, state) = (line.name.clone(), line.wanted.clone(), line.condition.words().to_owned());
                vec![name, wanted, state, head, line.commits.to_string(), line.description.clone()]
            }),
        )
    };
    let none = "no pipelines in this store; `spout create pipeline -f SPEC` makes one";
    let mut lines = global.pipelines().await?.pipelines().await?;
    for process in global.processes() {
        // One that is gone by now has nothing to say.
        for said in process.pipelines().await.unwrap_or_default() {
            match lines.iter_mut().find(|line| line.name == said.name) {
                Some(line) if said.condition.is_seen() => *line = said,
                Some(_) => {}
                None => lines.push(said),
            }
        }
    }
    lines.sort_by(|one, other| one.name.cmp(&other.name));
    printer.list(&lines, table, none)
}

/// Prints what a pipeline has said, and with `follow` what it says, until the server or whoever reads is gone.
pub(super) async fn logs(
    name: &str,
    recent: usize,
    follow: bool,
    global: &Global,
    printer: &mut Printer,
) -> Result<()> {
    let mut lines = global.looking(name).await?.log(name, recent, follow).await?;
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
    let text = bounded::read(file, MAX_BYTES).and_then(bounded::text).map_err(unreadable)?;
    let absolute = std::path::absolute(file).map_err(unreadable)?;
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(SpecText { text, file: file.to_owned(), base })
}

pub(super) fn said(changed: &PipelinesChanged, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(changed);
    }
    let PipelinesChanged { pipelines, done, commit } = changed;
    let all = pipelines.join(", ");
    printer.line(match commit {
        Some(id) => {
            format!("{all}: {done} in commit {} of {}", short(id), spout_repo::SPECS)
        }
        None => format!("{all}: {done}"),
    })
}
