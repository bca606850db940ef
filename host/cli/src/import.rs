//! `spout import`: specs of other systems in the words of this one.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_base::bounded;
use spout_spec::{
    MAX_BYTES,
    foreign::{self, Imported, Remark},
};

use super::{
    Global,
    error::Error,
    get::{persist, temporary},
    print::{Printer, count},
};

/// Make a pipeline spec of another system's.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout import pinot meetup_realtime_table_config.json -o meetup.yaml
  spout import pachyderm spout.json -o my-spout.yaml")]
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
    /// Make a spec of the spec of a Pachyderm spout, of either generation, or of a pipeline over the files of one repo.
    #[command(after_help = "Examples:
  spout import pachyderm spout.json
  spout import pachyderm spout.json --image myaccount/myimage:0.1=my-plugin -o my-spout.yaml
  spout import pachyderm spout.json --image myaccount/myimage:0.1=native

What runs in an image there is a plugin here: the one that the image is named after, unless --image
says otherwise; for `native`, its command runs as it is, in no sandbox. What follows the name of the
command becomes its arguments.")]
    Pachyderm {
        #[command(flatten)]
        source: Source,
        /// The plugin that stands for an image, or `native`; may be repeated.
        #[arg(long = "image", value_name = "IMAGE=PLUGIN", value_parser = pair)]
        images: Vec<(String, String)>,
    },
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
        match &self.what {
            What::Pinot(source) => source.write(foreign::pinot(&source.text()?, &source.file)?, printer),
            What::Pachyderm { source, images } => {
                let images = images.iter().cloned().collect();
                source.write(foreign::pachyderm(&source.text()?, &source.file, &images)?, printer)
            }
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((image, plugin)) if !image.is_empty() && !plugin.is_empty() => Ok((image.to_owned(), plugin.to_owned())),
        _ => Err("expected IMAGE=PLUGIN, or IMAGE=native".into()),
    }
}

impl Source {
    fn text(&self) -> Result<String, Error> {
        let text = bounded::read(&self.file, MAX_BYTES).and_then(bounded::text);
        text.map_err(|source| Error::ReadFile { path: self.file.clone(), source })
    }

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
