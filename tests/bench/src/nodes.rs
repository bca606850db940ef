//! Handlers over batches in memory, against DataFusion's own operators over the same batches; then Nexmark through the binary.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::SchemaRef,
};
use datafusion::{
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};
use serde_json::{Value, json};
use spout_data::{Batch, Origins, PartitionId, Position, Span};
use spout_node::{Builder, Chain, NodeSpec, Shape, Source, SourceEvent, TimeSpec};
use spout_tests::{Site, root};

use crate::timing::{median, rate};

const ROWS: i64 = 1_000_000;
const BATCH: i64 = 8_192;
const RUNS: usize = 5;

/// A chain and what DataFusion is asked instead.
struct Case {
    name: &'static str,
    nodes: Value,
    sql: &'static str,
    /// What is aimed at, as a ratio.
    aim: Option<f64>,
}

fn cases() -> Vec<Case> {
    let case = |name, nodes, sql| Case { name, nodes, sql, aim: None };
    let stateless = |name, nodes, sql| Case { name, nodes, sql, aim: Some(0.9) };
    vec![
        stateless(
            "filter",
            json!([{"type": "filter", "id": "x", "where": "price > 500"}]),
            "select * from bids where price > 500",
        ),
        stateless(
            "map",
            json!([{"type": "map", "id": "x", "columns": {"euros": "price * 0.908", "name": "upper(channel)"}}]),
            "select *, price * 0.908 as euros, upper(channel) as name from bids",
        ),
        stateless(
            "default",
            json!([{"type": "default", "id": "x", "columns": {"channel": "'none'"}, "fillNulls": true}]),
            "select auction, bidder, price, coalesce(channel, 'none') as channel, at from bids",
        ),
        stateless(
            "sql, per batch",
            json!([{"type": "sql", "id": "x", "per": "batch", "query": "select auction, price from input where price > 500"}]),
            "select auction, price from bids where price > 500",
        ),
        case(
            "sort, per commit",
            json!([{"type": "sort", "id": "x", "per": "commit", "by": ["price", "auction", "at"]}]),
            "select * from bids order by price, auction, at",
        ),
        case(
            "aggregate, per commit",
            json!([{"type": "aggregate", "id": "x", "per": "commit", "groupBy": ["auction"],
                    "aggregate": {"highest": "max(price)", "bids": "count(*)"}}]),
            "select auction, max(price) as highest, count(*) as bids from bids group by auction",
        ),
        case(
            "window 10s, aggregate",
            json!([{"type": "window", "id": "x", "period": "10s", "groupBy": ["auction"],
                    "aggregate": {"highest": "max(price)", "bids": "count(*)"}}]),
            "select date_bin(interval '10 seconds', at) as w, auction, max(price), count(*) from bids group by w, auction",
        ),
        case(
            "window 10s, rows",
            json!([{"type": "window", "id": "x", "period": "10s"}]),
            "select * from bids order by date_bin(interval '10 seconds', at)",
        ),
        case(
            "dedupe",
            json!([{"type": "dedupe", "id": "x", "by": ["auction", "bidder"], "within": "1h"}]),
            "select distinct on (auction, bidder) * from bids order by auction, bidder, at",
        ),
        case(
            "derivative",
            json!([{"type": "derivative", "id": "x", "unit": "1s", "neighbourhood": "10ms", "columns": {"slope": {"column": "price", "order": 1}}}]),
            "select *, price - lag(price) over (order by at) as slope from bids",
        ),
    ]
}

fn batches() -> Result<Vec<RecordBatch>> {
    let scattered = |row: i64, below: i64| (row.wrapping_mul(6_364_136_223_846_793_005) >> 33).rem_euclid(below);
    (0..ROWS)
        .step_by(BATCH as usize)
        .map(|from| {
            let rows = from..(from + BATCH).min(ROWS);
            let number =
                |below: i64| Int64Array::from_iter_values(rows.clone().map(|row| scattered(row ^ below, below)));
            let channel = |row: i64| (row % 10 != 0).then(|| format!("channel-{}", row % 100));
            let columns: [(&str, ArrayRef, bool); 5] = [
                ("auction", Arc::new(number(10_000)), true),
                ("bidder", Arc::new(number(5_000)), true),
                ("price", Arc::new(number(1_000)), true),
                ("channel", Arc::new(StringArray::from_iter(rows.clone().map(channel))), true),
                ("at", Arc::new(TimestampMillisecondArray::from_iter_values(rows.clone())), true),
            ];
            Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
        })
        .collect()
}

async fn chain(nodes: &Value, schema: SchemaRef) -> Result<Chain> {
    let nodes: Vec<NodeSpec> = serde_json::from_value(nodes.clone())?;
    let mut chain = Builder::default().chain(&nodes, &mut Default::default()).await?;
    chain.shape(Shape { schema: Some(schema), time: Some(TimeSpec::Column("at".into())), ..Shape::default() })?;
    chain.on_event(SourceEvent::Opened(Source::Partition(PartitionId::default()))).await?;
    Ok(chain)
}

fn batch(records: RecordBatch, start: u64) -> Batch {
    let next = Position::at(start + records.num_rows() as u64);
    Batch {
        records,
        span: Span { partition: PartitionId::default(), start, next },
        origins: Origins::Each,
        messages: Arc::default(),
        dead: Vec::new(),
        late: Vec::new(),
        unknown: Vec::new(),
        counts: Default::default(),
    }
}

/// Rows that come out, and the time it takes.
async fn ours(nodes: &Value, input: &[RecordBatch]) -> Result<(usize, Duration)> {
    let mut chain = chain(nodes, input.first().context("rows")?.schema()).await?;
    let begun = Instant::now();
    let mut rows = 0;
    let mut start = 0;
    for records in input {
        let out = chain.handle(batch(records.clone(), start)).await?;
        start += records.num_rows() as u64;
        rows += out.iter().map(|batch| batch.records.num_rows()).sum::<usize>();
    }
    for out in [
        chain.on_event(SourceEvent::Ended(Source::Partition(PartitionId::default()))).await?,
        chain.finish().await?,
        chain.on_event(SourceEvent::Cut).await?,
    ] {
        rows += out.iter().map(|batch| batch.records.num_rows()).sum::<usize>();
    }
    Ok((rows, begun.elapsed()))
}

async fn datafusion(sql: &str, input: &[RecordBatch]) -> Result<(usize, Duration)> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let table = MemTable::try_new(input.first().context("rows")?.schema(), vec![input.to_vec()])?;
    context.register_table("bids", Arc::new(table))?;
    let begun = Instant::now();
    let rows = context.sql(sql).await?.collect().await?.iter().map(RecordBatch::num_rows).sum();
    Ok((rows, begun.elapsed()))
}

async fn handlers() -> Result<()> {
    let input = batches()?;
    println!(
        "nodes: {ROWS} rows of 5 columns in batches of {BATCH}, one core, median of {RUNS}; DataFusion over the same batches in memory"
    );
    for Case { name, nodes, sql, aim } in cases() {
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        let mut rows = (0, 0);
        for _ in 0..RUNS {
            let (out, took) = ours(&nodes, &input).await.with_context(|| name.to_owned())?;
            let (reference, other) = datafusion(sql, &input).await.with_context(|| name.to_owned())?;
            rows = (out, reference);
            mine.push(took);
            theirs.push(other);
        }
        ensure!(rows.0 == rows.1, "{name}: {} rows, DataFusion gives {}", rows.0, rows.1);
        let (mine, theirs) = (median(&mut mine), median(&mut theirs));
        println!(
            "  {name:22} {:6.2} M rows/s   DataFusion {:6.2}   {:.2}x{}",
            rate(ROWS as f64, mine) / 1e6,
            rate(ROWS as f64, theirs) / 1e6,
            theirs.as_secs_f64() / mine.as_secs_f64(),
            aim.map(|aim| format!(" (aim {aim:.2})")).unwrap_or_default()
        );
    }
    Ok(())
}

/// A snapshot of many groups, and one after few of them changed.
async fn snapshots() -> Result<()> {
    const GROUPS: i64 = 1_000_000;
    let nodes = json!([{"type": "window", "id": "w", "period": "1d", "groupBy": ["key"],
        "aggregate": {"highest": "max(price)", "sum": "sum(price)"},
        "limits": {"groups": 4_000_000, "bytes": "4GiB"}}]);
    let rows = |from: i64, to: i64| {
        let numbers = || Int64Array::from_iter_values(from..to);
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("key", Arc::new(numbers()), true),
            ("price", Arc::new(numbers()), true),
            ("at", Arc::new(TimestampMillisecondArray::from_iter_values((from..to).map(|_| 1))), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns)
    };
    let mut chain = chain(&nodes, rows(0, 1)?.schema()).await?;
    for from in (0..GROUPS).step_by(BATCH as usize) {
        chain.handle(batch(rows(from, (from + BATCH).min(GROUPS))?, from as u64)).await?;
    }
    let begun = Instant::now();
    let full = chain.snapshot().await?;
    let full_took = begun.elapsed();
    let size = |parts: &std::collections::BTreeMap<String, spout_data::Part>| -> usize {
        let new = parts.values().map(|part| match part {
            spout_data::Part::New(bytes) => bytes.len(),
            spout_data::Part::Kept => 0,
        });
        new.sum()
    };
    let (mut times, mut bytes) = (Vec::new(), 0);
    for run in 0..RUNS as i64 {
        let from = run * GROUPS / 10;
        chain.handle(batch(rows(from, from + GROUPS / 100)?, (GROUPS + from) as u64)).await?;
        let begun = Instant::now();
        let changed = chain.snapshot().await?;
        times.push(begun.elapsed());
        bytes = size(&changed);
    }
    let changed_took = median(&mut times);
    println!(
        "nodes: snapshot of {GROUPS} groups {:.1} ms, {} KiB; after 1 % changed {:.1} ms, {} KiB: {:.1} % of the time (aim 5 %)",
        full_took.as_secs_f64() * 1e3,
        size(&full) / 1024,
        changed_took.as_secs_f64() * 1e3,
        bytes / 1024,
        100.0 * changed_took.as_secs_f64() / full_took.as_secs_f64()
    );
    Ok(())
}

/// Nexmark's queries as users run them.
fn nexmark() -> Result<()> {
    const TOTAL: u64 = 2_000_000;
    println!("nodes: Nexmark, {TOTAL} events generated and decoded on the way, events/s on two cores, median of 3");
    for query in ["q0", "q1", "q2", "q5", "q7", "q8"] {
        let spec = std::fs::read_to_string(root().join(format!("examples/nexmark/{query}.yaml")))?;
        let spec = spec.replace("total: 500000", &format!("total: {TOTAL}"));
        let mut times = Vec::new();
        for _ in 0..3 {
            let site = Site::new()?;
            site.write("spec.yaml", &spec)?;
            let begun = Instant::now();
            site.ok(&["run", "spec.yaml", "--until", "ended"])?;
            times.push(begun.elapsed());
        }
        println!("  {query:4} {:6.2} M events/s", rate(TOTAL as f64, median(&mut times)) / 1e6);
    }
    Ok(())
}

pub(crate) async fn run() -> Result<()> {
    handlers().await?;
    snapshots().await?;
    nexmark()
}
