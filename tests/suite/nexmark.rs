//! Nexmark's queries as specs, against DuckDB over the same events.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, root, venv};

const DUCKDB: [&str; 1] = ["duckdb==1.5.5"];
const SCRIPT: &str = include_str!("../support/nexmark.py");
const QUERIES: [&str; 11] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q11", "q12"];

const EVENTS: &str = r#"
pipeline: {name: events}
producer:
  stream: {plugin: nexmark, topic: auctions, settings: {total: 500000, partitions: 2}}
  decoder:
    type: json
    schema:
      event: utf8
      person: {id: int64, name: utf8, city: utf8, state: utf8, date_time: int64}
      auction: {id: int64, seller: int64, category: int64, date_time: int64, expires: int64}
      bid: {auction: int64, bidder: int64, price: int64, channel: utf8, url: utf8, date_time: int64, extra: utf8}
commit: {path: /events/, publish: none}
"#;

/// Every row of a repo, in one Parquet file.
fn export(site: &Site, repo: &str, to: &str) -> Result<()> {
    site.ok(&["sql", &format!("select * from \"{repo}\""), "-o", to])?;
    Ok(())
}

#[test]
fn every_query_gives_what_duckdb_gives() -> Result<()> {
    let Some(python) = venv::python(&DUCKDB)? else { return Ok(()) };
    let site = Site::new()?;
    site.write("events.yaml", EVENTS)?;
    site.ok(&["run", "events.yaml", "--until", "ended"])?;
    export(&site, "events", "events.parquet")?;
    for query in QUERIES {
        let spec = fs::read_to_string(root().join(format!("examples/nexmark/{query}.yaml")))?;
        let name = format!("{query}.yaml");
        site.write(&name, spec)?;
        site.ok(&["run", &name, "--until", "ended"])?;
        export(&site, &format!("nexmark-{query}"), &format!("{query}.parquet"))?;
    }
    let (events, directory) = (site.path().join("events.parquet"), site.path());
    let output = Command::new(python).args(["-c", SCRIPT]).arg(events).arg(directory).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let compared: Vec<Value> = told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(compared.len() == QUERIES.len(), "{told}");
    for query in &compared {
        let number = |key: &str| query[key].as_u64().context("a count");
        ensure!(number("rows")? > 0, "DuckDB finds nothing, so that this shows nothing: {query}");
        ensure!(number("only_ours")? == 0 && number("only_duckdb")? == 0, "{query}");
    }
    Ok(())
}
