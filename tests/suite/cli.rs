//! The command line as people and programs meet it: exit codes, errors with a code, JSON, closed pipes.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

const GOOD: &str = "pipeline: {name: p}\nproducer:\n  stream: {plugin: files, topic: in}\n  decoder: {type: json}\n";

#[test]
fn a_wrong_spec_is_named_by_line_and_exits_with_2() -> Result<()> {
    let site = Site::new()?;
    let check = |text: &str, parts: &[&str]| -> Result<()> {
        site.write("spec.yaml", text)?;
        site.fails(&["check", "spec.yaml"], 2, parts)?;
        site.fails(&["run", "spec.yaml"], 2, parts).map(drop)
    };
    let replaced = |from: &str, to: &str| GOOD.replace(from, to);
    check(
        &replaced("plugin", "pluginn"),
        &["error[E0103]: spec.yaml:3:", "`producer.stream.pluginn`", "did you mean `plugin`?", "spout explain E0103"],
    )?;
    check(
        &replaced("{name: p}", "{name: [p]}"),
        &["error[E0104]: spec.yaml:1: `pipeline.name` is a list; expected a string"],
    )?;
    check(
        &format!("{GOOD}commit: {{flush: {{rows: many}}}}\n"),
        &["error[E0104]: spec.yaml:5:", "expected a whole number"],
    )?;
    check(&format!("{GOOD}---\n{GOOD}"), &["error[E0112]: spec.yaml:6:", "`p@master`"])?;
    check(&format!("{GOOD}---\n{}commit: {{branch: other}}\n", GOOD), &["error[E0111]: spec.yaml:6:"])?;
    check("{\"pipeline\": {\"name\": \"p\"},", &["error[E0102]: spec.yaml:1:"])?;
    check("", &["error[E0105]", "spout schema --example"])?;
    site.fails(&["run", "nowhere.yaml"], 2, &["error[E0101]", "nowhere.yaml", "caused by: No such file"])?;
    ensure!(!site.path().join("store").exists(), "a refused spec made a store");
    Ok(())
}

#[test]
fn errors_are_one_line_of_json_where_programs_read() -> Result<()> {
    let site = Site::new()?;
    let check = |args: &[&str], code: &str| -> Result<()> {
        let error = site.fails(args, 2, &[])?;
        let value: Value = serde_json::from_str(error.trim()).with_context(|| error.clone())?;
        ensure!(value.get("code").and_then(Value::as_str) == Some(code), "{args:?}: {error}");
        ensure!(value.get("error").is_some_and(Value::is_string), "{args:?}: {error}");
        Ok(())
    };
    check(&["check", "nowhere.yaml", "--json"], "E0101")?;
    check(&["explain", "E9999", "--json"], "E0802")?;
    check(&["dance", "--json"], "E0801")?;
    check(&["list", "repo", "--json", "--store", "nowhere"], "E0502")
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() -> Result<()> {
    let site = Site::new()?;
    site.fails(&["dance"], 2, &["dance"])?;
    site.fails(&["run"], 2, &["SPEC"])?;
    site.fails(&["get", "file"], 2, &["REFERENCE"])?;
    for verb in [&["--help"][..], &["run", "--help"], &["list", "commit", "--help"], &["plugin", "build", "--help"]] {
        let help = site.ok(verb)?;
        ensure!(help.contains("Examples:"), "{verb:?} has no examples");
    }
    Ok(())
}

#[test]
fn a_handler_that_is_nowhere_is_not_reset() -> Result<()> {
    let site = Site::new()?;
    let node = "node: [{id: once, type: dedupe, by: [n], last: 2}]";
    let producer = "producer: {stdin: {}, decoder: {type: json, schema: {n: int64}}}";
    site.write("spec.yaml", format!("pipeline: {{name: p}}\n{producer}\n{node}\n"))?;
    for _ in 0..2 {
        site.fails(&["run", "spec.yaml", "--reset-node", "nope"], 2, &["E0801", "`--reset-node nope`", "`once`"])?;
        site.ok(&["run", "spec.yaml", "--reset-node", "once"])?;
    }
    Ok(())
}

#[test]
fn every_code_can_be_explained() -> Result<()> {
    let site = Site::new()?;
    let all = site.json(&["explain"])?;
    ensure!(all.len() > 40, "only {} codes", all.len());
    for entry in &all {
        let code = entry.get("code").and_then(Value::as_str).context("a code")?;
        let page = site.ok(&["explain", code])?;
        ensure!(page.starts_with(&format!("# {code}: ")), "{code}: {page}");
    }
    Ok(())
}

#[test]
fn the_example_and_the_schema_go_together() -> Result<()> {
    let site = Site::new()?;
    let example = site.ok(&["schema", "--example"])?;
    site.write("spec.yaml", &example)?;
    // Whatever is said of it is about plugins and directories, which are not here: the spec itself is right.
    site.write("plugins/README.md", "")?;
    let output = site.run(&["check", "spec.yaml", "--plugins", "plugins"])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(error.contains("error[E02"), "{error}");
    let schema: Value = serde_json::from_str(&site.ok(&["schema"])?)?;
    ensure!(schema.pointer("/properties/pipeline").is_some(), "{schema}");
    Ok(())
}

#[test]
fn an_empty_store_says_how_to_get_something() -> Result<()> {
    let site = Site::new()?;
    site.write("store/repos/.keep", "")?;
    let said = site.ok(&["list", "repo"])?;
    ensure!(said.contains("no repos") && said.contains("spout run"), "{said}");
    ensure!(site.ok(&["list", "repo", "--json"])?.is_empty(), "JSON has no words");
    site.fails(&["list", "commit", "nope"], 2, &["error[E0510]", "`nope`"])?;
    site.fails(&["sql", "select * from nope"], 2, &["error[E0550]"])?;
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_error() -> Result<()> {
    let site = Site::new()?;
    let mut child = site.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = String::new();
    BufReader::new(child.stdout.take().context("standard output")?).read_line(&mut first)?;
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && error.is_empty(), "{}: {error}", output.status);
    Ok(())
}

/// Bids in three partitions, with a given schema: a slow start must not decide it.
fn nexmark(settings: &str) -> String {
    format!(
        "pipeline: {{name: bids}}
spout: {{marker: offsets}}
producer:
  stream: {{plugin: nexmark, topic: bids, settings: {{{settings}}}, metadata: [partition, offset]}}
  decoder: {{type: json, schema: {{event: utf8, bid: {{price: int64}}}}}}
node:
  - {{id: bids, type: filter, where: \"event = 'bid'\"}}
  - {{id: price, type: map, columns: {{price: \"bid['price']\"}}, select: [__partition, __offset, price]}}
commit: {{path: /bids/, flush: {{rows: 1000, time: 100ms}}}}
"
    )
}

/// Other commits, functions, statistics and formats, over the repo `bids` of `rows` rows.
fn sql_reaches_all_of_it(site: &Site, rows: u64) -> Result<()> {
    let same = |sql: &str, expected: u64| -> Result<()> {
        let found = site.number(sql, None)?;
        ensure!(found == expected, "{sql}: {found}, not {expected}");
        Ok(())
    };
    let before = site.number("select count(*) from bids", Some("bids@master~1"))?;
    same("select count(*) from bids as of '~1'", before)?;
    same("select count(*) from \"bids@master~1\"", before)?;
    same("select sum(rows) from commits('bids')", rows)?;
    same("select sum(rows) from files('bids@master:/bids')", rows)?;
    same("select count(*) from diff('bids@master~1', 'bids@master', '/bids') where _change = 'insert'", rows - before)?;
    site.fails(&["sql", "select * from commits(bids)"], 2, &["error[E0560]", "commits('repo')"])?;
    site.fails(&["sql", "select * from bids as of '~99999'"], 2, &["error[E0512]"])?;
    let plan = site.ok(&["sql", "explain select * from bids where price < 0"])?;
    ensure!(plan.contains("files=0/"), "{plan}");
    site.ok(&["sql", "select sum(price) from bids", "--verify"])?;

    let query = "select * from bids";
    for file in ["bids.csv", "bids.ndjson", "bids.parquet", "bids.arrow"] {
        let said = site.ok(&["sql", query, "-o", file])?;
        ensure!(said.contains("5,520 rows") && said.contains(file), "{said}");
    }
    let read = |file: &str| std::fs::read(site.path().join(file)).context(file.to_owned());
    let printed = site.run(&["sql", query, "--format", "parquet"])?;
    ensure!(printed.stdout.starts_with(b"PAR1") && printed.stdout.ends_with(b"PAR1"), "no Parquet in the pipe");
    ensure!(read("bids.parquet")?.ends_with(b"PAR1") && read("bids.arrow")?.starts_with(b"ARROW1"), "other bytes");
    let lines = |bytes: Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    ensure!(lines(read("bids.csv")?) == rows + 1 && lines(read("bids.ndjson")?) == rows, "other lines");
    site.fails(&["sql", query, "-o", "bids.txt"], 2, &["error[E0821]", "--format"])?;
    site.fails(&["sql", query, "-o", "bids.txt", "--format", "table"], 2, &["error[E0801]"])?;
    site.fails(&["sql", query, "-o", "nowhere/bids.csv"], 1, &["error[E0803]", "nowhere"])?;
    let shown = site.ok(&["sql", query])?;
    ensure!(shown.contains("1000 of 5,520 rows, 4,520 rows more"), "{shown}");
    Ok(())
}

#[test]
fn what_a_run_made_can_be_looked_at() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", nexmark("total: 6000, partitions: 3"))?;
    let said = site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(said.contains("cut by ended") && said.contains("everything read is committed"), "{said}");
    let rows = site.number("select count(*) from bids", None)?;
    ensure!(rows == 5520, "46 of 50 events are bids, but {rows} of 6000 are here");

    let repo = site.json(&["list", "repo"])?.remove(0);
    ensure!(repo.get("name").and_then(Value::as_str) == Some("bids"), "{repo}");
    let commits = site.json(&["list", "commit", "bids@master"])?;
    let sum: u64 = commits.iter().filter_map(|commit| commit.get("rows")?.as_u64()).sum();
    ensure!(sum == rows, "commits have {sum} rows");
    ensure!(site.json(&["list", "commit", "bids@master", "-n", "1"])?.len() == 1, "-n 1");
    ensure!(site.ok(&["list", "branch", "bids"])?.contains("master"), "branches");
    let before = site.number("select count(*) from bids", Some("bids@master~1"))?;
    ensure!(before <= rows, "{before} rows a commit earlier");

    sql_reaches_all_of_it(&site, rows)?;

    let files = site.json(&["list", "file", "bids@master:/bids", "--recursive"])?;
    let path = files.first().and_then(|file| file.get("path")).and_then(Value::as_str).context("a file")?;
    let lines = site.ok(&["get", "file", &format!("bids@master:{path}"), "--format", "ndjson"])?.lines().count();
    let csv = site.ok(&["get", "file", &format!("bids@master:{path}"), "--format", "csv"])?.lines().count();
    ensure!(csv == lines + 1, "{csv} lines of CSV for {lines} rows");
    site.ok(&["get", "file", &format!("bids@master:{path}"), "-o", "part.parquet"])?;
    ensure!(std::fs::read(site.path().join("part.parquet"))?.starts_with(b"PAR1"), "not Parquet");
    site.fails(&["get", "file", "bids@master:/bids"], 2, &["error[E0801]", "is a directory"])?;

    let marker = site.json(&["marker", "show", "bids"])?.remove(0);
    let offsets = marker.get("marker").and_then(Value::as_object).context("a marker")?;
    let end: u64 = offsets.values().filter_map(|entry| entry.get("offset")?.as_u64()).sum();
    ensure!(offsets.len() == 3 && end == 6000, "{marker}");
    let shown: Value = serde_json::from_str(&site.ok(&["get", "file", "bids@master:/offsets"])?)?;
    ensure!(Some(&shown) == marker.get("marker"), "{shown}");
    ensure!(site.ok(&["inspect", "pipeline", "bids"])?.contains("nexmark"), "plugins of the pipeline");
    ensure!(site.ok(&["inspect", "pipeline", "spec.yaml"])?.contains("exactly-once"), "what the spec would do");

    site.ok(&["fsck"])?;
    let name = "00000000000000000002.json";
    let record = site.path().join("store/repos/bids/branches/master").join(name);
    let text = std::fs::read_to_string(&record)?;
    std::fs::write(&record, text.replacen("\"rows\":", "\"rows\":1", 1))?;
    ensure!(site.fails(&["fsck"], 1, &["error[E0809]"]).is_ok(), "fsck overlooks a damaged record");
    let found = site.run(&["fsck", "bids", "--json"])?;
    ensure!(String::from_utf8_lossy(&found.stdout).contains(name), "fsck does not name {name}");
    Ok(())
}

#[test]
fn check_finds_what_a_run_would_stumble_over() -> Result<()> {
    let site = Site::new()?;
    let check = |settings: &str, parts: &[&str]| -> Result<()> {
        site.write("spec.yaml", nexmark(settings))?;
        site.fails(&["check", "spec.yaml"], 2, parts).map(drop)
    };
    check("totl: 5", &["error[E0103]: spec.yaml:4:", "`producer.stream.settings.totl`", "did you mean `total`?"])?;
    check("total: many", &["error[E0104]: spec.yaml:4:", "expected a whole number"])?;
    site.write("spec.yaml", nexmark("total: 5").replace("plugin: nexmark", "plugin: nexmrk"))?;
    site.fails(&["check", "spec.yaml"], 2, &["error[E0211]", "did you mean `nexmark`?"])?;
    site.write("spec.yaml", nexmark("columns: [a]").replace("plugin: nexmark", "plugin: redact"))?;
    site.fails(&["check", "spec.yaml"], 2, &["error[E0214]: spec.yaml:4:", "is not a source"])?;
    let granted = "grants:\n  files: {dirs: {in: ./nowhere}}\n";
    site.write("spec.yaml", format!("{GOOD}{granted}"))?;
    site.fails(&["check", "spec.yaml"], 2, &["error[E0217]: spec.yaml:6:", "nowhere"])?;
    site.write("spec.yaml", nexmark("total: 5"))?;
    let plan = site.json(&["check", "spec.yaml"])?.remove(0);
    ensure!(plan.get("writes").and_then(Value::as_str) == Some("bids@master:/bids/"), "{plan}");
    Ok(())
}

#[test]
fn check_says_everything_that_is_wrong_with_all_specs() -> Result<()> {
    let site = Site::new()?;
    let first = "pipeline: {name: a}
producer:
  stream: {plugin: files, topic: in, settings: {folow: true}}
  decoder: {type: json}
node:
  - {id: f, type: filter, where: 'n >'}
  - {id: m, type: map, columns: {x: n + 1, y: '(n', z: 'n +'}}
commit: {flush: {rows: 0}, path: nowhere}
---
pipeline: {name: b}
producer:
  stream: {plugin: nexmark, topic: bids, topik: x}
  decoder: {type: jsn}
---
pipeline: {name: c}
producer:
  stream: {plugin: nexmark, topic: bids}
  decoder: {type: json, schema: {n: int64}}
node:
  - {id: f, type: filter, where: m > 1}
  - {id: g, type: map, columns: {x: n + 1, y: k}}
  - {id: h, type: sort, by: [q], per: commit}
";
    site.write("spec.yaml", first)?;
    site.write("other.yaml", "pipeline: {name: d\n")?;
    let output = site.run(&["check", "spec.yaml", "other.yaml", "--json"])?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr)?;
    let found: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(text.clone())?;
    let of = |value: &Value, key: &str| value.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    let told = |value: &Value| -> Option<String> {
        let (code, file, line) = (of(value, "code")?, of(value, "file")?, of(value, "line").unwrap_or_default());
        Some(format!("{code} {file}:{line} {}", of(value, "key").unwrap_or_default()))
    };
    let told: Vec<String> = found.iter().filter_map(told).collect();
    let expected = [
        "E0108 spec.yaml:8 commit.path",
        "E0104 spec.yaml:8 commit.flush.rows",
        "E0103 spec.yaml:12 producer.stream.topik",
        "E0104 spec.yaml:13 producer.decoder.type",
        "E0102 other.yaml:1 ",
        "E0216 spec.yaml:3 producer.stream.plugin",
        "E0103 spec.yaml:3 producer.stream.settings.folow",
        "E0401 spec.yaml:6 node[0].where",
        "E0401 spec.yaml:7 node[1].columns.y",
        "E0401 spec.yaml:7 node[1].columns.z",
        "E0401 spec.yaml:20 node[0].where",
    ];
    for line in expected {
        ensure!(told.iter().any(|told| told == line), "no {line} in {told:#?}");
    }
    ensure!(found.len() == told.len() && found.len() == expected.len(), "{text}");
    let error = site.fails(&["check", "spec.yaml"], 2, &["grants: {files: {dirs: {in: ./in}}}"])?;
    ensure!(error.matches("error[").count() == expected.len() - 1, "{error}");
    // A run says the first of it, before it starts anything.
    site.write("spec.yaml", GOOD)?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &["error[E0216]", "grants: {files: {dirs: {in: ./in}}}"])?;
    let syntax = format!("{GOOD}node: [{{type: filter, where: 'n >'}}]\ngrants: {{files: {{dirs: {{in: ./in}}}}}}\n");
    site.write("in/a.ndjson", "{}\n")?;
    site.write("spec.yaml", syntax)?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &["error[E0401]", "`n >`"]).map(drop)
}

#[test]
fn broken_plugins_are_listed_with_what_is_wrong() -> Result<()> {
    let mut site = Site::new()?;
    let nexmark = site.plugins.join("nexmark.wasm");
    site.plugins = site.path().join("plugins");
    site.write("plugins/broken.wasm", "not wasm at all")?;
    site.write("plugins/core.wasm", b"\0asm\x01\0\0\0")?;
    site.write("plugins/nexmark.wasm", std::fs::read(nexmark)?)?;
    let listed = site.json(&["plugin", "list"])?;
    let of = |name: &str, key: &str| -> Option<String> {
        let found = listed.iter().find(|line| line.get("name").and_then(Value::as_str) == Some(name))?;
        Some(found.get(key)?.as_str()?.to_owned())
    };
    ensure!(of("broken", "code").as_deref() == Some("E0212"), "{listed:?}");
    ensure!(of("core", "code").as_deref() == Some("E0213"), "{listed:?}");
    ensure!(of("nexmark", "digest").is_some_and(|digest| digest.starts_with("sha256:")), "{listed:?}");
    let shown = site.json(&["plugin", "inspect", "nexmark"])?.remove(0);
    ensure!(shown.pointer("/offers/0/settings/properties/total").is_some(), "{shown}");
    Ok(())
}

#[test]
fn a_signal_commits_what_was_taken() -> Result<()> {
    let site = Site::new()?;
    site.write(
        "spec.yaml",
        nexmark("partitions: 2, rate: 2000")
            .replace("time: 100ms", "time: 1h")
            .replace("rows: 1000", "rows: 100000000"),
    )?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("progress")?.context("progress")?;
    running.signal("HUP")?;
    let forced = running.wait_for("committed")?.context("a commit")?;
    ensure!(forced.get("reason").and_then(Value::as_str) == Some("forced"), "{forced}");
    running.wait_for("progress")?.context("it goes on")?;
    running.signal("TERM")?;
    let stopped = running.wait_for("stopped")?.context("it stops")?;
    let (success, error) = running.end()?;
    ensure!(success, "{error}");
    let rows = stopped.get("rows").and_then(Value::as_u64).context("rows")?;
    let last = site.json(&["list", "commit", "bids", "-n", "1"])?.remove(0);
    ensure!(last.get("reason").and_then(Value::as_str) == Some("shutdown"), "{last}");
    ensure!(site.number("select count(*) from bids", None)? == rows, "{rows} rows were said to be committed");
    Ok(())
}

#[test]
fn who_does_not_read_holds_up_neither_commits_nor_the_end() -> Result<()> {
    let mut site = Site::new()?;
    let spec =
        nexmark("partitions: 2, rate: 20000").replace("time: 100ms", "time: 5ms").replace("rows: 1000", "rows: 50");
    site.write("spec.yaml", spec)?;
    site.environment = vec![("SPOUT_LOG", "trace".into())];
    let mut running = site.start(&["run", "spec.yaml"])?;
    let until = Instant::now() + Duration::from_secs(120);
    let commits = || Ok::<_, anyhow::Error>(site.json(&["list", "commit", "bids", "-n", "1000"])?.len());
    running.wait_for("committed")?.context("a commit")?;
    // A commit is some hundred bytes of standard output, and a trace of it more of standard error: pipes are full long before.
    while commits()? < 600 {
        ensure!(Instant::now() < until, "{} commits", commits()?);
        ensure!(running.child.try_wait()?.is_none(), "it ended");
    }
    running.signal("TERM")?;
    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = running.child.try_wait()? {
            break status;
        }
        ensure!(Instant::now() < until, "it does not end");
        thread::park_timeout(Duration::from_millis(20));
    };
    let (_, said) = running.end()?;
    ensure!(status.success(), "{status}: {said}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn rows_of_a_repo_are_typed_when_they_come() -> Result<()> {
    let site = Site::new()?;
    let example = spout_tests::root().join("examples/repo.yaml");
    site.ok(&["check", &example.to_string_lossy()])?;
    Ok(())
}
