//! The plugin `redis-streams` against Debian's `redis-server`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use spout_tests::{
    Site,
    daemon::Daemon,
    debian,
    proxy::{Proxy, Trick},
};

use crate::endure::{self, message};

/// A server that has on disk what it answered to.
fn server(site: &Site) -> Result<Option<Daemon>> {
    let Some(program) = debian::program("redis-server", "usr/bin/redis-server")? else { return Ok(None) };
    let dir = site.path().join("redis");
    fs::create_dir_all(&dir)?;
    let server = Daemon::start(move |port| {
        let mut command = program.command();
        command.current_dir(&dir).args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
        command
    })?;
    Ok(Some(server))
}

const PASSWORD: &str = "s3cret \"word\"";

/// Sends commands together; the replies, arrays as their parts with blanks between.
fn redis(address: &str, commands: &[Vec<String>]) -> Result<Vec<String>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut bytes = Vec::new();
    for words in commands {
        write!(bytes, "*{}\r\n", words.len())?;
        words.iter().try_for_each(|word| write!(bytes, "${}\r\n{word}\r\n", word.len()))?;
    }
    stream.write_all(&bytes)?;
    let mut replies = BufReader::new(stream);
    commands.iter().map(|_| reply(&mut replies)).collect()
}

fn reply(from: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).context("a reply")?;
    Ok(match kind {
        "$" if rest == "-1" => "nil".to_owned(),
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().unwrap_or(0) + 2];
            from.read_exact(&mut text)?;
            String::from_utf8_lossy(&text[..text.len() - 2]).into_owned()
        }
        "*" => {
            let parts = (0..rest.parse::<i64>()?).map(|_| reply(from)).collect::<Result<Vec<_>>>()?;
            parts.join(" ")
        }
        "-" => bail!("redis says {rest}"),
        _ => rest.to_owned(),
    })
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

/// Adds messages `from..to` to stream `s`, with ids of their numbers.
fn add(address: &str, from: u64, to: u64) -> Result<()> {
    let one = |n: u64| words(&["XADD", "s", &format!("{}-1", n + 1), "v", &message(n)]);
    redis(address, &(from..to).map(one).collect::<Vec<_>>()).map(drop)
}

fn spec(address: &str, topic: &str, stream: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: redis-streams
    topic: \"{topic}\"
    discoverEvery: 50ms
    fetch: {{timeout: 50ms}}
    settings: {{address: \"{address}\"{settings}}}
{stream}
  decoder: {{type: json}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  redis-streams: {{net: [\"{address}\"]}}
"
    )
}

#[test]
fn every_entry_is_there_once_over_kills_of_both() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    site.write("spec.yaml", spec(&address, "s", "", ", value: v"))?;
    let write = move |from: u64, to: u64| {
        // What the server has is what it says: an answer may have been lost with a connection.
        let length = || -> Result<u64> { Ok(redis(&address, &[words(&["XLEN", "s"])])?.remove(0).parse()?) };
        let from = from.max(length()?);
        add(&address, from, to)?;
        length()
    };
    endure::kills(&site, server, Arc::new(write))
}

#[test]
fn fields_beside_the_message_are_headers_and_headers_a_column() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let with = words(&["XADD", "s", "1-1", "b", "1", "v", &message(0), "a", "x", "b", "2"]);
    redis(&address, &[with, words(&["XADD", "s", "2-1", "v", &message(1)])])?;
    site.write("spec.yaml", spec(&address, "s", "    metadata: [headers]", ", value: v"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    endure::each_once(&site, 2)?;
    let sql = "select n, h['name'] as name, cast(h['value'] as varchar) as value from (select n, unnest(__headers) as h from lines)";
    let found = site.rows(sql, None)?;
    let row = |n: u64, name: &str, value: &str| format!(r#"{{"n":{n},"name":"{name}","value":"{value}"}}"#);
    let expected = [row(0, "id", "1-1"), row(0, "b", "1"), row(0, "a", "x"), row(0, "b", "2"), row(1, "id", "2-1")];
    ensure!(found == expected, "{found:?}");
    Ok(())
}

#[test]
fn streams_of_a_pattern_are_read_from_the_beginning_the_end_or_a_time() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let entry =
        |stream: &str, ms: u64| words(&["XADD", stream, &format!("{ms}-0"), "at", &ms.to_string(), "of", stream]);
    let all: Vec<_> =
        (1..=300).flat_map(|ms| [entry("in:a", ms), entry("in:b", ms + 1000), entry("out:c", ms)]).collect();
    redis(&address, &[all, vec![words(&["SET", "in:text", "no stream"])]].concat())?;
    for (start, rows) in [("earliest", 600), ("{time: 1970-01-01T00:00:00.251Z}", 350), ("latest", 1)] {
        let site = Site::new()?;
        site.write("spec.yaml", spec(&address, "in:*", &format!("    start: {start}"), ""))?;
        if start == "latest" {
            site.ok(&["run", "spec.yaml", "--until", "idle"])?;
            redis(&address, &[entry("in:a", 301)])?;
        }
        endure::caught_up(&site)?;
        let found = site.rows("select \"of\", at from lines", None);
        let found = found.with_context(|| start.to_owned())?.len();
        ensure!(found == rows, "{start}: {found} rows, not {rows}");
    }
    let (address, net) = (format!("address={address}"), address.as_str());
    for topic in ["in:*", "in:a,out:c"] {
        let source = ["plugin", "test", "redis-streams", "--source", "--topic", topic];
        site.ok(&[&source[..], &["--settings", &address, "--net", net]].concat())?;
    }
    Ok(())
}

#[test]
fn trimmed_entries_stop_the_pipeline_or_are_named() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    site.write("spec.yaml", spec(&address, "s", "", ", value: v"))?;
    add(&address, 0, 50)?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    // What was read may go.
    redis(&address, &[words(&["XTRIM", "s", "MAXLEN", "0"])])?;
    add(&address, 50, 60)?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from lines", None)? == 60);
    add(&address, 60, 100)?;
    redis(&address, &[words(&["XTRIM", "s", "MAXLEN", "30"])])?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["E0301", "onOutOfRange"])?;
    ensure!(site.number("select count(*) from lines", None)? == 60);
    site.write("spec.yaml", spec(&address, "s", "    onOutOfRange: earliest", ", value: v"))?;
    endure::caught_up(&site)?;
    ensure!(site.number("select count(*) from lines where n >= 70", None)? == 30);
    ensure!(site.number("select count(*) from lines", None)? == 90);
    Ok(())
}

#[test]
fn a_server_that_hangs_lies_or_breaks_off_is_waited_out() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    add(&server.address(), 0, 1000)?;
    let tricks = vec![
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Answer(b"*1\r\n*2\r\n$1\r\ns\r\n*99999999\r\n".to_vec()),
        Trick::Answer(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Trick::Cut(5000),
        Trick::Silence,
        Trick::Flip(3),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(server.address(), tricks)?;
    site.write("spec.yaml", spec(&proxy.address(), "s", "", ", value: v"))?;
    endure::complete(&site, 1000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    // What no wait mends ends at once, and says what it was.
    let proxy =
        Proxy::start(server.address(), vec![Trick::Answer(b"-NOAUTH Authentication required.\r\n".to_vec()); 9])?;
    site.write("spec.yaml", spec(&proxy.address(), "s", "", ", value: v"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["redis.denied", "NOAUTH"])?;
    Ok(())
}

#[test]
fn passwords_are_given_by_the_host() -> Result<()> {
    let mut site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    add(&address, 0, 100)?;
    let user = ["ACL", "SETUSER", "reader", "on", &format!(">{PASSWORD}"), "~*", "+@all"];
    redis(&address, &[words(&user), words(&["CONFIG", "SET", "requirepass", PASSWORD])])?;
    site.environment.push(("SPOUT_TEST_PASSWORD", PASSWORD.into()));
    let spec = |endpoint: &str, more: &str, grants: &str| {
        spec(endpoint, "s", "", more).replace(
            &format!("{{net: [\"{endpoint}\"]}}"),
            &format!("{{endpoints: {{redis: {{address: \"{address}\"}}}}{grants}}}"),
        )
    };
    let secret = ", secrets: {password: {env: SPOUT_TEST_PASSWORD}}";
    site.write("spec.yaml", spec("redis", ", value: v", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["redis.denied", "NOAUTH"])?;
    site.write("spec.yaml", spec(&address, ", value: v", secret))?;
    endure::complete(&site, 100)?;
    for more in [", value: v, username: reader", ", value: v, database: 0"] {
        let mut other = Site::new()?;
        other.environment.clone_from(&site.environment);
        other.write("spec.yaml", spec("redis", more, secret))?;
        endure::complete(&other, 100)?;
    }
    let mut other = Site::new()?;
    other.environment.push(("SPOUT_TEST_PASSWORD", "another".into()));
    other.write("spec.yaml", spec("redis", ", value: v, username: reader", secret))?;
    let said = other.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["redis.denied", "WRONGPASS"])?;
    ensure!(!said.contains("another"), "{said}");
    Ok(())
}

const ACKED: &str = "    consumerType: acked\n    dedupe: {window: 5000}";

/// How many entries group `g` of stream `s` was not given yet, and how many it has not acknowledged.
fn standing(address: &str) -> Result<(u64, u64)> {
    let said = redis(address, &[words(&["XINFO", "GROUPS", "s"]), words(&["XINFO", "STREAM", "s"])])?;
    let field = |at: usize, name: &str| -> Result<String> {
        let all: Vec<&str> = said[at].split(' ').collect();
        let place = all.iter().position(|word| *word == name).context("a field")?;
        all.get(place + 1).map(|value| (*value).to_owned()).with_context(|| format!("{name} in {}", said[at]))
    };
    // A server that has lost count says how far it is all the same.
    let behind = field(0, "last-delivered-id")? != field(1, "last-generated-id")?;
    let lag = field(0, "lag")?.parse().unwrap_or(u64::from(behind));
    Ok((lag, field(0, "pending")?.parse()?))
}

#[test]
fn a_group_has_every_entry_once_and_nothing_is_left_over_kills_of_both() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    site.write("spec.yaml", spec(&address, "s", ACKED, ", value: v, group: g, create: true"))?;
    let of_writer = address.clone();
    let write = move |from: u64, to: u64| {
        let length = || -> Result<u64> { Ok(redis(&of_writer, &[words(&["XLEN", "s"])])?.remove(0).parse()?) };
        let from = from.max(length()?);
        add(&of_writer, from, to)?;
        length()
    };
    let left = move || standing(&address).map(|(lag, pending)| lag + pending);
    endure::kills_acked(&site, server, Arc::new(write), left)
}

#[test]
fn readers_of_a_group_are_consumers_with_names_of_their_own() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    add(&address, 0, 3000)?;
    let stream = format!("{ACKED}\n    readers: 3");
    let spec = spec(&address, "s", &stream, ", value: v, group: g, create: true, consumer: \"c-{reader}\"");
    site.write("spec.yaml", spec.replace("timeout: 50ms", "timeout: 50ms, messages: 100"))?;
    let checked = site.ok(&["check", "spec.yaml"])?;
    ensure!(checked.contains("by 3 readers"), "{checked}");
    endure::emptied(&site, || standing(&address).map(|(lag, pending)| lag + pending))?;
    endure::each_once(&site, 3000)?;
    let consumers = redis(&address, &[words(&["XINFO", "CONSUMERS", "s", "g"])])?.remove(0);
    ensure!(["c-0", "c-1", "c-2"].iter().all(|name| consumers.contains(name)), "{consumers}");
    Ok(())
}

#[test]
fn what_consumers_did_not_acknowledge_is_read_again_or_taken_over() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    let settings = ", value: v, group: g, consumer: me";
    site.write("spec.yaml", spec(&address, "s", ACKED, settings))?;
    add(&address, 0, 300)?;
    // A group is made only for whoever asks.
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["redis.group", "create: true"])?;
    redis(&address, &[words(&["XGROUP", "CREATE", "s", "g", "0"])])?;
    // This consumer was given some and forgot it; another one was given others and is gone; some of both were deleted since.
    let given = |consumer: &str| words(&["XREADGROUP", "GROUP", "g", consumer, "COUNT", "100", "STREAMS", "s", ">"]);
    redis(&address, &[given("me"), given("gone"), words(&["XDEL", "s", "1-1", "150-1"])])?;
    endure::emptied(&site, || standing(&address).map(|(lag, pending)| lag + pending.saturating_sub(100)))?;
    let rows = |site: &Site| site.rows("select n from lines", None).map(|rows| rows.len());
    ensure!((rows(&site)?, standing(&address)?) == (199, (0, 100)), "{} {:?}", rows(&site)?, standing(&address)?);
    // What waits for a consumer that is gone is a lag, and none once it is taken over.
    add(&address, 300, 310)?;
    endure::lag_becomes(&site, 100)?;
    site.write("spec.yaml", spec(&address, "s", ACKED, &format!("{settings}, minIdle: 1")))?;
    endure::caught_up(&site)?;
    endure::emptied(&site, || standing(&address).map(|(lag, pending)| lag + pending))?;
    ensure!(rows(&site)? == 308, "{}", rows(&site)?);
    add(&address, 310, 400)?;
    let (of, net) = (format!("address={address}"), address.as_str());
    let stream = ["plugin", "test", "redis-streams", "--stream", "--topic", "s", "--net", net, "--settings", &of];
    let tried = site.ok(&[&stream[..], &["--settings", "group=trial", "--settings", "create=true"]].concat())?;
    ensure!(tried.contains("comes again to the next instance"), "{tried}");
    // Settings of one class are none of the other.
    site.write("spec.yaml", spec(&address, "s", "", settings))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["consumerType: acked"])?;
    Ok(())
}

#[test]
fn a_group_waits_for_a_server_that_hangs_lies_or_breaks_off() -> Result<()> {
    let site = Site::new()?;
    let Some(server) = server(&site)? else { return Ok(()) };
    let address = server.address();
    add(&address, 0, 1000)?;
    let tricks = vec![
        Trick::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Trick::Answer(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Trick::Cut(5000),
        Trick::Cut(20_000),
        Trick::Silence,
    ];
    let count = tricks.len();
    let proxy = Proxy::start(address.clone(), tricks)?;
    let settings = ", value: v, group: g, create: true";
    site.write("spec.yaml", spec(&proxy.address(), "s", ACKED, settings))?;
    endure::emptied(&site, || match standing(&address) {
        Ok((lag, pending)) if proxy.connections() > count => Ok(lag + pending),
        _ => Ok(1),
    })?;
    endure::each_once(&site, 1000)
}
