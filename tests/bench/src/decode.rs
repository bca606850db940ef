//! JSON by the decoding core natively, in the sandbox, and by arrow-json; first that all three come to the same rows.
//!
//! Besides our events, a file of NDJSON: `SPOUT_BENCH_NDJSON=path`, such as a day of GitHub's events; passed over without it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    json::{ReaderBuilder, reader::infer_json_schema},
};
use spout_codec::{
    Decode as _,
    batch::schema_text,
    json::{Json, Settings},
    record_batch,
};
use spout_data::Messages;
use spout_plugin::Decoding;
use spout_producer::SchemaText;

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
    measure("events", &batches, SCHEMA).await?;
    let Some(path) = std::env::var_os("SPOUT_BENCH_NDJSON").map(PathBuf::from) else {
        println!("decode: no file of real events; set SPOUT_BENCH_NDJSON to one of NDJSON");
        return Ok(());
    };
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).take(BATCH).collect();
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    // Columns that arrow-json can read too: by its own inference.
    let schema = readable(&infer_json_schema(text.as_slice(), None)?.0);
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    // As many copies as a batch holds, as the host would pass them on.
    let batches = vec![text.repeat((BATCH / lines.len().max(1)).max(1)); 4];
    measure(
        &format!("{name}, all columns"),
        &batches,
        &SchemaText::print(&schema).map_err(anyhow::Error::msg)?.to_string(),
    )
    .await?;
    let few = schema.project(&(0..schema.fields().len().min(3)).collect::<Vec<_>>())?;
    measure(&format!("{name}, 3 columns"), &batches, &SchemaText::print(&few).map_err(anyhow::Error::msg)?.to_string())
        .await
}

/// `schema` without what says nothing: columns that are null everywhere are texts, empty objects are left out.
fn readable(schema: &Schema) -> Schema {
    fn fields(all: &Fields) -> Fields {
        all.iter().filter_map(|field| Some(Field::new(field.name(), data_type(field.data_type())?, true))).collect()
    }
    fn data_type(of: &DataType) -> Option<DataType> {
        Some(match of {
            DataType::Null => DataType::Utf8,
            DataType::Struct(inner) if fields(inner).is_empty() => return None,
            DataType::Struct(inner) => DataType::Struct(fields(inner)),
            DataType::List(item) => DataType::List(Arc::new(Field::new_list_field(data_type(item.data_type())?, true))),
            other => other.clone(),
        })
    }
    Schema::new(fields(schema.fields()))
}

async fn measure(name: &str, batches: &[Vec<u8>], schema: &str) -> Result<()> {
    let host: Vec<Messages> = batches.iter().map(|text| messages(text)).collect();
    let (rows, bytes) = (host.iter().map(Messages::len).sum::<usize>(), batches.iter().map(Vec::len).sum::<usize>());
    let task = sandbox::task(&spout_tests::root().join("plugins"), "json", &[("schema", schema)]).await?;
    let mut wasm = Decoding::open(task, "", None).await?;
    let mut native = Json::new(&Settings::<()>::default(), Some(schema_text::parse(schema)?), None)?;
    let types: SchemaRef = Arc::new((&schema_text::parse(schema)?).into());
    for (text, messages) in batches.iter().zip(&host).take(2) {
        let (ours, guest) = (core(&mut native, messages, &types)?, wasm.decode(messages, 0).await?.records);
        ensure!(same(&ours, &peer(&types, text)?), "{name}: arrow-json came to other rows");
        ensure!(same(&ours, &guest), "{name}: the plugin came to other rows");
    }
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..RUNS {
        let begun = std::time::Instant::now();
        for messages in &host {
            ensure!(wasm.decode(messages, 0).await?.records.num_rows() == messages.len(), "the plugin lost rows");
        }
        times[0].push(begun.elapsed());
        let (done, time) = timed(|| host.iter().try_for_each(|messages| core(&mut native, messages, &types).map(drop)));
        done?;
        times[1].push(time);
        let (done, time) = timed(|| batches.iter().try_for_each(|text| peer(&types, text).map(drop)));
        done?;
        times[2].push(time);
    }
    let [wasm, native, arrow] = times.map(|mut times| median(&mut times));
    let mb = bytes as f64 / 1e6;
    println!("decode: {name}: {rows} messages of {} bytes, median of {RUNS}", bytes / rows.max(1));
    println!(
        "  json native                    {:7.0} MB/s   native/arrow-json {:.2}x (aim 2.00)",
        rate(mb, native),
        arrow.as_secs_f64() / native.as_secs_f64()
    );
    println!(
        "  json plugin in the sandbox     {:7.0} MB/s   sandbox/native {:.2}x (aim 0.75)",
        rate(mb, wasm),
        native.as_secs_f64() / wasm.as_secs_f64()
    );
    println!("  arrow-json native              {:7.0} MB/s", rate(mb, arrow));
    Ok(())
}

/// What the host does natively: the core, and its columns as Arrow's, checked.
fn core(json: &mut Json, messages: &Messages, schema: &SchemaRef) -> Result<RecordBatch> {
    let decoded = json.decode(&messages.input())?;
    ensure!(decoded.faults.is_empty(), "{:?}", decoded.faults.first());
    Ok(record_batch(decoded.batch, Arc::clone(schema))?)
}

fn peer(schema: &SchemaRef, text: &[u8]) -> Result<RecordBatch> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(BATCH).build_decoder()?;
    let read = decoder.decode(text)?;
    ensure!(read == text.len(), "arrow-json stopped at byte {read}");
    decoder.flush()?.context("arrow-json has no rows")
}

/// Row for row; whether a column could have nulls does not matter.
fn same(one: &RecordBatch, other: &RecordBatch) -> bool {
    one.num_rows() == other.num_rows() && one.num_rows() > 0 && one.columns() == other.columns()
}

fn messages(text: &[u8]) -> Messages {
    let mut messages = Messages::default();
    for (offset, line) in text.split(|&c| c == b'\n').filter(|line| !line.is_empty()).enumerate() {
        messages.values.push(line);
        messages.offsets.push(offset as u64);
    }
    messages
}
