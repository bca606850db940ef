//! `spout completions`: what a shell needs to complete commands.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::{Cli, print::Printer};

/// Print what a shell needs to complete the commands and options of spout.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout completions bash > ~/.local/share/bash-completion/completions/spout
  spout completions zsh > ~/.zfunc/_spout            with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  spout completions fish > ~/.config/fish/completions/spout.fish
  spout completions powershell >> $PROFILE
  spout completions elvish >> ~/.config/elvish/rc.elv")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        let mut text = Vec::new();
        generate(self.shell, &mut Cli::command(), "spout", &mut text);
        printer.bytes(&text)
    }
}
