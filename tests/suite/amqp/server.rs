//! RabbitMQ from Debian, and a client of it that is not the plugin's.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Site,
    daemon::{Daemon, lasting_port},
    debian, tls,
};

use crate::endure::message;

/// Longest wait for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// A server that has just begun takes connections that it never answers.
const ANSWER: Duration = Duration::from_secs(5);

/// A server, and the directory of Erlang's nodes that it does not start without.
pub(super) struct Server {
    pub(super) node: Daemon,
    /// The port at which it talks TLS, and where the certificates for that are.
    pub(super) tls: u16,
    pub(super) certificates: PathBuf,
    _names: Daemon,
}

pub(super) fn server(site: &Site) -> Result<Option<Server>> {
    let Some(program) = debian::program("rabbitmq-server", "usr/sbin/rabbitmq-server")? else { return Ok(None) };
    let root = program.path.ancestors().nth(3).context("a place")?.to_owned();
    let (erlang, dir) = (root.join("usr/lib/erlang"), site.path().join("rabbit"));
    let inside = |path: std::path::PathBuf, name: &str| -> Result<std::path::PathBuf> {
        let found = fs::read_dir(path)?.filter_map(Result::ok).map(|entry| entry.path());
        let mut found = found.filter(|path| path.to_string_lossy().contains(name));
        found.next().with_context(|| format!("there is no {name}"))
    };
    let bin = inside(erlang.clone(), "erts-")?.join("bin");
    let script = inside(root.join("usr/lib/rabbitmq/lib"), "rabbitmq_server-")?.join("sbin/rabbitmq-server");
    fs::create_dir_all(dir.join("bin"))?;
    // Erlang as it comes believes that it was installed.
    let erl = dir.join("bin/erl");
    let text = format!(
        "#!/bin/sh\nexport ROOTDIR={} BINDIR={} EMU=beam PROGNAME=erl\nexec {}/erlexec \"$@\"\n",
        erlang.display(),
        bin.display(),
        bin.display()
    );
    fs::write(&erl, text)?;
    fs::set_permissions(&erl, fs::Permissions::from_mode(0o755))?;
    let (tls, certificates) = (lasting_port()?, dir.join("certificates"));
    tls::authority(&certificates, "guest")?;
    fs::write(dir.join("plugins"), "[rabbitmq_auth_mechanism_ssl].\n")?;
    let shown = certificates.display();
    let config = format!(
        "loopback_users = none
log.console.level = error
listeners.ssl.1 = 127.0.0.1:{tls}
ssl_options.cacertfile = {shown}/ca.pem
ssl_options.certfile = {shown}/server.pem
ssl_options.keyfile = {shown}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
"
    );
    fs::write(dir.join("rabbit.conf"), config)?;
    fs::write(dir.join("env"), "")?;
    let epmd = bin.join("epmd");
    let names = Daemon::start(move |port| {
        let mut command = std::process::Command::new(&epmd);
        command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
        command
    })?;
    let (names_port, nodes_port) = (names.port(), lasting_port()?);
    let node = Daemon::start(move |port| {
        let mut command = std::process::Command::new(&script);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{}:{path}", dir.join("bin").display(), bin.display()));
        command.env("RUNNING_UNDER_SYSTEMD", "1").env("HOME", &dir).env("ERL_EPMD_PORT", names_port.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", port.to_string()).env("RABBITMQ_DIST_PORT", nodes_port.to_string());
        command.env("RABBITMQ_NODENAME", "spout@localhost").env("RABBITMQ_LOGS", "-");
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none");
        for (name, file) in [
            ("MNESIA_BASE", "."),
            ("LOG_BASE", "."),
            ("PID_FILE", "pid"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
            ("CONFIG_FILE", "rabbit"),
            ("CONF_ENV_FILE", "env"),
        ] {
            command.env(format!("RABBITMQ_{name}"), dir.join(file));
        }
        command
    })?;
    Ok(Some(Server { node, tls, certificates, _names: names }))
}

/// A client with one channel.
pub(super) struct Client(BufReader<TcpStream>);

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn framed(kind: u8, channel: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, channel][..], &long(body), &[0xce]].concat()
}

impl Client {
    /// A client that waits for an answer as long as [`ANSWER`] says.
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        let mut client = Self(BufReader::new(stream));
        client.0.get_mut().write_all(b"AMQP\0\0\x09\x01")?;
        client.hear([0, 10, 0, 10])?;
        let login = [&[0; 4][..], &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")].concat();
        client.say(0, [0, 10, 0, 11], &login)?;
        client.hear([0, 10, 0, 30])?;
        client.say(0, [0, 10, 0, 31], &[0, 1, 0, 2, 0, 0, 0, 0])?;
        client.say(0, [0, 10, 0, 40], &[&short("/")[..], &[0, 0]].concat())?;
        client.hear([0, 10, 0, 41])?;
        client.say(1, [0, 20, 0, 10], &[0])?;
        client.hear([0, 20, 0, 11])?;
        Ok(client)
    }

    /// Connects as soon as the server is ready, some time after it listens.
    pub(super) fn patiently(address: &str) -> Result<Self> {
        let client = Self::answered(address)?;
        client.0.get_ref().set_read_timeout(Some(PATIENCE))?;
        Ok(client)
    }

    fn answered(address: &str) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::connect(address) {
                Err(_) if Instant::now() < deadline => thread::park_timeout(Duration::from_millis(50)),
                answer => return answer,
            }
        }
    }

    /// Connects as soon as the server has found this queue, some time after it is ready.
    pub(super) fn until_there(address: &str, queue: &str) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = Self::answered(address)?;
            match client.ready(queue) {
                Ok(_) => {
                    client.0.get_ref().set_read_timeout(Some(PATIENCE))?;
                    return Ok(client);
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }

    fn say(&mut self, channel: u8, method: [u8; 4], rest: &[u8]) -> Result<()> {
        Ok(self.0.get_mut().write_all(&framed(1, channel, &[&method[..], rest].concat()))?)
    }

    /// The rest of the next such method.
    fn hear(&mut self, wanted: [u8; 4]) -> Result<Vec<u8>> {
        loop {
            let body = self.frame(1)?;
            if body.starts_with(&wanted) {
                return Ok(body[4..].to_vec());
            }
        }
    }

    /// The next frame of a kind.
    fn frame(&mut self, kind: u8) -> Result<Vec<u8>> {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head)?;
            let mut body = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
            self.0.read_exact(&mut body)?;
            let ends = body.starts_with(&[0, 10, 0, 50]) || body.starts_with(&[0, 20, 0, 40]);
            ensure!(head[0] != 1 || !ends, "the server says {}", String::from_utf8_lossy(&body));
            if head[0] == kind {
                body.pop();
                return Ok(body);
            }
        }
    }

    /// Makes a queue that outlives the server; `kind` is a type of queue.
    pub(super) fn create(&mut self, queue: &str, kind: &str) -> Result<()> {
        self.create_with(queue, kind, &[])
    }

    /// The same with numbers among its arguments.
    pub(super) fn create_with(&mut self, queue: &str, kind: &str, more: &[(&str, u64)]) -> Result<()> {
        let mut table = [&short("x-queue-type")[..], b"S", &long(kind.as_bytes())].concat();
        more.iter().for_each(|(name, n)| table.extend([&short(name)[..], b"l", &n.to_be_bytes()].concat()));
        self.say(1, [0, 50, 0, 10], &[&[0, 0][..], &short(queue), &[2], &long(&table)].concat())?;
        self.hear([0, 50, 0, 11]).map(drop)
    }

    pub(super) fn delete(&mut self, queue: &str) -> Result<()> {
        self.say(1, [0, 50, 0, 40], &[&[0, 0][..], &short(queue), &[0]].concat())?;
        self.hear([0, 50, 0, 41]).map(drop)
    }

    /// The offset of the first message that a stream has; read by another channel's connection, which ends then.
    pub(super) fn first(address: &str, stream: &str) -> Result<u64> {
        let mut client = Self::patiently(address)?;
        client.say(1, [0, 60, 0, 10], &[0, 0, 0, 0, 0, 1, 0])?;
        client.hear([0, 60, 0, 11])?;
        let table = [&short("x-stream-offset")[..], b"S", &long(b"first")].concat();
        let head = [&[0, 0][..], &short(stream), &short("c"), &[0]].concat();
        client.say(1, [0, 60, 0, 20], &[head, long(&table)].concat())?;
        let header = client.frame(2)?;
        let name = b"x-stream-offsetl";
        let at = header.windows(name.len()).position(|part| part == name).context("an offset")? + name.len();
        Ok(u64::from_be_bytes(header[at..at + 8].try_into()?))
    }

    /// How many messages are ready, which means that nobody has them.
    pub(super) fn ready(&mut self, queue: &str) -> Result<u32> {
        self.say(1, [0, 50, 0, 10], &[&[0, 0][..], &short(queue), &[1, 0, 0, 0, 0]].concat())?;
        let rest = self.hear([0, 50, 0, 11])?;
        let at = 1 + usize::from(rest[0]);
        Ok(u32::from_be_bytes(rest[at..at + 4].try_into()?))
    }

    /// Publishes messages with these numbers, and waits until the server has them on its disk.
    pub(super) fn publish(&mut self, queue: &str, from: u64, to: u64) -> Result<()> {
        self.say(1, [0, 85, 0, 10], &[0])?;
        self.hear([0, 85, 0, 11])?;
        let mut bytes = Vec::new();
        for n in from..to {
            let payload = message(n);
            bytes.extend(framed(1, 1, &[&[0, 60, 0, 40, 0, 0, 0][..], &short(queue), &[0]].concat()));
            let size = (payload.len() as u64).to_be_bytes();
            bytes.extend(framed(2, 1, &[&[0, 60, 0, 0][..], &size, &[0x10, 0x80, 2], &short(&n.to_string())].concat()));
            bytes.extend(framed(3, 1, payload.as_bytes()));
        }
        self.0.get_mut().write_all(&bytes)?;
        let mut open: std::collections::BTreeSet<u64> = (1..=to - from).collect();
        while !open.is_empty() {
            let ack = self.hear([0, 60, 0, 80])?;
            let tag = u64::from_be_bytes(ack[..8].try_into()?);
            if ack[8] == 1 {
                open = open.split_off(&(tag + 1));
            } else {
                open.remove(&tag);
            }
        }
        Ok(())
    }
}
