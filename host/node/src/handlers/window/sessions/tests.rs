//! Sessions as sums: the same as of rows that are held, from states of both kinds, and never much more than is open.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array},
    record_batch::RecordBatch as Rows,
};
use serde_json::{Value, json};

use super::{
    super::{Engine, Window},
    *,
};
use crate::{
    Handled, Handler, Shape, SourceEvent,
    tests::cuts::{Trial, lines, readings},
};

/// A `window` of `spec` for rows like these.
fn window(spec: &Value, rows: &Rows) -> Window {
    resumed(spec, BTreeMap::new(), rows)
}

/// A `window` that goes on from a snapshot.
fn resumed(spec: &Value, stored: BTreeMap<String, Bytes>, rows: &Rows) -> Window {
    let mut spec = spec.clone();
    spec["id"] = json!("w");
    let mut window = Window::new(&serde_json::from_value(spec).unwrap()).unwrap();
    window.stored = stored;
    window.shape(&Shape { schema: Some(rows.schema()), ..Shape::default() }).unwrap();
    window
}

/// A `window` that holds rows, as versions did that kept no sums of sessions.
async fn old(spec: &Value, rows: &Rows) -> Window {
    let mut window = window(spec, rows);
    window.engine = Some(window.held());
    // Nobody runs ahead of a source that was opened.
    for source in [0_u32, 1] {
        window.on_event(SourceEvent::Opened(Source::Partition(source.into()))).await.unwrap();
    }
    window
}

fn told(window: &Window) -> &SessionWindows {
    match &window.engine {
        Some(Engine::Sessions(sessions)) => sessions,
        other => panic!("{other:?}"),
    }
}

async fn give(window: &mut Window, rows: &Rows, source: u32, given: &mut Vec<String>) {
    take_lines(window.handle(rows.clone(), Source::Partition(source.into())).await.unwrap(), given);
}

fn take_lines(handled: Handled, given: &mut Vec<String>) {
    assert!(handled.faults.is_empty());
    given.extend(handled.outputs.iter().map(|(batch, _)| lines(batch).join(", ")));
}

/// What a store keeps of a snapshot, and how many bytes of it are new.
async fn save(window: &mut Window, stored: &mut BTreeMap<String, Bytes>) -> usize {
    let mut written = 0;
    let parts = window.snapshot().await.unwrap().into_iter().map(|(name, part)| match part {
        Part::New(bytes) => {
            written += bytes.len();
            (name, bytes)
        }
        Part::Kept => (name.clone(), stored[&name].clone()),
    });
    *stored = parts.collect();
    written
}

/// What sums give is what rows give: an aggregate that cannot be merged has them held.
#[tokio::test]
async fn sums_of_sessions_are_those_of_their_rows_under_any_cut() {
    let sums = json!({"c": "count(*)", "s": "sum(value / 3)", "d": "stddev(value)", "u": "count(distinct n % 5)",
        "f": "first(n)", "l": "last(n)", "m": "max(n) - min(n)"});
    let mut rows = sums.clone();
    rows["zz"] = json!("array_agg(n)");
    let sources = [readings(1, 90), readings(2, 60), readings(3, 70)];
    for (session, lateness, group) in [
        ("1500ms", "1s", json!(["host"])),
        ("700ms", "1m", json!(["host"])),
        ("2s", "30s", json!(["host", "value"])),
        ("300ms", "1h", json!([])),
        ("4s", "0s", json!(["n"])),
    ] {
        let trial = |aggregate: &Value| {
            let window = json!([{"type": "window", "session": session, "groupBy": group, "aggregate": aggregate,
                "time": {"column": "time", "lateness": lateness}}]);
            Trial::new(window, &sources)
        };
        let (summed, mut held) = (trial(&sums).same_under_any_cut(5).await, trial(&rows).same_under_any_cut(1).await);
        for line in &mut held.rows {
            *line = line.split_once(" zz=").unwrap().0.to_owned();
        }
        assert!(summed.rows.len() > 15, "{session}: {summed:?}");
        assert_eq!(summed, held, "sessions of {session}, {lateness} late");
    }
}

#[tokio::test]
async fn rows_that_earlier_versions_kept_become_sums() {
    let spec = json!({"session": "2s", "groupBy": ["host"], "time": {"column": "time", "lateness": "5s"},
        "aggregate": {"n": "count(*)", "s": "sum(value / 3)", "l": "last(value)", "f": "first(n)"}});
    let sources = [readings(4, 120), readings(5, 120)];
    let halves = |half: usize| sources.iter().map(move |rows| rows.slice(60 * half, 60)).zip([0_u32, 1]);
    let (mut whole, mut expected) = (old(&spec, &sources[0]).await, Vec::new());
    for (rows, source) in halves(0).chain(halves(1)) {
        give(&mut whole, &rows, source, &mut expected).await;
    }
    take_lines(whole.finish().await.unwrap(), &mut expected);
    let (mut old, mut given, mut stored) = (old(&spec, &sources[0]).await, Vec::new(), BTreeMap::new());
    for (rows, source) in halves(0) {
        give(&mut old, &rows, source, &mut given).await;
    }
    save(&mut old, &mut stored).await;
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["closed", "rows", "rows-0", "time"]);
    for (rows, source) in halves(1) {
        let mut next = resumed(&spec, stored.clone(), &rows);
        assert!(told(&next).index.open() > 1);
        give(&mut next, &rows, source, &mut given).await;
        save(&mut next, &mut stored).await;
        assert!(stored.contains_key("input") && !stored.contains_key("rows-0"), "{:?}", stored.keys());
    }
    let mut last = resumed(&spec, stored, &sources[0]);
    take_lines(last.finish().await.unwrap(), &mut given);
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(given, expected);
}

fn at(rows: impl Iterator<Item = (i64, i64)>) -> Rows {
    let (times, keys): (Vec<i64>, Vec<i64>) = rows.unzip();
    let columns: [(&str, ArrayRef); 2] =
        [("t", Arc::new(Int64Array::from(times))), ("k", Arc::new(Int64Array::from(keys)))];
    Rows::try_from_iter(columns).unwrap()
}

fn counting(lateness: &str) -> Value {
    json!({"session": "10s", "groupBy": ["k"], "aggregate": {"n": "count(*)"},
        "time": {"column": "t", "unit": "s", "lateness": lateness}})
}

#[tokio::test]
async fn a_snapshot_of_many_sessions_writes_what_is_new() {
    let (mut sessions, mut stored) = (window(&counting("0s"), &at([].into_iter())), BTreeMap::new());
    let mut given = Vec::new();
    let mut written = Vec::new();
    for keys in [0..50_000, 100..600] {
        give(&mut sessions, &at(keys.map(|key| (5, key))), 0, &mut given).await;
        written.push(save(&mut sessions, &mut stored).await);
    }
    assert!(written[1] * 20 < written[0], "{written:?}");
    assert!(given.is_empty());
    assert_eq!(sessions.finish().await.unwrap().outputs[0].0.num_rows(), 50_000);
}

/// Sessions that go on over many commits, beside those that come and go.
#[tokio::test]
async fn what_is_kept_follows_what_is_open() {
    let (mut sessions, mut stored) = (window(&counting("0s"), &at([].into_iter())), BTreeMap::new());
    let mut given = Vec::new();
    for second in 0..400 {
        let short = (0..100).map(|key| (second, 1_000 + second * 100 + key));
        give(&mut sessions, &at((0..10).map(|key| (second, key)).chain(short)), 0, &mut given).await;
        let told = told(&sessions);
        assert!(told.index.open() <= 1_110 && told.index.pieces() < 4 * LOOK, "{second}: {told:?}");
        if second % 3 == 0 {
            save(&mut sessions, &mut stored).await;
            assert!(stored.len() < 20, "{:?}", stored.keys());
        }
        if second % 60 == 21 {
            sessions = resumed(&counting("0s"), stored.clone(), &at([].into_iter()));
        }
    }
    let mut last = Vec::new();
    take_lines(sessions.finish().await.unwrap(), &mut last);
    assert_eq!(last.len(), 10, "the ends that are left: {last:?}");
    let long: Vec<&str> = last[9].split(", ").take(10).collect();
    assert!(long.iter().all(|line| line.starts_with("window_start=0 window_end=409 k=")), "{long:?}");
    assert!(long.iter().all(|line| line.ends_with(" n=400")), "{long:?}");
}

#[tokio::test]
async fn rows_that_come_backwards_leave_nothing_behind() {
    let (mut sessions, mut given) = (window(&counting("1000d"), &at([].into_iter())), Vec::new());
    for batch in 0..60 {
        let rows = (0..1_000).map(|row| (1_000_000 - batch * 1_000 - row, row % 3));
        give(&mut sessions, &at(rows), 0, &mut given).await;
        let index = &told(&sessions).index;
        assert!(index.open() == 3 && index.sessions() < 3 * LOOK, "{index:?}");
    }
    take_lines(sessions.finish().await.unwrap(), &mut given);
    let expected = [
        "window_start=940002 window_end=1000008 k=2 n=19980",
        "window_start=940003 window_end=1000009 k=1 n=19980",
        "window_start=940001 window_end=1000010 k=0 n=20040",
    ];
    assert_eq!(given, expected);
}
