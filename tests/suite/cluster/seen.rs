//! What is seen of a pipeline that several processes share, whichever of them is asked.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, clustered, http};

use super::{PARTITIONS, fleet::built, spec};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A worker of this machine, with what it says in a file.
struct Worker {
    child: Child,
    said: PathBuf,
}

impl Worker {
    fn start(site: &Site, name: &str, more: &[&str]) -> Result<Self> {
        let said = site.path().join(name);
        let file = File::create(&said)?;
        let mut command = site.command_of(&clustered(), &[&["worker", "--json"][..], more].concat());
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, said })
    }

    /// The event of this name, once it was said.
    fn event(&self, name: &str) -> Result<Value> {
        let found = || {
            let said = std::fs::read_to_string(&self.said)?;
            let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(events.into_iter().find(|event| event["event"] == name))
        };
        until(&self.said, found)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What `found` finds, as soon as it does.
fn until<T>(log: &Path, found: impl Fn() -> Result<Option<T>>) -> Result<T> {
    let last = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found()? {
            return Ok(found);
        }
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        ensure!(Instant::now() < last, "it does not come to that\n{}", said());
        thread::park_timeout(PAUSE);
    }
}

#[test]
fn whoever_is_asked_tells_of_a_shared_pipeline_what_its_leader_does() -> Result<()> {
    if !built()? {
        return Ok(());
    }
    let mut site = Site::new()?;
    site.environment = vec![("SPOUT_JOIN_TOKEN", "a token of this test: 0123456789abcdef".to_owned())];
    // It commits where it is told to, and reaches a file of its machine.
    let text = spec(10_000_000, 500, false).replace("flush: {rows: 1500, time: 200ms}", "flush: {time: 1h}");
    site.write("spec.yaml", text)?;
    site.ok(&["create", "pipeline", "-f", "spec.yaml"])?;
    let leader = Worker::start(&site, "one", &["--label", "zone=a"])?;
    let leads = leader.event("started")?;
    ensure!(leads["pipeline"] == "events", "{leads}");
    let other = Worker::start(&site, "two", &["--ui"])?;
    let console = other.event("console")?["address"].as_str().context("an address")?.to_owned();
    let status = || -> Result<Value> { http::request(&console, "GET /v1/pipelines/events", &[], b"")?.json() };
    let shared = |status: &Value| {
        let members = status["members"].as_array().map_or(0, Vec::len);
        let read = status["handlers"][0]["rows_in"].as_u64().unwrap_or(0);
        members == 2
            && read > 500
            && status["members"].as_array().is_some_and(|all| all.iter().all(|one| one["rows"] != 0))
    };
    let seen = until(&other.said, || Ok(Some(status()?).filter(shared)))?;
    let members = seen["members"].as_array().context("members")?;
    let sum = |key: &str| members.iter().filter_map(|one| one[key].as_u64()).sum::<u64>();
    ensure!(sum("partitions") == PARTITIONS && seen["condition"] != "elsewhere", "{seen}");
    ensure!(members.iter().filter(|one| one["leads"] == true && one["labels"]["zone"] == "a").count() == 1, "{seen}");
    let partitions = seen["partitions"].as_array().context("partitions")?;
    ensure!(partitions.iter().all(|one| members.iter().any(|member| member["id"] == one["member"])), "{seen}");
    ensure!(partitions.iter().all(|one| one["state"] != "waiting"), "how each stands is known: {seen}");
    // The process that leads is found by its user without an address.
    let said = site.ok(&["pipeline", "status", "events"])?;
    ensure!(said.contains("zone=a") && said.contains("leads"), "{said}");
    // What is ordered at one that does not lead gets where it has to.
    let done = http::request(&console, "POST /v1/pipelines/events/flush", &[], b"")?;
    ensure!(done.status == 200, "{done:?}");
    until(&leader.said, || Ok(site.number("select count(*) from events", None).ok().filter(|rows| *rows > 0)))?;
    Ok(())
}

#[test]
fn a_worker_does_nothing_that_its_operator_does_not_allow() -> Result<()> {
    if !built()? {
        return Ok(());
    }
    let mut site = Site::new()?;
    site.environment = vec![("SPOUT_JOIN_TOKEN", "a token of this test: 0123456789abcdef".to_owned())];
    let text = "pipeline: {name: p}\nproducer:\n  stream: {plugin: files, topic: in}\n  decoder: {type: json, schema: {n: int64}}\n\
                grants: {files: {dirs: {in: ./in}}}\ncommit: {flush: {time: 50ms}}\n";
    site.write("in/a.ndjson", "{\"n\": 1}\n")?;
    site.write("spec.yaml", text)?;
    site.ok(&["create", "pipeline", "-f", "spec.yaml"])?;
    // Alone it does nothing at all.
    let strict = Worker::start(&site, "strict", &["--allow", "network"])?;
    until(&strict.said, || {
        let said = std::fs::read_to_string(&strict.said)?;
        Ok(said.contains("reaches files").then_some(()))
    })?;
    ensure!(site.number("select count(*) from p", None).is_err(), "nobody was to read it");
    let _other = Worker::start(&site, "other", &[])?;
    until(&strict.said, || Ok(site.number("select count(*) from p", None).ok().filter(|rows| *rows == 1)))?;
    Ok(())
}
