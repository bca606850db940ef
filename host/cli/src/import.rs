//! `spout import`: specs of other systems in the words of this one.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_spec::foreign::{self, Imported, Remark};

use super::{
    Global,
    error::Error,
    get::{persist, temporary},
    print::{Printer, count},
};

/// Make a pipeline spec of another system's.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout import pinot meetup_realtime_table_config.json -o meetup.yaml")]
pub(super) struct Import {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a spec of the config of an Apache Pinot table that ingests a stream.
    #[command(after_help = "Examples:
  spout import pinot table.json                   prints the spec
  spout import pinot table.json -o meetup.yaml
  spout check meetup.yaml

Its stream configs are kept in Pinot's words, which specs understand. What has no equal is named with its line, in comments
at the top of the spec.")]
    Pinot(Source),
}

#[derive(Debug, Args)]
struct Source {
    /// The file to read.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the spec here, instead of to standard output.
    #[arg(short, long, value_name = "SPEC")]
    output: Option<PathBuf>,
}

impl Import {
    pub(super) fn run(&self, _: &Global, printer: &mut Printer) -> Result<()> {
        let What::Pinot(source) = &self.what;
        let text = fs::read_to_string(&source.file);
        let text = text.map_err(|error| Error::ReadFile { path: source.file.clone(), source: error })?;
        source.write(foreign::pinot(&text, &source.file)?, printer)
    }
}

impl Source {
    fn write(&self, Imported { spec, remarks }: Imported, printer: &mut Printer) -> Result<()> {
        let Some(output) = &self.output else {
            return if printer.json() {
                printer.value(&json!({ "spec": spec, "remarks": remarks }))
            } else {
                printer.bytes(spec.as_bytes())
            };
        };
        let mut to = temporary(output)?;
        let failed = |source| Error::WriteFile { path: output.clone(), source };
        std::io::Write::write_all(&mut to, spec.as_bytes()).map_err(failed)?;
        persist(to, output)?;
        if printer.json() {
            return printer.value(&json!({ "output": output, "remarks": remarks }));
        }
        let file = self.file.display();
        for Remark { line, key, what } in &remarks {
            printer.line(format!("{file}:{line}: {key} {what}"))?;
        }
        let left = match remarks.len() {
            0 => String::new(),
            some => format!(", but for {} of it", count(some as u64, "key")),
        };
        printer.line(format!("{} says what {file} did{left}; `spout check` says what it comes to", output.display()))
    }
}
