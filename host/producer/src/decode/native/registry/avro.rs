//! An Avro schema with what it refers to in the place of the names.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schemas::Registration;

/// Deepest nesting of a schema.
const DEPTH: usize = 64;

/// The writer's schema as one: a type that it refers to stands where its name is first met.
///
/// # Errors
/// What is no Avro schema.
pub(super) fn writer(schema: &Registration) -> Result<Value, String> {
    let read = |text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| format!("the registered Avro schema is not JSON: {error}"))
    };
    let main = read(&schema.schema)?;
    if schema.references.is_empty() {
        return Ok(main);
    }
    let mut types = Types::default();
    for referred in &schema.references {
        types.collect(&read(&referred.schema)?, "", 0)?;
    }
    types.inlined(&main, "", 0)
}

/// Named types of what is referred to; those that stand somewhere in the schema already are empty.
#[derive(Debug, Default)]
struct Types(BTreeMap<String, Option<Value>>);

impl Types {
    /// Takes the named types out of `schema`.
    fn collect(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<(), String> {
        within(depth)?;
        match schema {
            Value::Array(branches) => branches.iter().try_for_each(|branch| self.collect(branch, namespace, depth + 1)),
            Value::Object(object) => {
                let inside = inside(object, namespace);
                if let (true, Some(name)) = (is_named(object), full_name(object, namespace)) {
                    let mut object = object.clone();
                    object.insert("name".into(), name.clone().into());
                    object.remove("namespace");
                    self.0.insert(name, Some(Value::Object(object)));
                }
                parts(object).try_for_each(|part| self.collect(part, &inside, depth + 1))
            }
            _ => Ok(()),
        }
    }

    /// `schema` with the types that it refers to.
    fn inlined(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Value, String> {
        within(depth)?;
        Ok(match schema {
            Value::String(name) => {
                let full = if name.contains('.') || namespace.is_empty() {
                    name.clone()
                } else {
                    format!("{namespace}.{name}")
                };
                let known = if self.0.contains_key(&full) { &full } else { name };
                match self.0.get_mut(known).and_then(Option::take) {
                    Some(found) => self.inlined(&found, "", depth + 1)?,
                    None => schema.clone(),
                }
            }
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.inlined(branch, namespace, depth + 1));
                branches.collect::<Result<Vec<_>, _>>()?.into()
            }
            Value::Object(object) => {
                let mut object = object.clone();
                let inside = inside(&object, namespace);
                if let (true, Some(name)) = (is_named(&object), full_name(&object, namespace)) {
                    // It stands here: later names mean this one.
                    self.0.insert(name, None);
                }
                for key in ["type", "items", "values"] {
                    if let Some(part) = object.get_mut(key).filter(|part| key != "type" || !is_kind(part)) {
                        *part = self.inlined(part, &inside, depth + 1)?;
                    }
                }
                for field in object.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(part) = field.get_mut("type") {
                        *part = self.inlined(part, &inside, depth + 1)?;
                    }
                }
                Value::Object(object)
            }
            other => other.clone(),
        })
    }
}

fn within(depth: usize) -> Result<(), String> {
    if depth > DEPTH { Err(format!("the registered Avro schema is nested deeper than {DEPTH}")) } else { Ok(()) }
}

/// Whether a type is described here rather than named.
fn is_kind(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| matches!(kind, "record" | "error" | "enum" | "fixed" | "array" | "map"))
}

fn is_named(object: &Map<String, Value>) -> bool {
    let kind = object.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| matches!(kind, "record" | "error" | "enum" | "fixed"))
}

fn full_name(object: &Map<String, Value>, namespace: &str) -> Option<String> {
    let name = object.get("name")?.as_str()?;
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Some(if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") })
}

/// The namespace of names inside a type.
fn inside(object: &Map<String, Value>, namespace: &str) -> String {
    match full_name(object, namespace).filter(|_| is_named(object)) {
        Some(name) => name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned(),
        None => namespace.to_owned(),
    }
}

/// The types in a type.
fn parts(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let fields = object.get("fields").and_then(Value::as_array).into_iter().flatten();
    let fields = fields.filter_map(|field| field.get("type"));
    ["type", "items", "values"].into_iter().filter_map(|key| object.get(key)).chain(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::schemas::{Format, Referred},
        *,
    };

    #[test]
    fn types_stand_where_they_are_first_named() {
        let refers = |name: &str, schema: Value| Referred { name: name.into(), schema: schema.to_string() };
        let city = json!({"type": "record", "name": "City", "namespace": "geo", "fields": [{"name": "name", "type": "string"}]});
        let place = json!({"type": "record", "name": "geo.Place", "fields": [{"name": "city", "type": "City"}]});
        let main = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
            {"name": "from", "type": ["null", "geo.Place"]}, {"name": "to", "type": "geo.Place"},
            {"name": "via", "type": {"type": "array", "items": "geo.City"}}]});
        let schema = Registration {
            format: Format::Avro,
            schema: main.to_string(),
            references: vec![refers("geo.City", city), refers("geo.Place", place)],
        };
        let city = json!({"type": "record", "name": "geo.City", "fields": [{"name": "name", "type": "string"}]});
        let place = json!({"type": "record", "name": "geo.Place", "fields": [{"name": "city", "type": city}]});
        let expected = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
            {"name": "from", "type": ["null", place]}, {"name": "to", "type": "geo.Place"},
            {"name": "via", "type": {"type": "array", "items": "geo.City"}}]});
        assert_eq!(writer(&schema).unwrap(), expected);
    }

    #[test]
    fn deep_schemas_are_refused() {
        let mut deep = json!("int");
        (0..100).for_each(|_| deep = json!({"type": "array", "items": deep}));
        let reference = Referred { name: "x".into(), schema: "\"int\"".into() };
        let schema = Registration { format: Format::Avro, schema: deep.to_string(), references: vec![reference] };
        let why = writer(&schema).unwrap_err();
        assert!(why.contains("deeper than 64") || why.contains("recursion"), "{why}");
    }
}
