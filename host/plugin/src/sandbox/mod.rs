//! Guests that misbehave in every call: what the host makes of it. The guests are those of `tests/guests`.

mod answers;
mod columns;
mod deeds;
mod endpoints;
mod files;
mod kernels;
mod keyed;
mod network;
mod often;

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use spout_data::{ByteSize, Marker, Messages, Period, Position};
use tokio_util::sync::CancellationToken;

use super::*;

fn target() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Where `just guests` puts the guests.
fn guests() -> PathBuf {
    let dir = target().join("guests");
    assert!(dir.join("hostile.wasm").exists(), "{} is missing; `just guests` builds it", dir.display());
    dir
}

/// One engine and one compilation for all tests.
static PLUGINS: LazyLock<Plugins> =
    LazyLock::new(|| Plugins::open(&guests(), Some(&target().join("test-cache"))).expect("the guests"));

/// A task for the hostile guest: short of time and memory, set to `mode` in `call`.
async fn task(mode: &str, call: &str) -> Task {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Task {
        pipeline: "trial".into(),
        plugin: PLUGINS.get("hostile").await.expect("a plugin"),
        offer: String::new(),
        grants: GrantSpec::default(),
        exposed: None,
        limits: LimitsSpec {
            memory: ByteSize(64 << 20),
            call: Period(Duration::from_millis(300)),
            answer: ByteSize(16 << 20),
            handles: 200,
            ..LimitsSpec::default()
        },
        quotas: Quotas::default(),
        settings: vec![text("mode", mode), text("call", call)],
        draining: CancellationToken::new(),
        metrics: Metrics::default(),
    }
}

const LIMITS: FetchLimits = FetchLimits { messages: 100, bytes: 1 << 20, timeout: Duration::from_millis(1) };

async fn fetched() -> Messages {
    fetch(task("", "").await, 0).await.unwrap().messages
}

/// What partition 0 has from `start` on.
async fn fetch(task: Task, start: u64) -> Result<FetchedPartition, Error> {
    let answers = PartitionConsumer::new(task, "t").fetch(vec![(0, Position::at(start))], LIMITS).await?;
    answers.into_iter().next().expect("an answer").1
}

fn texts() -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["one", "two", "three"]));
    RecordBatch::try_from_iter([("value", column)]).unwrap()
}

/// Goes the way to `call`, and makes it.
async fn make(call: &str, task: Task) -> Result<(), Error> {
    let wait = LIMITS.timeout;
    match call {
        "provider-open" | "partitions" | "resolve" => {
            let mut provider = Provider::new(task, "t");
            provider.partitions(&Marker::default(), wait).await?;
            provider.resolve(0, Criteria::Latest, wait).await.map(drop)
        }
        "consumer-open" | "fetch" | "committed" => {
            let mut consumer = PartitionConsumer::new(task, "t");
            consumer.fetch(vec![(0, Position::at(0))], LIMITS).await?;
            consumer.committed(vec![(0, Position::at(10))]).await
        }
        "stream-open" | "next" | "checkpoint" | "stream-committed" => {
            let mut consumer = StreamConsumer::open(task, "t", "g", StreamStart::Earliest).await?;
            consumer.next(&LIMITS).await?;
            let checkpoint = consumer.checkpoint().await?;
            consumer.committed(&checkpoint).await
        }
        "decoding-open" | "decoding-output" | "decode" => {
            let mut decoding = Decoding::open(task, "t", None).await?;
            decoding.decode(&fetched().await, 0).await.map(drop)
        }
        _ => {
            let mut handler = HandlerInstance::open(task, None, None).await?;
            handler.output(&texts().schema()).await?;
            handler.process(&texts()).await?;
            handler.tick(1).await?;
            handler.finish().await?;
            handler.snapshot().await.map(drop)
        }
    }
}

/// Every call that a guest exports.
const CALLS: [&str; 19] = [
    "provider-open",
    "partitions",
    "resolve",
    "consumer-open",
    "fetch",
    "committed",
    "stream-open",
    "next",
    "checkpoint",
    "stream-committed",
    "decoding-open",
    "decoding-output",
    "decode",
    "node-open",
    "node-output",
    "process",
    "tick",
    "finish",
    "snapshot",
];
