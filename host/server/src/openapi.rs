//! The OpenAPI document, made of the routes themselves.

use axum::response::IntoResponse;
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use spout_api::Problem;

use crate::{
    answer::Json,
    endpoint::{Content, Endpoint},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::get("/openapi.json", "This document.", sent).needs(None).gives::<Value>()]
}

async fn sent() -> impl IntoResponse {
    Json(crate::document())
}

/// The document of these routes.
pub(crate) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &problem, &mut schemas);
        // `{*path}` is a path to the router, and a name to everyone else.
        let path = endpoint.path.replace("{*", "{");
        if let Value::Object(methods) = paths.entry(path).or_insert_with(|| json!({})) {
            methods.insert(endpoint.method.to_owned(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "spout",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Versioned repos, and the pipelines that fill them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(endpoint: &Endpoint, problem: &Schema, schemas: &mut SchemaGenerator) -> Value {
    let names = endpoint.path.split(['{', '}']).skip(1).step_by(2);
    let mut parameters: Vec<Value> = names
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({"name": name, "in": "path", "required": true, "schema": shaped(name), "description": named(name)})
        })
        .collect();
    for query in &endpoint.query {
        parameters.extend(of_query(&query(schemas)));
    }
    let mut content = |content: Content| match content {
        Content::Json(schema) => json!({"application/json": {"schema": schema(schemas)}}),
        Content::Form => json!({"multipart/form-data": {"schema": {
            "type": "object",
            "minProperties": 1,
            "description": "Files by their paths.",
            "additionalProperties": {"type": "string", "format": "binary"},
        }}}),
        Content::Bytes(media) => json!({media: {"schema": {"type": "string", "format": "binary"}}}),
    };
    let mut operation = json!({"summary": endpoint.summary, "parameters": parameters});
    if let Some(body) = endpoint.body {
        operation["requestBody"] = json!({"required": true, "content": content(body)});
    }
    let mut ok = json!({"description": "Done."});
    if let Some(answer) = endpoint.answer {
        ok["content"] = content(answer);
    }
    let refused = json!({"description": "What went wrong.", "content": {"application/json": {"schema": problem}}});
    operation["responses"] = json!({"200": ok, "4XX": refused.clone(), "5XX": refused});
    if let Some(unwell) = endpoint.unwell {
        let content = content(Content::Json(unwell));
        operation["responses"]["503"] = json!({"description": "It is not.", "content": content});
    }
    if let Some(access) = endpoint.access {
        operation["security"] = json!([{"token": [access.to_string()]}]);
    }
    operation
}

/// What a name in a path looks like.
fn shaped(name: &str) -> Value {
    match name {
        "repo" => json!({"type": "string", "pattern": "^(_specs|[A-Za-z0-9][A-Za-z0-9._-]{0,99})$"}),
        "branch" | "tag" | "name" => json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}),
        "id" => json!({"type": "string", "pattern": "^[0-9a-f]{4,32}$"}),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

fn named(name: &str) -> &'static str {
    match name {
        "repo" => "Name of the repo.",
        "branch" => "Name of the branch.",
        "tag" => "Name of the tag.",
        "id" => "Id of a started commit, or the start of it.",
        "at" => "A commit: a branch, a tag, an id, `master~2`, `master{2026-01-31}`.",
        "to" => "A branch, or the id of a started commit.",
        "path" => "Path of a file.",
        "name" => "Name of the pipeline.",
        "plugin" => "Name of the plugin.",
        _ => "A name.",
    }
}

/// The properties of a schema as parameters of a query.
fn of_query(schema: &Schema) -> Vec<Value> {
    let schema = schema.as_value();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let required = required.contains(&name.as_str());
            json!({"name": name, "in": "query", "required": required, "schema": schema, "description": schema["description"]})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_said_once_and_every_schema_is_there() {
        let document = crate::document();
        let mut said = BTreeSet::new();
        for endpoint in crate::endpoints() {
            assert!(said.insert((endpoint.method, endpoint.path)), "{} {}", endpoint.method, endpoint.path);
            assert!(endpoint.summary.ends_with('.'), "{}", endpoint.summary);
            let open = ["/health", "/ready", "/openapi.json"].contains(&endpoint.path);
            assert_eq!(endpoint.access.is_none(), open, "{}", endpoint.path);
        }
        let text = document.to_string();
        for used in text.split("\"#/components/schemas/").skip(1) {
            let name = used.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name} is not there");
        }
        assert!(document["paths"]["/v1/repos/{repo}/files/{at}/{path}"]["get"].is_object(), "{text}");
    }
}
