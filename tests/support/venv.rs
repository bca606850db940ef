//! Python programs from PyPI that tests need, each set in a virtual environment below the target directory.
//!
//! **Invariant**: a set is installed once, pinned, and used only after its stamp says that it is complete.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::target;

/// Longest name of a directory that spells its set out; file systems take 255 bytes.
const LONGEST: usize = 150;

/// The Python interpreter of an environment that holds `packages`, pinned as `name==version`. `None`, with a line that says
/// why, where there is no Python or PyPI cannot be reached, unless `SPOUT_TEST_PYPI=required` is set, as in CI.
///
/// # Errors
/// If the environment cannot be made although PyPI answers.
pub fn python(packages: &[&str]) -> Result<Option<PathBuf>> {
    let stamp_text = packages.join("\n");
    let dir = target().join("test-venv").join(named(packages));
    let (python, stamp) = (dir.join("bin/python"), dir.join("complete"));
    fs::create_dir_all(dir.parent().unwrap_or(&dir))?;
    // Tests run at the same time, and in several processes; the lock goes with the file.
    let lock = File::create(dir.with_extension("lock"))?;
    lock.lock()?;
    if fs::read_to_string(&stamp).is_ok_and(|there| there == stamp_text) {
        return Ok(Some(python));
    }
    match install(&dir, &python, packages) {
        Ok(()) => {
            fs::write(&stamp, stamp_text)?;
            Ok(Some(python))
        }
        Err(error) if std::env::var_os("SPOUT_TEST_PYPI").is_some() => Err(error),
        Err(error) => {
            println!("SKIPPED: {packages:?} cannot be installed from PyPI: {error:#}");
            Ok(None)
        }
    }
}

/// A directory name that tells sets apart: `moto-5.2.5`, `deltalake-1.6.6_polars-2.1.0`; of a large one its first and a digest.
fn named(packages: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let names = packages.iter().map(|package| package.replace("==", "-").chars().map(plain).collect::<String>());
    let names = names.collect::<Vec<_>>();
    let name = names.join("_");
    if name.len() <= LONGEST {
        return name;
    }
    let digest: String = Sha256::digest(name).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}_{digest}", names.first().map_or("", String::as_str))
}

fn install(dir: &Path, python: &Path, packages: &[&str]) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("clear a broken environment"),
        _ => {}
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    run(Command::new(python).args(pip).args(packages))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {}", command.get_program().display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), told.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_set_has_a_name_of_its_own() {
        assert_eq!(named(&["moto[server]==5.2.5"]), "moto-server--5.2.5");
        assert_eq!(named(&["deltalake==1.6.6", "polars==2.1.0"]), "deltalake-1.6.6_polars-2.1.0");
        let many = |last: &str| named(&[["a==1"; 60].as_slice(), &[last]].concat());
        assert!(many("b==1").len() < 30 && many("b==1").starts_with("a-1_") && many("b==1") != many("b==2"));
    }
}
