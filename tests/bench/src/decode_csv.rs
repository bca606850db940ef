//! The core's CSV decoder, native and in the sandbox, against arrow-csv over the same bytes: first row for row, then in time.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::RecordBatch,
    csv::ReaderBuilder,
    datatypes::{Schema, SchemaRef},
};
use spout_codec::{Decode as _, Input, csv, schema_text};
use spout_data::Messages;
use spout_plugin::Decoding;

use crate::{
    sandbox,
    timing::{RUNS, median, rate, timed},
};

const BATCH: usize = 8192;
const BATCHES: usize = 24;

/// A table to read: its schema, and how row `n` is written.
struct Table {
    name: &'static str,
    schema: &'static str,
    row: fn(u64) -> String,
}

const TABLES: [Table; 2] = [
    Table {
        name: "events, some values quoted",
        schema: r#"{"id":"int64","type":"utf8","actor":"utf8","size":"float64","ok":"boolean","at":"timestamp(us)","note":"utf8"}"#,
        row: |n| {
            let dice = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let kind = ["PushEvent", "WatchEvent", "IssuesEvent"][(dice >> 60) as usize % 3];
            let note = if dice >> 40 & 7 == 0 { "\"said \"\"no\"\", twice\"" } else { "a plain note of some words" };
            let (day, hour, minute, second) = (1 + (dice >> 20) % 28, (dice >> 24) % 24, n / 60 % 60, n % 60);
            format!(
                "{},{kind},user-{},{}.{:02},{},2026-01-{day:02}T{hour:02}:{minute:02}:{second:02},{note}",
                n + 40_000_000_000,
                (dice >> 12) % 100_000,
                (dice >> 30) % 1000,
                (dice >> 8) % 100,
                dice & 1 == 0
            )
        },
    },
    Table {
        name: "numbers",
        schema: r#"{"a":"int64","b":"int64","c":"float64","d":"float64","e":"int32","f":"date32"}"#,
        row: |n| {
            let dice = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let (c, d) = ((dice >> 11) as f64 / 1e6, (dice >> 44) as f64 / 1e3);
            format!("{n},-{},{c:.6},{d:.3},{},2026-02-{:02}", dice >> 20, dice >> 50, 1 + (dice >> 7) % 28)
        },
    },
];

pub(crate) async fn run() -> Result<()> {
    for table in &TABLES {
        measure(table).await?;
    }
    Ok(())
}

/// One batch of records, each a message with its line end, so that one run of bytes serves all candidates.
struct Part {
    bytes: Vec<u8>,
    bounds: Vec<u32>,
    host: Messages,
}

impl Part {
    fn new(table: &Table, first: u64) -> Self {
        let (mut bytes, mut bounds, mut host) = (Vec::new(), vec![0], Messages::default());
        for n in first..first + BATCH as u64 {
            let line = (table.row)(n) + "\n";
            host.values.push(line.as_bytes());
            host.offsets.push(n);
            bytes.extend_from_slice(line.as_bytes());
            bounds.push(bytes.len() as u32);
        }
        Self { bytes, bounds, host }
    }

    fn input(&self) -> Input<'_> {
        Input { bounds: &self.bounds, bytes: &self.bytes, ..Input::default() }
    }

    fn peer(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut decoder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(BATCH).build_decoder();
        decoder.decode(&self.bytes)?;
        decoder.flush()?.context("arrow-csv has no rows")
    }
}

async fn measure(table: &Table) -> Result<()> {
    let parts: Vec<Part> = (0..BATCHES).map(|part| Part::new(table, (part * BATCH) as u64)).collect();
    let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
    let schema = schema_text::parse(table.schema)?;
    let arrow_schema = Arc::new(Schema::from(&schema));
    let mut native = csv::Csv::new(&csv::Settings::<()>::default(), Some(schema), None)?;
    let task = sandbox::task(&spout_tests::root().join("plugins"), "csv", &[("schema", table.schema)]).await?;
    let mut wasm = Decoding::open(task, "", None).await?;
    for part in &parts {
        let (peer, ours) = (part.peer(&arrow_schema)?, native.decode(&part.input())?);
        ensure!(ours.faults.is_empty() && RecordBatch::try_from(ours.batch)? == peer, "rows differ from arrow-csv's");
        let sandboxed = wasm.decode(&part.host, 0).await?;
        ensure!(
            sandboxed.faults.is_empty() && sandboxed.records == peer,
            "rows of the sandbox differ from arrow-csv's"
        );
    }
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..RUNS {
        let (done, time) = timed(|| {
            parts.iter().try_for_each(|part| -> Result<()> {
                RecordBatch::try_from(native.decode(&part.input())?.batch)?;
                Ok(())
            })
        });
        done?;
        times[0].push(time);
        let (done, time) = timed(|| parts.iter().try_for_each(|part| part.peer(&arrow_schema).map(drop)));
        done?;
        times[1].push(time);
        let begun = std::time::Instant::now();
        for part in &parts {
            wasm.decode(&part.host, 0).await?;
        }
        times[2].push(begun.elapsed());
    }
    let [native, arrow, wasm] = times.map(|mut times| median(&mut times));
    let (mb, rows) = (bytes as f64 / 1e6, BATCH * BATCHES);
    let ratio = |slow: Duration, fast: Duration| slow.as_secs_f64() / fast.as_secs_f64();
    println!(
        "decode csv ({}): {rows} records of {} bytes, rows equal to arrow-csv's, median of {RUNS}",
        table.name,
        bytes / rows
    );
    println!(
        "  csv native                     {:7.0} MB/s   native/arrow-csv {:.2}x (aim 1.00)",
        rate(mb, native),
        ratio(arrow, native)
    );
    println!("  arrow-csv                      {:7.0} MB/s", rate(mb, arrow));
    println!(
        "  csv plugin in the sandbox      {:7.0} MB/s   sandbox/native {:.2}x (aim 0.75)",
        rate(mb, wasm),
        ratio(native, wasm)
    );
    Ok(())
}
