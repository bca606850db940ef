//! What files can and cannot hold, from the spec to the query: rows that have no place are set aside, columns are refused
//! by name, and a table says what readers will see of it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

const FORMATS: [&str; 4] = ["parquet", "arrow", "ndjson", "csv"];

fn spec(format: &str, schema: &str, node: &str) -> String {
    format!(
        r#"
pipeline: {{name: events}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", follow: false}}}}
  decoder: {{type: json, schema: {schema}}}
node: {node}
commit: {{path: /t/, format: {format}}}
grants:
  files: {{dirs: {{in: ./in}}}}
"#
    )
}

#[test]
fn a_time_that_no_calendar_has_is_set_aside_and_its_neighbours_are_kept() -> Result<()> {
    let node = r#"[{id: at, type: map, columns: {at: "arrow_cast(n, 'Timestamp(Second, Some(\"UTC\"))')"}}]"#;
    for format in FORMATS {
        let site = Site::new()?;
        site.write("in/1.ndjson", "{\"n\":1700000000}\n{\"n\":9223372036854775807}\n{\"n\":-1}\n")?;
        site.write("spec.yaml", spec(format, "{n: int64}", node))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        let rows = site.rows("select n, cast(\"at\" as bigint) as s from events_t order by n", None)?;
        ensure!(rows == [r#"{"n":-1,"s":-1}"#, r#"{"n":1700000000,"s":1700000000}"#], "{format}: {rows:?}");
        let letters = site.rows("select * from events_dead_letter", None)?;
        let letter: Value = serde_json::from_str(letters.first().context("a dead letter")?)?;
        ensure!(letters.len() == 1 && letter["stage"] == "commit" && letter["code"] == "commit.time", "{letters:?}");
        let reason = letter["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains("`at` is 9223372036854775807 s") && reason.contains("outside the years"), "{reason}");
        let message = "{\"n\":9223372036854775807}".bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        ensure!(letter["value"] == message, "the message as it arrived: {letter}");
        let told = site.ok(&["fsck", "--deep"])?;
        ensure!(told.starts_with("all intact") && told.contains("2 tables decoded"), "{told}");
    }
    Ok(())
}

#[test]
fn empty_texts_nulls_and_numbers_that_are_none_survive_every_format() -> Result<()> {
    let node = r#"[{id: f, type: map, columns: {f: "case n when 1 then 'NaN'::double when 2 then 'inf'::double else -0.0 end"}}]"#;
    for format in FORMATS {
        let site = Site::new()?;
        site.write("in/1.ndjson", "{\"n\":1,\"t\":\"\"}\n{\"n\":2}\n{\"n\":3,\"t\":\"null\"}\n")?;
        site.write("spec.yaml", spec(format, "{n: int64, t: utf8}", node))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        let sql = "select n, t is null as none, t, isnan(f) as nan, cast(f as varchar) as f from events_t order by n";
        let rows = site.rows(sql, None)?;
        let expected = [
            r#"{"n":1,"none":false,"t":"","nan":true,"f":"NaN"}"#,
            r#"{"n":2,"none":true,"nan":false,"f":"inf"}"#,
            r#"{"n":3,"none":false,"t":"null","nan":false,"f":"-0.0"}"#,
        ];
        ensure!(rows == expected, "{format}: {rows:?}");
        let outside = site.ok(&["sql", "select f from events_t order by n", "--format", "ndjson"])?;
        ensure!(outside == "{\"f\":\"NaN\"}\n{\"f\":\"Infinity\"}\n{\"f\":-0.0}\n", "{outside}");
    }
    Ok(())
}

#[test]
fn columns_without_a_place_are_refused_before_anything_runs() -> Result<()> {
    let site = Site::new()?;
    site.write("in/1.ndjson", "{\"tags\":[1]}\n")?;
    site.write("spec.yaml", spec("csv", "{tags: [int64]}", "[]"))?;
    let parts = ["E0541", "column `tags`", "csv"];
    site.fails(&["check", "spec.yaml"], 2, &parts)?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &parts)?;
    let rows = site.run(&["list", "file", "events@master"])?;
    ensure!(!rows.status.success() || !String::from_utf8_lossy(&rows.stdout).contains("/t/"));
    Ok(())
}

#[test]
fn check_says_what_readers_will_see_of_a_table() -> Result<()> {
    let site = Site::new()?;
    site.write("in/1.ndjson", "{}\n")?;
    let schema = r#"{id: int64, Id: utf8, u: uint64, at: "timestamp(ns)"}"#;
    let node = r#"[{id: h, type: map, columns: {huge: "arrow_cast(id, 'Decimal256(50, 2)')"}}]"#;
    site.write("spec.yaml", spec("parquet", schema, node))?;
    let plan = site.json(&["check", "spec.yaml"])?.remove(0);
    let told = plan["delta"].to_string();
    let parts =
        ["u as decimal(20,0)", "at__nanos", "without Id (its name differs from that of id only by case), huge ("];
    ensure!(parts.iter().all(|part| told.contains(part)), "{told}");
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && err.contains("huge (Decimal256(50, 2))"), "{err}");
    Ok(())
}

#[test]
fn a_repo_with_nothing_but_dead_letters_says_so() -> Result<()> {
    let site = Site::new()?;
    site.write("in/1.ndjson", "no json\nnor this\n")?;
    site.write("spec.yaml", spec("parquet", "{n: int64}", "[]"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    for table in ["events", "events_t"] {
        let parts = ["error[E0573]", "every message was set aside (2 dead letters)", "from events_dead_letter"];
        let told = site.fails(&["sql", &format!("select * from {table}")], 2, &parts)?;
        let hint = told.split('\'').nth(1).context("a command")?;
        ensure!(site.rows(hint, None)?.len() == 2, "{hint}");
    }
    Ok(())
}
