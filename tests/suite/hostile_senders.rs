//! Senders who want the host's memory: a few kilobytes that stand for millions of messages, columns or cells. The host runs under a
//! limit of its own; it lives, says what it did not take, and commits what an honest sender has after them.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Running, Site, http::request};

/// Private memory that a host may have, in KiB: beyond it, allocating aborts.
const DATA: u64 = 1 << 20;
/// What it has at its peak, in KiB.
const PEAK: u64 = 384 << 10;

/// A host that takes what is posted to it.
struct Host {
    site: Site,
    run: Running,
    address: String,
}

impl Host {
    /// One with this `producer` (the settings of `http` besides the address) and `decoder`.
    fn start(producer: &str, decoder: &str) -> Result<Self> {
        let site = Site::new()?;
        let spec = format!(
            "pipeline: {{name: p}}\nproducer:\n  http: {{listen: '127.0.0.1:0', {producer}}}\n  decoder: {decoder}\ncommit: {{flush: {{time: 200ms}}}}\n"
        );
        site.write("p.yaml", spec)?;
        let mut run = site.start_within(DATA, &["run", "p.yaml"])?;
        let Some(update) = run.wait_for("listening")? else {
            let (_, errors) = run.end()?;
            anyhow::bail!("it ended before it listened: {errors}");
        };
        let address = update["address"].as_str().context("an address")?.to_owned();
        Ok(Self { site, run, address })
    }

    /// Posts `body`, packed; the status, and what was said.
    fn post(&self, kind: &str, body: &[u8]) -> Result<(u16, String)> {
        let packed = gzip(body)?;
        let headers = [("content-type", kind), ("content-encoding", "gzip")];
        let answer = request(&self.address, "POST /", &headers, &packed)?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Posts honest rows and ends the host in order: they are stored, and its memory was bounded all the time.
    fn end_honestly(self, kind: &str, honest: &str, query: &str, expected: u64) -> Result<()> {
        let answer = request(&self.address, "POST /", &[("content-type", kind)], honest.as_bytes())?;
        ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.run.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
        let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        println!("peak {} MiB", peak >> 10);
        self.run.signal("TERM")?;
        let (fine, errors) = self.run.end()?;
        ensure!(fine, "{errors}");
        ensure!(peak < PEAK, "it took {} MiB", peak >> 10);
        ensure!(self.site.number(query, None)? == expected);
        Ok(())
    }
}

fn gzip(body: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip").args(["-9", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = gzip.stdin.take().context("stdin")?;
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(body));
        Ok(gzip.wait_with_output()?.stdout)
    })
}

const NDJSON: &str = "application/x-ndjson";

#[test]
fn millions_of_messages_that_are_none() -> Result<()> {
    let host = Host::start("queue: 64MiB", "{type: json, schema: {id: int64}}")?;
    let (status, said) = host.post(NDJSON, "1\n".repeat(600_000).as_bytes())?;
    ensure!(status == 200 && said.contains("\"deadLetters\":600000"), "{status}: {said}");
    let query = "select (select count(*) from p) + (select count(*) from p_dead_letter where \"offset\" < 600000)";
    host.end_honestly(NDJSON, "{\"id\":1}\n", query, 600_001)
}

#[test]
fn more_messages_than_a_body_has_bytes_for() -> Result<()> {
    let host = Host::start("framing: {type: length, prefix: u16, maxGrowth: 1000000}", "{type: raw}")?;
    let (status, said) = host.post("application/octet-stream", &vec![0; 16 << 20])?;
    ensure!(status == 413 && said.contains("more than 4194304 messages"), "{status}: {said}");
    host.end_honestly("application/octet-stream", "\0\u{2}ab", "select count(*) from p", 1)
}

#[test]
fn empty_rows_of_a_wide_table() -> Result<()> {
    let columns: Vec<String> = (0..400).map(|column| format!("c{column}: int64")).collect();
    let host = Host::start("queue: 64MiB", &format!("{{type: json, schema: {{{}}}}}", columns.join(", ")))?;
    let (status, said) = host.post(NDJSON, "{}\n".repeat(300_000).as_bytes())?;
    ensure!(status == 200 && said.contains("\"messages\":300000"), "{status}: {said}");
    host.end_honestly(NDJSON, "{\"c7\":1}\n", "select count(*) from p where c7 is null", 300_000)
}

#[test]
fn a_list_whose_items_are_wide_and_empty() -> Result<()> {
    let fields: Vec<String> = (0..1000).map(|field| format!("f{field}: int64")).collect();
    let host = Host::start("queue: 64MiB", &format!("{{type: json, schema: {{a: [{{{}}}]}}}}", fields.join(", ")))?;
    let (status, said) = host.post(NDJSON, format!("{{\"a\":[{}{{}}]}}\n", "{},".repeat(1_000_000)).as_bytes())?;
    ensure!(status == 200 && said.contains("\"deadLetters\":1"), "{status}: {said}");
    host.end_honestly(NDJSON, "{\"a\":[{\"f1\":1},{}]}\n", "select count(*) from p", 1)
}

#[test]
fn a_first_message_of_more_fields_than_a_table_has() -> Result<()> {
    let host = Host::start("queue: 64MiB", "{type: json}")?;
    let fields: Vec<String> = (0..100_000).map(|field| format!("\"k{field}\":{field}")).collect();
    let (status, said) = host.post(NDJSON, format!("{{{}}}\n", fields.join(",")).as_bytes())?;
    ensure!(status == 200, "{status}: {said}");
    for _ in 0..10 {
        ensure!(host.post(NDJSON, b"{\"k1\":1}\n")?.0 == 200);
    }
    host.end_honestly(NDJSON, "{\"k2\":1}\n", "select count(*) from p", 12)
}

#[test]
fn a_point_of_more_fields_than_a_table_has() -> Result<()> {
    let host = Host::start("queue: 64MiB", "{type: influx}")?;
    let fields: Vec<String> = (0..1_400_000).map(|field| format!("f{field}=1")).collect();
    let line = format!("m {}\n", fields.join(","));
    let (status, said) = host.post("text/plain", line.as_bytes())?;
    ensure!(status == 200 && said.contains("\"deadLetters\":1"), "{status}: {said}");
    host.end_honestly("text/plain", "m f1=1\n", "select count(*) from p", 1)
}

/// Garbage in one commit, 24 MiB of it or as much as `SPOUT_GARBAGE` says: more than 2 GiB are more than one array can hold.
#[test]
fn garbage_of_any_size_is_set_aside_in_one_commit() -> Result<()> {
    const LINE: usize = 256 << 10;
    let mebibytes = std::env::var("SPOUT_GARBAGE").ok().and_then(|text| text.parse().ok()).unwrap_or(24_u64);
    let lines = mebibytes * (1 << 20) / LINE as u64;
    let site = Site::new()?;
    let spec = "
pipeline: {name: p}
producer:
  tcp: {listen: '127.0.0.1:0'}
  decoder: {type: json, schema: {n: int64}}
commit: {flush: {time: 1h, rows: 1000000000, bytes: 64GiB}}
";
    site.write("p.yaml", spec)?;
    let mut run = site.start_within(DATA, &["run", "p.yaml"])?;
    let update = run.wait_for("listening")?.context("it ended before it listened")?;
    let address = update["address"].as_str().context("an address")?.replace("tcp://", "");
    let mut client = TcpStream::connect(address)?;
    let mut line = vec![b'x'; LINE];
    for number in 0..lines {
        line[..16].copy_from_slice(format!("{number:016}").as_bytes());
        line[LINE - 1] = b'\n';
        client.write_all(&line)?;
    }
    client.shutdown(Shutdown::Write)?;
    // It closes once it has taken everything.
    ensure!(client.read(&mut [0])? == 0);
    run.signal("TERM")?;
    let update = run.wait_for("committed")?.context("nothing was committed")?;
    ensure!(update["dead_letters"] == lines, "{update}");
    let (fine, errors) = run.end()?;
    ensure!(fine, "{errors}");
    let whole = format!("select count(distinct \"offset\") from p_dead_letter where length(value) = {}", LINE - 1);
    ensure!(site.number(&whole, None)? == lines, "some are not whole");
    Ok(())
}
