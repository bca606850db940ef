//! When commits are cut, and when a run ends: thresholds, signals, hanging plugins, and ends that never come.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, guests};

/// Events of one partition, as raw as can be.
fn nexmark(total: u64, flush: &str, fetch: &str, decoder: &str) -> String {
    format!(
        "pipeline: {{name: e}}
producer:
  stream: {{plugin: nexmark, topic: events, settings: {{total: {total}}}, fetch: {{{fetch}}}}}
  decoder: {decoder}
commit: {{flush: {{{flush}}}}}
"
    )
}

/// Rows of each commit, the first one first.
fn commits(site: &Site, repo: &str) -> Result<Vec<u64>> {
    let mut rows: Vec<u64> = site
        .json(&["list", "commit", repo])?
        .iter()
        .map(|commit| commit.get("rows").and_then(Value::as_u64).context("rows"))
        .collect::<Result<_>>()?;
    rows.reverse();
    Ok(rows)
}

#[test]
fn a_commit_of_one_partition_has_as_many_rows_as_flush_says() -> Result<()> {
    let inferred = "{type: json}";
    let given = "{type: json, schema: {event: utf8}}";
    for (rows, fetch, decoder, total) in [
        (100, "", given, 1000),
        (100, "", inferred, 1000),
        (100, "messages: 30", given, 1000),
        (7, "messages: 1", given, 70),
        (7, "messages: 1", inferred, 70),
        (1, "messages: 8192", inferred, 20),
        (1000, "messages: 100", given, 3000),
    ] {
        let site = Site::new()?;
        site.write("spec.yaml", nexmark(total, &format!("rows: {rows}, time: 1h"), fetch, decoder))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        let found = commits(&site, "e")?;
        let full = found.iter().filter(|found| **found > 0);
        ensure!(full.clone().all(|found| *found == rows), "{rows}, {fetch}, {decoder}: {found:?}");
        ensure!(full.count() as u64 == total / rows, "{found:?}");
    }
    Ok(())
}

#[test]
fn the_rows_of_a_commit_that_is_read_are_cut_as_flush_says() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", nexmark(500, "rows: 500, time: 1h", "", "{type: json, schema: {event: utf8}}"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.write(
        "copy.yaml",
        "pipeline: {name: copy}\nproducer: {repo: {repo: e, split: true}}\ncommit: {flush: {rows: 100, time: 1h}}\n",
    )?;
    site.ok(&["run", "copy.yaml", "--until", "idle"])?;
    let full: Vec<u64> = commits(&site, "copy")?.into_iter().filter(|rows| *rows > 0).collect();
    ensure!(full == [100; 5], "{full:?}");
    Ok(())
}

#[test]
fn check_says_that_a_threshold_is_about() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", nexmark(10, "rows: 100", "", "{type: json}"))?;
    let said = site.ok(&["check", "spec.yaml"])?;
    ensure!(said.contains("about 100 rows") && said.contains("where a fetch ends"), "{said}");
    Ok(())
}

#[test]
fn an_end_that_cannot_come_is_refused_and_one_that_nobody_announced_is_told() -> Result<()> {
    let site = Site::new()?;
    site.write("tcp.yaml", "pipeline: {name: t}\nproducer: {tcp: {listen: '127.0.0.1:0'}, decoder: {type: raw}}\n")?;
    site.fails(&["run", "tcp.yaml", "--until", "ended"], 2, &["error[E0801]", "`--until ended`", "`--until idle`"])?;
    site.write("in/a.ndjson", "{\"id\":1}\n")?;
    let spec = "pipeline: {name: f}
producer:
  stream: {plugin: files, topic: in, fetch: {timeout: 50ms}}
  decoder: {type: json}
grants: {files: {dirs: {in: ./in}}}
";
    site.write("files.yaml", spec)?;
    let mut running = site.start(&["run", "files.yaml", "--until", "ended"])?;
    let waiting = running.wait_for("waiting")?.context("it says that it waits")?;
    let advice = waiting.get("advice").and_then(Value::as_str).unwrap_or_default();
    ensure!(advice.contains("follow: false") && advice.contains("--until idle"), "{waiting}");
    running.signal("TERM")?;
    let (success, error) = running.end()?;
    ensure!(success, "{error}");
    Ok(())
}

#[test]
fn a_takeover_is_told_by_both() -> Result<()> {
    let site = Site::new()?;
    let endless = nexmark(0, "rows: 100000, time: 50ms", "", "{type: json, schema: {event: utf8}}")
        .replace("total: 0", "rate: 1000");
    site.write("spec.yaml", endless)?;
    let mut first = site.start(&["run", "spec.yaml"])?;
    let started = first.wait_for("started")?.context("it starts")?;
    ensure!(started.get("took_over") == Some(&Value::Null), "nobody was there: {started}");
    first.wait_for("committed")?.context("a commit")?;
    let mut second = site.start(&["run", "spec.yaml"])?;
    let started = second.wait_for("started")?.context("it starts")?;
    let from = started.pointer("/took_over/from").and_then(Value::as_str).unwrap_or_default().to_owned();
    ensure!(from.starts_with(&format!("process {} on ", first.child.id())), "{started}");
    ensure!(started.pointer("/took_over/last_seen_ms").and_then(Value::as_i64).is_some_and(|ms| ms > 0), "{started}");
    first.wait_for("failed")?.context("the first one is fenced")?;
    let by = format!("process {} on ", second.child.id());
    let (success, error) = first.end()?;
    ensure!(!success && error.contains("E0530") && error.contains(&by) && error.contains("fenced"), "{error}");
    second.signal("TERM")?;
    let (success, error) = second.end()?;
    ensure!(success, "{error}");
    // One that stopped in order left the branch to whoever comes.
    let mut third = site.start(&["run", "spec.yaml"])?;
    let started = third.wait_for("started")?.context("it starts")?;
    ensure!(started.get("took_over") == Some(&Value::Null), "{started}");
    third.signal("TERM")?;
    third.end().map(drop)
}

/// A pipeline whose plugin hangs in `call`, for longer than any test may take.
fn hanging(site: &mut Site, at: &str, call: &str) -> Result<()> {
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    fs::copy(guests().join("hostile.wasm"), dir.join("hostile.wasm")).context("`just guests` builds it")?;
    site.plugins = dir;
    let settings = |place: &str| {
        if place == at { format!("{{mode: hang, call: {call}, total: '20'}}") } else { "{total: '20'}".to_owned() }
    };
    site.write(
        "spec.yaml",
        format!(
            "pipeline: {{name: h}}
producer:
  stream: {{plugin: hostile, topic: t, settings: {}, fetch: {{messages: 5}}}}
  decoder: {{plugin: hostile, settings: {}}}
node:
  - {{id: forward, type: plugin, plugin: hostile, settings: {}}}
limits: {{call: 1h}}
",
            settings("stream"),
            settings("decoder"),
            settings("node")
        ),
    )
    .map(drop)
}

/// Starts it, and waits until the plugin says that it hangs.
fn until_it_hangs(site: &Site) -> Result<(Child, BufReader<std::process::ChildStderr>)> {
    let mut command = site.command(&["run", "spec.yaml"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("standard error")?);
    let mut said = String::new();
    while !said.contains("hanging now") {
        ensure!(lines.read_line(&mut said)? > 0, "it ended: {said}");
    }
    Ok((child, lines))
}

fn terminate(child: &Child) -> Result<()> {
    ensure!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?.success(), "kill");
    Ok(())
}

#[test]
fn a_plugin_that_hangs_does_not_keep_a_pipeline_that_is_to_stop() -> Result<()> {
    for (at, call) in [("stream", "fetch"), ("decoder", "decode"), ("node", "process"), ("stream", "partitions")] {
        let mut site = Site::new()?;
        hanging(&mut site, at, call)?;
        let (mut child, mut lines) = until_it_hangs(&site)?;
        let asked = Instant::now();
        terminate(&child)?;
        let status = child.wait()?;
        let mut said = String::new();
        lines.read_to_string(&mut said)?;
        ensure!(asked.elapsed() < Duration::from_secs(60), "{call} kept it for {:?}", asked.elapsed());
        // What only fetches or decodes is left at once; what a handler has taken can no longer be committed.
        ensure!(status.success() || said.contains("error[E0"), "{call}: {status} {said}");
        site.write("spec.yaml", fs::read_to_string(site.path().join("spec.yaml"))?.replace("mode: hang, ", ""))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        ensure!(site.number("select count(*) from h", None)? == 20, "{call}: rows lost or doubled");
        ensure!(site.number("select count(distinct value) from h", None)? == 20, "{call}: rows doubled");
    }
    Ok(())
}

#[test]
fn a_second_signal_stops_at_once() -> Result<()> {
    let mut site = Site::new()?;
    hanging(&mut site, "node", "process")?;
    let (mut child, mut lines) = until_it_hangs(&site)?;
    terminate(&child)?;
    let mut said = String::new();
    while !said.contains("a second signal stops at once") {
        ensure!(lines.read_line(&mut said)? > 0, "it ended: {said}");
    }
    terminate(&child)?;
    lines.read_to_string(&mut said)?;
    ensure!(child.wait()?.code() == Some(1) && said.contains("error[E0812]"), "{said}");
    Ok(())
}
