//! Windows: the cases of stream-data-processor, ours, and the same under any cut.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, StringArray},
    record_batch::RecordBatch as Rows,
};
use serde_json::json;

use super::{dynamic::DynamicWindow, *};
use crate::tests::cuts::{Trial, lines, readings};

fn seconds(times: &[i64]) -> Rows {
    Rows::try_from_iter([("t", Arc::new(Int64Array::from(times.to_vec())) as ArrayRef)]).unwrap()
}

fn handler(mut spec: Value) -> Box<dyn Handler> {
    spec["time"] = json!({"column": "t", "unit": "s"});
    spec["id"] = json!("w");
    match spec.get("type") {
        Some(_) => {
            spec.as_object_mut().unwrap().remove("type");
            Box::new(DynamicWindow::new(&serde_json::from_value(spec).unwrap()))
        }
        None => Box::new(Window::new(&serde_json::from_value(spec).unwrap()).unwrap()),
    }
}

fn shown(handled: &Handled) -> Vec<String> {
    handled.outputs.iter().map(|(batch, _)| lines(batch).join(", ")).collect()
}

/// Gives the batches one after the other: what came out of each.
async fn check(spec: Value, batches: &[Rows], expected: &[&[&str]]) {
    let mut handler = handler(spec.clone());
    let mut given: Vec<Vec<String>> = Vec::new();
    for batch in batches {
        handler.shape(&Shape { schema: Some(batch.schema()), ..Shape::default() }).unwrap();
        given.push(shown(&handler.handle(batch.clone(), Source::Partition(0.into())).await.unwrap()));
    }
    assert_eq!(given, expected, "{spec}");
}

#[tokio::test]
async fn first_aligned_windows_are_those_of_stream_data_processor() {
    let fill = json!({"period": "5s", "every": "3s", "align": "first", "fillPeriod": true});
    check(fill.clone(), &[seconds(&[0, 4]), seconds(&[5, 6])], &[&[], &["t=0, t=4"]]).await;
    check(fill.clone(), &[seconds(&[0, 4, 6, 8])], &[&["t=0, t=4", "t=4, t=6"]]).await;
    check(fill, &[seconds(&[0, 10, 11])], &[&["t=0", "t=10"]]).await;
    let every = json!({"period": "5s", "every": "3s", "align": "first"});
    check(every, &[seconds(&[0, 4]), seconds(&[5, 6])], &[&["t=0"], &["t=4, t=5"]]).await;
}

#[tokio::test]
async fn a_window_is_one_where_columns_are_added_and_split_where_they_are_others() {
    let both: [(&str, ArrayRef); 2] =
        [("t", Arc::new(Int64Array::from(vec![3, 6]))), ("new", Arc::new(Int64Array::from(vec![0, 0])))];
    let changed = Rows::try_from_iter(both).unwrap();
    let spec = json!({"period": "5s", "every": "5s", "align": "first", "fillPeriod": true});
    check(spec.clone(), &[seconds(&[0, 1]), changed.clone()], &[&[], &["t=0 new=null, t=1 new=null, t=3 new=0"]]).await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["3", "6"]));
    let other: [(&str, ArrayRef); 2] = [("t", Arc::new(Int64Array::from(vec![3, 6]))), ("new", text)];
    let other = Rows::try_from_iter(other).unwrap();
    let first = changed.slice(0, 1);
    check(spec.clone(), &[seconds(&[0, 1]), first, other], &[&[], &[], &["t=0, t=1", "t=3 new=0", "t=3 new=3"]]).await;
    let mut fused = spec;
    fused["aggregate"] = json!({"n": "count(*)"});
    check(fused, &[seconds(&[0, 1]), changed], &[&[], &["window_start=0 window_end=5 n=3"]]).await;
}

#[tokio::test]
async fn a_row_that_comes_too_late_is_in_no_window() {
    let mut windows = handler(json!({"period": "5s", "align": "first", "fillPeriod": true}));
    windows.shape(&Shape { schema: Some(seconds(&[]).schema()), ..Shape::default() }).unwrap();
    let first = windows.handle(seconds(&[0, 7]), Source::Partition(0.into())).await.unwrap();
    assert_eq!((shown(&first), first.late_rows), (vec!["t=0".to_owned()], 0));
    let second = windows.handle(seconds(&[2, 12]), Source::Partition(0.into())).await.unwrap();
    assert_eq!((shown(&second), second.late_rows), (vec!["t=7".to_owned()], 1));
    assert_eq!(lines(&second.late[0]), ["t=2"]);
}

#[tokio::test]
async fn windows_begin_at_the_epoch_and_empty_ones_do_not_come() {
    let tumbling = json!({"period": "5s", "bounds": true});
    check(
        tumbling,
        &[seconds(&[7, 8, 21])],
        &[&["t=7 window_start=5 window_end=10, t=8 window_start=5 window_end=10"]],
    )
    .await;
    check(json!({"period": "4s", "every": "2s"}), &[seconds(&[1, 3, 6])], &[&["t=1", "t=1, t=3", "t=3"]]).await;
    check(json!({"period": "2s", "every": "5s"}), &[seconds(&[1, 3, 6, 12])], &[&["t=1", "t=6"]]).await;
    check(json!({"session": "3s"}), &[seconds(&[0, 2, 5, 6, 9])], &[&["t=0, t=2", "t=5, t=6"]]).await;
}

#[tokio::test]
async fn groups_come_in_the_order_of_their_keys_with_nulls_first() {
    let columns: [(&str, ArrayRef); 2] = [
        ("t", Arc::new(Int64Array::from(vec![0, 1, 2, 7]))),
        ("k", Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("a")]))),
    ];
    let rows = Rows::try_from_iter(columns).unwrap();
    let spec = json!({"period": "5s", "groupBy": ["k"]});
    check(spec.clone(), std::slice::from_ref(&rows), &[&["t=1 k=null", "t=2 k=a", "t=0 k=b"]]).await;
    let mut fused = spec;
    fused["aggregate"] = json!({"n": "count(*)", "last": "last(t)"});
    let line = |key: &str, t: u8| format!("window_start=0 window_end=5 k={key} last={t} n=1");
    check(fused, &[rows], &[&[&[line("null", 1), line("a", 2), line("b", 0)].join(", ")]]).await;
}

#[tokio::test]
async fn dynamic_windows_are_those_of_stream_data_processor() {
    let rows = |rows: &[(i64, i64, i64)]| {
        let column = |pick: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(pick)))
        };
        let all =
            Rows::try_from_iter([("t", column(|r| r.0)), ("period", column(|r| r.1)), ("every", column(|r| r.2))]);
        all.unwrap()
    };
    let spec = json!({"type": "", "period": "period", "every": "every"});
    let row = |t: i64, period: i64, every: i64| format!("t={t} period={period} every={every}");
    check(spec.clone(), &[rows(&[(0, 7, 5), (3, 7, 3), (5, 7, 3)])], &[&[&row(0, 7, 5)]]).await;
    check(spec.clone(), &[rows(&[(0, 7, 5), (5, 7, 7)])], &[&[]]).await;
    let mut fill = spec;
    fill["fillPeriod"] = json!(true);
    let both = format!("{}, {}", row(0, 7, 5), row(1, 7, 5));
    check(fill, &[rows(&[(0, 7, 5), (1, 7, 5), (6, 6, 5), (7, 6, 5)])], &[&[&both]]).await;
}

#[tokio::test]
async fn wrong_specs_are_refused_with_what_to_do() {
    let check = |spec: Value, part: &str| {
        let mut spec = spec;
        spec["time"] = json!("t");
        let made = Window::new(&serde_json::from_value(spec.clone()).unwrap());
        let shape = Shape { schema: Some(seconds(&[]).schema()), ..Shape::default() };
        let error = made.and_then(|mut window| window.shape(&shape).map(drop)).unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
    };
    check(json!({}), "set `period: 1m`");
    check(json!({"period": "5s", "session": "1s"}), "leave one out");
    check(json!({"period": "0s"}), "cannot be the length");
    check(json!({"period": "5s", "fillPeriod": true}), "align: first");
    check(json!({"period": "5s", "groupBy": ["nope"]}), "to group by");
    check(json!({"period": "5s", "aggregate": {"n": "max(nope)"}}), "columns: t");
    check(json!({"period": "5s", "aggregate": {"window_end": "max(t)"}}), "own column");
}

async fn trial(mut spec: Value) {
    spec["type"] = json!(spec.get("type").and_then(Value::as_str).unwrap_or("window"));
    spec["time"] = json!({"column": "time", "lateness": "1s"});
    let trial = Trial::new(json!([spec]), &[readings(1, 60), readings(2, 50), readings(3, 40)]);
    let outcome = trial.same_under_any_cut(25).await;
    assert!(outcome.rows.len() > 10, "{spec}: {outcome:?}");
}

#[tokio::test]
async fn windows_are_the_same_under_any_cut() {
    trial(json!({"period": "10s", "bounds": true})).await;
    trial(json!({"period": "10s", "every": "4s", "groupBy": ["host"], "bounds": true})).await;
    trial(json!({"period": "3s", "every": "8s", "groupBy": ["host"]})).await;
    trial(json!({"period": "10s", "every": "3s", "groupBy": ["host"], "align": "first", "bounds": true})).await;
    trial(json!({"period": "7s", "every": "3s", "align": "first", "fillPeriod": true, "bounds": true})).await;
    trial(json!({"session": "1500ms", "groupBy": ["host"], "bounds": true})).await;
    trial(json!({"session": "2s", "bounds": true})).await;
}

#[tokio::test]
async fn aggregates_of_windows_are_the_same_under_any_cut() {
    let free = json!({"s": "sum(value / 3)", "d": "stddev(value)", "n": "count(distinct host)", "l": "last(value)"});
    let ordered = json!({"q": "approx_percentile_cont(value, 0.9)", "a": "array_agg(n)"});
    for aggregate in [free, ordered] {
        trial(json!({"period": "10s", "every": "4s", "groupBy": ["host"], "aggregate": aggregate})).await;
        trial(json!({"period": "10s", "aggregate": aggregate})).await;
        trial(json!({"period": "9s", "every": "5s", "align": "first", "groupBy": ["host"], "aggregate": aggregate}))
            .await;
        trial(json!({"session": "1500ms", "groupBy": ["host"], "aggregate": aggregate})).await;
    }
}

#[tokio::test]
async fn dynamic_windows_are_the_same_under_any_cut() {
    let map = json!({"type": "map", "columns": {
        "period": "case when n % 7 = 0 then 9 else 6 end", "every": "case when n % 5 = 0 then 7 else 4 end"}});
    for fill in [false, true] {
        let window = json!({"type": "dynamic-window", "period": "period", "every": "every", "fillPeriod": fill,
            "groupBy": ["host"], "bounds": true, "time": {"column": "time", "lateness": "1s"}});
        let trial = Trial::new(json!([map, window]), &[readings(1, 60), readings(2, 50)]);
        assert!(trial.same_under_any_cut(25).await.rows.len() > 10);
    }
}

#[tokio::test]
async fn what_a_million_groups_write_follows_what_is_new() {
    let mut windows =
        handler(json!({"period": "1h", "groupBy": ["k"], "aggregate": {"n": "count(*)", "last": "last(t)"}}));
    let rows = |keys: std::ops::Range<i64>| {
        let times = Int64Array::from_value(5, (keys.end - keys.start) as usize);
        let columns: [(&str, ArrayRef); 2] =
            [("t", Arc::new(times)), ("k", Arc::new(Int64Array::from_iter_values(keys)))];
        Rows::try_from_iter(columns).unwrap()
    };
    windows.shape(&Shape { schema: Some(rows(0..1).schema()), ..Shape::default() }).unwrap();
    let mut written = Vec::new();
    for keys in [0..50_000, 100..600] {
        windows.handle(rows(keys), Source::Partition(0.into())).await.unwrap();
        let parts = windows.snapshot().await.unwrap();
        let new = parts.values().map(|part| match part {
            Part::New(bytes) => bytes.len(),
            Part::Kept => 0,
        });
        written.push(new.sum::<usize>());
    }
    assert!(written[1] * 20 < written[0], "{written:?}");
    let last = windows.finish().await.unwrap();
    assert_eq!(last.outputs[0].0.num_rows(), 50_000);
}

#[tokio::test]
async fn too_many_groups_are_refused() {
    let mut windows = handler(json!({"period": "1h", "groupBy": ["t"], "limits": {"groups": 2}}));
    windows.shape(&Shape { schema: Some(seconds(&[]).schema()), ..Shape::default() }).unwrap();
    windows.handle(seconds(&[1, 2, 3]), Source::Partition(0.into())).await.unwrap();
    let error = windows.finish().await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[tokio::test]
async fn another_spec_does_not_go_on_with_the_state() {
    let config = |spec: Value| handler(spec).config().unwrap();
    let before = config(json!({"period": "5s", "lateness": "1s"}));
    assert!(handler(json!({"period": "5s", "lateness": "2s", "limits": {"groups": 5}})).compatible(&before));
    assert!(!handler(json!({"period": "6s"})).compatible(&before));
    assert!(!handler(json!({"period": "5s", "every": "1s"})).compatible(&before));
    assert!(!handler(json!({"period": "5s", "groupBy": ["k"]})).compatible(&before));
}

fn counters(rows: &[(i64, &str, i64)]) -> Rows {
    let columns: [(&str, ArrayRef); 3] = [
        ("t", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("host", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
        ("bytes", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))),
    ];
    Rows::try_from_iter(columns).unwrap()
}

/// The kinds of windows, of which some keep sums and some rows.
fn kinds() -> Vec<Value> {
    vec![
        json!({"period": "10s"}),
        json!({"period": "10s", "align": "first", "fillPeriod": true}),
        json!({"session": "5s"}),
    ]
}

#[tokio::test]
async fn a_sum_beyond_64_bits_is_exact_over_commits_and_restarts() {
    const LARGE: i64 = 9_000_000_000_000_000_000;
    let before = counters(&[(0, "a", LARGE), (1, "a", LARGE), (2, "b", 1)]);
    let after = counters(&[(3, "a", LARGE), (4, "b", i64::MIN), (5, "b", i64::MIN), (30, "c", 0)]);
    for mut spec in kinds() {
        spec["groupBy"] = json!(["host"]);
        spec["aggregate"] = json!({"s": "sum(bytes)", "m": "mean(bytes)", "twice": "sum(bytes) * 2"});
        let shape = Shape { schema: Some(before.schema()), ..Shape::default() };
        let mut first = handler(spec.clone());
        first.shape(&shape).unwrap();
        first.handle(before.clone(), Source::Partition(0.into())).await.unwrap();
        let mut parts = BTreeMap::new();
        for (name, part) in first.snapshot().await.unwrap() {
            let Part::New(bytes) = part else { unreachable!("all of it is new") };
            parts.insert(name, bytes);
        }
        let mut second = handler(spec.clone());
        second.restore(parts).await.unwrap();
        second.shape(&shape).unwrap();
        let handled = second.handle(after.clone(), Source::Partition(0.into())).await.unwrap();
        let rows: Vec<String> = handled.outputs.iter().flat_map(|(batch, _)| lines(batch)).collect();
        let values: Vec<&str> = rows.iter().map(|row| row.split_once("host=").unwrap().1).collect();
        let expected = [
            "a m=9e18 s=27000000000000000000 twice=54000000000000000000",
            "b m=-6.148914691236517e18 s=-18446744073709551615 twice=-36893488147419103230",
        ];
        assert_eq!(values, expected, "{spec}");
    }
}

#[tokio::test]
async fn a_row_whose_argument_overflows_is_set_aside_and_its_window_comes() {
    let rows = counters(&[(0, "a", 1), (1, "a", i64::MAX), (2, "b", i64::MAX), (3, "a", 5), (30, "c", 0)]);
    for mut spec in kinds() {
        spec["groupBy"] = json!(["host"]);
        spec["aggregate"] = json!({"n": "count(*)", "s": "sum(bytes * 2)"});
        let mut windows = handler(spec.clone());
        windows.shape(&Shape { schema: Some(rows.schema()), ..Shape::default() }).unwrap();
        let handled = windows.handle(rows.clone(), Source::Partition(0.into())).await.unwrap();
        let shown: Vec<String> = handled.outputs.iter().flat_map(|(batch, _)| lines(batch)).collect();
        assert!(shown.len() == 1 && shown[0].ends_with("host=a n=2 s=12"), "{spec}: {shown:?}");
        let faults: Vec<u32> = handled.faults.iter().map(|fault| fault.row).collect();
        assert_eq!(faults, [1, 2], "{spec}");
        let reason = &handled.faults[0].reason;
        assert!(reason.contains("sum(bytes * 2)") && reason.contains("9223372036854775807 * 2"), "{reason}");
    }
}

#[tokio::test]
async fn the_ends_of_time_are_no_trap() {
    let far = counters(&[(i64::MAX, "a", 1), (i64::MAX / 1_000_000_000, "a", 1), (9_190_000_000, "a", 2)]);
    for mut spec in kinds() {
        spec["aggregate"] = json!({"n": "count(*)"});
        let mut windows = handler(spec);
        windows.shape(&Shape { schema: Some(far.schema()), ..Shape::default() }).unwrap();
        let handled = windows.handle(far.clone(), Source::Partition(0.into())).await.unwrap();
        assert_eq!(handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [0, 1]);
        let last = windows.finish().await.unwrap();
        assert_eq!(last.outputs.len(), 1);
    }
}

/// However many panes the rows of a batch are of, and in whatever order.
#[tokio::test]
async fn panes_of_many_rows_and_of_few_are_the_same() {
    let sums = json!({"rows": "count(*)", "s": "sum(n)", "m": "mean(value)", "first": "first(n)"});
    for (period, every) in [("1s", "1s"), ("1m", "1m"), ("20s", "5s")] {
        for (group, aggregate) in [(json!(["n"]), &sums), (json!([]), &sums), (json!([]), &json!({}))] {
            let window = json!([{"type": "window", "period": period, "every": every, "groupBy": group, "aggregate": aggregate,
                "bounds": aggregate == &json!({}), "time": {"column": "time", "lateness": "3s"}}]);
            let outcome = Trial::new(window, &[readings(5, 250), readings(6, 80)]).same_under_any_cut(2).await;
            assert!(outcome.rows.len() > 5, "{period}: {outcome:?}");
        }
    }
}
