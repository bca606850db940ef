//! A fuzz target: what a registry answers when it is asked for a schema.

use serde_json::json;
use spout_fuzz::{Corpus, Target};

use super::{
    running,
    schemas::{Described, Registration},
};

/// An answer is refused, or its schema has columns, or one says why it has none.
#[test]
fn registry_answers() {
    let avro = json!({"type": "record", "name": "Order", "fields": [
        {"name": "id", "type": "long"}, {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}},
        {"name": "to", "type": ["null", {"type": "array", "items": "Order"}]}, {"name": "f", "type": {"type": "fixed", "name": "F", "size": 4}},
    ]});
    let shape = json!({"type": "object", "properties": {"id": {"type": "integer"}, "to": {"$ref": "#/definitions/to"}},
        "definitions": {"to": {"oneOf": [{"type": "null"}, {"type": "array", "items": {"type": "string"}}]}}});
    let inputs = [
        json!({"schema": "\"long\""}),
        json!({"schema": avro.to_string(), "id": 1, "version": 2, "subject": "s-value"}),
        json!({"schema": avro.to_string(), "references": [{"name": "geo.Address", "subject": "address", "version": 5}]}),
        json!({"schema": shape.to_string(), "schemaType": "JSON"}),
        // A file `a` with the message `M`, which has the number `id`.
        json!({"schema": "CgFhIg8KAU0SCgoCaWQYASABKANiBnByb3RvMw==", "schemaType": "PROTOBUF"}),
        json!({"error_code": 40403, "message": "Schema not found"}),
    ];
    let words = [
        "\\\"null\\\"",
        "\\\"Order\\\"",
        "[",
        "{\\\"type\\\":",
        "$ref",
        "PROTOBUF",
        "JSON",
        "AVRO",
        "99999999999",
        "#/definitions/to",
    ];
    let corpus = Corpus::of(inputs.map(|input| input.to_string())).words(&words);
    Target::new("registry-answers", 3_000).bytes(&corpus, |bytes| {
        let Ok(described) = serde_json::from_slice::<Described>(bytes) else { return false };
        let Ok(format) = described.format() else { return false };
        let schema = Registration { format, schema: described.schema, references: Vec::new() };
        running::columns(&schema, None).is_ok()
    });
}
