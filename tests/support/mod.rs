//! Runs the built `spout` the way a user does: specs in a directory, commands, output.
//!
//! **Invariant**: nothing here links the host; what tests see is what users see.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use self::{patience::Patience, watchdog::Watchdog};

pub mod bad_server;
pub mod browser;
pub mod cables;
pub mod chart;
pub mod daemon;
pub mod debian;
pub mod door;
pub mod http;
pub mod life;
pub mod moto;
pub mod namespaces;
pub mod npm;
pub mod paced;
mod patience;
pub mod posted;
pub mod postgres;
pub mod proxy;
pub mod relay;
pub mod seaweed;
pub mod served;
pub mod tansu;
pub mod tls;
pub mod troubled;
pub mod venv;
mod watchdog;

/// A place with a store and specs of its own.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    /// Directory of the plugins that runs here use.
    pub plugins: PathBuf,
    /// The store that runs here use.
    pub store: String,
    /// What runs here find in their environment besides.
    pub environment: Vec<(&'static str, String)>,
    /// How many files what runs here may have open; as many as this process if it is not said.
    pub open_files: Option<u32>,
    _patience: Patience,
}

/// The root of this repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The built binary; `SPOUT_TEST_BIN` names another.
#[must_use]
pub fn spout() -> PathBuf {
    std::env::var_os("SPOUT_TEST_BIN").map_or_else(|| target().join("release/spout"), PathBuf::from)
}

/// The same with the feature `cluster`, where `just cluster` has built it.
#[must_use]
pub fn clustered() -> PathBuf {
    let built = target().join("release/spout-cluster");
    if std::env::var_os("SPOUT_TEST_BIN").is_some() || !built.exists() { spout() } else { built }
}

/// How often a test kills what it tests: 25 times, or as `SPOUT_KILLS` says, for `just soak`.
#[must_use]
pub fn kills() -> u32 {
    std::env::var("SPOUT_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(25)
}

/// The misbehaving guests, as `just guests` builds them.
#[must_use]
pub fn guests() -> PathBuf {
    target().join("guests")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

impl Site {
    /// An empty place that uses the repository's plugins.
    ///
    /// # Errors
    /// If there is no room for temporary files.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = dir.path().join("store").display().to_string();
        Ok(Self {
            dir,
            plugins: root().join("plugins"),
            store,
            environment: Vec::new(),
            open_files: None,
            _patience: Patience::begin(),
        })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, with the directories above it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().context("a path with a parent")?)?;
        fs::write(&path, content)?;
        Ok(path)
    }

    /// `spout ARGS` here, not started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_of(&spout(), args)
    }

    /// The same of another binary of the host.
    #[must_use]
    pub fn command_of(&self, binary: &Path, args: &[&str]) -> Command {
        let mut command = match self.open_files {
            None => Command::new(binary),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(binary);
                shell
            }
        };
        command
            .args(args)
            .current_dir(self.path())
            .env("SPOUT_STORE", &self.store)
            .env("SPOUT_PLUGINS", &self.plugins)
            .env("SPOUT_CACHE", target().join("test-cache"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs `spout ARGS` to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        self.command(args).output().with_context(|| format!("start {}; `just build` makes it", spout().display()))
    }

    /// Runs `spout ARGS`, which has to succeed; its standard output.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "spout {args:?} failed with {}\n{out}\n{err}", output.status);
        Ok(out.into_owned())
    }

    /// Runs `spout ARGS`, which has to fail with exit code `code` and an error that contains every one of `parts`.
    ///
    /// # Errors
    /// If it does not.
    pub fn fails(&self, args: &[&str], code: i32, parts: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.code() == Some(code),
            "spout {args:?} ended with {}, not {code}\n{out}\n{err}",
            output.status
        );
        for part in parts {
            ensure!(err.contains(part), "spout {args:?} does not say {part:?}:\n{err}\n{out}");
        }
        Ok(err.into_owned())
    }

    /// The rows of a query, as lines of JSON.
    ///
    /// # Errors
    /// If the query fails.
    pub fn rows(&self, sql: &str, at: Option<&str>) -> Result<Vec<String>> {
        let mut args = vec!["sql", sql, "--format", "ndjson"];
        args.extend(at.iter().flat_map(|at| ["--at", at]));
        Ok(self.ok(&args)?.lines().map(str::to_owned).collect())
    }

    /// The answer of a query with one number in it.
    ///
    /// # Errors
    /// If the query fails, or gives something else.
    pub fn number(&self, sql: &str, at: Option<&str>) -> Result<u64> {
        let rows = self.rows(sql, at)?;
        let row: Value = serde_json::from_str(rows.first().context("one row")?)?;
        let value = row.as_object().and_then(|row| row.values().next()).and_then(Value::as_u64);
        value.with_context(|| format!("{sql}: {rows:?}"))
    }

    /// The answer of a command that prints JSON, one value or one a line.
    ///
    /// # Errors
    /// If the command fails, or prints something else.
    pub fn json(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut all = args.to_vec();
        all.push("--json");
        let text = self.ok(&all)?;
        if let Ok(whole) = serde_json::from_str::<Value>(&text) {
            return Ok(match whole {
                Value::Array(items) => items,
                other => vec![other],
            });
        }
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Starts `spout ARGS --json` and leaves it running; its updates can be read line by line.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, args: &[&str]) -> Result<Running> {
        Self::run_on(self.command(args))
    }

    /// The same for one that may have no more than `kib` of private memory.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_within(&self, kib: u64, args: &[&str]) -> Result<Running> {
        let bare = self.command(args);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -d \"$0\" && exec \"$@\"", &kib.to_string()]);
        command.arg(bare.get_program()).args(bare.get_args()).current_dir(self.path()).stdin(Stdio::null());
        command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::run_on(command)
    }

    /// The same under `program`, which runs what its arguments end with in its own place.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_under(&self, program: &Path, own: &[&str], args: &[&str]) -> Result<Running> {
        let bare = self.command(args);
        let mut command = Command::new(program);
        command.args(own).arg(bare.get_program()).args(bare.get_args()).current_dir(self.path()).stdin(Stdio::null());
        command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::run_on(command)
    }

    fn run_on(mut command: Command) -> Result<Running> {
        let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("standard output")?);
        Ok(Running { watchdog: Watchdog::of(child.id()), child, lines })
    }
}

/// A running `spout`. It is killed when this goes.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    lines: BufReader<ChildStdout>,
    watchdog: Watchdog,
}

impl Running {
    /// Waits for the update named `event`; `None` if the process ended before. One that says nothing of it for minutes is killed.
    ///
    /// # Errors
    /// If what it prints is not JSON.
    pub fn wait_for(&mut self, event: &str) -> Result<Option<Value>> {
        let Self { watchdog, lines, .. } = self;
        watchdog.during(|| {
            while let Some(update) = next(lines)? {
                if update.get("event").and_then(Value::as_str) == Some(event) {
                    return Ok(Some(update));
                }
            }
            Ok(None)
        })
    }

    /// The next event, whichever it is; `None` at the end of its output.
    ///
    /// # Errors
    /// If what it prints is not JSON.
    pub fn next_event(&mut self) -> Result<Option<Value>> {
        let Self { watchdog, lines, .. } = self;
        watchdog.during(|| next(lines))
    }

    /// Sends a signal by name, as `kill` does.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        if !status.success() {
            bail!("kill -{name} failed");
        }
        Ok(())
    }

    /// Waits for its end; whether it succeeded, and what it wrote to standard error.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn end(mut self) -> Result<(bool, String)> {
        let Self { watchdog, lines, child } = &mut self;
        let mut said = Vec::new();
        watchdog.during(|| -> Result<()> {
            let mut rest = String::new();
            while lines.read_line(&mut rest)? > 0 {}
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_end(&mut said)?;
            }
            Ok(())
        })?;
        let status = child.wait()?;
        Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

fn next(lines: &mut BufReader<ChildStdout>) -> Result<Option<Value>> {
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).with_context(|| line.clone())
}

/// A test that fails leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
