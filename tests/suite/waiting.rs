//! Those who wait for commits that others make: `wait commit` and `subscribe commit`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

/// A command whose lines are read while it runs.
struct Reading(Child, std::io::Lines<BufReader<std::process::ChildStdout>>);

impl Reading {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        Ok(Self(child, lines))
    }

    fn line(&mut self) -> Result<String> {
        self.1.next().context("it ended")?.map_err(Into::into)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn id(line: &str) -> Result<String> {
    let value: Value = serde_json::from_str(line)?;
    Ok(value.get("id").and_then(Value::as_str).context("an id")?.to_owned())
}

fn put(site: &Site, name: &str) -> Result<String> {
    site.write(name, name)?;
    site.ok(&["put", "file", &format!("r@master:/{name}"), "-f", name])?;
    let newest = site.json(&["inspect", "commit", "r@master"])?.remove(0);
    Ok(newest.get("id").and_then(Value::as_str).context("an id")?.to_owned())
}

#[test]
fn a_started_commit_is_waited_for_until_it_is_finished() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r"])?;
    let started = site.ok(&["start", "commit", "r@master"])?.trim().to_owned();
    let reference = format!("r@{started}");
    site.fails(&["wait", "commit", &reference, "--timeout", "50ms"], 1, &["E0836", "50ms"])?;
    let mut waiting = Reading::start(site.command(&["wait", "commit", &reference, "--json"]))?;
    site.write("a", "a")?;
    site.ok(&["put", "file", &format!("{reference}:/a"), "-f", "a"])?;
    site.ok(&["finish", "commit", &reference])?;
    ensure!(id(&waiting.line()?)? == started, "it waited for another commit");
    ensure!(waiting.0.wait()?.success());
    site.ok(&["wait", "commit", "r"])?;
    site.fails(&["wait", "commit", "r", "--after", "~0", "--timeout", "50ms"], 1, &["E0836"])?;
    site.fails(&["wait", "commit", "r@nowhere"], 2, &["nowhere"]).map(drop)
}

#[test]
fn subscribers_get_each_commit_once_and_in_order() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r"])?;
    let subscribe =
        |args: &[&str]| Reading::start(site.command(&[&["subscribe", "commit", "r", "--json"], args].concat()));
    let mut all = subscribe(&["-n", "4"])?;
    let mut expected = vec![put(&site, "a")?, put(&site, "b")?];
    let after_first = expected.first().cloned().context("a commit")?;
    let mut later = subscribe(&["--from", &after_first])?;
    ensure!(Some(&id(&later.line()?)?) == expected.last(), "it begins after the one that was named");
    expected.extend([put(&site, "c")?, put(&site, "d")?]);
    for expected in &expected {
        ensure!(id(&all.line()?)? == *expected);
    }
    ensure!(all.0.wait()?.success(), "it ends after as many as were asked for");
    for expected in expected.iter().skip(2) {
        ensure!(id(&later.line()?)? == *expected);
    }
    Ok(())
}

#[test]
fn a_table_of_pinot_becomes_a_spec() -> Result<()> {
    let site = Site::new()?;
    let table = r#"{"tableName": "bids", "tableType": "REALTIME", "tenants": {},
      "tableIndexConfig": {"streamConfigs": {
        "streamType": "nexmark", "stream.nexmark.topic.name": "bids", "stream.nexmark.total": "500",
        "stream.nexmark.consumer.prop.auto.offset.reset": "smallest",
        "stream.nexmark.decoder.class.name": "org.apache.pinot.plugin.inputformat.json.JSONMessageDecoder",
        "realtime.segment.flush.autotune.initialRows": "7"}}}"#;
    site.write("table.json", table)?;
    let told = site.ok(&["import", "pinot", "table.json", "-o", "bids.yaml"])?;
    for part in ["table.json:1: tenants", "table.json:6: streamConfigs.realtime.segment.flush.autotune.initialRows"] {
        ensure!(told.contains(part), "{part}: {told}");
    }
    site.ok(&["run", "bids.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from bids", None)? == 500);
    site.fails(&["import", "pinot", "bids.yaml"], 2, &["bids.yaml:", "tableName"]).map(drop)
}
