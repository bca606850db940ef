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
        if let Some(root) = schema.as_object_mut() {
            root.insert("title".into(), "Spout pipeline spec".into());
        }
        schema
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_spec_is_documented() {
        fn walk(schema: &Value, path: &str, bare: &mut Vec<String>) {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, inner) in properties.into_iter().flatten() {
                let fixed = inner.get("const").is_some();
                if inner.get("description").is_none() && inner.get("$ref").is_none() && !fixed {
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
