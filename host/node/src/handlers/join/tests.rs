//! What joins give, under any cut.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    json::ReaderBuilder,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    Shape, Source, SourceEvent,
    tests::cuts::{Outcome, Trial, lines, readings},
};

/// Rows of the columns `t`, `tag`, `a` and `b`.
type Cells = (i64, Option<&'static str>, Option<i64>, Option<f64>);

fn rows(cells: &[Cells]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("t", Arc::new(Int64Array::from_iter_values(cells.iter().map(|cell| cell.0)))),
        ("tag", Arc::new(cells.iter().map(|cell| cell.1).collect::<StringArray>())),
        ("a", Arc::new(cells.iter().map(|cell| cell.2).collect::<Int64Array>())),
        ("b", Arc::new(cells.iter().map(|cell| cell.3).collect::<Float64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

fn node(more: Value) -> Value {
    let mut node = json!({"type": "join", "on": ["tag"], "time": {"column": "t", "unit": "s"}});
    for (name, value) in more.as_object().unwrap() {
        node[name] = value.clone();
    }
    node
}

async fn check(spec: Value, sources: &[&[Cells]], expected: &[&str]) {
    let sources: Vec<RecordBatch> = sources.iter().map(|cells| rows(cells)).collect();
    let Outcome { rows, .. } = Trial::new(json!([node(spec.clone())]), &sources).same_under_any_cut(12).await;
    assert_eq!(rows, expected, "{spec}");
}

const T: Option<&str> = Some("t");

#[tokio::test]
async fn rows_of_one_key_become_one_where_they_do_not_contradict() {
    let one = "t=100 tag=t a=42 b=3.25";
    check(json!({}), &[&[(100, T, Some(42), None)], &[(100, T, None, Some(3.25))]], &[one]).await;
    check(json!({}), &[&[(100, T, Some(42), None), (100, T, None, Some(3.25))]], &[one]).await;
    let left: &[Cells] = &[(105, T, Some(43), None), (110, Some("o"), Some(44), None)];
    let three = ["t=105 tag=t a=43 b=null", "t=110 tag=o a=44 b=null", "t=110 tag=t a=null b=2.71"];
    check(json!({}), &[left, &[(110, T, None, Some(2.71))]], &three).await;
    let apart: [&[Cells]; 2] = [&[(100, T, Some(42), None)], &[(103, T, None, Some(3.25))]];
    check(json!({"tolerance": "5s"}), &apart, &[one]).await;
    check(json!({"tolerance": "2s"}), &apart, &["t=100 tag=t a=42 b=null", "t=103 tag=t a=null b=3.25"]).await;
    check(json!({"tolerance": "2s", "kind": "inner"}), &apart, &[]).await;
}

#[tokio::test]
async fn rows_of_one_side_stay_apart() {
    let same: &[Cells] = &[(100, T, Some(1), None), (100, T, Some(2), None), (101, T, None, Some(0.5))];
    check(json!({"tolerance": "5s"}), &[same], &["t=100 tag=t a=1 b=0.5", "t=100 tag=t a=2 b=null"]).await;
    let sides: &[Cells] = &[(100, T, Some(1), Some(1.0)), (100, T, Some(1), Some(2.0)), (101, T, Some(7), Some(0.5))];
    let spec = json!({"tolerance": "5s", "side": "a"});
    check(spec, &[sides], &["t=100 tag=t a=1 b=1.0", "t=100 tag=t a=1 b=2.0"]).await;
    let nulls: &[Cells] = &[(100, None, Some(1), None), (100, None, None, Some(2.0))];
    let alone = ["t=100 tag=null a=1 b=null", "t=100 tag=null a=null b=2.0"];
    check(json!({"tolerance": "5s"}), &[nulls], &alone).await;
    check(json!({"tolerance": "5s", "kind": "inner"}), &[nulls], &[]).await;
}

const SIDES: [&[Cells]; 2] = [
    &[(10, T, Some(1), None), (12, Some("o"), Some(2), None), (13, None, Some(3), None), (30, T, Some(4), None)],
    &[(9, T, None, Some(0.9)), (11, T, None, Some(1.1)), (14, T, None, Some(1.4)), (20, None, None, Some(2.0))],
];

fn pairs(kind: &str) -> Value {
    json!({"kind": kind, "left": {"where": "a is not null", "columns": {"tag": "tag", "a": "a"}},
        "right": {"where": "b is not null", "columns": {"tag": "tag", "b": "b"}}, "before": "2s", "after": "3s"})
}

#[tokio::test]
async fn each_pair_makes_a_row_and_rows_without_a_partner_one_at_last() {
    let met = ["t=10 tag=t a=1 b=0.9", "t=11 tag=t a=1 b=1.1"];
    check(pairs("inner"), &SIDES, &met).await;
    let left = [met[0], met[1], "t=12 tag=o a=2 b=null", "t=13 tag=null a=3 b=null", "t=30 tag=t a=4 b=null"];
    check(pairs("left"), &SIDES, &left).await;
    let full = [
        met[0],
        met[1],
        "t=12 tag=o a=2 b=null",
        "t=13 tag=null a=3 b=null",
        "t=14 tag=t a=null b=1.4",
        "t=20 tag=null a=null b=2.0",
        "t=30 tag=t a=4 b=null",
    ];
    check(pairs("full"), &SIDES, &full).await;
    let mut near = pairs("left");
    near["where"] = json!("b > 1");
    check(near, &SIDES, &[met[1], left[2], left[3], left[4]]).await;
}

#[tokio::test]
async fn columns_of_one_name_are_told_apart() {
    let spec = json!({"left": "a is not null", "right": {"where": "b is not null", "prefix": "r_"}, "within": "1s"});
    let met = ["t=10 tag=t a=1 b=null r_a=null r_b=0.9", "t=11 tag=t a=1 b=null r_a=null r_b=1.1"];
    check(spec, &SIDES, &met).await;
    let both = json!({"left": {"where": "true", "columns": {"tag": "tag", "a": "a"}},
        "right": {"where": "true", "columns": {"word": "tag", "b": "a"}}, "on": {"tag": "word"}, "within": "1s"});
    let cells: &[Cells] = &[(1, T, Some(1), None), (2, T, Some(2), None)];
    let met = [
        "t=1 a=1 tag=t b=1 word=t",
        "t=2 a=2 tag=t b=1 word=t",
        "t=2 a=1 tag=t b=2 word=t",
        "t=2 a=2 tag=t b=2 word=t",
    ];
    check(both, &[cells], &met).await;
}

#[tokio::test]
async fn the_winning_bids_of_auctions_are_found() {
    let lines = r#"
        {"t": 1, "kind": "auction", "auction": {"id": 7, "category": 10, "expires": 20}}
        {"t": 3, "kind": "bid", "bid": {"auction": 7, "price": 100}}
        {"t": 5, "kind": "person"}
        {"t": 19, "kind": "bid", "bid": {"auction": 7, "price": 90}}
        {"t": 21, "kind": "bid", "bid": {"auction": 7, "price": 300}}
        {"t": 22, "kind": "bid", "bid": {"auction": 8, "price": 1}}"#;
    let (schema, _) = arrow::json::reader::infer_json_schema(lines.as_bytes(), None).unwrap();
    let events = ReaderBuilder::new(Arc::new(schema)).build(lines.as_bytes()).unwrap().next().unwrap().unwrap();
    let spec = json!([{"type": "join", "time": {"column": "t", "unit": "s"}, "on": {"id": "auction"}, "after": "1h",
        "left": {"where": "kind = 'auction'",
            "columns": {"id": "auction['id']", "category": "auction['category']", "expires": "auction['expires']"}},
        "right": {"where": "kind = 'bid'",
            "columns": {"auction": "bid['auction']", "price": "bid['price']", "at": "t"}},
        "where": "at <= expires"}]);
    let Outcome { rows, .. } = Trial::new(spec, &[events]).same_under_any_cut(10).await;
    let expected = [
        "t=3 category=10 expires=20 id=7 at=3 auction=7 price=100",
        "t=19 category=10 expires=20 id=7 at=19 auction=7 price=90",
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn no_cut_changes_a_join() {
    for kind in ["inner", "left", "full"] {
        let spec = json!([{"type": "join", "kind": kind, "on": ["host"], "within": "3s",
            "left": {"where": "value > 8", "columns": {"host": "host", "value": "value", "n": "n"}},
            "right": {"where": "value <= 12", "columns": {"host": "host", "low": "value", "n": "n"}},
            "where": "value - low < 15", "time": {"column": "time", "lateness": "200ms"}}]);
        let outcome = Trial::new(spec, &[readings(1, 80), readings(2, 60)]).same_under_any_cut(12).await;
        assert!(outcome.rows.len() > 50 && outcome.late_rows > 0, "{kind}: {}", outcome.rows.len());
    }
    for side in [None, Some("n % 2")] {
        let spec = json!([
            {"type": "map", "columns": {"n": "case when n % 3 = 0 then n end", "value": "case when n % 3 <> 0 then value end"}},
            {"type": "join", "on": ["host"], "tolerance": "4s", "side": side, "time": {"column": "time", "lateness": "2s"}}
        ]);
        let outcome = Trial::new(spec, &[readings(3, 80), readings(4, 60)]).same_under_any_cut(12).await;
        assert!(outcome.rows.len() > 30 && outcome.rows.len() < 140, "{}", outcome.rows.len());
    }
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let check = |more: Value, part: &str| {
        let mut spec = node(more);
        spec.as_object_mut().unwrap().remove("type");
        let spec: JoinSpec = serde_json::from_value(spec).unwrap();
        let shape = Shape { schema: Some(rows(&[]).schema()), ..Shape::default() };
        let error = spec.handler().shape(&shape).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(json!({"on": ["x"]}), "the columns are t, tag, a, b");
    check(json!({"kind": "left"}), "needs two sides");
    check(json!({"within": "1s"}), "a `tolerance`");
    check(json!({"side": "x"}), "columns: t, tag, a, b");
    check(json!({"left": "true", "within": "1s"}), "both `left` and `right`");
    check(json!({"left": "true", "right": "true"}), "`within: 10m`");
    check(json!({"left": "a", "right": "true", "within": "1s"}), "needs true or false");
    check(json!({"left": "true", "right": "true", "within": "1s", "on": {"tag": "a"}}), "`tag` of the left, Utf8");
    check(json!({"left": "true", "right": {"where": "true", "prefix": ""}, "within": "1s"}), "would be called `a`");
    check(json!({"left": "true", "right": "true", "within": "1s", "where": "right_x"}), "right_a");
    check(json!({"left": "true", "right": "true", "within": "1s", "where": "a"}), "needs true or false");
}

#[tokio::test]
async fn more_rows_than_may_be_held_are_refused() {
    let mut spec = pairs("left");
    spec["limits"] = json!({"rows": 3});
    spec["after"] = json!("1h");
    let trial = Trial::new(json!([node(spec)]), &SIDES.map(rows));
    let mut chain = crate::Builder::default().chain(&trial.nodes, &mut Default::default()).await.unwrap();
    chain.shape(Shape { schema: Some(trial.sources[0].schema()), ..Shape::default() }).unwrap();
    let batch = spout_data::Batch {
        records: trial.sources[0].clone(),
        span: spout_data::Span { partition: 0.into(), start: 0, next: spout_data::Position::at(4) },
        origins: spout_data::Origins::Each,
        messages: Arc::default(),
        dead: Vec::new(),
        late: Vec::new(),
        unknown: Vec::new(),
        counts: spout_data::Counts::default(),
    };
    chain.handle(batch).await.unwrap();
    let error = chain.snapshot().await.unwrap_err().to_string();
    assert!(error.contains("holds 4 rows, which is more than its limit of 3 rows"), "{error}");
}

#[tokio::test]
async fn a_row_without_a_value_for_its_side_is_set_aside_as_it_arrives() {
    let column = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("t", column(&[1, 2, 3, 4])),
        ("tag", column(&[7, 7, 7, 7])),
        ("a", column(&[1, i64::MAX, 2, i64::MIN])),
    ]);
    let batch = batch.unwrap();
    let spec = json!({"id": "j", "on": ["tag"], "within": "9s", "time": {"column": "t", "unit": "s"},
        "left": {"where": "a + 1 > 0", "columns": {"tag": "tag", "up": "a"}},
        "right": {"where": "a > 0 or a < -9", "columns": {"tag": "tag", "down": "a - 1"}}});
    let spec: JoinSpec = serde_json::from_value(spec).unwrap();
    let mut handler = spec.handler();
    handler.shape(&Shape { schema: Some(batch.schema()), ..Shape::default() }).unwrap();
    handler.on_event(SourceEvent::Opened(Source::Merged)).await.unwrap();
    let handled = handler.handle(batch, Source::Merged).await.unwrap();
    let faults: Vec<(u32, bool)> =
        handled.faults.iter().map(|fault| (fault.row, fault.reason.starts_with("`a + 1 > 0` has no value"))).collect();
    assert_eq!(faults, [(1, true), (3, false)]);
    let last = handler.finish().await.unwrap();
    let lines: Vec<String> =
        handled.outputs.iter().chain(&last.outputs).flat_map(|(records, _)| lines(records)).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.contains(&"t=3 tag=7 up=1 down=1".to_owned()), "{lines:?}");
}
