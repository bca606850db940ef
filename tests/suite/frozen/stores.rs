//! A store as it was written when the format was frozen: it is read as it was then, its pipelines go on from their state, and it is
//! written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use spout_tests::{Site, http::request};

use super::{folder, sha256, site, unpack, unpacked};

/// Pipelines whose state goes on.
const HANDLERS: [&str; 16] = [
    "plain", "windowed", "counted", "dynamic", "ranked", "summed", "joined", "once", "few", "level", "slope", "each",
    "known", "visits", "minutes", "seen",
];

/// A place with the store and the specs of its pipelines, and the rows that they had read.
fn old() -> Result<Site> {
    let site = site(&["files", "count"])?;
    unpack("store.tar.zst", site.path())?;
    specs(&site)?;
    fs::create_dir(site.path().join("in"))?;
    fs::copy(folder().join("store/first.ndjson"), site.path().join("in/rows.ndjson"))?;
    Ok(site)
}

fn specs(site: &Site) -> Result<()> {
    for spec in ["handlers.yaml", "downstream.yaml", "posted.yaml"] {
        fs::copy(folder().join("store").join(spec), site.path().join(spec))?;
    }
    let feed = fs::read_to_string(folder().join("store/feed.yaml"))?.replace("COMMITS", "75");
    site.write("feed.yaml", feed).map(drop)
}

/// Whether `now` has all that `then` had: fields may have come, none may have gone or say something else.
fn has(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            then.iter().all(|(key, then)| now.get(key).is_some_and(|now| has(now, then)))
        }
        (Value::Array(now), Value::Array(then)) => {
            now.len() == then.len() && now.iter().zip(then).all(|(now, then)| has(now, then))
        }
        (now, then) => now == then,
    }
}

#[test]
fn fields_may_come_and_none_may_go() {
    let check = |now: &str, then: &str, expected: bool| {
        let [now, then] = [now, then].map(|text| serde_json::from_str(text).unwrap_or_default());
        assert_eq!(has(&now, &then), expected, "{now} for {then}");
    };
    check(r#"{"a":1,"b":[{"c":2,"d":3}]}"#, r#"{"a":1,"b":[{"c":2}]}"#, true);
    check(r#"{"b":[{"c":2}]}"#, r#"{"a":1,"b":[{"c":2}]}"#, false);
    check(r#"{"a":2}"#, r#"{"a":1}"#, false);
    check(r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, false);
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

/// The late rows of the table that is asked for whole. Then they stood among its rows, and since are tables of their own
/// (`docs/versions.md`).
fn late(site: &Site, query: &str) -> Result<Vec<String>> {
    let Some(name) = query.strip_prefix("select * from \"").and_then(|rest| rest.strip_suffix('"')) else {
        return Ok(Vec::new());
    };
    let files = site.json(&["list", "file", &format!("{name}@master"), "-r"])?;
    let handlers: BTreeSet<&str> =
        files.iter().filter_map(|file| file["path"].as_str()?.strip_prefix("/late/")?.split('/').next()).collect();
    let rows = handlers.into_iter().map(|handler| rows(site, &format!("{name}_late_{handler}")));
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

/// Rows as values, whatever the order of their columns.
fn values(lines: &[String]) -> Result<Vec<String>> {
    let value =
        |line: &String| Ok(serde_json::from_str::<BTreeMap<String, Value>>(line).map(|row| format!("{row:?}"))?);
    Ok(sorted(&lines.iter().map(value).collect::<Result<Vec<_>>>()?))
}

/// Asks once more what was asked when the store was made; what is answered otherwise.
fn asked(site: &Site, line: &str) -> Result<Option<String>> {
    let then: Value = serde_json::from_str(line)?;
    let args: Vec<&str> = then["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let output = site.run(&args)?;
    let now = String::from_utf8_lossy(&output.stdout);
    let same = if let Some(sum) = then["sha256"].as_str() {
        sha256(&output.stdout) == sum
    } else {
        let then: Vec<String> =
            then["said"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let now: Vec<String> = now.lines().map(str::to_owned).collect();
        if args.first() == Some(&"sql") {
            let late = args.get(1).map_or_else(|| Ok(Vec::new()), |query| late(site, query))?;
            if late.is_empty() {
                sorted(&now) == sorted(&then)
            } else {
                values(&[now, late].concat())? == values(&then)?
            }
        } else {
            let parsed =
                |lines: &[String]| lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<Vec<_>, _>>();
            has(&Value::Array(parsed(&now)?), &Value::Array(parsed(&then)?))
        }
    };
    let wrong = || format!("spout {args:?}: {now}{}\nthen: {line}", String::from_utf8_lossy(&output.stderr));
    Ok((!same || !output.status.success()).then(wrong))
}

#[test]
fn a_store_of_then_shows_what_it_showed() -> Result<()> {
    let site = old()?;
    site.ok(&["fsck", "--deep"])?;
    let portrait = String::from_utf8(unpacked("portrait.ndjson.zst")?)?;
    let mut wrong = Vec::new();
    for line in portrait.lines() {
        wrong.extend(asked(&site, line)?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    ensure!(portrait.lines().count() > 70, "little was asked");
    Ok(())
}

/// All rows of a table, in an order of their own.
fn rows(site: &Site, table: &str) -> Result<Vec<String>> {
    Ok(sorted(&site.rows(&format!("select * from \"{table}\""), None)?))
}

/// Rows come to those that were read; pipelines over them run until there is nothing more.
fn grow(site: &Site) -> Result<()> {
    let folder = folder().join("store");
    let all = [fs::read(folder.join("first.ndjson"))?, fs::read(folder.join("more.ndjson"))?].concat();
    site.write("in/rows.ndjson", all)?;
    site.ok(&["run", "handlers.yaml", "--until", "idle"])?;
    site.ok(&["run", "downstream.yaml", "--until", "idle"])?;
    Ok(())
}

fn put(site: &Site, to: &str, text: &str) -> Result<()> {
    site.write("put", text)?;
    site.ok(&["put", "file", to, "-f", "put"]).map(drop)
}

#[test]
fn pipelines_of_then_go_on_from_their_state() -> Result<()> {
    let old = old()?;
    put(&old, "notes@master:/c", "put /z 3\n")?;
    grow(&old)?;
    // The same without a stop in between, and without anything of then.
    let new = site(&["files", "count"])?;
    specs(&new)?;
    new.write("customers.csv", "id,name,tier\nann,Ann,1\nbob,Bob,2\n")?;
    for repo in ["customers", "notes"] {
        new.ok(&["create", "repo", repo])?;
    }
    new.ok(&["put", "file", "customers@master:/customers.csv", "--table", "-f", "customers.csv"])?;
    for (path, text) in [("a", "put /x 1\n"), ("b", "put /y 2\ntable /rows.csv\n"), ("c", "put /z 3\n")] {
        put(&new, &format!("notes@master:/{path}"), text)?;
    }
    grow(&new)?;
    for table in HANDLERS.into_iter().chain(["hourly"]) {
        let [then, now] = [rows(&old, table)?, rows(&new, table)?];
        ensure!(then == now, "{table}: {then:#?}\ninstead of\n{now:#?}");
        ensure!(then.len() > 10, "{table} has {} rows", then.len());
    }
    for (path, text) in [("x", "1"), ("y", "2"), ("z", "3"), ("rows.csv", "from\n/b\n")] {
        ensure!(old.ok(&["get", "file", &format!("made@master:/{path}")])? == text, "/{path} of `made`");
    }
    old.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn markers_of_then_are_gone_on_from() -> Result<()> {
    let site = old()?;
    site.ok(&["run", "feed.yaml", "--until", "ended"])?;
    let log = site.ok(&["get", "file", "feed@master:/log.txt"])?;
    ensure!(log == (0..75).map(|number| format!("{number}\n")).collect::<String>(), "{log}");
    // A request that was answered then is known.
    let mut run = site.start(&["run", "posted.yaml"])?;
    let Some(update) = run.wait_for("listening")? else { bail!("it does not listen: {:?}", run.end()?) };
    let address = update["address"].as_str().context("an address")?.to_owned();
    for (key, repeated) in [("2", true), ("3", false)] {
        let body = format!("{{\"id\":{key}}}\n");
        let answer = request(&address, "POST /", &[("idempotency-key", key)], body.as_bytes())?;
        let said: Value = serde_json::from_slice(&answer.body)?;
        ensure!(answer.status == 200 && said["repeated"] == repeated, "{said}");
    }
    run.signal("TERM")?;
    run.end()?;
    ensure!(rows(&site, "posted")? == [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#], "{:?}", rows(&site, "posted")?);
    site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn a_store_of_then_is_written() -> Result<()> {
    let site = old()?;
    let started = fs::read_to_string(folder().join("started"))?;
    put(&site, &format!("pictures@{}:/too.txt", started.trim()), "too")?;
    site.ok(&["finish", "commit", &format!("pictures@{}", started.trim())])?;
    ensure!(site.ok(&["get", "file", "pictures@master:/not-yet.txt"])? == "one\n", "a commit that was begun then");
    put(&site, "pictures@try:/new.txt", "new")?;
    site.ok(&["squash", "commit", "pictures@master~2"])?;
    site.ok(&["revert", "branch", "pictures@master", "--to", "~1"])?;
    site.ok(&["create", "tag", "pictures@late"])?;
    site.ok(&["compact", "windowed"])?;
    site.ok(&["publish", "windowed@master"])?;
    site.ok(&["update", "repo", "pictures", "--keep", "3"])?;
    site.ok(&["gc", "--min-age", "0s"])?;
    ensure!(site.ok(&["get", "file", "pictures@early:/gone.txt"])? == "one\n", "what a tag is at stays");
    site.ok(&["fsck", "--deep"])?;
    let listed = site.json(&["list", "pipeline"])?;
    ensure!(listed.iter().any(|pipeline| pipeline["name"] == "stored"), "{listed:?}");
    Ok(())
}

#[test]
fn a_store_without_a_version_is_upgraded_also_when_that_is_broken_off() -> Result<()> {
    let site = old()?;
    let version = Path::new(&site.store).join("format");
    let there = site.ok(&["upgrade"])?;
    ensure!(there.contains("is of format version 1, the newest that this spout knows; nothing to do"), "{there}");
    // What builds before 0.1.0 wrote is the same but for that.
    fs::remove_dir_all(&version)?;
    site.ok(&["list", "repo"])?;
    put(&site, "pictures@master:/late.txt", "late")?;
    ensure!(!version.exists(), "a store of before says nothing unless somebody looked through it");
    let would = site.json(&["upgrade", "--dry-run"])?;
    ensure!(would[0]["from"] == 0 && would[0]["to"] == 1 && !version.exists(), "{would:?}");
    for fault in ["repo.version.before=kill@1", "repo.version.after=kill@1"] {
        let killed = site.command(&["upgrade"]).env("SPOUT_FAULT", fault).output()?;
        ensure!(killed.status.signal().is_some(), "{fault}: {}", String::from_utf8_lossy(&killed.stderr));
        site.ok(&["list", "repo"])?;
    }
    let done = site.ok(&["upgrade"])?;
    ensure!(done.contains("nothing to do"), "it was of the version once that was written: {done}");
    site.ok(&["fsck", "--deep"])?;
    // A damaged one stays what it is.
    fs::remove_dir_all(&version)?;
    let record = Path::new(&site.store).join("repos/notes/branches/master/00000000000000000001.json");
    fs::write(&record, "{}")?;
    site.fails(&["upgrade"], 1, &["E0591", "spout fsck"])?;
    ensure!(!version.exists(), "it says that it was looked through");
    Ok(())
}

#[test]
fn every_command_refuses_a_store_of_a_newer_version() -> Result<()> {
    let site = old()?;
    site.write("store/format/00000000000000000002.json", "{}")?;
    for args in [
        &["list", "repo"][..],
        &["sql", "select 1"],
        &["fsck"],
        &["gc"],
        &["upgrade"],
        &["upgrade", "--dry-run"],
        &["put", "file", "notes@master:/a", "-f", "feed.yaml"],
        &["create", "repo", "more"],
        &["run", "handlers.yaml", "--until", "idle"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        site.fails(args, 2, &["E0590", "format version 2", "versions up to 1"])?;
    }
    ensure!(!Path::new(&site.store).join("repos/more").exists(), "something was written");
    let shown = site.ok(&["explain", "E0590"])?;
    ensure!(shown.contains("newer"), "{shown}");
    Ok(())
}
