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

/// The nearest values as the docs say it: of all rows, those within reach, of one time as one, by distance.
fn nearest(rows: &[(i64, Option<f64>)], at: usize, within: u64, points: usize) -> Vec<(i64, f64)> {
    let here = rows[at].0;
    let mut near: Vec<(i64, f64)> = Vec::new();
    for same in rows.chunk_by(|a, b| a.0 == b.0).filter(|same| same[0].0.abs_diff(here) <= within) {
        let values: Vec<f64> = same.iter().filter_map(|row| row.1).collect();
        if !values.is_empty() {
            near.push((same[0].0 - here, values.iter().sum::<f64>() / values.len() as f64));
        }
    }
    near.sort_by_key(|(distance, _)| (distance.unsigned_abs(), *distance));
    near.truncate(points);
    near
}

#[test]
fn the_nearest_rows_are_found_from_the_row_outwards() {
    use rand::{Rng as _, SeedableRng as _};
    let mut dice = rand::rngs::StdRng::seed_from_u64(3);
    for round in 0..300 {
        let mut time = i64::from(dice.random::<i32>());
        let rows: Vec<(i64, Option<f64>)> = (0..dice.random_range(1..40))
            .map(|_| {
                time += dice.random_range(0..4);
                (time, dice.random_ratio(3, 4).then(|| f64::from(dice.random_range(-9..9)) / 3.0))
            })
            .collect();
        let mut track = Track::new(Digest::default(), 1);
        let numbers: Vec<u64> =
            rows.iter().map(|row| track.push(row.0, [row.1.unwrap_or(f64::NAN)].into_iter())).collect();
        let gone = dice.random_range(0..rows.len());
        (0..gone).for_each(|_| track.pop());
        let (within, points, mut near) = (dice.random_range(0..12), dice.random_range(1..9), Near::default());
        for (at, &number) in numbers.iter().enumerate().skip(gone) {
            track.nearest(number, within, points, 0, &mut near);
            let got: Vec<(i64, f64)> = near.distances.iter().copied().zip(near.values.iter().copied()).collect();
            assert_eq!(got, nearest(&rows[gone..], at - gone, within, points), "round {round}: {rows:?} at {at}");
        }
    }
}

#[test]
fn weights_that_are_known_are_those_that_were_computed() {
    let mut known = difference::Weights::per(1_000);
    for round in 0..3_000_i64 {
        let distances = [0, -(round % 701) - 1, round % 37 + 1, -2_000 - round];
        for order in [1, 2] {
            let places: Vec<f64> = distances.iter().map(|distance| *distance as f64 / 1_000.0).collect();
            assert_eq!(known.of(&distances, order), difference::weights(&places, order as usize).as_deref());
        }
    }
    assert_eq!(known.of(&[0], 1), None);
}
