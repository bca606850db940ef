//! Columns that are added for fields outside the schema.

use super::{Messages, open, schema};
use crate::{Decode as _, Schema};

/// The columns to be added to `of` after these lines, and how many fields were left out.
fn added(of: &str, settings: &str, lines: &[&str]) -> (Schema, usize) {
    let mut json = open(of, settings);
    let messages = Messages::new(lines);
    let decoded = json.decode(&messages.input()).unwrap();
    (json.added(&messages.input(), &decoded.unknown).unwrap(), decoded.unknown.len())
}

const ADD: &str = r#"{"evolve":"add-columns"}"#;

#[test]
fn new_fields_are_typed_as_first_ones_are() {
    let check = |lines: &[&str], expected: &str| {
        assert_eq!(added(r#"{"a":"int64"}"#, ADD, lines).0, schema(expected), "{lines:?}");
    };
    check(&[r#"{"a":1}"#], "{}");
    check(&[r#"{"a":1,"b":2}"#, r#"{"c":"x","b":-3}"#], r#"{"b":"int64","c":"utf8"}"#);
    check(&[r#"{"b":1}"#, r#"{"b":1.5}"#], r#"{"b":"float64"}"#);
    check(&[r#"{"b":1}"#, r#"{"b":"x"}"#], r#"{"b":"utf8"}"#);
    check(&[r#"{"b":18446744073709551615}"#], r#"{"b":"uint64"}"#);
    check(&[r#"{"b":{"c":[1],"d":null}}"#], r#"{"b":{"c":["int64"],"d":"utf8"}}"#);
    // A message that is no JSON says nothing.
    check(&[r#"{"b":1}"#, r#"{"b":1.5"#, r#"{"b":2,}"#], r#"{"b":"int64"}"#);
}

#[test]
fn what_has_no_value_waits() {
    let check = |lines: &[&str], expected: &str| {
        assert_eq!(added(r#"{"a":"int64"}"#, ADD, lines).0, schema(expected), "{lines:?}");
    };
    check(&[r#"{"b":null}"#, r#"{"b":{}}"#, r#"{"b":[]}"#], "{}");
    check(&[r#"{"b":[],"c":null}"#, r#"{"b":[1]}"#], r#"{"b":["int64"]}"#);
    check(&[r#"{"b":{}}"#, r#"{"b":{"c":true}}"#], r#"{"b":{"c":"boolean"}}"#);
    check(&[r#"{"b":[null]}"#], r#"{"b":["utf8"]}"#);
}

#[test]
fn only_fields_of_the_message_itself_are_added() {
    let of = r#"{"a":{"x":"int64"}}"#;
    let (columns, unknown) = added(of, ADD, &[r#"{"a":{"x":1,"y":2},"b":3}"#]);
    assert_eq!((columns, unknown), (schema(r#"{"b":"int64"}"#), 2), "a.y is left out and counted");
    assert_eq!(added(of, ADD, &[r#"{"a":{"x":1,"y":2}}"#]).0, Schema::default());
    // A field of a new object may be called as a column is.
    assert_eq!(added(of, ADD, &[r#"{"b":{"a":3}}"#]).0, schema(r#"{"b":{"a":"int64"}}"#));
}

#[test]
fn nothing_is_added_beyond_the_most_or_without_being_asked() {
    let lines = [r#"{"a":1,"b":2,"c":3,"d":4}"#];
    let of = r#"{"a":"int64"}"#;
    let check = |of: &str, settings: &str, expected: &str| {
        assert_eq!(added(of, settings, &lines).0, schema(expected), "{of} {settings}");
    };
    check(of, "{}", "{}");
    check(of, r#"{"evolve":"none"}"#, "{}");
    check(of, r#"{"evolve":"add-columns","columns":3}"#, r#"{"b":"int64","c":"int64"}"#);
    check(of, r#"{"evolve":"add-columns","columns":1}"#, "{}");
    // Fields within objects count too.
    check(
        r#"{"a":"int64","o":{"x":"int64","l":[{"y":"utf8"}]}}"#,
        r#"{"evolve":"add-columns","columns":6}"#,
        r#"{"b":"int64"}"#,
    );
}

#[test]
fn columns_that_nobody_wants_are_known() {
    let settings = serde_json::from_str::<crate::json::Settings<()>>(ADD).unwrap();
    let wanted = Some(vec!["a".to_owned()]);
    let of = schema(r#"{"a":"int64","b":"int64"}"#);
    let mut json = crate::json::Json::new(&settings, Some(of), wanted).unwrap();
    let messages = Messages::new(&[r#"{"a":1,"b":2,"c":3}"#]);
    let decoded = json.decode(&messages.input()).unwrap();
    assert_eq!(json.added(&messages.input(), &decoded.unknown).unwrap(), schema(r#"{"c":"int64"}"#));
}
