//! Readers nobody here wrote: deltalake, DataFusion, polars and DuckDB see the rows of our commits, version by version.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use spout_tests::{Site, venv};

/// DuckDB's own extension for Delta comes as a wheel only for this version of DuckDB; 2.0.0 would have to download it.
const READERS: [&str; 5] =
    ["deltalake==1.6.6", "polars==2.1.0", "pyarrow==26.0.1", "duckdb==1.5.5", "duckdb-extension-delta==1.5.5"];
const SCRIPT: &str = include_str!("../support/readers.py");
/// Versions between two checkpoints, and the readers that the script has.
const EVERY: usize = 100;
const COUNT: usize = 4;

/// A pipeline that reads `in/` into `path`.
fn spec(path: &str, more: &str, extra: &str) -> String {
    format!(
        r#"
pipeline: {{name: events}}
{extra}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", follow: false}}}}
  decoder: {{type: json, schema: {{id: int64, name: utf8, size: uint32, at: "timestamp(ms, UTC)"{more}}}}}
commit: {{path: "{path}", flush: {{rows: 10000}}}}
grants:
  files: {{dirs: {{in: ./in}}}}
"#
    )
}

/// Rows as messages; every seventh lacks what can be lacking.
fn messages(ids: std::ops::Range<u64>, more: bool) -> String {
    let message = |id: u64| {
        let mut fields = json!({"id": id, "name": format!("é {:x}", id.wrapping_mul(0x9E37_79B9_7F4A_7C15))});
        if !id.is_multiple_of(7) {
            fields["size"] = json!(u64::from(u32::MAX) - id);
            fields["at"] = json!(format!("2026-01-{:02}T03:04:05.{:03}Z", id % 28 + 1, id % 1000));
        }
        if more {
            fields["more"] = json!(id * 2);
        }
        format!("{fields}\n")
    };
    ids.map(message).collect()
}

/// One run over everything in `in/` that was not read before.
fn run(site: &Site, name: &str, input: &str, spec: &str) -> Result<()> {
    site.write(&format!("in/{name}.ndjson"), input)?;
    site.write("spec.yaml", spec)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    Ok(())
}

/// What the readers say of the table in `directory`, a line each.
fn read(site: &Site, python: &std::path::Path, directory: &str, versions: &[usize]) -> Result<Vec<Value>> {
    read_as(site, python, directory, versions, false)
}

/// The same, with times exactly and as texts.
fn read_texts(site: &Site, python: &std::path::Path, directory: &str, version: usize) -> Result<Vec<Value>> {
    let lines = read_as(site, python, directory, &[version], true)?;
    let rows: Vec<_> = lines.into_iter().filter(|line| line.get("rows").is_some()).collect();
    ensure!(rows.len() == COUNT, "{} readers", rows.len());
    Ok(rows)
}

fn read_as(
    site: &Site,
    python: &std::path::Path,
    directory: &str,
    versions: &[usize],
    texts: bool,
) -> Result<Vec<Value>> {
    let table = site.json(&["list", "table", "events"])?;
    let table = table.iter().find(|table| table["table"] == directory).context("the table is published")?;
    let root = table["root"].as_str().context("a root")?;
    let versions = versions.iter().map(ToString::to_string);
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, root]).args(versions);
    if texts {
        command.env("SPOUT_TEXTS", "1");
    }
    let output = command.output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the readers failed at {root}:\n{err}\n{out}");
    out.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The rows of a commit by our own query, as the script prints rows.
fn ours(site: &Site, table: &str, at: &str) -> Result<Vec<Value>> {
    let sql = format!("select * exclude (\"at\"), cast(\"at\" as bigint) as \"at\" from {table}");
    let dense = |line: String| {
        let row: Map<String, Value> = serde_json::from_str(&line)?;
        Ok(Value::Object(row.into_iter().filter(|(_, value)| !value.is_null()).collect()))
    };
    site.rows(&sql, Some(at))?.into_iter().map(dense).collect()
}

fn by_id(rows: &Value) -> Result<BTreeMap<u64, &Value>> {
    let rows = rows.as_array().context("rows")?;
    let of = |row| Some((row_id(row)?, row));
    rows.iter().map(|row| of(row).context("a row with an id")).collect()
}

fn row_id(row: &Value) -> Option<u64> {
    row.get("id")?.as_u64()
}

/// Every reader has the rows of the commit that the version says it is.
fn agree(site: &Site, table: &str, lines: &[Value], versions: usize) -> Result<()> {
    let mut commits = BTreeMap::new();
    let mut compared = 0;
    for line in lines {
        let reader = line["reader"].as_str().context("a reader")?;
        if let Some(same) = line.get("same") {
            ensure!(same == true, "{reader} does not do as it should");
            continue;
        }
        let version = line["version"].as_u64().context("a version")?;
        if reader == "history" {
            commits.insert(version, line["commit"].as_str().context("a commit")?);
            continue;
        }
        let at = commits.get(&version).context("history comes first")?;
        let ours = Value::Array(ours(site, table, at)?);
        let (ours, theirs) = (by_id(&ours)?, by_id(&line["rows"])?);
        ensure!(
            ours.len() == theirs.len(),
            "{reader}, version {version}: {} rows, {at} has {}",
            theirs.len(),
            ours.len()
        );
        let differing = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        ensure!(differing.is_none(), "{reader}, version {version}: {differing:?}");
        compared += 1;
    }
    ensure!(compared == versions * COUNT, "{compared} comparisons, not {versions} of {COUNT} readers");
    Ok(())
}

#[test]
fn readers_see_every_version_as_its_commit() -> Result<()> {
    let Some(python) = venv::python(&READERS)? else { return Ok(()) };
    let site = Site::new()?;
    // Rows in the record, then an object of its own, a new column, a file that grows and is replaced, and one that goes.
    run(&site, "1", &messages(0..20, false), &spec("/t/", "", ""))?;
    run(&site, "2", &messages(20..4000, false), &spec("/t/", "", ""))?;
    run(&site, "3", &messages(4000..4100, true), &spec("/t/", ", more: int64", ""))?;
    run(&site, "4", &messages(5000..5050, true), &spec("/t/one.parquet", ", more: int64", ""))?;
    run(&site, "5", &messages(5050..5060, true), &spec("/t/one.parquet", ", more: int64", ""))?;
    run(&site, "6", &messages(6000..6010, true), &spec("/t/one.parquet", ", more: int64", "spout: {overwrite: true}"))?;
    let file = site.json(&["list", "file", "events@master:/t", "--recursive"])?;
    let first = file.iter().filter_map(|file| file["path"].as_str()).min().context("a file")?.to_owned();
    site.ok(&["delete", "file", &format!("events@master:{first}")])?;
    let told = site.json(&["publish", "events"])?;
    ensure!(told[0]["version"] == 6 && told[0]["written"] == 1, "{told:?}");
    let lines = read(&site, &python, "/t", &[0, 1, 2, 3, 4, 5, 6])?;
    agree(&site, "events_t", &lines, 7)?;
    // Nothing changes when it is published once more, or compared with the commits.
    for args in [&["publish", "events"][..], &["publish", "events", "--rebuild"]] {
        let told = site.json(args)?;
        ensure!(told.iter().all(|table| table["written"] == 0), "{told:?}");
    }
    Ok(())
}

#[test]
fn readers_take_partition_values_from_paths() -> Result<()> {
    let Some(python) = venv::python(&READERS)? else { return Ok(()) };
    let site = Site::new()?;
    run(&site, "1", &messages(0..3000, false), &spec("/p/day=2026-01-01/", "", ""))?;
    run(&site, "2", &messages(3000..3010, false), &spec("/p/day=a b%3D%C3%BC=ü/", "", ""))?;
    run(&site, "3", &messages(4000..4010, false), &spec("/p/", "", ""))?;
    let days = |id: u64| match id {
        0..3000 => Some("2026-01-01"),
        3000..4000 => Some("a b%3D%C3%BC=ü"),
        _ => None,
    };
    for line in read(&site, &python, "/p", &[2])?.iter().filter(|line| line.get("rows").is_some()) {
        let rows = by_id(&line["rows"])?;
        ensure!(rows.len() == 3020, "{}: {} rows", line["reader"], rows.len());
        let wrong = rows.iter().find(|(id, row)| row.get("day").and_then(Value::as_str) != days(**id));
        ensure!(wrong.is_none(), "{}: {wrong:?}", line["reader"]);
    }
    Ok(())
}

#[test]
fn readers_begin_at_a_checkpoint() -> Result<()> {
    let Some(python) = venv::python(&READERS)? else { return Ok(()) };
    let site = Site::new()?;
    let few = spec("/t/", "", "").replace("rows: 10000", "rows: 10");
    let versions = EVERY + 7;
    let input = messages(0..10 * versions as u64, false);
    // Files of ten messages, so that a batch never holds more than one commit.
    for (name, lines) in input.lines().collect::<Vec<_>>().chunks(10).enumerate() {
        site.write(&format!("in/{name:04}.ndjson"), lines.join("\n") + "\n")?;
    }
    site.write("spec.yaml", few)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let table = site.json(&["list", "table", "events"])?.remove(0);
    let newest = usize::try_from(table["version"].as_u64().context("a version")?)?;
    ensure!(newest >= EVERY, "only {newest} versions");
    let log = site.path().join("store/repos/events/tables/master/t/_delta_log");
    ensure!(log.join(format!("{EVERY:020}.checkpoint.parquet")).exists(), "no checkpoint in {}", log.display());
    let before = read(&site, &python, "/t", &[newest])?;
    agree(&site, "events_t", &before, 1)?;
    for version in 0..EVERY {
        fs::remove_file(log.join(format!("{version:020}.json")))?;
    }
    for versions in [&[newest][..], &[EVERY, newest]] {
        agree(&site, "events_t", &read(&site, &python, "/t", versions)?, versions.len())?;
    }
    // And it goes on from there.
    run(&site, "more", &messages(90_000..90_010, false), &spec("/t/", "", ""))?;
    agree(&site, "events_t", &read(&site, &python, "/t", &[newest + 1])?, 1)
}

/// A run of a pipeline of this decoder over `input`; what it warned of.
fn run_with(site: &Site, decoder: &str, input: &str) -> Result<String> {
    let spec = spec("/t/", "", "");
    let decoder_line = spec.lines().find(|line| line.trim_start().starts_with("decoder:")).context("a decoder")?;
    site.write("in/1.ndjson", input)?;
    site.write("spec.yaml", spec.replace(decoder_line, &format!("  decoder: {decoder}")))?;
    run_again(site)
}

fn run_again(site: &Site) -> Result<String> {
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{told}");
    Ok(told)
}

#[test]
fn types_that_readers_lack_are_there_as_others() -> Result<()> {
    let Some(python) = venv::python(&READERS)? else { return Ok(()) };
    let site = Site::new()?;
    let schema = r#"{id: int64, u: uint64, small: uint32, at: "timestamp(ns, UTC)", s: "timestamp(s, UTC)", day: date32,
        clock: "time(us)", f: float64, many: [uint64], price: "decimal128(12, 2)"}"#;
    let rows = [
        json!({"id": 1, "u": u64::MAX, "small": u32::MAX, "at": "2023-11-14T22:13:20.000000001Z", "s": "2023-01-18T23:05:10Z",
            "day": "2023-01-18", "clock": "23:05:10.000001", "f": 0.1, "many": [u64::MAX, null], "price": 12.5}),
        json!({"id": 2, "u": 0, "at": "1969-12-31T23:59:59.999999999Z", "many": []}),
        json!({"id": 3, "s": "0001-01-01T00:00:00Z"}),
    ];
    let input: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let told = run_with(&site, &format!("{{type: json, schema: {schema}}}"), &input)?;
    ensure!(!told.contains("columns that readers"), "nothing is left out: {}", told);
    // In the order in which the script sorts them.
    let expected = json!([
        {"id": 2, "u": "0", "at": "1969-12-31T23:59:59.999999", "at__nanos": 999, "many": []},
        {"id": 1, "u": u64::MAX.to_string(), "small": u32::MAX, "at": "2023-11-14T22:13:20", "at__nanos": 1,
            "s": "2023-01-18T23:05:10", "day": "2023-01-18", "clock": 83_110_000_001_u64, "f": 0.1,
            "many": [u64::MAX.to_string(), null], "price": "12.50"},
        {"id": 3, "s": "0001-01-01T00:00:00"},
    ]);
    for line in read_texts(&site, &python, "/t", 0)? {
        ensure!(line["rows"] == expected, "{}: {}\nexpected {expected}", line["reader"], line["rows"]);
    }
    let sql = "select u, cast(\"at\" as varchar) as \"at\", arrow_typeof(u) as t, arrow_typeof(\"at\") as k from events_t order by id";
    let ours: Vec<Value> =
        site.rows(sql, None)?.into_iter().map(|line| serde_json::from_str(&line)).collect::<Result<_, _>>()?;
    ensure!(ours[0]["u"] == json!(u64::MAX) && ours[0]["t"] == "UInt64", "{}", ours[0]);
    let at = |row: &Value| row["at"].as_str().map(str::to_owned).unwrap_or_default();
    ensure!(at(&ours[0]).contains("22:13:20.000000001") && at(&ours[1]).contains("23:59:59.999999999"), "{ours:?}");
    // By time, to the nanosecond, although the file tells its least and greatest to the microsecond.
    let sql = "select count(*) as n from events_t where \"at\" >= timestamp '2023-11-14T22:13:20.000000001Z'";
    ensure!(site.rows(sql, None)? == [r#"{"n":1}"#], "{:?}", site.rows(sql, None)?);
    // Our own dead letters are a table that lacks nothing.
    site.write("in/2.ndjson", "no json\n")?;
    let told = run_again(&site)?;
    ensure!(!told.contains("columns that readers"), "{}", told);
    let letters = read_texts(&site, &python, "/dead-letter", 0)?;
    ensure!(letters.iter().all(|line| line["rows"][0]["partition"].is_number()), "{letters:?}");
    ensure!(letters.iter().all(|line| line["rows"][0]["offset"].is_string()), "{letters:?}");
    Ok(())
}

#[test]
fn of_keys_that_differ_by_case_readers_see_one() -> Result<()> {
    let Some(python) = venv::python(&READERS)? else { return Ok(()) };
    let site = Site::new()?;
    let input = "{\"id\":1,\"Name\":\"UP\",\"name\":\"low\"}\n";
    run_with(&site, "{type: json}", input)?;
    site.write("in/2.ndjson", "{\"name\":\"low 2\",\"Name\":\"UP 2\",\"id\":2}\n")?;
    let told = run_again(&site)?;
    ensure!(told.contains("Name (its name differs from that of name only by case)"), "{}", told);
    let expected = json!([{"id": 1, "name": "low"}, {"id": 2, "name": "low 2"}]);
    for line in read_texts(&site, &python, "/t", 1)? {
        ensure!(line["rows"] == expected, "{}: {}", line["reader"], line["rows"]);
    }
    let table = site.json(&["list", "table", "events"])?.remove(0);
    ensure!(table["left_out"].as_str().is_some_and(|columns| columns.starts_with("Name (")), "{table}");
    let rows = site.rows("select id, \"Name\", name from events_t order by id", None)?;
    ensure!(rows[1] == r#"{"id":2,"Name":"UP 2","name":"low 2"}"#, "{rows:?}");
    let told = site.fails(&["sql", "select NAMEs, Name from events_t"], 2, &["error[E0553]"])?;
    ensure!(told.contains('"'), "it says to quote: {}", told);
    Ok(())
}
