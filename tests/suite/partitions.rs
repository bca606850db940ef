//! Many partitions, few readers: a thousand files, one partition that is bad among others, kills in between.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests};

const FILES: u64 = 1000;
const LINES: u64 = 20;

fn thousand_files(site: &Site) -> Result<()> {
    for file in 0..FILES {
        let lines = (0..LINES).map(|line| format!("{{\"n\":{}}}\n", file * LINES + line));
        site.write(&format!("in/{file:04}.ndjson"), lines.collect::<String>())?;
    }
    let spec = "
pipeline: {name: many}
producer:
  stream: {plugin: files, topic: in, readers: 2, settings: {pattern: '*.ndjson', follow: false}, metadata: [partition, offset]}
  decoder: {type: json, schema: {n: int64}}
commit: {flush: {rows: 1000}}
grants: {files: {dirs: {in: ./in}}}
";
    site.write("spec.yaml", spec).map(drop)
}

/// Every line of every file once.
fn all_once(site: &Site) -> Result<()> {
    for (what, expected) in [
        ("count(*)", FILES * LINES),
        ("count(distinct n)", FILES * LINES),
        ("count(distinct __partition)", FILES),
        ("max(n)", FILES * LINES - 1),
    ] {
        let found = site.number(&format!("select {what} from many"), None)?;
        ensure!(found == expected, "{what} is {found}, not {expected}");
    }
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_thousand_files_are_read_once() -> Result<()> {
    let site = Site::new()?;
    thousand_files(&site)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    all_once(&site)
}

#[test]
fn a_thousand_files_are_read_once_whoever_is_killed() -> Result<()> {
    let site = Site::new()?;
    thousand_files(&site)?;
    let mut kills = 0;
    // Each run is killed after it has made three commits; the last ones end before that.
    for _ in 0..10 {
        let mut child =
            site.command(&["run", "spec.yaml", "--until", "ended", "--json"]).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("its output")?);
        let committed = out.lines().map_while(Result::ok).filter(|line| line.contains(r#""event":"committed""#));
        if committed.take(3).count() == 3 {
            child.kill()?;
            kills += 1;
        }
        child.wait()?;
    }
    ensure!(kills >= 3, "killed only {kills} times");
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    all_once(&site)
}

/// A place whose source has 300 partitions of ten messages, one of which is `mode` in every fetch.
fn one_of_many(mode: &str) -> Result<Site> {
    let mut site = Site::new()?;
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    fs::copy(guests().join("hostile.wasm"), dir.join("hostile.wasm")).context("`just guests` builds hostile.wasm")?;
    site.plugins = dir;
    let spec = format!(
        "
pipeline: {{name: many}}
producer:
  stream:
    plugin: hostile
    topic: t
    readers: 2
    onOutOfRange: earliest
    settings: {{partitions: 300, mode: {mode}, call: fetch}}
    metadata: [partition]
  decoder: {{type: json, schema: {{n: int64}}}}
limits: {{call: 1s}}
commit: {{flush: {{time: 100ms}}}}
"
    );
    site.write("spec.yaml", spec)?;
    Ok(site)
}

#[test]
fn one_bad_partition_is_named() -> Result<()> {
    let site = one_of_many("bad-7")?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["partition 7", "never", "hostile", "many"]).map(drop)
}

#[test]
fn a_partition_that_crashes_its_reader_is_found_among_the_others() -> Result<()> {
    let site = one_of_many("poison-7")?;
    let run = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(run.status.code() == Some(1), "{said}");
    ensure!(said.contains("partition 7") && said.contains("is poison"), "{said}");
    // The call, its parts, and the one three times.
    let crashes = said.lines().filter(|line| line.contains("fetch failed")).count();
    ensure!(crashes <= 5, "{crashes} crashes:\n{said}");
    Ok(())
}

#[test]
fn partitions_beside_a_busy_one_go_on() -> Result<()> {
    let site = one_of_many("busy-7")?;
    let mut child = site.command(&["run", "spec.yaml", "--json"]).stdout(Stdio::piped()).spawn()?;
    let out = BufReader::new(child.stdout.take().context("its output")?);
    let mut rows = 0;
    for line in out.lines().map_while(Result::ok).filter(|line| line.contains(r#""event":"committed""#)) {
        let event: serde_json::Value = serde_json::from_str(&line)?;
        rows += event["rows"].as_u64().context("rows")?;
        if rows == 299 * 10 {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    ensure!(site.number("select count(distinct __partition) from many", None)? == 299, "not all others");
    ensure!(site.number("select count(*) from many where __partition = 7", None)? == 0, "rows of the busy one");
    Ok(())
}

#[test]
fn more_files_are_open_than_a_shell_allows() -> Result<()> {
    let site = Site::new()?;
    thousand_files(&site)?;
    let spec = fs::read_to_string(site.path().join("spec.yaml"))?.replace("readers: 2", "readers: 8");
    site.write("spec.yaml", spec)?;
    let run = site.command(&["run", "spec.yaml", "--until", "ended"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -Sn 256; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    shell.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(site.path());
    let output = shell.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    all_once(&site)
}

/// A source that is asked for its partitions once more, and does not answer, holds up neither commits nor a stop.
#[test]
fn a_source_that_is_slow_to_list_its_partitions_holds_up_nothing() -> Result<()> {
    let mut site = Site::new()?;
    site.plugins = guests();
    let spec = "
pipeline: {name: slow}
producer:
  stream: {plugin: hostile, topic: t, discoverEvery: 10ms, settings: {mode: sleep, call: partitions-again, loud: \"yes\"}}
  decoder: {type: json}
commit: {flush: {time: 1s}}
limits: {call: 10m}
";
    site.write("spec.yaml", spec)?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    let errors = running.child.stderr.take().context("standard error")?;
    let mut said = BufReader::new(errors).lines().map_while(Result::ok);
    ensure!(said.any(|line| line.contains("begun")), "it was not asked again");
    // It will not answer for minutes. What was read meanwhile is committed all the same.
    let update = running.wait_for("committed")?.context("it ended early")?;
    ensure!(update["rows"] == 10, "{update}");
    std::thread::spawn(move || said.for_each(drop));
    let since = std::time::Instant::now();
    running.signal("TERM")?;
    ensure!(running.end()?.0, "it did not end in order");
    ensure!(since.elapsed() < std::time::Duration::from_secs(30), "it stopped after {:?}", since.elapsed());
    Ok(())
}
