//! The plugin `mqtt` against Debian's `mosquitto`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, rngs::StdRng};
use spout_tests::{
    Site,
    daemon::{Daemon, lasting_port},
    debian,
    proxy::{Proxy, Trick},
    tls,
};

use crate::endure::{self, Load, message};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn server(site: &Site, more: &str) -> Result<Option<Daemon>> {
    let Some(program) = debian::program("mosquitto", "usr/sbin/mosquitto")? else { return Ok(None) };
    let (dir, more) = (site.path().join("mosquitto"), more.to_owned());
    fs::create_dir_all(&dir)?;
    let server = Daemon::start(move |port| {
        let config = dir.join("conf");
        let text = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {}/\nmax_queued_messages 0\nmax_inflight_messages 0\n{more}\n",
            dir.display()
        );
        // Without it the server says so.
        drop(fs::write(&config, text));
        let mut command = program.command();
        command.arg("-c").arg(config);
        command
    })?;
    Ok(Some(server))
}

const OPEN: &str = "allow_anonymous true";

/// A client of MQTT 3.1.1.
struct Client(TcpStream);

impl Client {
    /// Connects; whether the server knew the session.
    fn connect(address: &str, id: &str, clean: bool, who: &[&str]) -> Result<(Self, bool)> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Self(stream);
        let mut body = b"\0\x04MQTT\x04".to_vec();
        body.push(if clean { 2 } else { 0 } | if who.is_empty() { 0 } else { 0xc0 });
        body.extend([0, 0]);
        [id].iter().chain(who).for_each(|text| put(&mut body, text));
        client.send(&framed(0x10, &body))?;
        let (kind, body) = client.receive()?;
        ensure!(kind == 0x20 && body.get(1) == Some(&0), "{kind} {body:?}");
        Ok((client, body.first() == Some(&1)))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut byte = || -> Result<u8> {
            let mut one = [0];
            self.0.read_exact(&mut one)?;
            Ok(one[0])
        };
        let (kind, mut length, mut shift) = (byte()?, 0, 0);
        loop {
            let next = byte()?;
            length |= usize::from(next & 127) << shift;
            shift += 7;
            if next < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((kind, body))
    }

    fn subscribe(&mut self, filter: &str) -> Result<()> {
        let mut body = vec![0, 1];
        put(&mut body, filter);
        body.push(2);
        self.send(&framed(0x82, &body))?;
        ensure!(self.receive()? == (0x90, vec![0, 1, 2]));
        Ok(())
    }

    /// Publishes, and waits until the server has all of it.
    fn publish(&mut self, topic: &str, qos: u8, retain: bool, payloads: &[String]) -> Result<()> {
        let mut bytes = Vec::new();
        for (number, payload) in (1_u16..).zip(payloads) {
            let mut body = Vec::new();
            put(&mut body, topic);
            if qos > 0 {
                body.extend(number.to_be_bytes());
            }
            body.extend(payload.as_bytes());
            bytes.extend(framed(0x30 | qos << 1 | u8::from(retain), &body));
        }
        self.send(&bytes)?;
        let mut left = if qos == 0 { 0 } else { payloads.len() };
        while left > 0 {
            match self.receive()? {
                (0x50, number) => self.send(&framed(0x62, &number))?,
                (0x40 | 0x70, _) => left -= 1,
                other => anyhow::bail!("the server sends {other:?}"),
            }
        }
        Ok(())
    }

    /// How many messages come before the answer to a ping.
    fn waiting(&mut self) -> Result<usize> {
        self.send(&[0xc0, 0])?;
        let mut count = 0;
        while self.receive()?.0 != 0xd0 {
            count += 1;
        }
        Ok(count)
    }
}

fn put(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![kind], body.len());
    while length > 127 {
        bytes.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(body);
    bytes
}

/// Begins the session that a pipeline has, so that nothing is sent before there is one.
fn session(address: &str, filter: &str) -> Result<()> {
    let (mut client, known) = Client::connect(address, "spout-lines", false, &[])?;
    ensure!(!known);
    client.subscribe(filter)?;
    client.send(&[0xe0, 0])
}

/// The session has nothing more.
fn empty(address: &str) -> Result<()> {
    let (mut client, known) = Client::connect(address, "spout-lines", false, &[])?;
    let waiting = client.waiting()?;
    ensure!(known && waiting == 0, "{waiting} messages wait in a session that is there: {known}");
    Ok(())
}

fn spec(address: &str, topic: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: mqtt
    topic: \"{topic}\"
    consumerType: acked
    fetch: {{timeout: 50ms}}
    dedupe: {{window: 20000, unacknowledged: 4000}}
    settings: {{address: \"{address}\"{settings}}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  mqtt: {{net: [\"{address}\"]}}
"
    )
}

/// The plugin keeps what it promises at this server.
fn conforms(site: &Site, address: &str, settings: &[&str]) -> Result<()> {
    let (address, net) = (format!("address={address}"), address.to_owned());
    let mut test = vec!["plugin", "test", "mqtt", "--topic", "t", "--net", &net, "--settings", &address];
    settings.iter().for_each(|setting| test.extend(["--settings", setting]));
    site.ok(&test).map(drop)
}

#[test]
fn it_conforms_with_either_version_and_quality() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site, OPEN)? else { return Ok(()) };
    let address = server.address();
    for (id, settings) in [("one", &["inflight=20"][..]), ("two", &["protocol=v3", "qos=2"])] {
        let (mut client, _) = Client::connect(&address, id, false, &[])?;
        client.subscribe("t")?;
        client.send(&[0xe0, 0])?;
        let (mut writer, _) = Client::connect(&address, "writer", true, &[])?;
        writer.publish("t", 2, false, &(0..100).map(|n| message(n / 2)).collect::<Vec<_>>())?;
        conforms(&site, &address, &[&[&*format!("clientId={id}")], settings].concat())?;
    }
    Ok(())
}

/// Ends the server, and starts it again. Killed, it has what it wrote last, to which it is asked before: acknowledgments since then are
/// lost. Whoever writes waits meanwhile.
fn end(server: &mut Daemon, saved: &std::path::Path, dice: &mut StdRng) -> Result<()> {
    if dice.random_bool(0.5) {
        server.stop()?;
        return server.again();
    }
    let time = || fs::metadata(saved).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let (before, deadline) = (time(), Instant::now() + PATIENCE);
    server.signal("USR1")?;
    while time() == before {
        ensure!(Instant::now() < deadline, "the server writes nothing");
        thread::park_timeout(Duration::from_millis(1));
    }
    endure::wait(dice, 40);
    server.kill()?;
    server.again()
}

/// Kills the host ten times, and the server six, while messages come.
fn kills(qos: u8, settings: &str, total: u64) -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site, OPEN)? else { return Ok(()) };
    let address = server.address();
    session(&address, "t/#")?;
    site.write("spec.yaml", spec(&address, "t/#", settings))?;
    let (server, saved) = (Arc::new(Mutex::new(server)), site.path().join("mosquitto/mosquitto.db"));
    let (held, to) = (Arc::clone(&server), address.clone());
    let write = move |from: u64, until: u64| {
        if until > from {
            // The server runs as long as this is held, and has all of it afterwards.
            let _held = held.lock().map_err(|_| anyhow::anyhow!("the server is gone"))?;
            let (mut client, _) = Client::connect(&to, "writer", true, &[])?;
            client.publish("t/a", qos, false, &(from..until).map(message).collect::<Vec<_>>())?;
        }
        Ok(Some(until))
    };
    endure::paced(Load { messages: total, kills: 10 }, write, |round, dice| {
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("committed")?.context("a commit in this round")?;
        if round % 5 < 3 {
            endure::wait(dice, 60);
            let mut server = server.lock().map_err(|_| anyhow::anyhow!("the server is gone"))?;
            end(&mut server, &saved, dice)?;
        }
        endure::wait(dice, 200);
        running.child.kill()?;
        running.end().map(drop)
    })?;
    endure::partly(&site, total)?;
    endure::complete(&site, total)?;
    empty(&address)?;
    endure::sent_again(&site)?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn every_message_is_there_once_over_kills_of_both() -> Result<()> {
    kills(1, "", endure::Load::now().messages)
}

#[test]
fn every_message_of_the_older_version_is_there_once_over_kills_of_both() -> Result<()> {
    kills(1, ", protocol: v3", 10_000)
}

#[test]
fn every_message_that_is_handed_over_in_four_steps_is_there_once_over_kills_of_both() -> Result<()> {
    kills(2, ", qos: 2", 10_000)
}

#[test]
fn messages_that_are_alike_stay_two_when_the_host_dies_between_commit_and_acknowledgment() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site, OPEN)? else { return Ok(()) };
    let address = server.address();
    session(&address, "t")?;
    site.write("spec.yaml", spec(&address, "t", "").replace("lines}", "lines}\nguarantee: effectively-once"))?;
    let alike = vec!["{\"n\":1,\"text\":\"x\"}".to_owned(); 300];
    let (mut writer, _) = Client::connect(&address, "writer", true, &[])?;
    for round in 1..=3 {
        writer.publish("t", 1, false, &alike)?;
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("committed")?.context("a commit in this round")?;
        running.child.kill()?;
        running.end()?;
        let rows = site.number("select count(*) from lines", None)?;
        ensure!(rows <= round * 300, "{rows} rows in round {round}");
    }
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let rows = site.number("select count(*) from lines", None)?;
    ensure!(rows == 900, "{rows} rows of 900 messages");
    empty(&address)
}

#[test]
fn topics_are_shared_retained_and_left_and_a_window_of_the_server_is_no_end() -> Result<()> {
    let site = Site::new()?;
    // As the server comes: it waits for acknowledgments after twenty messages.
    let Some(server) = server(&site, "allow_anonymous true\nmax_inflight_messages 20")? else { return Ok(()) };
    let address = server.address();
    let (mut writer, _) = Client::connect(&address, "writer", true, &[])?;
    let all = |from: u64, to: u64| (from..to).map(message).collect::<Vec<_>>();
    writer.publish("r/a", 1, true, &all(0, 1))?;
    let run = |site: &Site, topic: &str, settings: &str| -> Result<u64> {
        site.write("spec.yaml", spec(&address, topic, settings).replace("4000", "40"))?;
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        let found = site.number("select count(*) from lines", None);
        found.or_else(|error| if error.to_string().contains("E0512") { Ok(0) } else { Err(error) })
    };
    ensure!(run(&site, "r/+", ", clientId: one")? == 0, "what is retained is not wanted");
    ensure!(run(&site, "r/+", ", clientId: two, protocol: v3")? == 0, "nor by the older version");
    ensure!(run(&site, "r/#,$share/g/s/#", ", retained: true")? == 1, "a subscription that is new");
    ensure!(run(&site, "r/#,$share/g/s/#", ", retained: true")? == 1, "and one that is not");
    writer.publish("r/a", 1, false, &all(1, 201))?;
    writer.publish("s/a/b", 1, false, &all(201, 301))?;
    writer.publish("s/a/b", 0, false, &all(301, 302))?;
    ensure!(run(&site, "r/#,$share/g/s/#", ", retained: true")? == 301);
    // The filter that was left has no more messages.
    ensure!(run(&site, "r/#", "")? == 301);
    writer.publish("s/a/b", 1, false, &all(0, 100))?;
    writer.publish("r/b", 1, false, &all(301, 302))?;
    ensure!(run(&site, "r/#", "")? == 302);
    endure::each_once(&site, 302)
}

#[test]
fn a_server_that_hangs_lies_or_breaks_off_is_waited_out_and_a_lost_session_stops_the_pipeline() -> Result<()> {
    let site = Site::new()?;
    let Some(mut server) = server(&site, OPEN)? else { return Ok(()) };
    let address = server.address();
    session(&address, "t")?;
    let (mut writer, _) = Client::connect(&address, "writer", true, &[])?;
    writer.publish("t", 1, false, &(0..1000).map(message).collect::<Vec<_>>())?;
    let tricks = vec![
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Cut(3),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(1),
        Trick::Flip(40),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(address.clone(), tricks)?;
    site.write("spec.yaml", spec(&proxy.address(), "t", ""))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    endure::each_once(&site, 1000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    empty(&address)?;
    // A server that was not writing to disk, as far as we can see.
    server.kill()?;
    fs::remove_dir_all(site.path().join("mosquitto"))?;
    fs::create_dir_all(site.path().join("mosquitto"))?;
    server.again()?;
    site.write("spec.yaml", spec(&address, "t", ""))?;
    for _ in 0..2 {
        site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["mqtt.session", "lostSession"])?;
    }
    site.write("spec.yaml", spec(&address, "t", ", lostSession: continue"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let (mut writer, _) = Client::connect(&address, "writer", true, &[])?;
    writer.publish("t", 1, false, &(1000..1100).map(message).collect::<Vec<_>>())?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    endure::each_once(&site, 1100)
}

#[test]
fn the_password_is_given_by_the_host() -> Result<()> {
    let mut site = Site::new()?;
    let Some(program) = debian::program("mosquitto", "usr/sbin/mosquitto")? else { return Ok(()) };
    let passwords = site.write("passwords", "reader:s3cret-word\n")?;
    let made = program.beside("../bin/mosquitto_passwd").command().arg("-U").arg(&passwords).output()?;
    ensure!(made.status.success(), "{made:?}");
    let more = format!("allow_anonymous false\npassword_file {}", passwords.display());
    let Some(server) = server(&site, &more)? else { return Ok(()) };
    let address = server.address();
    let who = ["reader", "s3cret-word"];
    let (mut client, _) = Client::connect(&address, "spout-lines", false, &who)?;
    client.subscribe("t")?;
    let (mut writer, _) = Client::connect(&address, "writer", true, &who)?;
    writer.publish("t", 1, false, &(0..100).map(message).collect::<Vec<_>>())?;
    let spec = |settings: &str, grants: &str| endure::through(&spec("broker", "t", settings), &address, grants);
    site.write("spec.yaml", spec("", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["mqtt.denied"])?;
    site.write("spec.yaml", spec(", username: reader", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["`password`"])?;
    site.write("spec.yaml", spec(", username: reader", ", secrets: {password: {env: SPOUT_TEST_PASSWORD}}"))?;
    for (password, good) in [("another-word", false), ("s3cret-word", true)] {
        site.environment = vec![("SPOUT_TEST_PASSWORD", password.into())];
        if good {
            site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        } else {
            let said = site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["mqtt.denied"])?;
            ensure!(!said.contains(password), "{said}");
        }
    }
    endure::each_once(&site, 100)
}

#[test]
fn a_broker_is_reached_by_tls_and_knows_by_a_certificate_who_is_there() -> Result<()> {
    let (site, port) = (Site::new()?, lasting_port()?);
    let certificates = site.path().join("certificates");
    tls::authority(&certificates, "reader")?;
    let dir = certificates.display();
    let listener = format!(
        "{OPEN}\nlistener {port} 127.0.0.1\ncafile {dir}/ca.pem\ncertfile {dir}/server.pem\nkeyfile {dir}/server.key\nrequire_certificate true\nuse_identity_as_username true"
    );
    let Some(server) = server(&site, &listener)? else { return Ok(()) };
    let spec = |endpoint: &str| spec("broker", "t", "").replace("{net: [\"broker\"]}", &format!("{{{endpoint}}}"));
    tls::refused(&site, port, &certificates, spec)?;
    session(&server.address(), "t")?;
    let (mut client, _) = Client::connect(&server.address(), "writer", true, &[])?;
    client.publish("t", 1, false, &(0..100).map(message).collect::<Vec<_>>())?;
    site.write("spec.yaml", spec(&tls::endpoint(port, &certificates)))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let said = server.log();
    ensure!(said.contains("u'reader'"), "{said}");
    endure::each_once(&site, 100)
}
