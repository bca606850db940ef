//! Chains of handlers under every cut.

use serde_json::json;

use super::cuts::{Trial, readings};

#[tokio::test]
async fn stateless_chains_give_the_same_rows_under_any_cut() {
    let nodes = json!([
        {"type": "filter", "where": "value > 3"},
        {"type": "map", "columns": {"double": "value * 2"}, "drop": ["value"]},
    ]);
    let trial = Trial { ordered: false, ..Trial::new(nodes, &[readings(1, 60), readings(2, 40)]) };
    let outcome = trial.same_under_any_cut(20).await;
    assert!(outcome.rows.len() > 50, "{outcome:?}");
}
