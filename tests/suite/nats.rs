//! The plugin `nats` against Debian's `nats-server`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{
    Site,
    daemon::Daemon,
    debian,
    proxy::{Proxy, Trick},
    tls,
};

use crate::endure::{self, message};

pub(crate) fn server(site: &Site) -> Result<Option<Daemon>> {
    server_with(site, &[])
}

fn server_with(site: &Site, more: &[&str]) -> Result<Option<Daemon>> {
    let Some(program) = debian::program("nats-server", "usr/sbin/nats-server")? else { return Ok(None) };
    let (dir, more) = (site.path().join("nats"), more.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    let server = Daemon::start(move |port| {
        let mut command = program.command();
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]).arg(&dir);
        command.args(&more);
        command
    })?;
    Ok(Some(server))
}

/// A client of the server.
pub(crate) struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        Self::connect_as(address, "")
    }

    /// `who` is what the client says of itself besides, as members of an object.
    fn connect_as(address: &str, who: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "CONNECT {{\"verbose\":false,\"headers\":true{who}}}\r\nSUB answers 1\r\n")?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, lines })
    }

    /// Publishes messages together; the answer to each.
    fn ask(&mut self, all: &[(&str, String)]) -> Result<Vec<Value>> {
        let mut bytes = Vec::new();
        for (subject, payload) in all {
            write!(bytes, "PUB {subject} answers {}\r\n{payload}\r\n", payload.len())?;
        }
        self.stream.write_all(&bytes)?;
        let mut answers = Vec::new();
        while answers.len() < all.len() {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "the server is gone");
            match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                ["PING"] => self.stream.write_all(b"PONG\r\n")?,
                ["MSG", .., size] => {
                    let mut payload = vec![0; size.parse::<usize>()? + 2];
                    self.lines.read_exact(&mut payload)?;
                    answers.push(serde_json::from_slice(&payload)?);
                }
                ["HMSG" | "-ERR", ..] => anyhow::bail!("the server says {line}"),
                _ => {}
            }
        }
        Ok(answers)
    }

    fn api(&mut self, what: &str, request: &Value) -> Result<Value> {
        let answer = self.ask(&[(&format!("$JS.API.{what}"), request.to_string())])?.remove(0);
        ensure!(answer.get("error").is_none(), "{what}: {answer}");
        Ok(answer)
    }

    pub(crate) fn create(&mut self, stream: &str) -> Result<()> {
        let config = json!({ "name": stream, "subjects": [format!("{stream}.>")], "storage": "file" });
        self.api(&format!("STREAM.CREATE.{stream}"), &config).map(drop)
    }

    pub(crate) fn add(&mut self, subject: &str, from: u64, to: u64) -> Result<()> {
        let all: Vec<_> = (from..to).map(|n| (subject, message(n))).collect();
        self.ask(&all).map(drop)
    }

    fn last(&mut self, stream: &str) -> Result<u64> {
        let info = self.api(&format!("STREAM.INFO.{stream}"), &json!({}))?;
        info.pointer("/state/last_seq").and_then(Value::as_u64).context("a last message")
    }
}

fn spec(address: &str, topic: &str, stream: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: nats
    topic: \"{topic}\"
    fetch: {{timeout: 50ms}}
    settings: {{address: \"{address}\"{settings}}}
{stream}
  decoder: {{type: json}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  nats: {{net: [\"{address}\"]}}
"
    )
}

#[test]
fn every_message_is_there_once_over_kills_of_both() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    Client::connect(&address)?.create("S")?;
    site.write("spec.yaml", spec(&address, "S", "", ""))?;
    let write = move |from: u64, to: u64| {
        let mut client = Client::connect(&address)?;
        // What the server has is what it says: an answer may have been lost with a connection.
        let from = from.max(client.last("S")?);
        client.add("S.a", from, to)?;
        client.last("S")
    };
    endure::kills(&site, server, Arc::new(write))
}

#[test]
fn streams_are_read_from_the_beginning_the_end_or_a_time_and_by_subject() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let mut client = Client::connect(&address)?;
    for stream in ["A", "B"] {
        client.create(stream)?;
        client.add(&format!("{stream}.x"), 0, 200)?;
    }
    let info = client.api("STREAM.INFO.A", &json!({}))?;
    let last = info.pointer("/state/last_ts").and_then(Value::as_str).context("a time")?.to_owned();
    client.add("A.y.z", 200, 300)?;
    let after = last.get(..23).map(|ms| format!("{{time: {ms}Z}}")).context("milliseconds")?;
    for (topic, start, settings, rows) in [
        ("A,B", "earliest", "", 500..=500),
        ("A", "earliest", ", subject: A.y.>", 100..=100),
        ("A", after.as_str(), "", 101..=300),
        ("A", after.as_str(), ", subject: A.y.>", 100..=100),
        ("B", "latest", "", 7..=7),
    ] {
        let site = Site::new()?;
        site.write("spec.yaml", spec(&address, topic, &format!("    start: {start}"), settings))?;
        if start == "latest" {
            site.ok(&["run", "spec.yaml", "--until", "idle"])?;
            client.add("B.x", 200, 207)?;
        }
        endure::caught_up(&site)?;
        let found = site.number("select count(*) from lines", None)?;
        ensure!(rows.contains(&found), "{topic} from {start}: {found} rows, not {rows:?}");
    }
    let address = format!("address={}", server.address());
    let net = server.address();
    for more in [&[][..], &["--settings", "subject=A.x"]] {
        let test = ["plugin", "test", "nats", "--source", "--topic", "A", "--settings", &address, "--net", &net];
        site.ok(&[&test, more].concat())?;
    }
    Ok(())
}

#[test]
fn headers_are_a_column() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let mut client = Client::connect(&server.address())?;
    client.create("H")?;
    let (head, body) = ("NATS/1.0\r\nTrace: a\r\nOther: é\r\nTrace: b\r\n\r\n", message(0));
    write!(client.stream, "HPUB H.x {} {}\r\n{head}{body}\r\n", head.len(), head.len() + body.len())?;
    client.add("H.x", 1, 2)?;
    site.write("spec.yaml", spec(&server.address(), "H", "    metadata: [key, headers]", ""))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    endure::each_once(&site, 2)?;
    let sql = "select h['name'] as name, cast(h['value'] as varchar) as value from (select unnest(__headers) as h from lines where n = 0)";
    let found = site.rows(sql, None)?;
    let row = |name: &str, value: &str| format!(r#"{{"name":"{name}","value":"{value}"}}"#);
    ensure!(found == [row("Trace", "a"), row("Other", "é"), row("Trace", "b")], "{found:?}");
    ensure!(site.number("select count(*) from lines where __headers is null and n = 1", None)? == 1);
    Ok(())
}

#[test]
fn purged_messages_and_streams_made_anew_stop_the_pipeline_or_are_named() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let mut client = Client::connect(&address)?;
    client.create("S")?;
    client.add("S.a", 0, 50)?;
    let count = |site: &Site| site.number("select count(*) from lines", None);
    let failing = spec(&address, "S", "", "");
    let passing = spec(&address, "S", "    onOutOfRange: earliest", "");
    site.write("spec.yaml", &failing)?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    // What was read may go, and single messages may be deleted.
    client.api("STREAM.PURGE.S", &json!({}))?;
    client.add("S.a", 50, 60)?;
    client.api("STREAM.MSG.DELETE.S", &json!({ "seq": 52 }))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(count(&site)? == 59);
    client.add("S.a", 60, 100)?;
    client.api("STREAM.PURGE.S", &json!({ "keep": 30 }))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["E0301", "onOutOfRange"])?;
    site.write("spec.yaml", &passing)?;
    endure::caught_up(&site)?;
    ensure!(count(&site)? == 89);
    client.api("STREAM.DELETE.S", &json!({}))?;
    client.create("S")?;
    client.add("S.a", 100, 300)?;
    site.write("spec.yaml", &failing)?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["E0301"])?;
    site.write("spec.yaml", &passing)?;
    endure::caught_up(&site)?;
    ensure!(count(&site)? == 289);
    site.write("spec.yaml", spec(&address, "T", "", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["nats.stream", "no stream `T`"])?;
    Ok(())
}

#[test]
fn a_server_that_hangs_lies_or_breaks_off_is_waited_out() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let mut client = Client::connect(&server.address())?;
    client.create("S")?;
    client.add("S.a", 0, 1000)?;
    // The first connection is that of the provider, which asks whether there is such a stream.
    let tricks = vec![
        Trick::Cut(usize::MAX),
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Cut(100),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(3),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(server.address(), tricks)?;
    site.write("spec.yaml", spec(&proxy.address(), "S", "", ""))?;
    endure::complete(&site, 1000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    let proxy = Proxy::start(server.address(), vec![Trick::Say(b"INFO {\"auth_required\":true}\r\n".to_vec()); 9])?;
    site.write("spec.yaml", spec(&proxy.address(), "S", "", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["nats.denied"])?;
    Ok(())
}

#[test]
fn passwords_and_tokens_are_given_by_the_host() -> Result<()> {
    let ways: [(&[&str], &str, &str); 2] = [
        (
            &["--user", "reader", "--pass", "s3cret\"word"],
            ",\"user\":\"reader\",\"pass\":\"s3cret\\\"word\"",
            ", username: reader",
        ),
        (&["--auth", "s3cret\"word"], ",\"auth_token\":\"s3cret\\\"word\"", ""),
    ];
    for (arguments, who, settings) in ways {
        let mut site = Site::new()?;
        let Some(server) = server_with(&site, arguments)? else { return Ok(()) };
        let address = server.address();
        let mut client = Client::connect_as(&address, who)?;
        client.create("S")?;
        client.add("S.a", 0, 100)?;
        let spec = |grants: &str| endure::through(&spec("broker", "S", "", settings), &address, grants);
        site.write("spec.yaml", spec(""))?;
        site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["nats.denied", "`password`"])?;
        site.write("spec.yaml", spec(", secrets: {password: {env: SPOUT_TEST_PASSWORD}}"))?;
        site.environment = vec![("SPOUT_TEST_PASSWORD", "another".into())];
        let said = site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["nats.denied"])?;
        ensure!(!said.contains("another"), "{said}");
        site.environment = vec![("SPOUT_TEST_PASSWORD", "s3cret\"word".into())];
        endure::complete(&site, 100)?;
    }
    Ok(())
}

#[test]
fn a_server_is_reached_by_tls_and_refused_where_it_cannot_prove_who_it_is() -> Result<()> {
    let site = Site::new()?;
    let Some(mut before) = server(&site)? else { return Ok(()) };
    let mut client = Client::connect(&before.address())?;
    client.create("S")?;
    client.add("S.a", 0, 100)?;
    before.stop()?;
    let certificates = site.path().join("certificates");
    tls::authority(&certificates, "reader")?;
    let file = |name: &str| certificates.join(name).display().to_string();
    let (authority, own, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let secure = ["--tls", "--tlsverify", "--tlscacert", &authority, "--tlscert", &own, "--tlskey", &key];
    let Some(server) = server_with(&site, &secure)? else { return Ok(()) };
    let spec = |endpoint: &str| spec("broker", "S", "", "").replace("{net: [\"broker\"]}", &format!("{{{endpoint}}}"));
    tls::refused(&site, server.port(), &certificates, spec)?;
    site.write("spec.yaml", spec(&tls::endpoint(server.port(), &certificates)))?;
    endure::complete(&site, 100)
}

const ACKED: &str = "    consumerType: acked\n    dedupe: {window: 5000}";

/// How many messages consumer `c` of stream `S` was not given yet, and how many it has not acknowledged.
pub(crate) fn standing(address: &str) -> Result<(u64, u64)> {
    let info = Client::connect(address)?.api("CONSUMER.INFO.S.c", &json!({}))?;
    let number = |name: &str| info.get(name).and_then(Value::as_u64).with_context(|| format!("{name} in {info}"));
    Ok((number("num_pending")?, number("num_ack_pending")?))
}

#[test]
fn a_durable_consumer_has_every_message_once_and_nothing_is_left_over_kills_of_both() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    Client::connect(&address)?.create("S")?;
    // A server that is killed has forgotten what was acknowledged last.
    let acked = ACKED.replace("5000", "30000");
    site.write("spec.yaml", spec(&address, "S", &acked, ", durable: c, create: true, ackWait: 1000"))?;
    let of_writer = address.clone();
    let write = move |from: u64, to: u64| {
        let mut client = Client::connect(&of_writer)?;
        // What the server has is what it says: an answer may have been lost with a connection.
        let from = from.max(client.last("S")?);
        client.add("S.x", from, to)?;
        client.last("S")
    };
    let left = move || standing(&address).map(|(lag, pending)| lag + pending);
    endure::kills_acked(&site, server, Arc::new(write), left)
}

#[test]
fn a_durable_consumer_is_there_or_asked_for_and_acknowledges() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let mut client = Client::connect(&address)?;
    client.create("S")?;
    client.add("S.x", 0, 300)?;
    site.write("spec.yaml", spec(&address, "S", ACKED, ", durable: c"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["nats.consumer", "create: true"])?;
    let config = |policy: &str| json!({"stream_name": "S", "config": {"durable_name": "c", "ack_policy": policy}});
    client.api("CONSUMER.DURABLE.CREATE.S.c", &config("all"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["nats.consumer", "explicit"])?;
    client.api("CONSUMER.DELETE.S.c", &json!({}))?;
    client.api("CONSUMER.DURABLE.CREATE.S.c", &config("explicit"))?;
    endure::emptied(&site, || standing(&address).map(|(lag, pending)| lag + pending))?;
    endure::each_once(&site, 300)?;
    let behind = Site::new()?;
    endure::lags(&behind, &spec(&address, "S", ACKED, ", durable: d, create: true, maxAckPending: 100"), 200)?;
    endure::each_once(&behind, 300)?;
    let (of, net) = (format!("address={address}"), address.as_str());
    let stream = ["plugin", "test", "nats", "--stream", "--topic", "S", "--net", net, "--settings", &of];
    let settings = ["--settings", "durable=trial", "--settings", "create=true", "--settings", "ackWait=300"];
    let tried = site.ok(&[&stream[..], &settings].concat())?;
    ensure!(tried.contains("comes again to the next instance"), "{tried}");
    site.write("spec.yaml", spec(&address, "S", "", ", durable: c"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["consumerType: acked"])?;
    Ok(())
}

#[test]
fn a_durable_consumer_waits_for_a_server_that_hangs_lies_or_breaks_off() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let mut client = Client::connect(&address)?;
    client.create("S")?;
    client.add("S.x", 0, 1000)?;
    let tricks = vec![
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Cut(5000),
        Trick::Cut(20_000),
        Trick::Silence,
    ];
    let count = tricks.len();
    let proxy = Proxy::start(address.clone(), tricks)?;
    site.write("spec.yaml", spec(&proxy.address(), "S", ACKED, ", durable: c, create: true, ackWait: 500"))?;
    endure::emptied(&site, || match standing(&address) {
        Ok((lag, pending)) if proxy.connections() > count => Ok(lag + pending),
        _ => Ok(1),
    })?;
    endure::each_once(&site, 1000)
}
