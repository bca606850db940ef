//! `spout marker seek`: a pipeline goes on where it is told, by a commit that says so, and never behind the back of one that runs.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, guests, served::Served};

/// A hundred events in two partitions.
fn nexmark(site: &Site, total: u32) -> Result<()> {
    let spec = format!(
        "pipeline: {{name: e}}
producer:
  stream: {{plugin: nexmark, settings: {{total: {total}, partitions: 2}}, metadata: [partition, offset]}}
  decoder: {{type: json}}
spout: {{marker: place}}
"
    );
    site.write("e.yaml", spec).map(drop)
}

fn run(site: &Site) -> Result<()> {
    site.ok(&["run", "e.yaml", "--until", "idle"]).map(drop)
}

/// Moves the marker; what is said of it.
fn seek(site: &Site, args: &[&str]) -> Result<Value> {
    let mut all = vec!["marker", "seek"];
    all.extend(args);
    let sought = site.json(&all)?.remove(0);
    // The record itself, the history and the file that shows the marker agree.
    site.ok(&["fsck"])?;
    Ok(sought)
}

/// Rows of each partition.
fn rows(site: &Site) -> Result<Vec<u64>> {
    let of = |partition: u8| site.number(&format!("select count(*) from e where __partition = {partition}"), None);
    Ok(vec![of(0)?, of(1)?])
}

fn offset(sought: &Value, when: &str, partition: u8) -> Option<u64> {
    sought[when][partition.to_string()]["offset"].as_u64()
}

#[test]
fn a_stream_goes_on_where_it_is_told_and_history_says_why() -> Result<()> {
    let site = Site::new()?;
    nexmark(&site, 100)?;
    run(&site)?;
    ensure!(rows(&site)? == [50, 50]);
    let sought = seek(&site, &["e", "--to", "40", "--partition", "1", "--why", "a bad hour"])?;
    ensure!((offset(&sought, "before", 1), offset(&sought, "after", 1)) == (Some(50), Some(40)), "{sought}");
    ensure!(offset(&sought, "after", 0) == Some(50), "a partition that is not named stays: {sought}");
    ensure!(sought["made"]["reason"] == "seek: a bad hour" && sought["made"]["pipeline"] == "e", "{sought}");
    run(&site)?;
    ensure!(rows(&site)? == [50, 60], "ten messages were read again: {:?}", rows(&site)?);
    // The source says where its ends are.
    seek(&site, &["e", "--to", "earliest", "--spec", "e.yaml"])?;
    let shown: Value = serde_json::from_str(&site.ok(&["get", "file", "e@master:/place"])?)?;
    ensure!(shown["0"]["offset"] == 0 && shown["1"]["offset"] == 0, "the file shows it at once: {shown}");
    run(&site)?;
    ensure!(rows(&site)? == [100, 110], "{:?}", rows(&site)?);
    nexmark(&site, 120)?;
    seek(&site, &["e", "--to", "latest", "--spec", "e.yaml"])?;
    run(&site)?;
    ensure!(rows(&site)? == [100, 110], "what had come was passed over: {:?}", rows(&site)?);
    // Where it was at a commit.
    let first = site.json(&["list", "commit", "e@master"])?.pop().context("a commit")?;
    let first = first["id"].as_str().context("an id")?.to_owned();
    let sought = seek(&site, &["e@master", "--to-commit", &first])?;
    ensure!(sought["after"] == site.json(&["marker", "show", &format!("e@{first}")])?[0]["marker"], "{sought}");
    let said = site.ok(&["inspect", "commit", "e@master"])?;
    ensure!(said.contains("seek"), "{said}");
    Ok(())
}

#[test]
fn what_cannot_be_moved_is_refused_and_nothing_changes() -> Result<()> {
    let site = Site::new()?;
    nexmark(&site, 100)?;
    run(&site)?;
    // A source that had ended is read again.
    seek(&site, &["e", "--to", "50"])?;
    let head = || -> Result<Value> { Ok(site.json(&["list", "commit", "e@master"])?.remove(0)) };
    let before = head()?;
    for (args, code, parts) in [
        (&["e", "--to", "earliest"][..], 2, ["error[E0801]", "--spec FILE"]),
        (&["e", "--to", "sideways"], 2, ["earliest, latest or an offset", "--to"]),
        (&["e", "--to", "1", "--partition", "nine"], 2, ["error[E0801]", "no partition"]),
        (&["e", "--to", "1", "--spec", "e.yaml", "--producer", "x"], 2, ["error[E0701]", "no producer `x`"]),
        (&["e", "--to-file", "e.yaml", "--spec", "e.yaml"], 2, ["error[E0801]", "for spouts"]),
        (&["e", "--to", "50"], 2, ["error[E0801]", "goes on there already"]),
    ] {
        let mut all = vec!["marker", "seek"];
        all.extend(args);
        site.fails(&all, code, &parts).with_context(|| format!("{args:?}"))?;
    }
    site.ok(&["create", "repo", "people"])?;
    site.ok(&["put", "file", "people@master:/e.yaml", "-f", "e.yaml"])?;
    site.fails(&["marker", "seek", "people", "--to", "1"], 2, &["error[E0871]", "people@master"])?;
    ensure!(head()? == before, "nothing was committed");
    Ok(())
}

/// A pipeline that follows a file, which has two rows.
fn followed(site: &Site) -> Result<()> {
    site.write("in/a.ndjson", "{\"id\":1}\n{\"id\":2}\n")?;
    let spec = "pipeline: {name: e}
producer:
  stream: {plugin: files, topic: t, settings: {pattern: '*.ndjson'}}
  decoder: {type: json}
commit: {flush: {rows: 2}}
grants: {files: {dirs: {t: ./in}}}
";
    site.write("e.yaml", spec).map(drop)
}

/// Where its one partition goes on.
fn begins(sought: &Value) -> Option<u64> {
    sought["after"].as_object()?.values().next()?["offset"].as_u64()
}

#[test]
fn a_pipeline_that_runs_is_not_moved_unless_it_is_fenced() -> Result<()> {
    let site = Site::new()?;
    followed(&site)?;
    let mut running = site.start(&["run", "e.yaml"])?;
    running.wait_for("committed")?.context("a commit")?;
    site.fails(&["marker", "seek", "e", "--to", "0"], 1, &["error[E0870]", "process", "--force"])?;
    let sought = seek(&site, &["e", "--to", "0", "--force"])?;
    ensure!(begins(&sought) == Some(0), "{sought}");
    // Nothing that the fenced one goes on to read is committed by it.
    site.write("in/a.ndjson", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n")?;
    let (fine, said) = running.end()?;
    ensure!(!fine && said.contains("E0530"), "{said}");
    ensure!(site.number("select count(*) from e", None)? == 2);
    run(&site)?;
    ensure!(site.number("select count(*) from e", None)? == 6, "all of it once more");
    site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn a_pipeline_of_a_server_is_moved_over_http() -> Result<()> {
    let site = Site::new()?;
    followed(&site)?;
    site.ok(&["create", "pipeline", "-f", "e.yaml"])?;
    let served = Served::start(&site, &[])?;
    let url = served.url();
    let asked = |args: &[&'static str]| -> Vec<&str> { args.iter().copied().chain(["--server", &*url]).collect() };
    let has = |rows: u64| move |about: &Value| about["state"] == "running" && about["counts"]["rows"] == rows;
    served.reach("e", has(2))?;
    site.fails(&asked(&["marker", "seek", "e", "--to", "0"]), 1, &["error[E0870]", "--force"])?;
    let stop = || {
        site.ok(&asked(&["stop", "pipeline", "e"]))?;
        served.reach("e", |about| about["state"] == "stopped")
    };
    stop()?;
    let sought = seek(&site, &asked(&["e", "--to", "0", "--partition", "a.ndjson", "--why", "so"]))?;
    ensure!(begins(&sought) == Some(0) && sought["made"]["reason"] == "seek: so", "{sought}");
    site.ok(&asked(&["start", "pipeline", "e"]))?;
    served.reach("e", has(2))?;
    ensure!(site.number("select count(*) from e", None)? == 4, "both once more");
    stop()?;
    // The server has the spec, asks the source itself, and says what is wrong in the words of the command line.
    let sought = seek(&site, &asked(&["e@master", "--to", "earliest"]))?;
    ensure!(begins(&sought) == Some(0), "{sought}");
    site.fails(&asked(&["marker", "seek", "e", "--to-file", "e.yaml"]), 2, &["error[E0801]", "for spouts"])?;
    site.fails(&asked(&["marker", "seek", "f", "--to", "1"]), 2, &["error[E0510]"])?;
    served.stop()
}

/// A place with a spout of the tests.
fn spout(guest: &str, spec: &str) -> Result<Site> {
    let mut site = Site::new()?;
    let (from, dir) = (guests().join(guest), site.path().join("plugins"));
    fs::create_dir(&dir)?;
    fs::copy(&from, dir.join(guest))
        .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    site.plugins = dir;
    site.write("e.yaml", spec)?;
    site.ok(&["run", "e.yaml", "--until", "ended"])?;
    Ok(site)
}

#[test]
fn a_spout_gets_another_marker_or_none() -> Result<()> {
    let file = |site: &Site, path: &str| site.ok(&["get", "file", &format!("e@master:/{path}")]);
    // Runs of numbers, each a line.
    let lines = |all: &[(u32, u32)]| -> String {
        all.iter().flat_map(|&(from, to)| from..to).map(|number| format!("{number}\n")).collect()
    };
    let again = |site: &Site| site.ok(&["run", "e.yaml", "--until", "ended"]).map(drop);
    let specs = [
        ("driven.wasm", "log.txt", "place", "transform: {plugin: driven, settings: {task: grow, commits: 5}}"),
        ("tars.wasm", "numbers", "offset", "transform: {plugin: tars, args: [count, '5', '1']}"),
    ];
    for (guest, data, marker, transform) in specs {
        let site = spout(guest, &format!("pipeline: {{name: e}}\n{transform}\nspout: {{marker: {marker}}}\n"))?;
        ensure!(file(&site, data)? == lines(&[(0, 5)]), "{guest}");
        site.write("three", "3")?;
        seek(&site, &["e", "--to-file", "three", "--spec", "e.yaml"])?;
        ensure!(file(&site, marker)? == "3", "{guest}: the file that shows it");
        again(&site)?;
        ensure!(file(&site, data)? == lines(&[(0, 5), (3, 5)]), "{guest}: {}", file(&site, data)?);
        // Back to where it was when it had made one commit.
        let first = site.json(&["list", "commit", "e@master"])?.pop().context("a commit")?;
        seek(&site, &["e", "--to-commit", first["id"].as_str().context("an id")?, "--spec", "e.yaml"])?;
        again(&site)?;
        ensure!(file(&site, data)? == lines(&[(0, 5), (3, 5), (1, 5)]), "{guest}: {}", file(&site, data)?);
        seek(&site, &["e", "--to", "earliest", "--spec", "e.yaml"])?;
        site.fails(&["get", "file", &format!("e@master:/{marker}")], 2, &["error[E0517]", marker])?;
        again(&site)?;
        ensure!(file(&site, data)? == lines(&[(0, 5), (3, 5), (1, 5), (0, 5)]), "{guest}: {}", file(&site, data)?);
        site.fails(&["marker", "seek", "e", "--to", "latest", "--spec", "e.yaml"], 2, &["error[E0360]"])?;
    }
    Ok(())
}
