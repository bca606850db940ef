//! What a decoder settled, and what tables have of it, is said once and shown afterwards.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::Site;

fn spec(name: &str, decoder: &str, commit: &str) -> String {
    format!(
        "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: '*.ndjson', follow: false}}, metadata: [offset]}}
  decoder: {decoder}
commit: {commit}
grants: {{files: {{dirs: {{in: ./in}}}}}}
"
    )
}

/// Runs the pipeline of `NAME.yaml` over everything in `in`; what it logs.
fn run(site: &Site, name: &str) -> Result<String> {
    let output = site.run(&["run", &format!("{name}.yaml"), "--until", "ended"])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{told}");
    Ok(told)
}

fn column(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind, "nullable": true})
}

fn settled() -> Value {
    json!([column("id", "Int64"), column("big", "UInt64"), column("name", "Utf8")])
}

#[test]
fn what_is_settled_is_shown() -> Result<()> {
    let site = Site::new()?;
    site.write("in/1.ndjson", "{\"id\": 1, \"big\": 18446744073709551615, \"name\": \"one\"}\nno json\n")?;
    site.write("s.yaml", spec("s", "{type: json}", "{path: /t/}"))?;
    let told = run(&site, "s")?;
    ensure!(told.matches("settled").count() == 1, "{told}");

    let branch = site.json(&["inspect", "branch", "s"])?.remove(0);
    ensure!(branch["settled"] == settled() && branch["pipeline"] == "s", "{branch}");
    let tables = branch["tables"].as_array().context("tables")?;
    let names: Vec<&Value> = tables.iter().map(|table| &table["table"]).collect();
    ensure!(names == ["/dead-letter", "/t"], "{branch}");
    // Tables also have what was added to the decoder's rows.
    let columns = tables[1]["columns"].as_array().context("columns")?;
    ensure!(columns.len() == 4 && columns[..3] == *settled().as_array().context("columns")?, "{branch}");
    ensure!(columns[3]["name"] == "__offset" && tables[1]["rows"] == 1 && tables[1]["files"] == 1, "{branch}");
    let repo = site.json(&["inspect", "repo", "s"])?.remove(0);
    ensure!(repo["branches"][0]["settled"] == settled(), "{repo}");

    for verb in [&["inspect", "repo", "s"][..], &["inspect", "branch", "s@master"]] {
        let shown = site.ok(verb)?;
        ensure!(shown.contains("decoder schema of master") && shown.contains("big     UInt64"), "{shown}");
    }
    let shown = site.ok(&["inspect", "branch", "s"])?;
    ensure!(shown.contains("table /t: 1 row in 1 file") && shown.contains("__offset  UInt64"), "{shown}");

    // Later commits, others' too, keep what was settled; what was put by hand is a table of its own.
    site.write("in/2.ndjson", "{\"id\": 2}\n")?;
    let told = run(&site, "s")?;
    ensure!(!told.contains("settled"), "{told}");
    site.write("u.ndjson", "{\"a\": 1}\n")?;
    site.ok(&["put", "file", "s@master:/u/u.ndjson", "-f", "u.ndjson"])?;
    let branch = site.json(&["inspect", "branch", "s"])?.remove(0);
    ensure!(branch["settled"] == settled() && branch["tables"][1]["rows"] == 2, "{branch}");
    Ok(())
}

#[test]
fn what_is_no_branch_is_refused() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r"])?;
    site.write("a", "1")?;
    site.ok(&["put", "file", "r@master:/a", "-f", "a"])?;
    site.ok(&["create", "tag", "r@v1"])?;
    let shown = site.json(&["inspect", "branch", "r"])?.remove(0);
    ensure!(shown["settled"].is_null() && shown["tables"] == json!([]), "no decoder, no rows: {shown}");
    ensure!(site.json(&["inspect", "repo", "r"])?[0]["branches"][0]["settled"].is_null(), "no decoder");
    site.fails(&["inspect", "branch", "r@mster"], 2, &["error[E0511]", "did you mean `master`"])?;
    site.fails(&["inspect", "branch", "r@v1"], 2, &["error[E0801]", "is not a branch", "spout inspect commit r@v1"])?;
    site.fails(&["inspect", "branch", "r@master:/a"], 2, &["error[E0801]", "more than a branch"])?;
    Ok(())
}

#[test]
fn what_delta_lacks_is_said_once() -> Result<()> {
    let site = Site::new()?;
    site.write("in/1.ndjson", "{\"Name\": \"UP\", \"name\": \"low\"}\n")?;
    let count = |told: &str| told.matches("without columns that readers").count();
    let declared = "{type: json, schema: {Name: utf8, name: utf8}}";
    for (name, decoder) in [("declared", declared), ("inferred", "{type: json}")] {
        site.write(&format!("{name}.yaml"), spec(name, decoder, "{path: /t/, publish: delta}"))?;
        let told = run(&site, name)?;
        ensure!(count(&told) == 1, "{name}: {told}");
    }
    site.write("in/2.ndjson", "{\"Name\": \"UP 2\", \"name\": \"low 2\"}\n")?;
    for name in ["declared", "inferred"] {
        let told = run(&site, name)?;
        ensure!(count(&told) == 1, "{name}, again: {told}");
    }
    Ok(())
}
