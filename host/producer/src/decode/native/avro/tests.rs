//! Resolution of one schema with another, by the rules of the Avro specification.

use serde_json::{Value, json};

use super::{default::encoded, resolve::Resolution, schema::Schema};

fn of(fields: &Value) -> Schema {
    Schema::of(&json!({"type": "record", "name": "shop.Order", "fields": fields})).unwrap()
}

/// What becomes of a value of type `writer` where the reader has `reader`.
fn check(writer: Value, reader: Value, bytes: &[u8], expected: Result<&[u8], &str>) {
    let field = |kind: &Value| of(&json!([{"name": "f", "type": kind}]));
    let made = Resolution::new(&field(&writer), &field(&reader)).and_then(|one| one.resolve(bytes, 1 << 16));
    match (&made, expected) {
        (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{writer} as {reader}"),
        (Err(why), Err(part)) => assert!(why.contains(part), "{writer} as {reader}: {why}"),
        _ => panic!("{writer} as {reader}: {made:?}"),
    }
}

fn named(kind: &str, name: &str, more: Value) -> Value {
    let mut named = json!({"type": kind, "name": name});
    named.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    named
}

#[test]
fn values_become_wider_and_never_others() {
    let one = 1.0_f32.to_le_bytes();
    let wide = 1.0_f64.to_le_bytes();
    check(json!("int"), json!("long"), &[2], Ok(&[2]));
    check(json!("int"), json!("float"), &[2], Ok(&one));
    check(json!("long"), json!("float"), &[2], Ok(&one));
    check(json!("int"), json!("double"), &[2], Ok(&wide));
    check(json!("long"), json!("double"), &[2], Ok(&wide));
    check(json!("float"), json!("double"), &one, Ok(&wide));
    check(json!("string"), json!("bytes"), &[2, b'a'], Ok(&[2, b'a']));
    check(json!("bytes"), json!("string"), &[2, b'a'], Ok(&[2, b'a']));
    for (writer, reader) in
        [("long", "int"), ("double", "float"), ("float", "long"), ("string", "int"), ("null", "int")]
    {
        check(json!(writer), json!(reader), &[2], Err("where the writer's has"));
    }
    let time = |unit: &str| json!({"type": "long", "logicalType": format!("timestamp-{unit}")});
    check(time("millis"), time("millis"), &[2], Ok(&[2]));
    check(time("millis"), json!("long"), &[2], Ok(&[2]));
    check(time("millis"), time("micros"), &[2], Err("timestamp-micros where the writer's has timestamp-millis"));
    let decimal = |scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale});
    check(decimal(2), decimal(3), &[2, 1], Err("decimal(9, 3)"));
}

#[test]
fn unions_are_resolved_branch_by_branch() {
    check(json!("int"), json!(["null", "int"]), &[2], Ok(&[2, 2]));
    check(json!(["null", "int"]), json!("int"), &[2, 2], Ok(&[2]));
    check(json!(["null", "int"]), json!("int"), &[0], Err("int where the writer's has null"));
    check(json!(["int", "null"]), json!(["null", "double"]), &[0, 2], Ok(&[&[2], &1.0_f64.to_le_bytes()[..]].concat()));
    check(json!(["int", "null"]), json!(["null", "double"]), &[2], Ok(&[0]));
    // The first branch that matches.
    check(json!("int"), json!(["long", "int"]), &[2], Ok(&[0, 2]));
    check(json!(["string", "null"]), json!("int"), &[2], Err("where the writer's has"));
    check(json!(["null", "int"]), json!(["null", "int"]), &[4, 2], Err("no branch 2"));
}

#[test]
fn arrays_maps_enums_and_fixed_are_matched_by_what_they_hold_and_their_names() {
    let list = |item: &str| json!({"type": "array", "items": item});
    check(list("int"), list("long"), &[4, 2, 4, 0], Ok(&[2, 2, 2, 4, 0]));
    check(list("int"), list("long"), &[3, 4, 2, 4, 0], Ok(&[2, 2, 2, 4, 0]));
    check(list("int"), json!({"type": "map", "values": "int"}), &[0], Err("map where the writer's has array"));
    let map = |value: &str| json!({"type": "map", "values": value});
    check(map("int"), map("long"), &[2, 2, b'k', 6, 0], Ok(&[2, 2, b'k', 6, 0]));
    let symbols = |all: &[&str], more: Value| {
        let mut symbols = json!({"symbols": all});
        symbols.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        symbols
    };
    let written = named("enum", "Kind", symbols(&["A", "B"], json!({})));
    check(written.clone(), named("enum", "Kind", symbols(&["B", "A"], json!({}))), &[0], Ok(&[2]));
    check(
        written.clone(),
        named("enum", "Kind", symbols(&["B"], json!({}))),
        &[0],
        Err("no symbol `A` and no default"),
    );
    check(written.clone(), named("enum", "Kind", symbols(&["B", "C"], json!({"default": "C"}))), &[0], Ok(&[2]));
    check(written.clone(), named("enum", "Sort", symbols(&["A"], json!({}))), &[0], Err("enum `shop.Sort`"));
    check(written, named("enum", "Sort", symbols(&["A"], json!({"aliases": ["Kind"]}))), &[0], Ok(&[0]));
    let fixed = |name: &str, size: u32| named("fixed", name, json!({"size": size}));
    check(fixed("F", 2), fixed("other.F", 2), &[1, 2], Ok(&[1, 2]));
    check(fixed("F", 2), fixed("F", 3), &[1, 2], Err("fixed `shop.F` of 3 bytes"));
}

#[test]
fn fields_are_found_by_their_names_and_the_rest_is_the_default() {
    let written = of(
        &json!([{"name": "a", "type": "int"}, {"name": "gone", "type": {"type": "map", "values": ["null", "string"]}},
        {"name": "b", "type": "string"}]),
    );
    let place = json!({"type": "record", "name": "Place", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int", "default": 3}]});
    let read = of(&json!([{"name": "c", "type": "string", "aliases": ["b"]}, {"name": "a", "type": "long"},
        {"name": "at", "type": place, "default": {"x": 1}}, {"name": "some", "type": ["null", "int"], "default": null},
        {"name": "raw", "type": "bytes", "default": "\u{ff}"}]));
    let resolution = Resolution::new(&written, &read).unwrap();
    let bytes = [2, 2, 2, b'k', 2, 2, b'v', 0, 2, b't'];
    assert_eq!(resolution.resolve(&bytes, 1000).unwrap(), [2, b't', 2, 2, 6, 0, 2, 0xff]);
    assert!(resolution.resolve(&bytes[..9], 1000).unwrap_err().contains("cut short"));
    assert!(resolution.resolve(&[&bytes[..], &[0]].concat(), 1000).unwrap_err().contains("1 bytes after"));
    // Defaults that a stranger's schema has cost no more than there is room for.
    assert!(resolution.resolve(&bytes, 5).unwrap_err().contains("far more room"));
    let none = Resolution::new(&of(&json!([])), &of(&json!([{"name": "a", "type": "int"}]))).unwrap_err();
    assert!(none.contains("no field `a`"), "{none}");
    let wrong =
        Resolution::new(&of(&json!([])), &of(&json!([{"name": "a", "type": "int", "default": "x"}]))).unwrap_err();
    assert!(wrong.contains("field `a`: \"x\" is no default of int"), "{wrong}");
    let twice = of(&json!([{"name": "a", "type": "int"}, {"name": "b", "type": "int", "aliases": ["a"]}]));
    assert!(Resolution::new(&of(&json!([{"name": "a", "type": "int"}])), &twice).unwrap_err().contains("two fields"));
}

#[test]
fn defaults_are_of_their_type() {
    let check = |kind: Value, value: Value, expected: Option<&[u8]>| {
        let schema = Schema::of(&kind).unwrap();
        assert_eq!(encoded(&value, &schema).ok().as_deref(), expected, "{kind} {value}");
    };
    check(json!("int"), json!(-1), Some(&[1]));
    check(json!("int"), json!(1_u64 << 31), None);
    check(json!("long"), json!(i64::MIN), Some(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]));
    check(json!("double"), json!(1), Some(&1.0_f64.to_le_bytes()));
    check(json!("boolean"), json!(true), Some(&[1]));
    check(json!("bytes"), json!("\u{100}"), None);
    check(json!({"type": "array", "items": "int"}), json!([1, 2]), Some(&[4, 2, 4, 0]));
    check(json!({"type": "array", "items": "int"}), json!([]), Some(&[0]));
    check(json!({"type": "map", "values": "int"}), json!({"k": 1}), Some(&[2, 2, b'k', 2, 0]));
    check(json!(["null", "string"]), json!("a"), Some(&[2, 2, b'a']));
    check(named("fixed", "F", json!({"size": 2})), json!("a"), None);
    check(named("enum", "E", json!({"symbols": ["A", "B"]})), json!("B"), Some(&[2]));
    check(named("enum", "E", json!({"symbols": ["A"]})), json!("B"), None);
}
