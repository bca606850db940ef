//! Chains of handlers that go by the order of rows, under every cut.

use serde_json::{Value, json};

use super::cuts::{Outcome, Trial, readings};
use crate::TimeSpec;

async fn check(nodes: Value) -> Outcome {
    let mut trial = Trial::new(nodes, &[readings(1, 90), readings(2, 70), readings(3, 20)]);
    let time = json!({"column": "time", "lateness": "1s"});
    trial.time = Some(serde_json::from_value::<TimeSpec>(time).unwrap());
    trial.same_under_any_cut(15).await
}

const LEVEL: &str = r#"{"type": "threshold", "watch": "value", "as": "level", "default": 6,
    "increase": {"scale": 1.5, "after": "3s"}, "decrease": {"below": 0.6, "scale": 0.5, "after": "2s"}, "groupBy": ["host"]}"#;

fn level() -> Value {
    serde_json::from_str(LEVEL).unwrap()
}

#[tokio::test]
async fn what_follows_a_join_loses_no_row_that_had_to_wait() {
    let join = json!({"type": "join", "kind": "full", "on": ["host"], "before": "1s", "after": "4s",
        "left": {"where": "n % 2 = 0", "columns": {"host": "host", "value": "value"}},
        "right": {"where": "n % 2 = 1", "columns": {"host": "host", "n": "n"}}});
    let joined = check(json!([join])).await;
    let leveled = check(json!([join, level()])).await;
    assert_eq!(joined.rows.len(), leveled.rows.len());
    assert_eq!(joined.late_rows, leveled.late_rows, "the rows are late for the join, and for nothing after it");
    assert!(joined.rows.iter().any(|row| row.contains("n=null")) && joined.late_rows > 0);
}

#[tokio::test]
async fn handlers_in_order_follow_each_other() {
    let derive = json!({"type": "derivative", "columns": {"speed": {"column": "value"}}, "neighbourhood": "3s",
        "groupBy": ["host"]});
    let once = json!({"type": "dedupe", "by": ["host", "value"], "within": "20s"});
    let few = json!({"type": "throttle", "rows": 2, "per": "4s", "keep": "last"});
    let outcome = check(json!([derive, once, level(), few])).await;
    assert!(outcome.rows.len() > 30 && outcome.late_rows > 0, "{}", outcome.rows.len());
    let outcome = check(json!([few, {"type": "filter", "where": "value > 2"}, derive])).await;
    assert!(outcome.rows.len() > 20);
}

#[tokio::test]
async fn handlers_by_source_come_before_those_that_merge() {
    let outcome = check(json!([
        {"type": "sample", "every": 2},
        {"type": "dedupe", "by": ["host"], "last": 2},
        {"type": "join", "on": ["host"], "tolerance": "2s", "side": "n % 3"},
    ]))
    .await;
    assert!(outcome.rows.len() > 10, "{}", outcome.rows.len());
}

#[tokio::test]
async fn rows_without_a_time_are_set_aside() {
    let outcome = check(json!([
        {"type": "map", "columns": {"time": "case when n % 10 <> 0 then time end"}},
        level(),
    ]))
    .await;
    assert_eq!(outcome.dead.len(), 9 + 7 + 2);
    assert!(outcome.dead.iter().all(|letter| letter.ends_with("time.missing")), "{:?}", outcome.dead);
    assert_eq!(outcome.rows.len() as u64 + outcome.late_rows, 180 - 18);
}
