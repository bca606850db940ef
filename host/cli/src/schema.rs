//! `spout schema`: what a spec can say, for editors and for people.

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use spout_spec::{EXAMPLE, spec_schema};

use super::print::Printer;

/// Print the JSON schema of pipeline specs, or an example spec.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout schema > spout.schema.json      for an editor: `# yaml-language-server: $schema=spout.schema.json`
  spout schema --example > my.yaml      a spec to start from, every part explained")]
pub(super) struct Schema {
    /// Print an example spec instead.
    #[arg(long)]
    example: bool,
}

impl Schema {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        match (self.example, printer.json()) {
            (true, true) => printer.value(&json!({ "example": EXAMPLE })),
            (true, false) => printer.bytes(EXAMPLE.as_bytes()),
            (false, true) => printer.value(spec_schema()),
            (false, false) => {
                printer.line(serde_json::to_string_pretty(spec_schema()).context("the schema cannot be printed")?)
            }
        }
    }
}
