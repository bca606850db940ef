//! A PostgreSQL of a test's own: initialised below a temporary directory, on a loopback port, and gone with the test.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    daemon::Daemon,
    debian::{self, Program},
};

/// How long anything may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
/// PostgreSQL does not run as root; this one is nobody.
const NOBODY: u32 = 65534;

/// A server that has been started.
#[derive(Debug)]
pub struct Postgres {
    /// The server; before the directory, so that it goes first.
    server: Daemon,
    postgres: Program,
    dir: TempDir,
}

impl Postgres {
    /// Starts a server that can be replicated from, with these lines in its configuration. `None` where there is none.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(configuration: &str) -> Result<Option<Self>> {
        let Some(postgres) = debian::program("postgresql-15", "usr/lib/postgresql/15/bin/postgres")? else {
            return Ok(None);
        };
        let dir = tempfile::tempdir()?;
        if root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let data = dir.path().join("data");
        let made = unprivileged(&postgres.beside("initdb"))
            .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let own = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nwal_level = logical\n\
                   shared_buffers = 16MB\nmax_wal_size = 4GB\nlog_line_prefix = '%m [%p] '\n";
        let file = data.join("postgresql.conf");
        fs::write(&file, format!("{}\n{own}{configuration}\n", fs::read_to_string(&file)?))?;
        let program = postgres.clone();
        let server = Daemon::start(move |port| {
            let mut command = unprivileged(&program);
            command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
            command
        })?;
        let server = Self { server, postgres, dir };
        server.ready()?;
        Ok(Some(server))
    }

    /// Waits until sessions can begin.
    fn ready(&self) -> Result<()> {
        let begun = Instant::now();
        while self.one("select 1").is_err() {
            let waits = begun.elapsed() < PATIENCE && !self.ended();
            ensure!(waits, "PostgreSQL does not start: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file into its data directory, which nobody else may read.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, name: &str, content: &str) -> Result<()> {
        let path = self.data().join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if root() { Ok(chown(&path, Some(NOBODY), Some(NOBODY))?) } else { Ok(()) }
    }

    /// A client of the database `postgres`.
    #[must_use]
    pub fn psql(&self) -> Command {
        let mut command = self.beside("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        command
    }

    /// A program of the same package, which finds the server in its environment.
    #[must_use]
    pub fn beside(&self, name: &str) -> Command {
        let mut command = self.postgres.beside(name).command();
        let port = self.server.port().to_string();
        command.env("PGHOST", "127.0.0.1").env("PGPORT", port).env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        command.stdin(Stdio::null());
        command
    }

    /// The rows of these statements, a line each, columns parted by `|`; each statement is a transaction.
    ///
    /// # Errors
    /// What the server says.
    pub fn sql(&self, statements: &[&str]) -> Result<Vec<String>> {
        let mut command = self.psql();
        command.args(statements.iter().flat_map(|sql| ["-c", sql]));
        let output = command.output()?;
        ensure!(output.status.success(), "{statements:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    /// The one value of a query.
    ///
    /// # Errors
    /// As for [`Postgres::sql`].
    pub fn one(&self, sql: &str) -> Result<String> {
        self.sql(&[sql])?.into_iter().next().with_context(|| format!("no row: {sql}"))
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// If it does not, within a minute.
    pub fn until(&self, condition: &str) -> Result<()> {
        let begun = Instant::now();
        while self.one(&format!("select {condition}"))? != "t" {
            ensure!(begun.elapsed() < PATIENCE, "it never holds that {condition}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills the server as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub fn crash(&mut self) -> Result<()> {
        self.server.kill()?;
        self.again()
    }

    /// Asks the server to end, as `pg_ctl stop -m fast` does, waits until it has, and starts it again.
    ///
    /// # Errors
    /// If it does not end, or not start.
    pub fn restart(&mut self) -> Result<()> {
        self.server.signal("INT")?;
        let begun = Instant::now();
        while self.data().join("postmaster.pid").exists() {
            ensure!(begun.elapsed() < PATIENCE, "it does not end: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
        self.server.kill()?;
        self.again()
    }

    fn again(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            // The processes of one that was killed need a moment to miss it, and until then a new one ends after it has listened.
            let tried = self.server.again().and_then(|()| self.ready());
            match tried {
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => self.server.kill()?,
                Ok(()) => return Ok(()),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether its process has ended.
    fn ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.id()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    }
}

fn root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

fn unprivileged(program: &Program) -> Command {
    let bare = program.command();
    if !root() {
        return bare;
    }
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(bare.get_program());
    command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir("/");
    command
}
