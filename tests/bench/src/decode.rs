//! The `json` plugin in its sandbox against the same code compiled natively, and against arrow-json.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use arrow::json::ReaderBuilder;
use plugin_json::Json;
use spout_guest::{Decoder as _, Opening, testing};
use spout_host::{data::Messages, plugin::Decoding};

use crate::{
    events::{self, SCHEMA},
    sandbox,
    timing::{RUNS, median, rate, timed},
};

const BATCH: usize = 8192;
const BATCHES: usize = 24;

pub(crate) async fn run() -> Result<()> {
    let batches: Vec<Vec<u8>> =
        (0..BATCHES).map(|batch| events::lines((batch * BATCH) as u64, BATCH as u64)).collect::<Result<_, _>>()?;
    let bytes: usize = batches.iter().map(Vec::len).sum();
    let host: Vec<Messages> = batches.iter().map(|text| host_messages(text)).collect();
    let guest: Vec<spout_guest::Messages> = batches
        .iter()
        .map(|text| testing::messages(&text.split(|&c| c == b'\n').filter(|line| !line.is_empty()).collect::<Vec<_>>()))
        .collect();
    let task = sandbox::task(&spout_tests::root().join("plugins"), "json", &[("schema", SCHEMA)]).await?;
    let mut wasm = Decoding::open(task, "", "", None).await?;
    let mut native = Json::open(testing::settings(&[("schema", SCHEMA)])?, Opening::default())?;
    let schema = Arc::clone(wasm.decode(host.first().context("a batch")?).await?.records.schema_ref());
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..RUNS {
        let begun = std::time::Instant::now();
        for messages in &host {
            let decoded = wasm.decode(messages).await?;
            ensure!(decoded.records.num_rows() == BATCH && decoded.faults.is_empty(), "{:?}", decoded.faults);
        }
        times[0].push(begun.elapsed());
        let (done, time) = timed(|| guest.iter().try_for_each(|messages| native.decode(messages).map(drop)));
        done?;
        times[1].push(time);
        let (done, time) = timed(|| {
            batches.iter().try_for_each(|text| {
                let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(BATCH).build_decoder()?;
                decoder.decode(text)?;
                decoder.flush().map(drop)
            })
        });
        done?;
        times[2].push(time);
    }
    let [wasm, native, arrow] = times.map(|mut times| median(&mut times));
    let mb = bytes as f64 / 1e6;
    println!(
        "decode: {} events of {} bytes in batches of {BATCH}, median of {RUNS}",
        BATCH * BATCHES,
        bytes / (BATCH * BATCHES)
    );
    println!("  json plugin in the sandbox     {:7.0} MB/s", rate(mb, wasm));
    println!(
        "  the same code native           {:7.0} MB/s   sandbox/native {:.2}x (aim 0.70)",
        rate(mb, native),
        native.as_secs_f64() / wasm.as_secs_f64()
    );
    println!(
        "  arrow-json native              {:7.0} MB/s   sandbox/arrow-json {:.2}x",
        rate(mb, arrow),
        arrow.as_secs_f64() / wasm.as_secs_f64()
    );
    Ok(())
}

fn host_messages(text: &[u8]) -> Messages {
    let mut messages = Messages::default();
    for (offset, line) in text.split(|&c| c == b'\n').filter(|line| !line.is_empty()).enumerate() {
        messages.values.push(line);
        messages.offsets.push(offset as u64);
    }
    messages
}
