//! The plugin `amqp` against Debian's RabbitMQ.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{SeedableRng as _, rngs::StdRng};
use spout_tests::{
    Site,
    daemon::{Daemon, free_port},
    debian,
    proxy::{Proxy, Trick},
};

use crate::endure::{self, message};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server, and the directory of Erlang's nodes that it does not start without.
struct Server {
    node: Daemon,
    _names: Daemon,
}

fn server(site: &Site) -> Result<Option<Server>> {
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
    fs::write(dir.join("plugins"), "[].\n")?;
    fs::write(dir.join("rabbit.conf"), "loopback_users = none\nlog.console.level = error\n")?;
    fs::write(dir.join("env"), "")?;
    let epmd = bin.join("epmd");
    let names = Daemon::start(move |port| {
        let mut command = std::process::Command::new(&epmd);
        command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
        command
    })?;
    let (names_port, nodes_port) = (names.port(), free_port()?);
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
    Ok(Some(Server { node, _names: names }))
}

/// A client with one channel.
struct Client(BufReader<TcpStream>);

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
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
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
    fn patiently(address: &str) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::connect(address) {
                Err(_) if Instant::now() < deadline => thread::park_timeout(Duration::from_millis(50)),
                answer => return answer,
            }
        }
    }

    fn say(&mut self, channel: u8, method: [u8; 4], rest: &[u8]) -> Result<()> {
        Ok(self.0.get_mut().write_all(&framed(1, channel, &[&method[..], rest].concat()))?)
    }

    /// The rest of the next such method.
    fn hear(&mut self, wanted: [u8; 4]) -> Result<Vec<u8>> {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head)?;
            let mut body = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
            self.0.read_exact(&mut body)?;
            if head[0] == 1 && body.starts_with(&wanted) {
                return Ok(body[4..body.len() - 1].to_vec());
            }
            let ends = body.starts_with(&[0, 10, 0, 50]) || body.starts_with(&[0, 20, 0, 40]);
            ensure!(head[0] != 1 || !ends, "the server says {}", String::from_utf8_lossy(&body));
        }
    }

    /// Makes a queue that outlives the server; `kind` is a type of queue.
    fn create(&mut self, queue: &str, kind: &str) -> Result<()> {
        let table = [&short("x-queue-type")[..], b"S", &long(kind.as_bytes())].concat();
        self.say(1, [0, 50, 0, 10], &[&[0, 0][..], &short(queue), &[2], &long(&table)].concat())?;
        self.hear([0, 50, 0, 11]).map(drop)
    }

    /// How many messages are ready, which means that nobody has them.
    fn ready(&mut self, queue: &str) -> Result<u32> {
        self.say(1, [0, 50, 0, 10], &[&[0, 0][..], &short(queue), &[1, 0, 0, 0, 0]].concat())?;
        let rest = self.hear([0, 50, 0, 11])?;
        let at = 1 + usize::from(rest[0]);
        Ok(u32::from_be_bytes(rest[at..at + 4].try_into()?))
    }

    /// Publishes messages with these numbers, and waits until the server has them on its disk.
    fn publish(&mut self, queue: &str, from: u64, to: u64) -> Result<()> {
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

fn spec(address: &str, queue: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: amqp
    topic: {queue}
    consumerType: acked
    fetch: {{timeout: 50ms}}
    dedupe: {{window: 10000, unacknowledged: 4000}}
    settings: {{address: \"{address}\"{settings}}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  amqp: {{net: [\"{address}\"]}}
"
    )
}

/// Everything that wants a server uses one: it takes seconds to start.
#[test]
fn a_queue_is_read_once_over_kills_of_both_and_everything_else_is_said() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.node.address();
    let mut client = Client::patiently(&address)?;
    others(&address, &mut client)?;
    client.create("q", "classic")?;
    drop(client);
    kills(&site, server, 100_000)
}

/// Kills the host ten times, and the server five, while messages come.
fn kills(site: &Site, server: Server, total: u64) -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let (mut dice, address) = (StdRng::seed_from_u64(seed), server.node.address());
    site.write("spec.yaml", spec(&address, "q", ""))?;
    let server = Arc::new(Mutex::new(server));
    let (allowed, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = {
        let (server, allowed, stop, address) =
            (Arc::clone(&server), Arc::clone(&allowed), Arc::clone(&stop), address.clone());
        thread::spawn(move || -> Result<()> {
            let mut written = 0;
            while written < total && !stop.load(Ordering::SeqCst) {
                let to = allowed.load(Ordering::SeqCst).min(written + 1000);
                if to > written {
                    // The server runs as long as this is held, and has all of it afterwards.
                    let _held = server.lock().map_err(|_| anyhow::anyhow!("the server is gone"))?;
                    Client::patiently(&address)?.publish("q", written, to)?;
                    written = to;
                }
                thread::park_timeout(Duration::from_millis(2));
            }
            Ok(())
        })
    };
    let rounds = |dice: &mut StdRng| -> Result<()> {
        for round in 1..=10 {
            allowed.store(total * round / 11, Ordering::SeqCst);
            let mut running = site.start(&["run", "spec.yaml"])?;
            running.wait_for("committed")?.context("a commit in this round")?;
            if round % 2 == 0 {
                endure::wait(dice, 100);
                let mut server = server.lock().map_err(|_| anyhow::anyhow!("the server is gone"))?;
                server.node.kill()?;
                server.node.again()?;
            }
            endure::wait(dice, 300);
            running.child.kill()?;
            running.end()?;
        }
        Ok(())
    };
    let killed = rounds(&mut dice);
    allowed.store(total, Ordering::SeqCst);
    stop.store(killed.is_err(), Ordering::SeqCst);
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    killed?;
    written?;
    let before = site.number("select count(*) from lines", None)?;
    ensure!(before > 0 && before < total, "{before} rows before the last run: the kills proved nothing");
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    endure::each_once(site, total)?;
    let left = Client::patiently(&address)?.ready("q")?;
    ensure!(left == 0, "{left} messages are left");
    let again = format!("{:?}", site.json(&["list", "commit", "lines"])?);
    ensure!(again.contains("dedupe"), "nothing was sent again: the test proves nothing");
    site.ok(&["fsck"]).map(drop)
}

/// What goes wrong, and conformance.
fn others(address: &str, client: &mut Client) -> Result<()> {
    let mut site = Site::new()?;
    let run = ["run", "spec.yaml", "--until", "idle"];
    site.write("spec.yaml", spec(address, "nothing", ""))?;
    site.fails(&run, 1, &["amqp.queue", "nothing"])?;
    site.write("spec.yaml", spec(address, "r", ", vhost: nowhere"))?;
    site.fails(&run, 1, &["amqp.refused", "nowhere"])?;
    client.create("r", "classic")?;
    client.publish("r", 0, 1000)?;
    let test = ["plugin", "test", "amqp", "--topic", "r", "--net", address];
    site.ok(&[&test[..], &["--settings", &format!("address={address}")]].concat())?;
    client.create("p", "classic")?;
    client.publish("p", 0, 1000)?;
    let tricks = vec![
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Cut(3),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(1),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(address.to_owned(), tricks)?;
    let endpoint = |settings: &str, grants: &str| {
        spec("broker", "p", settings).replace(
            "{net: [\"broker\"]}",
            &format!("{{endpoints: {{broker: {{address: \"{}\"}}}}{grants}}}", proxy.address()),
        )
    };
    let password = ", secrets: {password: {env: SPOUT_TEST_PASSWORD}}";
    site.write("spec.yaml", endpoint(", username: guest", password))?;
    site.environment = vec![("SPOUT_TEST_PASSWORD", "guest".into())];
    site.ok(&run)?;
    endure::each_once(&site, 1000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    // What the protocol says of a message is in its headers.
    client.create("h", "classic")?;
    client.publish("h", 0, 100)?;
    let tagged = Site::new()?;
    tagged
        .write("spec.yaml", spec(address, "h", "").replace("consumerType", "metadata: [headers]\n    consumerType"))?;
    tagged.ok(&run)?;
    let found = |name: &str, value: &str| {
        let all = "select n, unnest(__headers) as h from lines";
        let of = format!("h['name'] = '{name}' and cast(h['value'] as varchar) = {value}");
        tagged.number(&format!("select count(*) from ({all}) where {of}"), None)
    };
    let (ids, keys) = (found("message-id", "cast(n as varchar)")?, found("routing-key", "'h'")?);
    ensure!(ids == 100 && keys == 100, "{ids} ids and {keys} keys");
    site.environment = vec![("SPOUT_TEST_PASSWORD", "another".into())];
    let said = site.fails(&run, 1, &["amqp.denied"])?;
    ensure!(!said.contains("another"), "{said}");
    Ok(())
}
