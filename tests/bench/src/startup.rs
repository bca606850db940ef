//! What a start costs: `spout --help`, and a pipeline from its start to the first thing that it asks of its source.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::Site;

use crate::timing::{at_percent, median};

const RUNS: usize = 21;
const HELP: Duration = Duration::from_millis(10);
const FETCH: Duration = Duration::from_millis(50);

pub(crate) fn run() -> Result<()> {
    println!("startup: medians of {RUNS}, the slowest tenth behind them");
    let bare = || Ok(Command::new("true").status().map(drop)?);
    show("a process that does nothing", times(bare)?, None);
    let site = Site::new()?;
    show("spout --help", times(|| site.ok(&["--help"]).map(drop))?, Some(HELP));
    show("spout run, to the first request", first_request()?, Some(FETCH));
    show("spout run, a file of one line, from start to end", one_line()?, None);
    Ok(())
}

fn show(name: &str, mut times: Vec<Duration>, aim: Option<Duration>) {
    let aim = aim.map(|aim| format!("   (aim {aim:?})")).unwrap_or_default();
    let (p50, p90) = (median(&mut times), at_percent(&mut times, 90));
    println!("  {name:50} {:7.1} ms   {:7.1} ms{aim}", p50.as_secs_f64() * 1e3, p90.as_secs_f64() * 1e3);
}

/// What `one` takes, after it was done once.
fn times(mut one: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    one()?;
    let mut timed = || {
        let begun = Instant::now();
        one().map(|()| begun.elapsed())
    };
    (0..RUNS).map(|_| timed()).collect()
}

/// From the start of a process to the request of its first fetch; the repo is there, and the plugin was compiled before.
fn first_request() -> Result<Vec<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let site = Site::new()?;
    site.write("spec.yaml", polls(&address.to_string()))?;
    let once = || {
        let begun = Instant::now();
        let mut command = site.command(&["run", "spec.yaml", "--json"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let (stream, _) = listener.accept()?;
        let took = answer(stream).map(|()| begun.elapsed());
        child.kill()?;
        child.wait()?;
        took
    };
    once()?;
    (0..RUNS).map(|_| once()).collect()
}

fn polls(address: &str) -> String {
    format!(
        r#"
pipeline: {{name: polled}}
producer:
  stream: {{plugin: http-poll, topic: "http://{address}/items", settings: {{mode: etag}}}}
  decoder: {{type: json, schema: {{id: int64}}}}
commit: {{path: /polled/}}
grants:
  http-poll: {{net: ["{address}"]}}
"#
    )
}

/// Reads a request to its end, and answers it.
fn answer(mut stream: TcpStream) -> Result<()> {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut part)?;
        ensure!(read > 0, "the connection was closed");
        head.extend(part.get(..read).context("what was read")?);
    }
    Ok(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"id\":1}")?)
}

/// A whole run, each into a store of its own.
fn one_line() -> Result<Vec<Duration>> {
    let site = Site::new()?;
    site.write("in/events.ndjson", "{\"id\":1}\n")?;
    site.write("spec.yaml", follows(&site.path().join("in").display().to_string(), "follow: false"))?;
    times(|| {
        drop(fs::remove_dir_all(&site.store));
        site.ok(&["run", "spec.yaml", "--until", "ended"]).map(drop)
    })
}

/// A pipeline that reads the files of `dir`.
fn follows(dir: &str, settings: &str) -> String {
    format!(
        r#"
pipeline: {{name: lines}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", {settings}}}}}
  decoder: {{type: json, schema: {{id: int64}}}}
commit: {{path: /lines/}}
grants:
  files: {{dirs: {{in: "{dir}"}}}}
"#
    )
}
