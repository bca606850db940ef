//! Each word of the spec does what the schema says of it, through the built binary. Words of handlers, consumers, decoders and
//! other producers have their tests beside these; limits have theirs in the sandbox.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

/// A pipeline `e` over Nexmark's events.
fn nexmark(stream: &str, rest: &str) -> String {
    format!(
        "pipeline: {{name: e}}
description: events of an auction
producer:
  stream: {{plugin: nexmark, topic: events, metadata: [partition, offset], {stream}}}
  decoder: {{type: json, schema: {{event: utf8}}}}
{rest}
"
    )
}

/// A pipeline `f` over the files in `in`.
fn files(stream: &str, rest: &str) -> String {
    format!(
        "pipeline: {{name: f}}
producer:
  stream: {{plugin: files, topic: in, fetch: {{timeout: 20ms}}, {stream}}}
  decoder: {{type: json, schema: {{id: int64, t: 'timestamp(us, UTC)'}}}}
grants: {{files: {{dirs: {{in: ./in}}}}}}
{rest}
"
    )
}

/// Runs `text` until its source has nothing for now.
fn run(site: &Site, text: &str) -> Result<()> {
    site.write("spec.yaml", text)?;
    site.ok(&["run", "spec.yaml", "--until", "idle"]).map(drop)
}

/// The first offset and the number of rows of each partition.
fn starts(site: &Site) -> Result<Vec<String>> {
    site.rows("select __partition p, min(__offset) o, count(*) n from e group by 1 order by 1", None)
}

fn start(total: u64, settings: &str, start: &str, expected: &[&str]) -> Result<()> {
    let site = Site::new()?;
    run(&site, &nexmark(&format!("settings: {{total: {total}, {settings}}}, start: {start}"), ""))?;
    let found = starts(&site)?;
    ensure!(found == expected, "{start}: {found:?}");
    Ok(())
}

#[test]
fn a_stream_starts_where_start_says() -> Result<()> {
    let whole = [r#"{"p":0,"o":0,"n":50}"#, r#"{"p":1,"o":0,"n":50}"#];
    start(100, "partitions: 2", "earliest", &whole)?;
    // What is not named starts at the beginning, and what lies behind the end has nothing.
    start(100, "partitions: 2", "{offset: {0: 12}}", &[r#"{"p":0,"o":12,"n":38}"#, r#"{"p":1,"o":0,"n":50}"#])?;
    start(100, "partitions: 2", "{offset: {1: 999}}", &[r#"{"p":0,"o":0,"n":50}"#])?;
    // An event each tenth of a millisecond.
    start(
        100,
        "partitions: 2",
        "{time: '2026-01-01T00:00:00.004Z'}",
        &[r#"{"p":0,"o":20,"n":30}"#, r#"{"p":1,"o":20,"n":30}"#],
    )
}

#[test]
fn a_start_that_the_source_cannot_find_is_refused() -> Result<()> {
    let site = Site::new()?;
    site.write("in/a.ndjson", "{\"id\":1}\n")?;
    site.write("spec.yaml", files("start: {time: '2026-01-01T00:00:00Z'}", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["error[E0302]", "files", "2026-01-01"]).map(drop)
}

#[test]
fn ago_counts_from_now() -> Result<()> {
    let site = Site::new()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    // Events of 100 seconds that began an hour and 50 seconds ago: the first half of them is more than an hour old.
    let base = now - 3_650_000;
    run(&site, &nexmark(&format!("settings: {{total: 1000000, base_time: {base}}}, start: {{ago: 1h}}"), ""))?;
    let first = site.number("select min(__offset) from e", None)?;
    ensure!((500_000..1_000_000).contains(&first), "starts at {first}");
    ensure!(site.number("select count(*) from e", None)? == 1_000_000 - first, "and has all after that");
    Ok(())
}

#[test]
fn latest_is_what_comes_after_the_first_run_began() -> Result<()> {
    let site = Site::new()?;
    run(&site, &nexmark("settings: {total: 100}, start: latest", ""))?;
    ensure!(commits(&site, "e")?.is_empty(), "all of it was there before");
    // That it begins there is committed: more that comes is not missed, whenever the next run is.
    run(&site, &nexmark("settings: {total: 150}, start: latest", ""))?;
    ensure!(starts(&site)? == [r#"{"p":0,"o":100,"n":50}"#], "{:?}", starts(&site)?);
    // A partition that appears later is read from its beginning.
    run(&site, &nexmark("settings: {total: 300, partitions: 2}, start: latest", ""))?;
    let second = site.rows("select min(__offset) o, count(*) n from e where __partition = 1", None)?;
    ensure!(second == [r#"{"o":0,"n":150}"#], "{second:?}");
    Ok(())
}

#[test]
fn what_is_gone_from_the_source_stops_or_goes_on_as_the_spec_says() -> Result<()> {
    let site = Site::new()?;
    run(&site, &nexmark("settings: {total: 100}", ""))?;
    let shorter = |word: &str| nexmark(&format!("settings: {{total: 60}}, onOutOfRange: {word}"), "");
    site.write("spec.yaml", shorter("fail"))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["error[E0301]", "offset 100", "60"])?;
    ensure!(site.number("select count(*) from e", None)? == 100, "nothing happened");
    run(&site, &shorter("latest"))?;
    ensure!(site.number("select count(*) from e", None)? == 100, "it goes on at the end");
    run(&site, &nexmark("settings: {total: 80}", ""))?;
    ensure!(site.number("select count(*) from e", None)? == 120, "what came then is there");
    run(&site, &shorter("earliest"))?;
    ensure!(site.number("select count(*) from e", None)? == 180, "all that there is, again");
    let commit = site.json(&["inspect", "commit", "e@master"])?.remove(0);
    ensure!(commit.pointer("/jumped/0") == Some(&0.into()), "the commit says where it was entered anew: {commit}");
    Ok(())
}

#[test]
fn a_stream_is_read_by_partition_or_as_a_whole() -> Result<()> {
    for (word, partitions) in [("lowlevel", 2), ("highlevel", 1)] {
        let site = Site::new()?;
        site.write("in/a.ndjson", "{\"id\":1}\n{\"id\":2}\n")?;
        site.write("in/b.ndjson", "{\"id\":3}\n")?;
        let stream = format!("consumerType: {word}, metadata: [offset]");
        run(&site, &files(&stream, ""))?;
        site.write("in/b.ndjson", "{\"id\":3}\n{\"id\":4}\n")?;
        run(&site, &files(&stream, ""))?;
        let rows = site.rows("select id from f order by id", None)?;
        ensure!(rows.len() == 4, "{word}: {rows:?}");
        let marker = site.json(&["marker", "show", "f"])?.remove(0);
        let found = marker.get("marker").and_then(Value::as_object).context("a marker")?.len();
        ensure!(found == partitions, "{word}: {marker}");
    }
    let site = Site::new()?;
    site.write("spec.yaml", files("consumerType: highlevel, start: {ago: 1h}", ""))?;
    site.fails(&["check", "spec.yaml"], 2, &["error[E0110]", "highlevel"]).map(drop)
}

#[test]
fn metadata_are_columns() -> Result<()> {
    let site = Site::new()?;
    site.write("in/a.ndjson", "{\"id\":1}\n{\"id\":2}\n")?;
    run(&site, &files("metadata: [partition, offset, timestamp, key, file]", ""))?;
    let types = "arrow_typeof(__partition) p, arrow_typeof(__offset) o, arrow_typeof(__timestamp) t, arrow_typeof(__key) k, arrow_typeof(__file) f";
    let found =
        site.rows(&format!("select {types}, __timestamp is null and __key is null as n from f limit 1"), None)?;
    for part in ["UInt32", "UInt64", "Timestamp(", "Binary", "\"n\":true"] {
        ensure!(found[0].contains(part), "{part}: {found:?}");
    }
    Ok(())
}

/// Rows of each commit with rows, and why each was cut, the first one first.
fn commits(site: &Site, repo: &str) -> Result<Vec<(u64, String)>> {
    let of = |commit: &Value| Some((commit.get("rows")?.as_u64()?, commit.get("reason")?.as_str()?.to_owned()));
    let all = site.json(&["list", "commit", repo])?;
    let all: Option<Vec<_>> = all.iter().rev().map(of).collect();
    Ok(all.context("rows and a reason")?.into_iter().filter(|(rows, _)| *rows > 0).collect())
}

#[test]
fn the_first_threshold_cuts_and_the_commit_says_which() -> Result<()> {
    let check = |stream: &str, flush: &str, reason: &str, rows: &[u64]| -> Result<()> {
        let site = Site::new()?;
        run(&site, &nexmark(stream, &format!("commit: {{flush: {{{flush}}}}}")))?;
        let found = commits(&site, "e")?;
        let sizes: Vec<u64> = found.iter().map(|(rows, _)| *rows).collect();
        ensure!(sizes == rows && found[0].1 == reason, "{stream}, {flush}: {found:?}");
        Ok(())
    };
    check("settings: {total: 20}", "rows: 10, time: 1h", "rows", &[10, 10])?;
    check("settings: {total: 3}, fetch: {messages: 1}", "bytes: 1B, time: 1h", "bytes", &[1, 1, 1])?;
    check("settings: {total: 3}, fetch: {bytes: 1B}", "bytes: 1B, time: 1h", "bytes", &[1, 1, 1])?;
    check("settings: {total: 3}", "bytes: 1B, time: 1h", "bytes", &[3])?;
    check("settings: {total: 20}", "time: 1h", "ended", &[20])?;
    let site = Site::new()?;
    site.write("spec.yaml", nexmark("settings: {rate: 100}", "commit: {flush: {time: 50ms}}"))?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    let commit = running.wait_for("committed")?.context("a commit")?;
    ensure!(commit.get("reason").and_then(Value::as_str) == Some("time"), "{commit}");
    running.signal("TERM")?;
    running.end().map(drop)
}

#[test]
fn files_found_while_it_runs_are_read() -> Result<()> {
    let site = Site::new()?;
    site.write("in/a.ndjson", "{\"id\":1}\n")?;
    site.write("spec.yaml", files("discoverEvery: 20ms", "commit: {flush: {time: 20ms}}"))?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("committed")?.context("the first file")?;
    site.write("in/b.ndjson", "{\"id\":2}\n")?;
    running.wait_for("committed")?.context("the second file")?;
    running.signal("TERM")?;
    running.end()?;
    ensure!(site.number("select sum(id) from f", None)? == 3, "both");
    Ok(())
}

#[test]
fn paths_formats_and_branches_are_those_of_the_spec() -> Result<()> {
    let stream = "settings: {total: 20}, fetch: {messages: 10}";
    for format in ["parquet", "arrow", "ndjson", "csv"] {
        let site = Site::new()?;
        let commit =
            format!("commit: {{branch: other, path: /x/y/, format: {format}, publish: none, flush: {{rows: 10}}}}");
        run(&site, &nexmark(stream, &commit))?;
        let found = site.json(&["list", "file", "e@other:/x/y", "-r"])?;
        let named = |file: &Value| file["path"].as_str().is_some_and(|path| path.ends_with(&format!(".{format}")));
        ensure!(found.len() == 2 && found.iter().all(named), "{format}: {found:?}");
        ensure!(site.number("select count(*) from \"e@other\"", None)? == 20, "{format}");
        site.fails(&["list", "file", "e@master"], 2, &["E0511"])?;
        let published = |table: &Value| !table["version"].is_null();
        ensure!(!site.json(&["list", "table", "e@other"])?.iter().any(published), "publish: none");
    }
    let paths = |path: &str, spout: &str| -> Result<Vec<(String, u64)>> {
        let site = Site::new()?;
        let commit = format!("commit: {{path: '{path}', format: ndjson, flush: {{rows: 10}}}}\nspout: {{{spout}}}");
        run(&site, &nexmark(stream, &commit))?;
        ensure!(site.ok(&["inspect", "repo", "e"])?.contains("events of an auction"), "description");
        let of = |file: &Value| Some((file.get("path")?.as_str()?.to_owned(), file.get("rows")?.as_u64()?));
        site.json(&["list", "file", "e@master", "-r"])?.iter().map(|file| of(file).context("a file")).collect()
    };
    let templates = paths("/d/{commit}/{part}.ndjson", "")?;
    ensure!(templates.len() == 2 && templates.iter().all(|(path, rows)| path.ends_with("/0.ndjson") && *rows == 10));
    ensure!(paths("/all.ndjson", "overwrite: false")? == [("/all.ndjson".to_owned(), 20)], "grown");
    ensure!(paths("/all.ndjson", "overwrite: true")? == [("/all.ndjson".to_owned(), 10)], "replaced");
    let site = Site::new()?;
    run(&site, &nexmark(stream, "commit: {path: /x/, publish: delta}\nspout: {marker: where}"))?;
    let tables = site.json(&["list", "table", "e"])?;
    ensure!(tables.len() == 1 && tables[0]["version"].is_u64(), "{tables:?}");
    ensure!(site.ok(&["get", "file", "e@master:/where"])?.contains("\"offset\": 20"), "the marker");
    Ok(())
}

/// A row without a time, which the handler cannot bear, and a late one.
const TROUBLE: &str =
    "{\"id\":1,\"t\":\"2026-01-01T00:00:00Z\"}\n{\"id\":2}\n{\"id\":3,\"t\":\"2025-12-31T00:00:00Z\"}\n";

fn trouble(late: &str, errors: &str) -> Result<Site> {
    let site = Site::new()?;
    site.write("in/a.ndjson", TROUBLE)?;
    let rest = format!(
        "time: {{column: t, lateness: 1s, late: {late}}}
node: [{{id: once, type: dedupe, by: [id], within: 1m}}]
errors: {{node: {errors}}}"
    );
    site.write("spec.yaml", files("settings: {follow: false}", &rest))?;
    Ok(site)
}

#[test]
fn rows_that_a_handler_cannot_bear_and_late_ones_go_where_the_spec_says() -> Result<()> {
    let run = |late: &str, errors: &str, counts: [u64; 4]| -> Result<Vec<String>> {
        let site = trouble(late, errors)?;
        let mut running = site.start(&["run", "spec.yaml", "--until", "ended"])?;
        let stopped = running.wait_for("stopped")?.context("it stops")?;
        running.end()?;
        let count = |key: &str| stopped.get(key).and_then(Value::as_u64).unwrap_or_default();
        let late_rows = stopped.pointer("/late/once").and_then(Value::as_u64).unwrap_or_default();
        let found = [count("rows"), count("dead_letters"), count("dropped"), late_rows];
        ensure!(found == counts, "{late}, {errors}: {stopped}");
        // What was set aside is no row of the table, and has tables of its own.
        let rows = site.number("select count(*) from f", None)?;
        ensure!(rows == counts[0], "{late}, {errors}: {rows} rows");
        if late == "side" {
            ensure!(site.number("select count(*) from f_late_once", None)? == late_rows, "late rows are a table");
        }
        let all = site.json(&["list", "file", "f@master", "-r"])?;
        Ok(all.iter().filter_map(|file| Some(file.get("path")?.as_str()?.to_owned())).collect())
    };
    let aside = |files: &[String], prefix: &str| files.iter().filter(|file| file.starts_with(prefix)).count();
    let kept = run("side", "dead-letter", [1, 1, 0, 1])?;
    ensure!(aside(&kept, "/late/once/") == 1 && aside(&kept, "/dead-letter/") == 1, "{kept:?}");
    let left = run("drop", "drop", [1, 0, 1, 1])?;
    ensure!(left.len() == 1, "{left:?}");
    for (late, errors, parts) in [
        ("fail", "dead-letter", ["error[E0", "late", "once"]),
        ("side", "fail", ["error[E0703]", "once", "time.missing"]),
    ] {
        trouble(late, errors)?.fails(&["run", "spec.yaml", "--until", "ended"], 1, &parts)?;
    }
    Ok(())
}

#[test]
fn event_times_that_are_numbers_have_the_unit_of_the_spec() -> Result<()> {
    // The same key three times: within ten seconds of each other if these are milliseconds, and not if they are seconds.
    for (unit, rows) in [("s", 2), ("ms", 1), ("us", 1), ("ns", 1)] {
        let site = Site::new()?;
        site.write("in/a.ndjson", "{\"id\":1,\"n\":0}\n{\"id\":1,\"n\":5}\n{\"id\":1,\"n\":20}\n")?;
        let rest = format!(
            "time: {{column: n, unit: {unit}, lateness: 1m, idleAfter: 1h}}
node: [{{id: once, type: dedupe, by: [id], within: 10s}}]"
        );
        let text = files("settings: {follow: false}", &rest).replace("t: 'timestamp(us, UTC)'", "n: int64");
        site.write("spec.yaml", text)?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        ensure!(site.number("select count(*) from f", None)? == rows, "{unit}");
    }
    Ok(())
}

#[test]
fn the_commits_of_a_repo_are_read_from_where_start_says() -> Result<()> {
    let site = Site::new()?;
    run(&site, &nexmark("settings: {total: 30}", "commit: {flush: {rows: 10, time: 1h}}"))?;
    let ids: Vec<String> = site
        .json(&["list", "commit", "e"])?
        .iter()
        .rev()
        .filter_map(|commit| Some(commit.get("id")?.as_str()?.to_owned()))
        .collect();
    for (name, start, rows) in [
        ("a", "earliest".to_owned(), 30),
        ("b", "latest".to_owned(), 0),
        ("c", format!("{{commit: '{}'}}", ids[1]), 20),
    ] {
        site.write(
            "copy.yaml",
            format!("pipeline: {{name: {name}}}\nproducer: {{repo: {{repo: e, mode: rows, start: {start}}}}}\n"),
        )?;
        site.ok(&["run", "copy.yaml", "--until", "idle"])?;
        let found: u64 = commits(&site, name)?.iter().map(|(rows, _)| rows).sum();
        ensure!(found == rows, "{start}: {found}");
    }
    Ok(())
}

#[test]
fn a_guarantee_that_the_source_cannot_give_is_refused() -> Result<()> {
    let site = Site::new()?;
    let tcp = |guarantee: &str, reply: &str| {
        format!(
            "pipeline: {{name: t}}\nproducer: {{tcp: {{listen: '127.0.0.1:0'{reply}}}, decoder: {{type: raw}}}}\nguarantee: {guarantee}\n"
        )
    };
    site.write("spec.yaml", tcp("exactly-once", ", reply: line"))?;
    site.fails(&["check", "spec.yaml"], 2, &["error[E01", "exactly-once"])?;
    site.write("spec.yaml", tcp("at-least-once", ", reply: line"))?;
    site.ok(&["check", "spec.yaml"])?;
    run(&site, &nexmark("settings: {total: 5}", "guarantee: exactly-once"))
}

#[test]
fn pinots_words_mean_the_same() -> Result<()> {
    let site = Site::new()?;
    let example = spout_tests::root().join("examples/pinot.yaml");
    site.ok(&["run", &example.to_string_lossy(), "--until", "ended"])?;
    ensure!(site.number("select count(*) from \"bids-as-pinot-says\"", None)? == 10_000, "total and partitions");
    let largest = commits(&site, "bids-as-pinot-says")?.into_iter().map(|(rows, _)| rows).max();
    ensure!(largest.is_some_and(|rows| (2500..5000).contains(&rows)), "threshold.rows: {largest:?}");
    Ok(())
}
