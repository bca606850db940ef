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
  spout schema --editor                 how to set up VS Code and Neovim
  spout schema --example > my.yaml      a spec to start from, every part explained
  spout init kafka                      a spec for a source, with the schema beside it")]
pub(super) struct Schema {
    /// Print an example spec instead.
    #[arg(long)]
    example: bool,
    /// Print how to set up an editor so that it completes and checks specs.
    #[arg(long, conflicts_with = "example")]
    editor: bool,
}

/// What an editor needs.
const EDITOR: &str = r##"Editors complete and check specs by their JSON schema, through yaml-language-server. Write it once, and anew after an upgrade:

  spout schema > spout.schema.json

The first line of a spec says that it is one, for every editor that has the language server; `spout init` writes both:

  # yaml-language-server: $schema=spout.schema.json

VS Code: install the extension `redhat.vscode-yaml`. Without the line, in .vscode/settings.json:

  {"yaml.schemas": {"./spout.schema.json": ["pipelines/*.yaml", "*.spout.yaml"]}}

Neovim 0.11: `npm install -g yaml-language-server`, and in init.lua:

  vim.lsp.config("yamlls", {
    cmd = {"yaml-language-server", "--stdio"},
    filetypes = {"yaml"},
    settings = {yaml = {schemas = {["./spout.schema.json"] = {"pipelines/*.yaml", "*.spout.yaml"}}}},
  })
  vim.lsp.enable("yamlls")

Older Neovim, with nvim-lspconfig: `require("lspconfig").yamlls.setup({settings = …})` with the same settings.
"##;

impl Schema {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        if self.editor {
            return if printer.json() {
                printer.value(&json!({ "editor": EDITOR }))
            } else {
                printer.bytes(EDITOR.as_bytes())
            };
        }
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
