//! Runs `spout-life`, the program that tests kill, stop and starve.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The program, built beside the tests.
#[derive(Clone, Debug)]
pub struct Life {
    program: PathBuf,
}

impl Life {
    /// `program` is `env!("CARGO_BIN_EXE_spout-life")`, which only tests know.
    #[must_use]
    pub fn of(program: &str) -> Self {
        Self { program: PathBuf::from(program) }
    }

    /// `spout-life ARGS`, not started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env_remove("SPOUT_FAULT").stdin(Stdio::null());
        command
    }

    /// Runs `spout-life ARGS` with this fault.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, args: &[&str], fault: &str) -> Result<Output> {
        self.command(args).env("SPOUT_FAULT", fault).output().context("start spout-life")
    }

    /// Runs `spout-life ARGS`, which has to succeed; its standard output.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "spout-life {} failed with {}\n{told}", args.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A place for a store that waits for no disk, where there is one.
///
/// # Errors
/// If there is no room for temporary files.
pub fn in_memory() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// A path as an argument.
///
/// # Errors
/// If it is no text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}
