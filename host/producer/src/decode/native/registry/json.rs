//! The columns of a JSON Schema, where it says a type of all that it names.

use arrow::datatypes::{DataType, Field, Fields};
use serde_json::Value;

use super::schemas::Registration;

/// Deepest nesting of a schema.
const DEPTH: usize = 32;
/// Most columns, with those of nested objects.
const COLUMNS: usize = 2048;

/// The columns of `schema`; `None` if it leaves a type open, so that messages have to say.
pub(super) fn columns(schema: &Registration) -> Option<Fields> {
    let root: Value = serde_json::from_str(&schema.schema).ok()?;
    let other = |name: &str| {
        let referred = schema.references.iter().find(|one| one.name == name)?;
        Some((name.to_owned(), serde_json::from_str(&referred.schema).ok()?))
    };
    let documents: Vec<(String, Value)> =
        schema.references.iter().map(|one| other(&one.name)).collect::<Option<Vec<_>>>()?;
    let mut reading = Reading { documents: &documents, left: COLUMNS };
    match reading.kind(&root, &root, 0)? {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

struct Reading<'a> {
    documents: &'a [(String, Value)],
    left: usize,
}

impl<'a> Reading<'a> {
    /// The type of what `schema`, a part of `document`, describes.
    fn kind(&mut self, document: &'a Value, schema: &'a Value, depth: usize) -> Option<DataType> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEPTH {
            return None;
        }
        if let Some(to) = schema.get("$ref") {
            let (document, schema) = self.referred(document, to.as_str()?)?;
            return self.kind(document, schema, depth + 1);
        }
        for either in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(either) {
                let mut kinds = branches.as_array()?.iter().filter(|branch| !is_null(branch));
                let (Some(only), None) = (kinds.next(), kinds.next()) else { return None };
                return self.kind(document, only, depth + 1);
            }
        }
        let word = match schema.get("type")? {
            Value::String(word) => word.as_str(),
            Value::Array(words) => {
                let mut words = words.iter().filter_map(Value::as_str).filter(|word| *word != "null");
                let (Some(only), None) = (words.next(), words.next()) else { return None };
                only
            }
            _ => return None,
        };
        Some(match word {
            "integer" => DataType::Int64,
            "number" => DataType::Float64,
            "string" => DataType::Utf8,
            "boolean" => DataType::Boolean,
            "array" => {
                let item = self.kind(document, schema.get("items")?, depth + 1)?;
                DataType::List(Field::new_list_field(item, true).into())
            }
            "object" => {
                let properties = schema.get("properties")?.as_object().filter(|all| !all.is_empty())?;
                let field = |(name, schema): (&String, &'a Value)| {
                    Some(Field::new(name, self.kind(document, schema, depth + 1)?, true))
                };
                DataType::Struct(properties.iter().map(field).collect::<Option<Fields>>()?)
            }
            _ => return None,
        })
    }

    /// What `to` points to: a place in the document, or another one.
    fn referred(&self, document: &'a Value, to: &str) -> Option<(&'a Value, &'a Value)> {
        let (name, place) = to.split_once('#').unwrap_or((to, ""));
        let document = match name {
            "" => document,
            name => &self.documents.iter().find(|(known, _)| known == name)?.1,
        };
        Some((document, document.pointer(place)?))
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::schemas::{Format, Referred},
        *,
    };

    fn check(schema: &Value, expected: Option<&str>) {
        let city = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let references = vec![Referred { name: "city.json".into(), schema: city.to_string() }];
        let schema = Registration { format: Format::Json, schema: schema.to_string(), references };
        let found = columns(&schema).map(|fields| {
            let schema = arrow::datatypes::Schema::new(fields);
            crate::SchemaText::print(&schema).unwrap().to_string()
        });
        assert_eq!(found.as_deref(), expected, "{schema:?}");
    }

    #[test]
    fn types_that_are_said_become_columns() {
        check(
            &json!({"type": "object", "$defs": {"tag": {"type": "string"}}, "properties": {
                "id": {"type": "integer"}, "price": {"type": ["number", "null"]}, "paid": {"oneOf": [{"type": "null"}, {"type": "boolean"}]},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}, "city": {"$ref": "city.json"}}}),
            Some(r#"{"city":{"name":"utf8"},"id":"int64","paid":"boolean","price":"float64","tags":["utf8"]}"#),
        );
    }

    #[test]
    fn what_leaves_a_type_open_leaves_it_to_messages() {
        check(&json!({"type": "object", "properties": {"a": {}}}), None);
        check(&json!({"type": "object", "properties": {"a": {"type": ["string", "integer"]}}}), None);
        check(&json!({"type": "object", "properties": {"a": {"$ref": "#"}}}), None);
        check(&json!({"type": "object", "properties": {"a": {"$ref": "nowhere.json"}}}), None);
        check(&json!({"type": "object"}), None);
        check(&json!({"type": "string"}), None);
        check(&json!(true), None);
    }
}
