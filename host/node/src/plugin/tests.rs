//! Plugin handlers under any cut: rows in order, ticks between them, state through crashes and kills. The guests are those
//! of `tests/guests`.

use std::{path::PathBuf, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use serde_json::{Value, json};
use spout_plugin::{GrantSpec, LimitsSpec, Metrics, Plugins, Quotas, Task};

use crate::{
    Builder, Error, Handler as _, Shape,
    tests::cuts::{Outcome, Trial, readings},
};

/// A trial of the guest `plugin` with these settings, and `more` in its spec.
async fn trial(plugin: &str, settings: Value, more: Value, sources: &[RecordBatch]) -> Trial {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let plugins = Plugins::open(&target.join("guests"), Some(&target.join("test-cache"))).expect("the guests");
    let setting = |(name, value): (&String, &Value)| {
        (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let task = Task {
        pipeline: "trial".into(),
        plugin: plugins.get(plugin).await.expect("`just guests` builds it"),
        offer: String::new(),
        grants: GrantSpec::default(),
        exposed: None,
        limits: LimitsSpec::default(),
        quotas: Quotas::default(),
        settings: settings.as_object().expect("a map").iter().map(setting).collect(),
        draining: Default::default(),
        metrics: Metrics::default(),
    };
    let mut node = json!({"type": "plugin", "id": "p", "plugin": plugin});
    for (name, value) in more.as_object().expect("a map") {
        node[name] = value.clone();
    }
    let builder = Builder { tasks: [("p".to_owned(), task)].into(), ..Builder::default() };
    Trial { builder, ..Trial::new(json!([node]), sources) }
}

/// Rows of users, mostly in order.
fn visits(seed: u64, rows: usize) -> RecordBatch {
    let rows = readings(seed, rows);
    let (users, times) = (rows.column(1), rows.column(0));
    RecordBatch::try_from_iter_with_nullable([("user", Arc::clone(users), true), ("at", Arc::clone(times), true)])
        .unwrap()
}

/// Sessions as a plain program finds them: user, first and last time, the rows by event time.
fn sessions(sources: &[RecordBatch], late: &[String], gap: i64) -> Vec<String> {
    use arrow::{array::AsArray as _, datatypes::TimestampMillisecondType};
    let mut rows: Vec<(String, i64)> = Vec::new();
    for batch in sources {
        let (users, times) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<TimestampMillisecondType>());
        let lines = crate::tests::cuts::lines(batch);
        let each = users.iter().zip(times.iter()).zip(lines);
        let in_time = each.filter(|(_, line)| !late.contains(line));
        rows.extend(in_time.filter_map(|((user, at), _)| Some((user?.to_owned(), at?))));
    }
    rows.sort();
    let one = |two: &(String, i64), next: &(String, i64)| two.0 == next.0 && next.1 - two.1 <= gap;
    let line = |run: &[(String, i64)]| format!("user={} first={} last={}", run[0].0, run[0].1, run[run.len() - 1].1);
    let mut found: Vec<String> = rows.chunk_by(one).map(line).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sessionizer_gives_the_same_sessions_under_any_cut() {
    let sources = [visits(1, 150), visits(2, 100)];
    for tick in ["1s", "7s", "500ms"] {
        let time = json!({"column": "at", "lateness": "1s", "late": "side"});
        let spec = json!({"time": time, "tick": tick});
        let outcome = trial("sessions", json!({"gap": 9_000}), spec, &sources).await.same_under_any_cut(12).await;
        let mut found = outcome.rows.clone();
        found.sort();
        assert_eq!(found, sessions(&sources, &outcome.late, 9_000), "tick {tick}");
        assert!(outcome.late_rows > 0 && found.len() > 10, "{} late, {} sessions", outcome.late_rows, found.len());
        // Most were emitted by ticks, by when they were over: not by user, as the end does.
        assert_ne!(outcome.rows, found);
    }
}

/// Rows of a text, one in nine of which crashes the guest, and of a time.
fn risky(seed: u64, rows: usize) -> RecordBatch {
    let times = Arc::clone(readings(seed, rows).column(0));
    let text = |row: usize| format!("{{{seed}-{}}}", if row % 9 == 5 { 7 } else { row * 10 });
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
    RecordBatch::try_from_iter_with_nullable([("text", texts, false), ("at", times, true)]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_state_is_right_after_crashes_and_kills() {
    let settings = json!({"mode": "poison-keep", "call": "process"});
    let check = async |more: Value, sources: &[RecordBatch]| -> Outcome {
        let outcome = trial("hostile", settings.clone(), more, sources).await.same_under_any_cut(4).await;
        let given: usize = sources.iter().map(RecordBatch::num_rows).sum();
        assert_eq!((outcome.rows.len() + outcome.dead.len()) as u64 + outcome.late_rows, given as u64);
        assert!(
            outcome.dead.len() > 3 && outcome.dead.iter().all(|dead| dead == "p plugin.trap"),
            "{:?}",
            outcome.dead
        );
        for (row, number) in outcome.rows.iter().zip(1..) {
            assert!(row.ends_with(&format!("value={number}")), "{row} has the number {number}");
        }
        outcome
    };
    check(json!({}), &[risky(1, 60)]).await;
    let time = json!({"time": {"column": "at", "lateness": "1s", "late": "drop"}});
    check(time, &[risky(1, 40), risky(2, 30)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_told_of_time_is_refused() {
    let shape = Shape { schema: Some(visits(1, 1).schema()), ..Shape::default() };
    for (more, part) in [
        (json!({"tick": "1s"}), "`time`"),
        (json!({"time": "at", "tick": "0.5ms"}), "whole milliseconds"),
        (json!({"time": "user"}), "must be a timestamp"),
        (json!({"time": "at", "stateless": true}), "`stateless: true`"),
    ] {
        let trial = trial("sessions", json!({"gap": 1}), more, &[]).await;
        let mut chain = trial.builder.chain(&trial.nodes, &mut Default::default()).await.unwrap();
        let error = chain.shape(shape.clone()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let timed = trial("sessions", json!({"gap": 1}), json!({"time": "at", "tick": "1s"}), &[]).await;
    let mut handler = match timed.nodes.as_slice() {
        [crate::NodeSpec::Plugin(spec)] => {
            super::PluginHandler::open(spec, timed.builder.tasks["p"].clone(), Default::default()).await.unwrap()
        }
        other => panic!("{other:?}"),
    };
    handler.shape(&shape).unwrap();
    let parts = handler.snapshot().await.unwrap().into_iter().map(|(name, part)| match part {
        spout_data::Part::New(bytes) => (format!("p/{name}"), bytes),
        spout_data::Part::Kept => unreachable!("it is the first snapshot"),
    });
    let plain = trial("sessions", json!({"gap": 1}), json!({}), &[]).await;
    let error = plain.builder.chain(&plain.nodes, &mut parts.collect()).await.unwrap_err();
    assert!(matches!(&error, Error::Changed { what, .. } if what.contains("`time`")), "{error}");
}
