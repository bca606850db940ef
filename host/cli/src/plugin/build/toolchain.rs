//! Programs from PyPI that builds need: found, or installed into the cache, pinned.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::no_tool;
use crate::error::Error;

/// A package of PyPI, the version that is installed, and the program in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// A file of the environment that is there when the package is.
    pub(super) program: &'static str,
    /// For the error of who cannot install it.
    pub(super) instead: &'static str,
}

/// The interpreter that environments are made with, and that asks a Python project what it offers.
pub(super) const PYTHON: &str = "python3";

const ADVICE: &str = "install Python 3.10 or newer, with venv (on Debian: apt-get install python3-venv)";

/// `program` in one of the directories of PATH.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The program of `package` in the cache, where it is installed on first use.
///
/// # Errors
/// If it cannot be installed; the error says how to get it.
pub(super) fn installed(package: Package, cache: &Path) -> Result<PathBuf, Error> {
    let Package { name, version, program, instead } = package;
    let dir = cache.join("tools").join(format!("{name}-{version}"));
    let (file, stamp) = (dir.join(program), dir.join("complete"));
    let failed = |source| Error::WriteFile { path: dir.clone(), source };
    // Programs that are run, beside compiled code that must be nobody else's.
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
    // Several builds may run at a time; the lock goes with the file.
    let lock = File::create(dir.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if stamp.is_file() && file.exists() {
        return Ok(file);
    }
    eprintln!("installing {name} {version} from PyPI into {}", dir.display());
    let missing = |why: String| Error::Toolchain { tool: format!("{name} {version}"), why, instead };
    run(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&dir)).map_err(|error| error.or(&missing))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    let wanted = format!("{name}=={version}");
    run(Command::new(dir.join("bin/python")).args(pip).arg(wanted)).map_err(|error| error.or(&missing))?;
    fs::write(stamp, "").map_err(failed)?;
    Ok(file)
}

enum Failure {
    /// It could not be started.
    Tool(Error),
    /// It ended with an error; its last words.
    Ended(String),
}

impl Failure {
    fn or(self, missing: &dyn Fn(String) -> Error) -> Error {
        match self {
            Self::Tool(error) => error,
            Self::Ended(why) => missing(why),
        }
    }
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let tool = command.get_program().display().to_string();
    let output = command.output().map_err(no_tool(&tool, ADVICE)).map_err(Failure::Tool)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(Failure::Ended(last_line(&said)))
}

/// The last line that says something.
pub(super) fn last_line(said: &str) -> String {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned()
}
