//! What single keywords of a JSON schema say: which types and words it takes, which keys it needs, in code and in words.

use std::borrow::Cow;

use serde_json::{Map, Value};
use spout_plugin::Setting;

use super::document::{Node, Tree};

/// `table_elements` as `tableElements`.
pub(super) fn camel(key: &str) -> Cow<'_, str> {
    if !key.contains('_') {
        return Cow::Borrowed(key);
    }
    let mut out = String::with_capacity(key.len());
    let mut upper = false;
    for c in key.chars() {
        match c {
            '_' if !out.is_empty() => upper = true,
            c if upper => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Numbers and booleans as they were written, where the user's own keys have texts as values.
pub(super) fn as_text(node: &mut Node) {
    match &node.tree {
        Tree::Number(_, text) => node.tree = Tree::Text(text.clone()),
        Tree::Bool(value) => node.tree = Tree::Text(value.to_string()),
        _ => {}
    }
}

/// A text as what it is the text of, or a value as its text, whichever the schema allows.
pub(super) fn as_other(node: &mut Node, schema: &Map<String, Value>) {
    let Tree::Text(text) = &node.tree else {
        as_text(node);
        if matches!(node.tree, Tree::List(_) | Tree::Map(_)) && types(schema).contains(&"string") {
            let mut json = String::new();
            node.write_json(&mut json);
            node.tree = Tree::Text(json);
        }
        return;
    };
    if let Ok(value) = serde_json::from_str::<Setting>(text) {
        let other = Node::of(&value);
        if allows(schema, &other.tree) {
            node.tree = other.tree;
        }
    }
}

/// The property whose fixed value says which alternative this is, with that value.
pub(super) fn tag(schema: &Map<String, Value>) -> Option<(&str, &str)> {
    let properties = schema.get("properties")?.as_object()?;
    properties.iter().find_map(|(name, schema)| Some((name.as_str(), schema.get("const")?.as_str()?)))
}

/// The keys that have to be there.
pub(super) fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The only texts the schema allows, if it is that strict.
pub(super) fn words(schema: &Map<String, Value>) -> Option<Vec<&str>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(word), _) => Some(word.as_str().into_iter().collect()),
        (None, Some(words)) => Some(words.as_array()?.iter().filter_map(Value::as_str).collect()),
        (None, None) => None,
    }
}

/// The types it takes; none named means any.
fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether the type of `tree` is one it takes.
pub(super) fn allows(schema: &Map<String, Value>, tree: &Tree) -> bool {
    let types = types(schema);
    let any = |names: &[&str]| types.is_empty() || names.iter().any(|name| types.contains(name));
    match tree {
        Tree::Null => any(&["null"]),
        Tree::Bool(_) => any(&["boolean"]),
        Tree::Number(number, _) if number.is_f64() => any(&["number"]),
        Tree::Number(..) => any(&["number", "integer"]),
        Tree::Text(_) => any(&["string"]),
        Tree::List(_) => any(&["array"]),
        Tree::Map(_) => any(&["object"]),
    }
}

/// What it would take, in words.
pub(super) fn expectation(schema: &Map<String, Value>) -> String {
    expectations(&[schema])
}

/// What all of `schemas` together would take, in words.
pub(super) fn expectations(schemas: &[&Map<String, Value>]) -> String {
    let mut out: Vec<String> = Vec::new();
    for schema in schemas {
        if let Some(words) = words(schema) {
            out.extend(words.iter().map(|word| format!("`{word}`")));
            continue;
        }
        // Of one of several alternatives only what tells them apart.
        let keys: Vec<&str> = tag(schema).map_or_else(|| required(schema).collect(), |(name, _)| vec![name]);
        for name in types(schema) {
            out.push(match (name, schema.get("format").and_then(Value::as_str)) {
                ("string", Some("byte-size")) => "a number of bytes like 64KiB or 10MB".into(),
                ("string", Some("period")) => "a length of time like 250ms, 5s or 10m".into(),
                ("string", Some("date-time")) => "a time like 2026-01-01T00:00:00Z".into(),
                ("string", Some("endpoint")) => "a socket like tcp://127.0.0.1:5556 or ipc:///run/rows.sock".into(),
                ("string", _) => "a string (in quotes, if it looks like something else)".into(),
                ("integer", _) => "a whole number".into(),
                ("number", _) => "a number".into(),
                ("boolean", _) => "true or false".into(),
                ("array", _) => "a list".into(),
                ("object", _) if keys.is_empty() => "a map".into(),
                ("object", _) => format!("a map with `{}`", keys.join("`, `")),
                _ => continue,
            });
        }
    }
    out.dedup();
    match out.split_last() {
        None => "expected something else".into(),
        Some((only, [])) => format!("expected {only}"),
        Some((last, rest)) => format!("expected {} or {last}", rest.join(", ")),
    }
}

/// The path of `key` within `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What a missing key is missing from.
pub(super) fn within(path: &str) -> String {
    if path.is_empty() { "the pipeline spec".into() } else { format!("`{path}`") }
}

/// A sentence as part of another.
pub(super) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
