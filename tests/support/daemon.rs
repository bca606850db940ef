//! Servers that tests start on a free loopback port, kill and start again.
//!
//! **Invariant**: a server does not outlive its test, however the test ends.

use std::{
    fmt,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// How long a server may take until it accepts connections, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How often another port is tried where something took the first.
const TRIES: u32 = 5;

/// Becomes the server, and leaves a process behind that ends it when whoever holds our standard input is gone.
const WATCHED: &str = r#"exec 3<&0; (read -r gone <&3; kill -9 $$) >/dev/null 2>&1 & exec "$0" "$@" 3<&- </dev/null"#;

/// A running server. It is killed when this goes.
pub struct Daemon {
    command: Box<dyn Fn(u16) -> Command + Send + Sync>,
    child: Child,
    port: u16,
    /// What it printed.
    logs: TempDir,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("port", &self.port).field("child", &self.child).finish_non_exhaustive()
    }
}

impl Daemon {
    /// Starts the server that `command` makes for a port of 127.0.0.1, and waits until it accepts connections there.
    ///
    /// # Errors
    /// If it ends or does not accept connections; with what it printed.
    pub fn start(command: impl Fn(u16) -> Command + Send + Sync + 'static) -> Result<Self> {
        let logs = tempfile::tempdir()?;
        let mut last = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            match spawn(&command(port), port, &logs) {
                Ok(child) => return Ok(Self { command: Box::new(command), child, port, logs }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("nothing was tried")))
    }

    /// As [`Daemon::start`], at this port.
    ///
    /// # Errors
    /// As there, and if something else has the port.
    pub fn start_at(port: u16, command: impl Fn(u16) -> Command + Send + Sync + 'static) -> Result<Self> {
        let logs = tempfile::tempdir()?;
        let child = spawn(&command(port), port, &logs)?;
        Ok(Self { command: Box::new(command), child, port, logs })
    }

    /// The port at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.logs.path().join("log")).unwrap_or_default()
    }

    /// Kills it as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // It may have ended by itself.
        drop(self.child.kill());
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal by name, as `kill` does: `STOP` makes it a server that accepts connections and never answers.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Asks it to end, as an administrator does, and waits until it is gone.
    ///
    /// # Errors
    /// If there is no such process, or it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        let deadline = Instant::now() + START;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts it again at the same port, after [`kill`](Self::kill) or [`stop`](Self::stop).
    ///
    /// # Errors
    /// If it ends or does not accept connections; with what it printed.
    pub fn again(&mut self) -> Result<()> {
        self.child = spawn(&(self.command)(self.port), self.port, &self.logs)?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.kill());
    }
}

/// A port of 127.0.0.1 that nothing listens on now.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The same for a server that takes the port only some seconds later: below those that the system gives to whoever asks for any.
///
/// # Errors
/// If there is none.
pub fn lasting_port() -> Result<u16> {
    for _ in 0..100 {
        let port = rand::random_range(10_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

fn spawn(bare: &Command, port: u16, logs: &TempDir) -> Result<Child> {
    let log = File::options().create(true).append(true).open(logs.path().join("log"))?;
    let mut command = Command::new("sh");
    command.args(["-c", WATCHED]).arg(bare.get_program()).args(bare.get_args());
    command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(bare.get_current_dir().unwrap_or_else(|| logs.path()));
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().with_context(|| format!("start {}", bare.get_program().display()))?;
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = child.try_wait()? {
            let told = fs::read_to_string(logs.path().join("log")).unwrap_or_default();
            bail!("{} ended with {status}:\n{told}", bare.get_program().display());
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(child);
        }
        if Instant::now() > deadline {
            drop(child.kill());
            drop(child.wait());
            let told = fs::read_to_string(logs.path().join("log")).unwrap_or_default();
            bail!("{} does not accept connections at port {port}:\n{told}", bare.get_program().display());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, process::Command};

    use super::Daemon;

    #[test]
    fn a_server_is_killed_and_comes_back_at_its_port() {
        let program = "import socket, sys, time\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
                       print('listening', flush=True)\ntime.sleep(600)";
        let start = move |port: u16| {
            let mut command = Command::new("python3");
            command.args(["-c", program, &port.to_string()]);
            command
        };
        let mut daemon = Daemon::start(start).expect("it starts");
        assert!(daemon.log().contains("listening"));
        daemon.kill().expect("it is killed");
        assert!(TcpStream::connect(daemon.address()).is_err());
        daemon.again().expect("it starts again");
        let (id, address) = (daemon.id(), daemon.address());
        drop(daemon);
        assert!(TcpStream::connect(address).is_err());
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_server_that_ends_says_why() {
        let start = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo cannot >&2; exit 3"]);
            command
        };
        let error = Daemon::start(start).expect_err("it cannot start").to_string();
        assert!(error.contains("cannot"), "{error}");
    }
}
