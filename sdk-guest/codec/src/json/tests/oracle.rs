//! serde_json as the oracle: the same verdict on random and mutated documents, and the same values.

use serde_json::Value;

use super::*;
use crate::fuzz;

#[test]
fn verdicts_are_those_of_serde_json() {
    for seed in 0..20_000 {
        fuzz::json_verdict(seed);
    }
}

#[test]
fn values_are_those_of_serde_json() {
    for seed in 0..8_000 {
        fuzz::json_values(seed);
    }
}

#[test]
fn numbers_are_those_of_the_standard_library() {
    for seed in 0..8_000 {
        fuzz::json_numbers(seed);
    }
}

#[test]
fn cuts_and_neighbours_change_nothing() {
    for seed in 0..1_500 {
        fuzz::json_cuts(seed);
    }
}

#[test]
fn the_oracle_is_asked() {
    // A document that the generator can make, with a value that would differ if it were compared with itself.
    let value: Value = serde_json::from_str(r#"{"t":[1,{"a":"\u00e9"}]}"#).unwrap();
    let decoded = decode(r#"{"t":"utf8"}"#, "{}", &[value.to_string()]);
    let back: Value = serde_json::from_str(column(&decoded, "t").str(0).unwrap()).unwrap();
    assert_eq!(back, value["t"]);
}
