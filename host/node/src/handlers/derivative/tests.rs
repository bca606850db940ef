//! Derivatives: of known curves, without waiting, and under any cut.

use serde_json::json;

use super::*;
use crate::{
    Shape, Source, SourceEvent,
    tests::cuts::{Trial, lines, readings},
};

fn rows(seconds: &[i64]) -> RecordBatch {
    let times = arrow::array::TimestampSecondArray::from(seconds.to_vec());
    let values: Float64Array = seconds.iter().map(|second| Some((second * second) as f64)).collect();
    RecordBatch::try_from_iter([("time", Arc::new(times) as ArrayRef), ("x", Arc::new(values) as _)]).unwrap()
}

/// A line whose last number has three places.
fn rounded(line: &str) -> String {
    let (before, last) = line.rsplit_once('=').unwrap();
    let last = last.parse::<f64>().map_or(last.to_owned(), |last| format!("{:?}", (last * 1e3).round() / 1e3));
    format!("{before}={last}")
}

fn spec(more: &[(&str, Value)]) -> Value {
    let mut spec =
        json!({"type": "derivative", "columns": {"dx": {"column": "x"}}, "neighbourhood": "2s", "time": "time"});
    for (name, value) in more {
        spec[name] = value.clone();
    }
    spec
}

#[tokio::test]
async fn rows_come_out_once_all_around_them_are_known() {
    let spec: crate::NodeSpec = serde_json::from_value(spec(&[])).unwrap();
    let crate::NodeSpec::Derivative(spec) = spec else { unreachable!("it is a derivative") };
    let mut handler = Derivative::handler(&spec);
    handler.shape(&Shape { schema: Some(rows(&[]).schema()), ..Shape::default() }).unwrap();
    handler.on_event(SourceEvent::Opened(Source::Merged)).await.unwrap();
    let mut seconds = async |batch: &[i64]| {
        let handled = handler.handle(rows(batch), Source::Merged).await.unwrap();
        let outputs = handled.outputs.iter().flat_map(|(records, _)| lines(records));
        outputs.map(|line| rounded(&line.replace("1970-01-01T00:00:", ""))).collect::<Vec<_>>()
    };
    assert_eq!(seconds(&[0, 1, 3, 4]).await, ["time=00 x=0.0 dx=1.0", "time=01 x=1.0 dx=2.0"]);
    let rest = ["time=03 x=9.0 dx=6.0", "time=04 x=16.0 dx=7.0", "time=07 x=49.0 dx=null"];
    assert_eq!(seconds(&[7, 10]).await, rest);
}

async fn check(more: &[(&str, Value)], expected: &[&str]) {
    let rows = Trial::new(json!([spec(more)]), &[rows(&[0, 1, 2, 3, 4])]).same_under_any_cut(10).await.rows;
    let got: Vec<String> = rows.iter().map(|row| rounded(row.split_once(" x=").unwrap().1)).collect();
    assert_eq!(got, expected, "{more:?}");
}

#[tokio::test]
async fn changes_are_counted_by_unit_order_and_points() {
    check(&[], &["0.0 dx=0.0", "1.0 dx=2.0", "4.0 dx=4.0", "9.0 dx=6.0", "16.0 dx=8.0"]).await;
    let minute = ["0.0 dx=0.0", "1.0 dx=120.0", "4.0 dx=240.0", "9.0 dx=360.0", "16.0 dx=480.0"];
    check(&[("unit", json!("1m"))], &minute).await;
    let second = json!({"dx": {"column": "x", "order": 2}});
    check(&[("columns", second)], &["0.0 dx=2.0", "1.0 dx=2.0", "4.0 dx=2.0", "9.0 dx=2.0", "16.0 dx=2.0"]).await;
    let backwards = ["0.0 dx=null", "1.0 dx=1.0", "4.0 dx=4.0", "9.0 dx=6.0", "16.0 dx=8.0"];
    check(&[("noWait", json!(true))], &backwards).await;
    let steps = ["0.0 dx=1.0", "1.0 dx=1.0", "4.0 dx=3.0", "9.0 dx=5.0", "16.0 dx=7.0"];
    check(&[("points", json!(2))], &steps).await;
}

#[tokio::test]
async fn no_cut_changes_a_derivative() {
    for no_wait in [false, true] {
        let spec = json!([{"type": "derivative", "columns": {"d": {"column": "value"}, "e": {"column": "n", "order": 2}},
            "neighbourhood": "4s", "noWait": no_wait, "groupBy": ["host"], "time": {"column": "time", "lateness": "2s"}}]);
        let rows = Trial::new(spec, &[readings(1, 80), readings(2, 60)]).same_under_any_cut(12).await.rows;
        assert_eq!(rows.len(), 140);
    }
}

#[test]
fn what_cannot_be_derived_is_refused() {
    let check = |more: &[(&str, Value)], part: &str| {
        let mut spec = spec(more);
        spec.as_object_mut().unwrap().remove("type");
        let spec: DerivativeSpec = serde_json::from_value(spec).unwrap();
        let shape = Shape { schema: Some(rows(&[]).schema()), ..Shape::default() };
        let error = Derivative::handler(&spec).shape(&shape).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&[("columns", json!({}))], "`columns`");
    check(&[("columns", json!({"d": {"column": "y"}}))], "the columns are time, x");
    check(&[("columns", json!({"x": {"column": "x"}}))], "another name");
    check(&[("columns", json!({"d": {"column": "time"}}))], "it must be a number");
    check(&[("points", json!(1))], "more than 1 `points`");
    check(&[("groupBy", json!(["y"]))], "no column `y`");
}
