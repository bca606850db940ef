//! Handlers over batches in memory, against DataFusion's own operators over the same batches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use arrow::{
    array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::SchemaRef,
};
use datafusion::{
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};
use serde_json::{Value, json};
use spout_data::{Batch, Origins, PartitionId, Position, Span};
use spout_node::{Builder, Chain, NodeSpec, Shape, Source, SourceEvent, TimeSpec};

use crate::{
    process, same,
    timing::{median, rate},
};

const ROWS: i64 = 1_000_000;
const BATCH: i64 = 8_192;
const RUNS: usize = 5;

/// A chain and what DataFusion is asked instead.
struct Case {
    name: &'static str,
    nodes: Value,
    /// With the columns that the chain makes; nothing where DataFusion has nothing that makes them.
    sql: &'static str,
    /// Whether the order of rows is a part of the answer.
    ordered: bool,
    /// What is aimed at, as a ratio.
    aim: Option<f64>,
}

fn cases() -> Vec<Case> {
    let case = |name, nodes, sql, aim| Case { name, nodes, sql, ordered: false, aim };
    let aggregate = |columns: Value| json!([{"type": "aggregate", "id": "x", "per": "commit", "groupBy": ["auction"], "columns": columns}]);
    let window = |columns: Value| json!([{"type": "window", "id": "x", "period": "10s", "groupBy": ["auction"], "aggregate": columns}]);
    let sort = |by: Value| json!([{"type": "sort", "id": "x", "per": "commit", "by": by}]);
    vec![
        case(
            "filter",
            json!([{"type": "filter", "id": "x", "where": "price > 500"}]),
            "select * from bids where price > 500",
            Some(0.9),
        ),
        case(
            "map",
            json!([{"type": "map", "id": "x", "columns": {"euros": "price * 0.908", "name": "upper(channel)"}}]),
            "select *, price * 0.908 as euros, upper(channel) as name from bids",
            Some(0.9),
        ),
        case(
            "default",
            json!([{"type": "default", "id": "x", "columns": {"channel": "'none'"}, "fillNulls": true}]),
            "select auction, bidder, price, cost, rate, coalesce(channel, 'none') as channel, at from bids",
            Some(0.9),
        ),
        case(
            "sql, per batch",
            json!([{"type": "sql", "id": "x", "per": "batch", "query": "select auction, price from input where price > 500"}]),
            "select auction, price from bids where price > 500",
            Some(0.9),
        ),
        Case {
            ordered: true,
            ..case(
                "sort, per commit",
                sort(json!(["price", "auction", "at"])),
                "select * from bids order by price, auction, at",
                Some(1.0),
            )
        },
        Case {
            ordered: true,
            ..case(
                "sort by text, per commit",
                sort(json!(["channel", "at"])),
                "select * from bids order by channel, at",
                Some(1.0),
            )
        },
        case(
            "aggregate, per commit",
            aggregate(json!({"highest": "max(price)", "bids": "count(*)"})),
            "select max(at), auction, count(*), max(price) from bids group by auction",
            Some(0.9),
        ),
        case(
            "aggregate, sums",
            aggregate(json!({"sum": "sum(price)", "worth": "sum(cost)"})),
            "select max(at), auction, sum(price), sum(cost) from bids group by auction",
            Some(0.9),
        ),
        case(
            "aggregate, floats",
            aggregate(json!({"mean": "mean(rate)", "sum": "sum(rate)"})),
            "select max(at), auction, avg(rate), sum(rate) from bids group by auction",
            Some(0.5),
        ),
        case(
            "window 10s, aggregate",
            window(json!({"highest": "max(price)", "bids": "count(*)"})),
            "select w, w + interval '10 seconds', auction, count(*), max(price)
             from (select date_bin(interval '10 seconds', at) as w, * from bids) group by w, auction",
            Some(0.8),
        ),
        case(
            "window 10s, sums",
            window(json!({"sum": "sum(price)", "worth": "sum(cost)"})),
            "select w, w + interval '10 seconds', auction, sum(price), sum(cost)
             from (select date_bin(interval '10 seconds', at) as w, * from bids) group by w, auction",
            Some(0.8),
        ),
        case(
            "window 10s, floats",
            window(json!({"mean": "mean(rate)", "sum": "sum(rate)"})),
            "select w, w + interval '10 seconds', auction, avg(rate), sum(rate)
             from (select date_bin(interval '10 seconds', at) as w, * from bids) group by w, auction",
            Some(0.5),
        ),
        case(
            "window 10s, rows",
            json!([{"type": "window", "id": "x", "period": "10s"}]),
            "select * from bids order by date_bin(interval '10 seconds', at)",
            Some(0.9),
        ),
        case(
            "dedupe",
            json!([{"type": "dedupe", "id": "x", "by": ["auction", "bidder"], "within": "1h"}]),
            "select distinct on (auction, bidder) * from bids order by auction, bidder, at",
            None,
        ),
        case(
            "dispatch to filters",
            json!([{"type": "dispatch", "id": "x", "groupBy": ["channel"],
                    "nodes": [{"type": "filter", "id": "y", "where": "price > 500"}]}]),
            "select * from bids where price > 500",
            None,
        ),
        case(
            "derivative",
            json!([{"type": "derivative", "id": "x", "unit": "1s", "neighbourhood": "10ms", "columns": {"slope": {"column": "price", "order": 1}}}]),
            "",
            None,
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
            let cost = Decimal128Array::from_iter_values(number(100_000).values().iter().map(|&cost| cost.into()));
            // Quarters, so that DataFusion's sums are exact too.
            let rate = Float64Array::from_iter_values(number(4_000).values().iter().map(|&rate| rate as f64 / 4.0));
            let columns: [(&str, ArrayRef, bool); 7] = [
                ("auction", Arc::new(number(10_000)), true),
                ("bidder", Arc::new(number(5_000)), true),
                ("price", Arc::new(number(1_000)), true),
                ("cost", Arc::new(cost.with_precision_and_scale(12, 2)?), true),
                ("rate", Arc::new(rate), true),
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

/// What comes out, and the processor time it takes.
async fn ours(nodes: &Value, input: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Duration)> {
    let mut chain = chain(nodes, input.first().context("rows")?.schema()).await?;
    let begun = process::own_time();
    let mut rows = Vec::new();
    let mut start = 0;
    for records in input {
        rows.extend(chain.handle(batch(records.clone(), start)).await?);
        start += records.num_rows() as u64;
    }
    rows.extend(chain.on_event(SourceEvent::Ended(Source::Partition(PartitionId::default()))).await?);
    rows.extend(chain.finish().await?);
    rows.extend(chain.on_event(SourceEvent::Cut).await?);
    let took = process::own_time() - begun;
    Ok((rows.into_iter().map(|batch| batch.records).filter(|records| records.num_rows() > 0).collect(), took))
}

async fn datafusion(sql: &str, input: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Duration)> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let table = MemTable::try_new(input.first().context("rows")?.schema(), vec![input.to_vec()])?;
    context.register_table("bids", Arc::new(table))?;
    let begun = process::own_time();
    let rows = context.sql(sql).await?.collect().await?;
    Ok((rows, process::own_time() - begun))
}

async fn handlers(wanted: &[String]) -> Result<()> {
    let input = batches()?;
    println!(
        "nodes: {ROWS} rows of 7 columns in batches of {BATCH}, rows per second of processor time, median of {RUNS}; DataFusion over \
         the same batches in memory, the same rows"
    );
    for Case { name, nodes, sql, ordered, aim } in cases() {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let (rows, took) = ours(&nodes, &input).await.with_context(|| name.to_owned())?;
            mine.push(took);
            if sql.is_empty() {
                continue;
            }
            let (expected, took) = datafusion(sql, &input).await.with_context(|| name.to_owned())?;
            theirs.push(took);
            if run == 0 {
                same::check(&rows, &expected, ordered).with_context(|| name.to_owned())?;
            }
        }
        let speed = |times: &mut [Duration]| rate(ROWS as f64, median(times)) / 1e6;
        let mine = speed(&mut mine);
        if sql.is_empty() {
            println!("  {name:25} {mine:6.2} M rows/s");
            continue;
        }
        let theirs = speed(&mut theirs);
        let aim = aim.map(|aim| format!(" (aim {aim:.2})")).unwrap_or_default();
        println!("  {name:25} {mine:6.2} M rows/s   DataFusion {theirs:6.2}   {:.2}x{aim}", mine / theirs);
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

/// All handlers, or those whose case has one of these in its name; and what snapshots cost.
pub(crate) async fn run(wanted: &[String]) -> Result<()> {
    handlers(wanted).await?;
    if wanted.is_empty() { snapshots().await } else { Ok(()) }
}
