//! `spout init`: a spec to start from, for a chosen source, and the schema for editors beside it.

mod sources;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use spout_spec::{nearest, spec_schema};
use tempfile::NamedTempFile;

use self::sources::{SOURCES, Start};
use super::{
    error::Error,
    get::temporary,
    print::{Printer, Table},
};

/// The file that editors are told to take the schema from.
const SCHEMA: &str = "spout.schema.json";

/// Write a commented spec for a source, with what editors need to complete and check it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout init --list                     the sources there are
  spout init kafka                      writes kafka.yaml, and spout.schema.json beside it
  spout init files -o events.yaml --name events
  spout init postgres -o -              to standard output
  spout check kafka.yaml                what is wrong with it
  spout dry-run kafka.yaml              what it makes of a few real messages

No file that is there is touched. The first line of the spec names the schema, so that an editor with yaml-language-server completes keys
and underlines what is wrong: `spout schema --editor` says how to set one up.")]
pub(super) struct Init {
    /// What the pipeline reads; all that there are without it.
    source: Option<String>,
    /// List the sources.
    #[arg(long)]
    list: bool,
    /// The file to write, `-` for standard output [default: SOURCE.yaml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name of the pipeline and of its repo.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    source: &'static str,
    reads: &'static str,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    spec: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a Path>,
}

impl Init {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        let Some(source) = self.source.as_deref().filter(|_| !self.list) else { return list(printer) };
        let start = SOURCES.iter().find(|start| start.source == source).ok_or_else(|| unknown(source))?;
        if let Some(name) = &self.name {
            spout_repo::path::repo_name(name)?;
        }
        let text = start.spec(self.name.as_deref());
        let file = self.output.clone().unwrap_or_else(|| format!("{source}.yaml").into());
        if file.as_os_str() == "-" {
            return printer.bytes(text.as_bytes());
        }
        let schema = file.parent().unwrap_or(Path::new("")).join(SCHEMA);
        let schema_text = serde_json::to_string_pretty(spec_schema()).context("the schema cannot be printed")?;
        // Both are whole before either has its name.
        let (spec, beside) = (aside(&file, &text)?, aside(&schema, &(schema_text + "\n"))?);
        named(spec, &file)?;
        let schema = match named(beside, &schema) {
            Ok(()) => Some(schema),
            // That of another spec, made before.
            Err(Error::Exists { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if printer.json() {
            return printer.value(&Written { spec: &file, schema: schema.as_deref() });
        }
        let beside = schema.map(|schema| format!(", and {} for editors", schema.display())).unwrap_or_default();
        let spec = file.display();
        printer.line(format!("wrote {spec}{beside}"))?;
        printer.line(format!("next: edit it, then `spout check {spec}`, `spout dry-run {spec}`, `spout run {spec}`"))
    }
}

fn list(printer: &mut Printer) -> Result<()> {
    let lines: Vec<Line> = SOURCES.iter().map(|start| Line { source: start.source, reads: start.reads }).collect();
    let table = |lines: &[Line]| {
        Table::new(&["source", "reads"], lines.iter().map(|line| vec![line.source.into(), line.reads.into()]))
    };
    printer.list(&lines, table, "there are none")
}

fn unknown(source: &str) -> Error {
    let advice = match nearest(source, SOURCES.iter().map(|start| start.source)) {
        Some(near) => format!("did you mean `{near}`? `spout init --list` shows all"),
        None => "`spout init --list` shows those that there are".to_owned(),
    };
    Error::Usage { verb: "init", what: format!("there is no source `{source}` to begin with; {advice}") }
}

/// Writes what is to be the file at `path`, beside it; it is gone if it is dropped.
fn aside(path: &Path, text: &str) -> Result<NamedTempFile, Error> {
    let mut file = temporary(path)?;
    let written = file.write_all(text.as_bytes());
    written.map(|()| file).map_err(|source| Error::WriteFile { path: path.to_owned(), source })
}

/// Gives it its name, unless a file has that.
fn named(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    let named = file.persist_noclobber(path);
    named.map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::WriteFile { path: path.to_owned(), source: error.error },
    })
}

impl Start {
    /// The spec, of a pipeline of this name if one is given.
    fn spec(&self, name: Option<&str>) -> String {
        // Examples lie in a directory of this tree.
        let example = self.example.replace("../.spout/", "./").replace("examples/", "");
        let own = example.lines().find_map(|line| line.strip_prefix("pipeline: {name: ")?.strip_suffix('}'));
        let own = own.unwrap_or_default();
        let text = match name {
            Some(name) => example.replacen(&format!("{{name: {own}}}"), &format!("{{name: {name}}}"), 1),
            None => example,
        };
        let file = format!("{}.yaml", self.source);
        format!(
            "# yaml-language-server: $schema={SCHEMA}
# spout check {file}      what is wrong with it, before anything runs
# spout dry-run {file}    what it makes of a few real messages, without a commit
# spout run {file}        until Ctrl-C

{text}{MORE}"
        )
    }
}

/// What many want next.
const MORE: &str = "
# What else there is, to be uncommented; `spout schema --example` explains more, README.md lists all handlers and consumers.
# node:
#   - {id: some, type: filter, where: \"price > 10\"}          # rows that go on
#   - {id: more, type: map, columns: {total: \"price * 2\"}}   # columns that are computed
# errors: {decode: dead-letter, node: dead-letter}           # or fail, or drop
# consumers:
#   - {type: print, rows: 5}                                 # each commit, on standard output
# tests:
#   - {name: one row, lines: ['{\"id\": 1}'], expect: [{id: 1}]} # `spout test` runs them
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_names_a_pipeline_which_can_have_another_name() {
        for start in SOURCES {
            let text = start.spec(Some("another"));
            assert!(text.contains("\npipeline: {name: another}\n"), "{}: {text}", start.source);
            let all = spout_spec::parse(&text, Path::new("s.yaml"), Path::new("."));
            let all = all.unwrap_or_else(|error| panic!("{}: {error}", start.source));
            assert_eq!(all[0].spec.pipeline.name, "another");
        }
    }
}
