//! Consumers, subscriptions and links, with peers nobody here wrote: pyzmq, pyarrow, Python's sockets and its web server.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{Site, venv};

const PEERS: [&str; 2] = ["pyzmq==27.1.0", "pyarrow==26.0.1"];
const SCRIPT: &str = include_str!("../support/sockets.py");
const COUNT: u64 = 1000;

/// A Python peer, and what it prints; it is read all the time, so that no peer waits for that.
struct Peer {
    child: Child,
    lines: Receiver<String>,
}

impl Peer {
    fn start(python: &Path, site: &Site, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(python);
        let mut child =
            command.args(["-c", SCRIPT]).args(args).current_dir(site.path()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("standard output")?);
        let (line, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<Value> {
        let line = self.lines.recv().context("the peer printed nothing")?;
        serde_json::from_str(&line).context(line)
    }

    /// What else it prints until it ends.
    fn rest(mut self) -> Result<Vec<Value>> {
        let rest = self.lines.iter().map(|line| serde_json::from_str(&line).context(line)).collect();
        ensure!(self.child.wait()?.success(), "the peer failed");
        rest
    }
}

/// The rows that every test sends.
fn rows() -> Vec<Value> {
    let row =
        |id: u64| if id.is_multiple_of(7) { json!({"id": id}) } else { json!({"id": id, "name": format!("é {id}")}) };
    (0..COUNT).map(row).collect()
}

/// A pipeline that reads them from standard input.
fn spec(name: &str, consumers: &str) -> String {
    format!(
        r#"
pipeline: {{name: {name}}}
producer: {{stdin: {{}}, decoder: {{type: json, schema: {{id: int64, name: utf8}}}}}}
commit: {{flush: {{rows: 300}}}}
consumers: [{consumers}]
"#
    )
}

/// `spout run ARGS` with the rows on standard input.
fn run(site: &Site, args: &[&str]) -> Result<Output> {
    let lines: String = rows().iter().map(|row| format!("{row}\n")).collect();
    let input = File::open(site.write("input.ndjson", lines)?)?;
    let mut all = vec!["run"];
    all.extend(args);
    Ok(site.command(&all).stdin(input).output()?)
}

fn ran(site: &Site, args: &[&str]) -> Result<()> {
    let output = run(site, args)?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?} failed:\n{told}\n{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Without the keys that are null, sorted by id.
fn dense(rows: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut rows: Vec<Value> = rows
        .into_iter()
        .map(|mut row| {
            if let Some(row) = row.as_object_mut() {
                row.retain(|_, value| !value.is_null());
            }
            row
        })
        .collect();
    rows.sort_by_key(|row| row["id"].as_u64());
    rows
}

/// The rows of a repo.
fn stored(site: &Site, repo: &str) -> Result<Vec<Value>> {
    let lines = site.rows(&format!("select id, name from {repo}"), None)?;
    let rows: Result<Vec<Value>> = lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect();
    Ok(dense(rows?))
}

fn same(what: &str, got: Vec<Value>) -> Result<()> {
    let (got, expected) = (dense(got), rows());
    let differing = got.iter().zip(&expected).find(|(got, expected)| got != expected);
    ensure!(got.len() == expected.len() && differing.is_none(), "{what}: {} rows, {differing:?}", got.len());
    Ok(())
}

#[test]
fn a_python_subscriber_hears_every_row() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let site = Site::new()?;
    let publish = "{type: publish, address: 'ipc://rows.sock', sync: 'ipc://sync.sock', subscribers: 2}";
    site.write("spec.yaml", spec("told", publish))?;
    let sockets = ["subscribe", "ipc://rows.sock", "ipc://sync.sock"];
    let peers = [Peer::start(&python, &site, &sockets)?, Peer::start(&python, &site, &sockets)?];
    ran(&site, &["spec.yaml"])?;
    for peer in peers {
        same("pyzmq", peer.rest()?)?;
    }
    same("the repo", stored(&site, "told")?)
}

#[test]
fn a_python_publisher_is_heard_to_its_end() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let site = Site::new()?;
    let mut peer = Peer::start(&python, &site, &["publish", &COUNT.to_string()])?;
    let sockets = peer.line()?;
    let text = format!(
        "pipeline: {{name: heard}}\nproducer:\n  subscribe: {{address: {}, sync: {}, onEnd: stop}}\n  decoder: {{type: arrow}}\n",
        sockets[0], sockets[1]
    );
    site.write("spec.yaml", text)?;
    site.ok(&["run", "spec.yaml"])?;
    ensure!(peer.rest()?.is_empty(), "it prints nothing else");
    same("the repo", stored(&site, "heard")?)?;
    let checked = site.ok(&["check", "spec.yaml"])?;
    ensure!(checked.contains("what was received but not committed is lost"), "{checked}");
    Ok(())
}

#[test]
fn python_sockets_receive_lines_and_frames() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    for (framing, format) in [("lines", "ndjson"), ("digits", "arrow")] {
        let site = Site::new()?;
        let mut peer = Peer::start(&python, &site, &["receive", framing])?;
        let tcp = format!("{{type: tcp, address: '127.0.0.1:{}', format: {format}}}", peer.line()?);
        site.write("spec.yaml", spec("sent", &tcp))?;
        ran(&site, &["spec.yaml"])?;
        same(framing, peer.rest()?)?;
    }
    Ok(())
}

#[test]
fn a_webhook_that_is_busy_gets_every_row_all_the_same() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let mut site = Site::new()?;
    site.environment.push(("HOOK_TOKEN", "s3cret".into()));
    let mut peer = Peer::start(&python, &site, &["hook", &COUNT.to_string()])?;
    let port = peer.line()?;
    let http = format!("{{type: http, url: 'http://127.0.0.1:{port}/', per: commit, token: {{env: HOOK_TOKEN}}}}");
    site.write("spec.yaml", spec("posted", &http))?;
    ran(&site, &["spec.yaml"])?;
    let posts = peer.rest()?;
    let statuses: Vec<_> = posts.iter().map(|post| post["status"].as_u64()).collect();
    ensure!(statuses.starts_with(&[Some(503), Some(503), Some(200)]), "{statuses:?}");
    ensure!(posts[0]["Idempotency-Key"] == posts[2]["Idempotency-Key"], "{:?}", posts[0]);
    ensure!(posts.iter().all(|post| post["Authorization"] == "Bearer s3cret"), "the token");
    let taken = posts.iter().filter(|post| post["status"] == 200);
    same("http.server", taken.flat_map(|post| post["rows"].as_array().cloned().unwrap_or_default()).collect())
}

#[test]
fn linked_pipelines_hold_the_same_rows_as_one() -> Result<()> {
    let site = Site::new()?;
    site.write("first.yaml", spec("first", ""))?;
    let to =
        |name: &str, from: &str| format!("pipeline: {{name: {name}}}\nproducer: {{subscribe: {{pipeline: {from}}}}}\n");
    site.write("others.yaml", [to("second", "first"), to("third", "second"), to("beside", "first")].join("---\n"))?;
    let files = ["others.yaml", "first.yaml"];
    for (run, until) in [(1, &[][..]), (2, &["--until", "ended"]), (3, &["--until", "idle"])] {
        ran(&site, &[&files[..], until].concat())?;
        for repo in ["first", "second", "third", "beside"] {
            let rows = stored(&site, repo)?;
            ensure!(rows.len() as u64 == COUNT * run, "{repo}, run {run}: {} rows", rows.len());
            let mut once = rows;
            once.dedup();
            same(repo, once)?;
        }
    }
    Ok(())
}

#[test]
fn a_pipeline_that_fails_touches_no_other_and_who_reads_it_says_so() -> Result<()> {
    let site = Site::new()?;
    let fails = r#"
pipeline: {name: fails}
producer: {tcp: {listen: "127.0.0.1:0"}, decoder: {type: raw}}
consumers: [{type: http, url: "http://127.0.0.1:1/", token: {env: SPOUT_NO_SUCH_TOKEN}}]
"#;
    let reads = "pipeline: {name: reads}\nproducer: {subscribe: {pipeline: fails}}\n";
    let last = "pipeline: {name: last}\nproducer: {subscribe: {pipeline: reads}}\n";
    let sound = "pipeline: {name: hears}\nproducer: {subscribe: {pipeline: sound}}\n";
    site.write("spec.yaml", [&spec("sound", ""), sound, fails, reads, last].join("---\n"))?;
    let output = run(&site, &["spec.yaml"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{told}");
    for part in [
        "error[E0614]: pipeline `fails`",
        "error[E0732]: pipeline `reads`",
        "`fails`, which it reads, failed",
        "error[E0732]: pipeline `last`",
        "`reads`, which it reads, failed",
    ] {
        ensure!(told.contains(part), "{part:?} is not in\n{told}");
    }
    same("sound", stored(&site, "sound")?)?;
    same("hears", stored(&site, "hears")?)
}

#[test]
fn links_that_cannot_be_are_refused_before_anything_runs() -> Result<()> {
    let site = Site::new()?;
    let to = |name: &str, source: &str| format!("pipeline: {{name: {name}}}\nproducer: {source}\n");
    let check = |specs: &[String], parts: &[&str]| -> Result<()> {
        site.write("spec.yaml", specs.join("---\n"))?;
        site.fails(&["check", "spec.yaml"], 2, parts)?;
        site.fails(&["run", "spec.yaml"], 2, parts).map(drop)
    };
    let subscribe = |to: &str| format!("{{subscribe: {{pipeline: {to}}}}}");
    check(
        &[spec("events", ""), to("b", &subscribe("event"))],
        &["error[E0730]", "`event`, which is not in this run; did you mean `events`?"],
    )?;
    check(
        &[to("a", &subscribe("c")), to("b", "{repo: {repo: a}}"), to("c", &subscribe("b"))],
        &["error[E0731]", "a reads c reads b reads a"],
    )?;
    check(&[to("a", "{repo: {repo: a}}")], &["error[E0731]", "a reads a"])?;
    check(&[to("a", "{subscribe: {pipeline: b, address: 'tcp://h:1'}}")], &["error[E0110]", "needs no socket"])?;
    check(
        &[to("a", "{subscribe: {address: 'tcp//h'}, decoder: {type: arrow}}")],
        &["error[E0104]", "tcp://127.0.0.1:5556"],
    )?;
    ensure!(!site.path().join("store").exists(), "a refused spec made a store");
    Ok(())
}
