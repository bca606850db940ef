//! `spout man`: a page for each command, as `man` shows them.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::{Args, Command, CommandFactory as _};
use serde::Serialize;

use super::{
    Cli,
    error::Error,
    print::{Printer, count},
};

/// Write a man page for each command into a directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout man ~/.local/share/man/man1     then `man spout`, `man spout-list-commit`
  spout man target/man                  then `man -l target/man/spout.1`")]
pub(super) struct Man {
    /// The directory, which is made where it is not there; pages of the same names are replaced.
    dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct Written<'a> {
    dir: &'a PathBuf,
    pages: u64,
}

impl Man {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        let failed = |source| Error::WriteFile { path: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let command = Cli::command().disable_help_subcommand(true);
        // All of them are whole before any has its name.
        let aside = tempfile::tempdir_in(&self.dir).map_err(failed)?;
        clap_mangen::generate_to(command.clone(), &aside).map_err(failed)?;
        for page in fs::read_dir(&aside).map_err(failed)? {
            let page = page.map_err(failed)?;
            fs::rename(page.path(), self.dir.join(page.file_name())).map_err(failed)?;
        }
        let (dir, pages) = (&self.dir, pages(&command));
        if printer.json() {
            return printer.value(&Written { dir, pages });
        }
        printer.line(format!("{} in {}", count(pages, "page"), dir.display()))
    }
}

/// A page for the command and for each below it that is shown.
fn pages(command: &Command) -> u64 {
    1 + command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(pages).sum::<u64>()
}
