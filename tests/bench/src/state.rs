//! What a commit of a large keyed state costs where little changed: the plugin `count` over a million keys.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use spout_data::Part;
use spout_node::{Handler as _, NodeSpec, PluginHandler, Source};

use crate::{process, sandbox};

const KEYS: i64 = 1_000_000;
/// One key in a hundred changes in a commit.
const CHANGED: i64 = KEYS / 100;
const COMMITS: usize = 1_000;
/// Commits that one figure is the mean of: runs are merged now and then, not in each.
const SPAN: usize = 100;

/// What one commit took.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    bytes: usize,
    /// For the snapshot.
    time: Duration,
    parts: usize,
}

pub(crate) async fn run() -> Result<()> {
    let node = serde_json::json!({"type": "plugin", "id": "count", "plugin": "count"});
    let NodeSpec::Plugin(spec) = serde_json::from_value(node)? else { bail!("it is a plugin") };
    let task = sandbox::task(&spout_tests::root().join("plugins"), "count", &[("keys", r#"["key"]"#)]).await?;
    let mut handler = PluginHandler::open(&spec, task, BTreeMap::new()).await?;
    for from in (0..KEYS).step_by(CHANGED as usize) {
        handler.handle(batch(from..from + CHANGED)?, Source::Merged).await?;
    }
    let full = commit(&mut handler).await?;
    let mut costs = Vec::with_capacity(COMMITS);
    let mut key = 1_u64;
    for _ in 0..COMMITS {
        let keys = std::iter::repeat_with(|| {
            key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (key >> 33) as i64 % KEYS
        });
        let rows = batch(keys.take(CHANGED as usize))?;
        handler.handle(rows, Source::Merged).await?;
        costs.push(commit(&mut handler).await?);
    }
    println!("state: {KEYS} keys, {CHANGED} changed in each of {COMMITS} commits, means of {SPAN} commits");
    println!("  full snapshot     {:9} bytes {:8.2} ms", full.bytes, full.time.as_secs_f64() * 1e3);
    for (name, span) in [("commits 1 to 100", costs.get(..SPAN)), ("the last hundred", costs.get(COMMITS - SPAN..))] {
        let Some(span) = span else { bail!("too few commits") };
        let bytes = span.iter().map(|cost| cost.bytes).sum::<usize>() / SPAN;
        let time = span.iter().map(|cost| cost.time).sum::<Duration>() / SPAN as u32;
        let slowest = span.iter().map(|cost| cost.time).max().unwrap_or_default();
        println!(
            "  {name}  {bytes:9} bytes {:8.2} ms   {:.1} % of the bytes, {:.1} % of the time (aim 5 %); slowest {:.0} ms, {} parts",
            time.as_secs_f64() * 1e3,
            100.0 * bytes as f64 / full.bytes as f64,
            100.0 * time.as_secs_f64() / full.time.as_secs_f64(),
            slowest.as_secs_f64() * 1e3,
            span.iter().map(|cost| cost.parts).max().unwrap_or_default(),
        );
    }
    let [own, mapped] = ["RssAnon:", "RssFile:"].map(process::own_mib);
    println!(
        "  memory at the end {own:.0} MiB, and {mapped:.0} MiB of files, which the system takes back when it is short"
    );
    ensure!(full.bytes > 0, "nothing was written");
    Ok(())
}

fn batch(keys: impl IntoIterator<Item = i64>) -> Result<RecordBatch> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
    Ok(RecordBatch::try_from_iter([("key", column)])?)
}

async fn commit(handler: &mut PluginHandler) -> Result<Cost> {
    let begun = Instant::now();
    let parts = handler.snapshot().await?;
    let time = begun.elapsed();
    let new = parts.values().map(|part| match part {
        Part::New(bytes) => bytes.len(),
        Part::Kept => 0,
    });
    Ok(Cost { bytes: new.sum(), time, parts: parts.len() })
}
