//! The JSON schema of pipeline specs, made from the structs.

use std::sync::OnceLock;

use serde_json::Value;

use super::PipelineSpec;

/// The JSON schema of one pipeline spec, for editors and for checking.
#[must_use]
pub fn spec_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schemars::schema_for!(PipelineSpec).to_value();
        close(&mut schema);
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".into(), "Spout pipeline spec".into());
        }
        schema
    })
}

/// A map that has keys of its own takes no others, also where a struct forgot to say so.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object) {
                map.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_spec_is_documented() {
        fn walk(schema: &Value, path: &str, bare: &mut Vec<String>) {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, inner) in properties.into_iter().flatten() {
                // The one key of a variant is described by the variant.
                let variant = properties.is_some_and(|all| all.len() == 1) && schema.get("description").is_some();
                let described = ["description", "$ref", "const"].iter().any(|key| inner.get(key).is_some());
                if !described && !variant {
                    bare.push(format!("{path}.{name}"));
                }
            }
            match schema {
                Value::Object(map) => map.iter().for_each(|(key, inner)| walk(inner, &format!("{path}/{key}"), bare)),
                Value::Array(list) => list.iter().for_each(|inner| walk(inner, path, bare)),
                _ => {}
            }
        }
        let mut bare = Vec::new();
        walk(spec_schema(), "", &mut bare);
        assert!(bare.is_empty(), "no description: {bare:?}");
    }
}
