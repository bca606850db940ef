//! Names of an Avro schema in the one spelling that arrow-avro resolves: a type has its name and its namespace apart, and is referred to
//! by both.

use serde_json::{Map, Value};

/// `schema` with each name spelled out.
pub(super) fn spelled_out(schema: &Value) -> Value {
    spelled(schema, "")
}

fn spelled(schema: &Value, namespace: &str) -> Value {
    match schema {
        Value::String(name) if !is_own(name) => full(name, namespace).into(),
        Value::Array(branches) => branches.iter().map(|branch| spelled(branch, namespace)).collect(),
        Value::Object(object) => Value::Object(of(object, namespace)),
        other => other.clone(),
    }
}

fn of(object: &Map<String, Value>, namespace: &str) -> Map<String, Value> {
    let mut object = object.clone();
    let kind = object.get("type").and_then(Value::as_str);
    let named = kind.is_some_and(|kind| matches!(kind, "record" | "error" | "enum" | "fixed"));
    let mut inside = namespace.to_owned();
    if let (true, Some(name)) = (named, object.get("name").and_then(Value::as_str)) {
        let full = full(name, object.get("namespace").and_then(Value::as_str).unwrap_or(namespace));
        let (space, short) = full.rsplit_once('.').unwrap_or(("", &full));
        inside = space.to_owned();
        object.insert("name".into(), short.into());
        if !space.is_empty() || !namespace.is_empty() {
            object.insert("namespace".into(), space.into());
        }
    }
    for key in ["type", "items", "values"] {
        if let Some(part) = object.get_mut(key) {
            *part = spelled(part, &inside);
        }
    }
    for field in object.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(part) = field.get_mut("type") {
            *part = spelled(part, &inside);
        }
    }
    object
}

fn full(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// Whether a word is Avro's own.
fn is_own(word: &str) -> bool {
    let simple = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    simple.contains(&word) || ["record", "error", "enum", "fixed", "array", "map"].contains(&word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_spelled_out() {
        let schema = json!({"type": "record", "name": "shop.Order", "fields": [
            {"name": "to", "type": {"type": "record", "name": "geo.City", "fields": [{"name": "n", "type": "string"}]}},
            {"name": "by", "type": ["null", {"type": "enum", "name": "Way", "symbols": ["A"]}]},
            {"name": "all", "type": {"type": "array", "items": "Way"}}, {"name": "via", "type": "geo.City"}]});
        let city =
            json!({"type": "record", "name": "City", "namespace": "geo", "fields": [{"name": "n", "type": "string"}]});
        let way = json!({"type": "enum", "name": "Way", "namespace": "shop", "symbols": ["A"]});
        let expected = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
            {"name": "to", "type": city}, {"name": "by", "type": ["null", way]},
            {"name": "all", "type": {"type": "array", "items": "shop.Way"}}, {"name": "via", "type": "geo.City"}]});
        assert_eq!(spelled_out(&schema), expected);
        let plain = json!({"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "fixed", "name": "F", "size": 2}}]});
        assert_eq!(spelled_out(&plain), plain);
    }
}
