//! Spouts that drive themselves: what they finish is one commit each, with marker and data together, whatever was killed.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::{Site, guests, kills};

/// A place whose plugin is the spout that does as it is told.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let from = guests().join("driven.wasm");
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    fs::copy(&from, dir.join("driven.wasm"))
        .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    site.plugins = dir;
    Ok(site)
}

/// A pipeline `feed` whose spout does `task`.
fn spec(task: &str, rest: &str) -> String {
    format!("pipeline: {{name: feed}}\ntransform: {{plugin: driven, settings: {{{task}}}}}\n{rest}\n")
}

/// Runs `task` to its end, and checks what the store holds then.
fn done(task: &str, rest: &str) -> Result<Site> {
    let site = site()?;
    site.write("feed.yaml", spec(task, rest))?;
    site.ok(&["run", "feed.yaml"])?;
    site.ok(&["fsck", "--deep"])?;
    Ok(site)
}

/// The commits of the spout, oldest first.
fn commits(site: &Site) -> Result<Vec<Value>> {
    let mut all = site.json(&["list", "commit", "feed@master"])?;
    all.retain(|commit| commit["reason"] == "source");
    all.reverse();
    Ok(all)
}

fn id(commit: &Value) -> Result<&str> {
    commit["id"].as_str().context("an id")
}

fn file(site: &Site, path: &str) -> Result<String> {
    site.ok(&["get", "file", &format!("feed@master:{path}")])
}

fn marker(site: &Site, at: &str) -> Result<String> {
    let shown = site.json(&["marker", "show", at])?.remove(0);
    let token = shown["marker"]["0"]["token"].as_str().with_context(|| shown.to_string())?;
    Ok(String::from_utf8(STANDARD.decode(token)?)?)
}

fn numbers(upto: u64) -> String {
    (0..upto).map(|number| format!("{number}\n")).collect()
}

#[test]
fn what_is_finished_one_after_the_other_is_all_there() -> Result<()> {
    let site = done("task: grow, commits: 10", "spout: {marker: place}")?;
    let all = commits(&site)?;
    ensure!(all.len() == 10, "{} commits", all.len());
    ensure!(file(&site, "/log.txt")? == numbers(10), "the file grows");
    ensure!(file(&site, "/place")? == "10" && marker(&site, "feed")? == "10", "the marker is shown");
    ensure!(site.json(&["list", "file", "feed@master:/files"])?.len() == 10, "a file of each commit");
    let shown = site.ok(&["marker", "show", "feed"])?;
    ensure!(shown.lines().any(|line| line.split_whitespace().eq(["0", "spout", "10", "10", "ended"])), "{shown}");
    // Each commit has its marker and its data, and says which spec made it.
    let digest = &site.json(&["check", "feed.yaml"])?[0]["digest"];
    for (number, commit) in all.iter().enumerate() {
        let at = format!("feed@{}", id(commit)?);
        ensure!(marker(&site, &at)? == (number + 1).to_string(), "commit {number}");
        ensure!(site.ok(&["get", "file", &format!("{at}:/log.txt")])? == numbers(number as u64 + 1), "commit {number}");
        ensure!(site.json(&["inspect", "commit", &at])?[0]["spec_digest"] == *digest, "commit {number}");
    }
    // It continues where it was, and has nothing to do.
    site.ok(&["run", "feed.yaml"])?;
    ensure!(commits(&site)?.len() == 10, "nothing was made twice");
    site.write("feed.yaml", spec("task: grow, commits: 12", "spout: {marker: place}"))?;
    site.ok(&["run", "feed.yaml"])?;
    ensure!(commits(&site)?.len() == 12 && file(&site, "/log.txt")? == numbers(12), "it goes on behind its marker");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_put_without_a_mode_is_what_the_spec_says() -> Result<()> {
    let site = done("task: grow, commits: 5", "spout: {overwrite: true}")?;
    for (number, commit) in commits(&site)?.iter().enumerate() {
        let log = site.ok(&["get", "file", &format!("feed@{}:/log.txt", id(commit)?)])?;
        ensure!(log == format!("{number}\n"), "commit {number}: {log}");
    }
    Ok(())
}

#[test]
fn a_commit_with_nothing_in_it_is_none() -> Result<()> {
    let site = done("task: empty", "")?;
    ensure!(commits(&site)?.len() == 3, "a file, a marker, a file: {:?}", commits(&site)?);
    ensure!(marker(&site, "feed")? == "alone", "it stays where no commit sets it");
    Ok(())
}

#[test]
fn open_commits_come_in_the_order_in_which_they_are_finished() -> Result<()> {
    let site = done("task: several", "")?;
    ensure!(file(&site, "/both.txt")? == "2.0 2.1 0.0 0.1 1.0 1.1 ", "{}", file(&site, "/both.txt")?);
    ensure!(site.json(&["list", "file", "feed@master:/own"])?.len() == 3, "a dropped commit leaves nothing");
    ensure!(commits(&site)?.len() == 3 && marker(&site, "feed")? == "one", "three commits");
    Ok(())
}

#[test]
fn a_file_may_be_larger_than_the_memory_of_the_plugin() -> Result<()> {
    let site = done("task: large, commits: 64", "limits: {memory: 16MiB}")?;
    let there = site.json(&["inspect", "file", "feed@master:/large.bin"])?.remove(0);
    ensure!(there["size"] == 64 << 20, "{there}");
    site.ok(&["get", "file", "feed@master:/large.bin", "-o", "large.bin"])?;
    let bytes = fs::read(site.path().join("large.bin"))?;
    ensure!(
        bytes.chunks(64 << 10).enumerate().all(|(at, piece)| piece.iter().all(|&byte| usize::from(byte) == at % 251))
    );
    ensure!(site.json(&["list", "file", "feed@master:/"])?.len() == 2, "an abandoned file is not there");
    Ok(())
}

#[test]
fn rows_pass_the_handlers_and_what_fails_is_set_aside_in_the_same_commit() -> Result<()> {
    let rest = "
node:
  - {id: few, type: filter, where: \"id % 5 <> 1\"}
  - {id: divided, type: map, columns: {share: \"100 / by\"}}
commit: {path: /rows/}
consumers: [{type: file, path: out.ndjson}]";
    let site = done("task: rows, commits: 3", rest)?;
    let all = commits(&site)?;
    ensure!(all.len() == 3, "{} commits", all.len());
    for commit in &all {
        ensure!(commit["rows"] == 7 && commit["dead_letters"] == 1 && commit["messages"] == 10, "{commit}");
    }
    ensure!(site.number("select count(*) from feed where share is not null and id % 5 <> 1", None)? == 21);
    ensure!(site.number("select count(*) from feed_dead_letter", None)? == 3, "one row of each commit");
    let copies = file(&site, "/copies.csv")?;
    ensure!(copies.lines().count() == 31, "a file of rows has all of them, and one header: {copies}");
    ensure!(fs::read_to_string(site.path().join("out.ndjson"))?.lines().count() == 21, "consumers see them too");
    Ok(())
}

#[test]
fn after_a_crash_it_goes_on_from_its_marker() -> Result<()> {
    // A crash after each commit: none of them is one crash too many, because each time there was progress.
    for task in ["task: crash, commits: 4", "task: fail, commits: 6"] {
        let site = done(task, "")?;
        let expected = if task.contains("crash") { 4 } else { 6 };
        ensure!(file(&site, "/log.txt")? == numbers(expected), "{task}: {}", file(&site, "/log.txt")?);
        ensure!(commits(&site)?.len() as u64 == expected, "{task}");
    }
    Ok(())
}

#[test]
fn a_spout_that_computes_without_end_is_given_up() -> Result<()> {
    let site = site()?;
    site.write("feed.yaml", spec("task: burn", "limits: {call: 500ms}"))?;
    site.fails(&["run", "feed.yaml"], 1, &["E0206", "feed", "driven", "limits.call"])?;
    ensure!(commits(&site)?.len() == 1 && marker(&site, "feed")? == "burning", "what it had finished is there");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn before_a_stop_it_has_time_for_a_last_commit() -> Result<()> {
    for (task, last, never) in [("task: last", "/last", "/nothing"), ("task: never", "/finished", "/never")] {
        let site = site()?;
        site.write("feed.yaml", spec(task, ""))?;
        let mut run = site.start(&["run", "feed.yaml"])?;
        run.wait_for("committed")?.context("a commit")?;
        run.signal("INT")?;
        let (ok, err) = run.end()?;
        ensure!(ok, "{task}: {err}");
        file(&site, last)?;
        site.fails(&["get", "file", &format!("feed@master:{never}")], 2, &["E0517"])?;
        site.ok(&["fsck"])?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_with_a_code_and_leaves_nothing() -> Result<()> {
    let site = done("task: wrong", "spout: {marker: place}")?;
    let said = file(&site, "/said.txt")?;
    for (what, code) in [
        ("outside", "pfs.E0516"),
        ("marker", "pfs.E0339"),
        ("dead letters", "pfs.E0339"),
        ("no format", "pfs.E0339"),
        ("large marker", "pfs.E0338"),
        ("unclosed", "pfs.E0337"),
        ("many files", "pfs.E0336"),
        ("no such file", "pfs.E05"),
        ("nothing to read", "pfs.E0339"),
        ("below a file", "pfs.E05"),
    ] {
        let expected = format!("{what}: {code}");
        ensure!(said.lines().any(|line| line.starts_with(&expected)), "{expected}: {said}");
    }
    ensure!(commits(&site)?.len() == 2, "{said}");
    let site = done("task: many", "")?;
    let said = file(&site, "/many.txt")?;
    ensure!(said.starts_with("1000 pfs.E0336: "), "{said}");
    Ok(())
}

#[test]
fn it_reads_what_it_has_committed() -> Result<()> {
    let site = done("task: grow, commits: 3", "")?;
    site.write("feed.yaml", spec("task: read", ""))?;
    site.ok(&["run", "feed.yaml"])?;
    let said = file(&site, "/read.txt")?;
    let files = (0..3).map(|number| format!("/files/{number:06} 6 6 64\n")).collect::<String>();
    ensure!(said == format!("{files}/log.txt 6 6 64\n3 below /files, None\n"), "{said}");
    Ok(())
}

#[test]
fn a_pipeline_has_a_producer_or_drives_itself() -> Result<()> {
    let site = site()?;
    let check = |text: String, parts: &[&str]| -> Result<()> {
        site.write("wrong.yaml", text)?;
        site.fails(&["check", "wrong.yaml"], 2, parts).map(drop)
    };
    let both = spec("task: grow", "producer: {stdin: {}, decoder: {type: raw}}");
    check(both, &["wrong.yaml:3", "either a `transform`"])?;
    check(
        "pipeline: {name: feed}\nspout: {onExit: restart}\nproducer: {stdin: {}, decoder: {type: raw}}\n".into(),
        &["wrong.yaml:2", "onExit"],
    )?;
    check("pipeline: {name: feed}\ntransform: {plugin: driven, setings: {}}\n".into(), &["wrong.yaml:2", "settings"])?;
    check(spec("tusk: grow", ""), &["wrong.yaml:2", "task"])?;
    check(spec("task: grow", "commit: {flush: {rows: 5}}"), &["wrong.yaml:3", "leave `flush` out"])?;
    site.write("feed.yaml", spec("task: grow", "guarantee: exactly-once"))?;
    let said = site.ok(&["check", "feed.yaml", "-v"])?;
    ensure!(said.contains("self-driven") && said.contains("marker"), "{said}");
    let said = site.ok(&["plugin", "inspect", "driven"])?;
    ensure!(said.contains("self-driven spout") && said.contains("task"), "{said}");
    site.ok(&["plugin", "check", "driven"]).map(drop)
}

#[test]
fn killed_anywhere_marker_and_data_are_never_apart() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let site = site()?;
    site.write("feed.yaml", spec("task: grow, commits: 1000000, pause: 1", ""))?;
    let mut last = 0;
    for kill in 0..kills() {
        let mut run = site.start(&["run", "feed.yaml"])?;
        if kill % 3 > 0 {
            run.wait_for("committed")?;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
        run.signal("KILL")?;
        drop(run.end()?);
        if commits(&site).is_ok_and(|all| !all.is_empty()) {
            let upto: u64 = marker(&site, "feed")?.parse()?;
            ensure!(upto >= last, "kill {kill}: the marker went back from {last} to {upto}");
            ensure!(file(&site, "/log.txt")? == numbers(upto), "kill {kill}: the data is not that of marker {upto}");
            last = upto;
        }
    }
    ensure!(last > 10, "only {last} commits were made");
    ensure!(site.json(&["list", "file", "feed@master:/files"])?.len() as u64 == last, "a file of each commit");
    ensure!(commits(&site)?.len() as u64 == last, "a commit of each");
    site.ok(&["fsck", "--deep"]).map(drop)
}

/// Commits a number in each archive, and begins at 0 whatever its marker is.
const FORGETFUL: &str = r#"
pipeline: {name: feed}
spout: {marker: offset}
transform:
  trusted: true
  cmd:
    - sh
    - -c
    - |
      cd "$(mktemp -d -p "$PFS/..")" || exit 1
      trap 'rm -rf "$PWD"' EXIT
      for n in 1 2 3 4 5 6 7 8; do
        echo "$n" > numbers; echo "$n" > offset
        tar -c numbers offset > "$PFS_OUT" || exit 1
        while [ "$(cat "$PFS/offset" 2>/dev/null)" != "$n" ]; do sleep 0.01; done
      done
"#;

#[test]
fn plugin_test_kills_a_spout_between_and_within_its_commits_and_says_what_it_loses() -> Result<()> {
    let site = site()?;
    let test = ["plugin", "test", "--spec", "feed.yaml", "--commits", "8", "--kills", "3"];
    for transform in
        ["{plugin: driven, settings: {task: grow, commits: 100, pause: 2}}", "{plugin: tars, args: [count, '8', '1']}"]
    {
        let from = guests().join("tars.wasm");
        fs::copy(from, site.plugins.join("tars.wasm"))?;
        site.write(
            "feed.yaml",
            format!("pipeline: {{name: feed}}\nspout: {{marker: offset}}\ntransform: {transform}\n"),
        )?;
        let said = site.ok(&test)?;
        for promise in ["killed 3 times between its commits", "killed 3 times within its commits", "4 promises kept"] {
            ensure!(said.contains(promise), "{transform}: {said}");
        }
    }
    site.write("feed.yaml", FORGETFUL)?;
    let said = site.fails(&test, 1, &["error[E0835]"])?;
    let shown = String::from_utf8(site.run(&test)?.stdout)?;
    ensure!(shown.contains("BROKEN") && shown.contains("something is there twice"), "{said}{shown}");
    // Without a marker, or without a spout, that is all there is to say.
    let without = FORGETFUL.replace("spout: {marker: offset}\n", "").replace("while [", "false && while [");
    site.write("feed.yaml", without)?;
    let shown = String::from_utf8(site.run(&[&test[..6], &["--kills", "0"]].concat())?.stdout)?;
    ensure!(shown.contains("commit 1 leaves none"), "{shown}");
    site.fails(&["plugin", "test", "driven"], 2, &["error[E0801]", "--spec FILE"])?;
    ensure!(!site.path().join("store").exists(), "it has a store of its own");
    Ok(())
}
