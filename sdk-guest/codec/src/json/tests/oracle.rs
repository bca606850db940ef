//! serde_json as the oracle: the same verdict on random and mutated documents, and the same values.

use serde_json::Value;

use super::*;

#[test]
fn the_oracle_is_asked() {
    // A document that the generator can make, with a value that would differ if it were compared with itself.
    let value: Value = serde_json::from_str(r#"{"t":[1,{"a":"\u00e9"}]}"#).unwrap();
    let decoded = decode(r#"{"t":"utf8"}"#, "{}", &[value.to_string()]);
    let back: Value = serde_json::from_str(column(&decoded, "t").str(0).unwrap()).unwrap();
    assert_eq!(back, value["t"]);
}
