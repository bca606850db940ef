//! Programs from Debian that tests need, unpacked below the target directory where the machine does not have them.
//!
//! **Invariant**: nothing is installed, no service is started, no root is needed; a package is used only after its stamp
//! says that it is complete.

use std::{
    env,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};

use crate::target;

/// Directories of libraries that only others are linked with, beside those.
const PRIVATE: [&str; 1] = ["pulseaudio"];

/// A program that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program itself.
    pub path: PathBuf,
    /// Where libraries are that the machine does not have; given to it as `LD_LIBRARY_PATH`.
    pub libraries: Vec<PathBuf>,
}

impl Program {
    /// A command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Ok(libraries) = env::join_paths(&self.libraries)
            && !self.libraries.is_empty()
        {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// Another program of the same package, which lies in the same directory.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self { path: self.path.with_file_name(name), libraries: self.libraries.clone() }
    }
}

/// The program at `path` in `package`, such as `usr/bin/redis-server` in `redis-server` or `usr/sbin/mosquitto` in `mosquitto`: the machine's own, or else one from
/// Debian's archive. `None`, with a line that says why, where there is neither, unless `SPOUT_TEST_PYPI=required` is set, as
/// in CI.
///
/// # Errors
/// If it is required and cannot be had.
pub fn program(package: &str, path: &str) -> Result<Option<Program>> {
    if let Some(path) = on_machine(path) {
        return Ok(Some(Program { path, libraries: Vec::new() }));
    }
    let dir = target().join("test-debian").join(package);
    fs::create_dir_all(dir.parent().unwrap_or(&dir))?;
    // Tests run at the same time, and in several processes; the lock goes with the file.
    let lock = File::create(dir.with_extension("lock"))?;
    lock.lock()?;
    let stamp = dir.join("complete");
    let made = if stamp.is_file() { unpacked(&dir, path) } else { make(&dir, package, path) };
    match made {
        Ok(program) => {
            fs::write(&stamp, package)?;
            Ok(Some(program))
        }
        Err(error) if env::var_os("SPOUT_TEST_PYPI").is_some() => {
            Err(error.context(format!("get {package} from Debian")))
        }
        Err(error) => {
            println!("SKIPPED: {package} is not on this machine and cannot be had from Debian: {error:#}");
            Ok(None)
        }
    }
}

/// Where the machine has the program: at its place in the package, or in a directory of `PATH`.
fn on_machine(path: &str) -> Option<PathBuf> {
    let name = Path::new(path).file_name()?;
    let searched = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&searched).map(|dir| dir.join(name));
    std::iter::once(Path::new("/").join(path)).chain(dirs).find(|path| path.is_file())
}

fn make(dir: &Path, package: &str, path: &str) -> Result<Program> {
    fetch(dir, package).or_else(|error| {
        // Lists of packages that are missing or old are the usual cause; only root may renew them.
        run(Command::new("apt-get").args(["update", "--quiet"])).map_err(|_| error)?;
        fetch(dir, package)
    })?;
    let program = unpacked(dir, path)?;
    let loaded =
        output(Command::new("ldd").arg(&program.path).env("LD_LIBRARY_PATH", env::join_paths(&program.libraries)?))?;
    let told = String::from_utf8_lossy(&loaded.stdout).into_owned();
    ensure!(!told.contains("not found"), "{package} needs libraries that neither it nor this machine has:\n{told}");
    Ok(program)
}

/// Unpacks the package and what it needs that is not installed.
fn fetch(dir: &Path, package: &str) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("clear a broken package"),
        _ => {}
    }
    let archives = dir.join("archives");
    fs::create_dir_all(&archives)?;
    let plan = output(Command::new("apt-get").args(["install", "--simulate", "--no-install-recommends", package]))?;
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    let wanted: Vec<&str> = needed(&plan);
    ensure!(wanted.contains(&package), "Debian's lists do not have it");
    let unconfined = ["-o", "APT::Sandbox::User=root", "--quiet", "download"];
    run(Command::new("apt-get").args(unconfined).args(&wanted).current_dir(&archives))?;
    for archive in fs::read_dir(&archives)? {
        run(Command::new("dpkg").arg("-x").arg(archive?.path()).arg(dir))?;
    }
    fs::remove_dir_all(&archives).context("remove what was unpacked")
}

/// The packages that `apt-get --simulate` would install: the second word of lines like `Inst liblzf1 (3.6-3 …)`.
fn needed(plan: &str) -> Vec<&str> {
    plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next()).collect()
}

fn unpacked(dir: &Path, path: &str) -> Result<Program> {
    let program = dir.join(path);
    ensure!(program.is_file(), "the package has no {path}");
    let mut libraries = Vec::new();
    for parent in ["lib", "usr/lib"] {
        let Ok(entries) = fs::read_dir(dir.join(parent)) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && path.to_string_lossy().ends_with("-linux-gnu") {
                // Some libraries have their private ones in a directory beside them.
                libraries.extend(PRIVATE.iter().map(|name| path.join(name)).filter(|path| path.is_dir()));
                libraries.push(path);
            }
        }
    }
    Ok(Program { path: program, libraries })
}

fn output(command: &mut Command) -> Result<Output> {
    // What it prints is read by words of English.
    command.env("LC_ALL", "C").output().with_context(|| format!("start {}", command.get_program().display()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = output(command)?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), told.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{needed, output, program};

    #[test]
    fn programs_start_that_the_machine_may_not_have() {
        let servers = [
            ("redis-server", "usr/bin/redis-server", "--version", "Redis"),
            ("nats-server", "usr/sbin/nats-server", "--version", "nats-server"),
            ("mosquitto", "usr/sbin/mosquitto", "-h", "mosquitto"),
            ("chromium", "usr/lib/chromium/chromium", "--version", "Chromium"),
        ];
        for (package, path, asked, says) in servers {
            let Some(program) = program(package, path).expect("it is there, or skipped by name") else { continue };
            let said = output(program.command().arg(asked)).expect("it starts");
            assert!(String::from_utf8_lossy(&said.stdout).contains(says), "{said:?}");
        }
    }

    #[test]
    fn a_plan_names_what_is_missing() {
        let plan = "Reading package lists...\nInst liblzf1 (3.6-3 Debian:12.15/oldstable [amd64])\n\
                    Inst libpq5 [15.18-0+deb12u1] (15.20-0+deb12u1 Debian [amd64]) []\nConf liblzf1 (3.6-3 Debian)\n";
        assert_eq!(needed(plan), ["liblzf1", "libpq5"]);
        assert!(needed("E: Unable to locate package nothing\n").is_empty());
    }
}
