//! How fast DuckDB and Polars read our Parquet, against files with the same rows that they wrote themselves.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    grown::{Grown, files},
    peer::{Peer, middle},
};

/// One file of it, so that files do not differ in how many they are.
const EVENTS: Grown = Grown { repo: "events", commits: 1, rows: 3_000_000 };
const RUNS: usize = 5;
const TIMES: u32 = 3;
const COLUMNS: [&str; 7] = ["id", "at", "name", "kind", "note", "amount", "paid"];

pub(crate) async fn run() -> Result<()> {
    let dir = spout_tests::root().join("target/bench-store-readers");
    Grown::make(&dir, &[EVENTS])?;
    println!("readers: {} events in one file, medians of {RUNS} in turn; aim 0.95x", EVENTS.rows);
    let Some(mut peer) = Peer::start()? else { return Ok(()) };
    let ours = files(&dir, EVENTS.repo).await?;
    for engine in ["duckdb", "polars"] {
        let theirs = dir.join(format!("{engine}.parquet"));
        peer.ask(&json!({"do": "write", "engine": engine, "files": ours, "to": theirs}))?;
        println!("  {engine}: {} bytes a row, ours {}", per_row(std::slice::from_ref(&theirs))?, per_row(&ours)?);
        println!("    columns               ours ms (CPU)    its own ms (CPU)   by the clock, by processor time");
        let theirs = [theirs];
        let wanted: Vec<&[&str]> = std::iter::once(COLUMNS.as_slice()).chain(COLUMNS.chunks(1)).collect();
        for columns in wanted {
            compare(&mut peer, engine, columns, [&ours, &theirs])?;
        }
    }
    Ok(())
}

fn compare(peer: &mut Peer, engine: &str, columns: &[&str], [ours, theirs]: [&[PathBuf]; 2]) -> Result<()> {
    let scan = |files: &[PathBuf], times: u32| json!({"do": "scan", "engine": engine, "files": files, "columns": columns, "times": times});
    let (rows, same) = (peer.ask(&scan(ours, 1))?.0, peer.ask(&scan(theirs, 1))?.0);
    ensure!(rows == same && rows.first() == Some(&Value::from(EVENTS.rows)), "{engine}: {rows:?} and {same:?}");
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        us.push(peer.ask(&scan(ours, TIMES))?.1);
        them.push(peer.ask(&scan(theirs, TIMES))?.1);
    }
    let (us, them) = (middle(&us), middle(&them));
    let each = |seconds: f64| seconds * 1e3 / f64::from(TIMES);
    let name = if columns.len() == 1 { columns.concat() } else { "all".to_owned() };
    println!(
        "    {name:18} {:8.1} ({:6.1})   {:8.1} ({:6.1})   {:5.2}x   {:5.2}x",
        each(us.wall),
        each(us.cpu),
        each(them.wall),
        each(them.cpu),
        them.wall / us.wall,
        them.cpu / us.cpu,
    );
    Ok(())
}

fn per_row(files: &[PathBuf]) -> Result<String> {
    let size = |path: &PathBuf| Ok(std::fs::metadata(path).with_context(|| shown(path))?.len());
    let bytes: u64 = files.iter().map(size).sum::<Result<u64>>()?;
    Ok(format!("{:.1}", bytes as f64 / EVENTS.rows as f64))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
