//! Pipelines that read what others commit: one commit of theirs for each that is read, whatever is killed.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::{Site, kills};

const JSON: &str = "decoder: {type: json, schema: {id: int64}}";
fn spec(name: &str, producer: &str, rest: &str) -> String {
    format!("pipeline: {{name: {name}}}\nproducer:\n  {producer}\n{rest}\n")
}

/// Appends `ids` to the repo of pipeline `a`, which has a spec of that name, from standard input.
fn feed(site: &Site, ids: std::ops::Range<u64>) -> Result<()> {
    let mut child = site.command(&["run", "a.yaml"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut input = child.stdin.take().context("standard input")?;
    ids.into_iter().try_for_each(|id| writeln!(input, "{{\"id\":{id}}}"))?;
    drop(input);
    ensure!(child.wait()?.success(), "feeding failed");
    Ok(())
}

/// The commits of a repo, oldest first.
fn commits(site: &Site, repo: &str) -> Result<Vec<Value>> {
    let mut commits = site.json(&["list", "commit", &format!("{repo}@master"), "-n", "10000"])?;
    commits.reverse();
    Ok(commits)
}

/// Those that were made from others.
fn made(site: &Site, repo: &str) -> Result<Vec<Value>> {
    let mut commits = commits(site, repo)?;
    commits.retain(|commit| commit["provenance"].as_array().is_some_and(|from| !from.is_empty()));
    Ok(commits)
}

/// The one commit that each was made from, and how many were read with it.
fn origins(commits: &[Value]) -> Result<Vec<(String, u64)>> {
    let origin = |commit: &Value| {
        let from = commit["provenance"].as_array().filter(|from| from.len() == 1).context("one origin")?;
        let first = from.first().context("one origin")?;
        Ok((first["commit"].as_str().context("an id")?.to_owned(), first["commits"].as_u64().unwrap_or(1)))
    };
    commits.iter().map(origin).collect()
}

fn ids(commits: &[Value]) -> Vec<(String, u64)> {
    commits.iter().map(|commit| (commit["id"].as_str().unwrap_or_default().to_owned(), 1)).collect()
}

#[test]
fn each_commit_that_is_read_becomes_one_whatever_is_killed() -> Result<()> {
    let seed = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut site = Site::new()?;
    site.write("a.yaml", spec("a", "stdin: {}", &format!("  {JSON}")))?;
    let odd = "node: [{id: odd, type: filter, where: 'id % 2 = 1'}]";
    // Thresholds that would cut within a commit, and join several, if they counted.
    site.write("b.yaml", spec("b", "repo: {repo: a}", &format!("{odd}\ncommit: {{flush: {{rows: 7}}}}")))?;
    site.write("c.yaml", spec("c", "repo: {repo: b, every: 50ms}", "guarantee: exactly-once"))?;
    let kills = kills();
    for round in 0..kills {
        for part in 0..3 {
            let first = u64::from(round) * 60 + part * 20;
            feed(&site, first..first + 20)?;
        }
        let point = ["before", "after"][dice.random_range(0..2)];
        site.environment = vec![("SPOUT_FAULT", format!("repo.record.{point}=kill@{}", dice.random_range(1..6)))];
        drop(site.run(&["run", "b.yaml", "c.yaml", "--until", "idle"])?);
        site.environment.clear();
    }
    site.ok(&["run", "b.yaml", "c.yaml", "--until", "idle"])?;
    let rows = u64::from(kills) * 30;
    for repo in ["b", "c"] {
        let count = |what: &str| site.number(&format!("select {what} from {repo}"), None);
        ensure!((count("count(*)")?, count("count(distinct id)")?) == (rows, rows), "{repo}");
    }
    let mut of_a = commits(&site, "a")?;
    of_a.retain(|commit| commit["rows"].as_u64() > Some(0));
    let (of_b, of_c) = (made(&site, "b")?, made(&site, "c")?);
    ensure!(origins(&of_b)? == ids(&of_a), "b: {:?} from {:?}", origins(&of_b)?, ids(&of_a));
    ensure!(origins(&of_c)? == ids(&of_b), "c: {:?} from {:?}", origins(&of_c)?, ids(&of_b));
    for (a, (b, c)) in of_a.iter().zip(of_b.iter().zip(&of_c)) {
        ensure!(b["rows"].as_u64() == a["rows"].as_u64().map(|rows| rows / 2), "{a} {b}");
        ensure!(c["rows"] == b["rows"] && b["global"] == a["id"] && c["global"] == a["id"], "{a} {b} {c}");
    }
    site.ok(&["fsck", "--deep"])?;
    Ok(())
}

/// Puts one file into `notes` in a commit of its own.
fn put(site: &Site, path: &str) -> Result<()> {
    site.write("file", format!("{path}\n"))?;
    site.ok(&["put", "file", &format!("notes@master:{path}"), "-f", "file"])?;
    Ok(())
}

#[test]
fn a_commit_with_nothing_to_read_leads_to_none() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "notes"])?;
    let repo = "repo: {repo: notes, glob: '/in/*', mode: files}";
    site.write("b.yaml", spec("b", repo, "  decoder: {type: raw}"))?;
    let idle = ["run", "b.yaml", "--until", "idle"];
    for (path, expected) in [("/else", 0), ("/in/x", 1), ("/else2", 1), ("/else3", 1), ("/in/y", 2), ("/else4", 2)] {
        put(&site, path)?;
        site.ok(&idle)?;
        let there = site.json(&["list", "repo"])?.iter().any(|repo| repo["name"] == "b");
        let made = if there && expected > 0 { commits(&site, "b")?.len() } else { 0 };
        ensure!(made == expected, "after {path} there are {made} commits");
    }
    ensure!(site.number("select count(*) from b", None)? == 2);
    site.ok(&["fsck"])?;
    Ok(())
}

#[test]
fn commits_wait_for_the_trigger_of_who_reads_them() -> Result<()> {
    let mut site = Site::new()?;
    site.ok(&["create", "repo", "notes"])?;
    let triggers = [("n", "{commits: 3}"), ("t", "{time: 1h}"), ("k", "{cron: '0 0 1 1 *'}")];
    for (name, trigger) in triggers {
        let repo = format!("repo: {{repo: notes, mode: files, trigger: {trigger}}}");
        site.write(&format!("{name}.yaml"), spec(name, &repo, "  decoder: {type: raw}"))?;
    }
    let read = |site: &Site, name: &str| -> Result<Vec<u64>> {
        site.ok(&["run", &format!("{name}.yaml"), "--until", "idle"])?;
        let made = if commits(site, name).is_ok() { origins(&made(site, name)?)? } else { Vec::new() };
        Ok(made.into_iter().map(|(_, commits)| commits).collect())
    };
    for n in 0..7 {
        put(&site, &format!("/{n}"))?;
    }
    ensure!(read(&site, "n")? == [3, 3], "{:?}", read(&site, "n")?);
    put(&site, "/7")?;
    put(&site, "/8")?;
    ensure!(read(&site, "n")? == [3, 3, 3]);
    ensure!(read(&site, "t")?.is_empty() && read(&site, "k")?.is_empty(), "no hour and no year is over");
    // A commit of later is none of those whose hour is over, whenever somebody looks.
    site.environment = vec![("SPOUT_CLOCK_SHIFT", (2 * 3600).to_string())];
    put(&site, "/9")?;
    ensure!(read(&site, "t")? == [9]);
    site.environment = vec![("SPOUT_CLOCK_SHIFT", (370 * 24 * 3600).to_string())];
    ensure!(read(&site, "t")? == [9, 1] && read(&site, "k")? == [10]);
    for name in ["n", "t", "k"] {
        ensure!(site.number(&format!("select count(*) from {name}"), None)? >= 9);
    }
    site.write("bad.yaml", spec("bad", "repo: {repo: notes, trigger: {cron: '0 0 31 2 *'}}", ""))?;
    site.fails(&["check", "bad.yaml"], 2, &["no such day"])?;
    site.write("bad.yaml", spec("bad", "repo: {repo: notes, split: true, trigger: {commits: 2}}", ""))?;
    site.fails(&["check", "bad.yaml"], 2, &["leave out one of"])?;
    Ok(())
}

#[test]
fn a_large_commit_is_one_and_small_ones_are_not_joined() -> Result<()> {
    let mut site = Site::new()?;
    site.write("a.yaml", spec("a", "stdin: {}", &format!("  {JSON}\ncommit: {{path: /all.parquet}}")))?;
    feed(&site, 0..60_000)?;
    site.write("b.yaml", spec("b", "repo: {repo: a}", "commit: {flush: {rows: 5000, time: 1ms}}"))?;
    for point in ["before", "after"] {
        site.environment = vec![("SPOUT_FAULT", format!("repo.record.{point}=kill@1"))];
        ensure!(!site.run(&["run", "b.yaml", "--until", "idle"])?.status.success(), "it was to be killed");
    }
    site.environment.clear();
    site.ok(&["run", "b.yaml", "--until", "idle"])?;
    let rows: Vec<_> = made(&site, "b")?.iter().map(|commit| commit["rows"].as_u64()).collect();
    ensure!(rows == commits(&site, "a")?.iter().map(|commit| commit["rows"].as_u64()).collect::<Vec<_>>(), "{rows:?}");
    ensure!(site.number("select count(distinct id) from b", None)? == 60_000);
    Ok(())
}

#[test]
fn reprocessing_makes_everything_anew_and_keeps_history() -> Result<()> {
    let site = Site::new()?;
    site.write("a.yaml", spec("a", "stdin: {}", &format!("  {JSON}")))?;
    feed(&site, 0..10)?;
    feed(&site, 0..10)?;
    let once = |keep: &str| {
        let nodes = format!(
            "node: [{{id: once, type: dedupe, by: [id], last: 100}}, {{id: f, type: filter, where: '{keep}'}}]"
        );
        site.write("b.yaml", spec("b", "repo: {repo: a}", &nodes))
    };
    once("id % 2 = 1")?;
    site.ok(&["run", "b.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from b", None)? == 5);
    let before = commits(&site, "b")?.len();
    once("id < 3")?;
    site.ok(&["run", "b.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from b", None)? == 5, "what was read is not read again");
    for _ in 0..2 {
        site.ok(&["run", "b.yaml", "--reprocess", "--until", "idle"])?;
        ensure!(site.number("select count(*) from b", None)? == 3, "{:?}", site.rows("select * from b", None)?);
    }
    let all = commits(&site, "b")?;
    ensure!(all.len() > before * 2, "history keeps what was there: {} commits", all.len());
    let old = all.get(before - 1).context("the last commit before")?["id"].as_str().context("an id")?.to_owned();
    ensure!(site.number("select count(*) from b", Some(&format!("b@{old}")))? == 5);
    site.ok(&["fsck", "--deep"])?;
    site.write("h.yaml", spec("h", "http: {listen: '127.0.0.1:0'}", &format!("  {JSON}")))?;
    site.fails(&["run", "h.yaml", "--reprocess"], 2, &["cannot be read again"])?;
    Ok(())
}
