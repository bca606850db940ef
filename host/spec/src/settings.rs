//! Settings of a plugin against the schema the plugin offers for them.

use spout_plugin::Settings;

use super::{
    Loaded,
    document::{Node, Tree},
    error::Error,
    settings_schema::SettingsSchema,
    shape::Shape,
};

/// Fits `settings`, which are at `path` of the spec, to the plugin's own schema: every setting that the plugin does not know,
/// lacks, or cannot take, at its line of the spec.
#[must_use]
pub fn check_settings(loaded: &Loaded, path: &str, settings: &Settings, schema: &SettingsSchema) -> Vec<Error> {
    let mut node = Node { line: 0, tree: Tree::Map(Node::entries(settings.0.iter())) };
    place(&mut node, path, loaded);
    Shape::new(schema.value(), &loaded.path, true).fit(&mut node, path)
}

/// Gives every node the line its path has in the spec.
fn place(node: &mut Node, path: &str, loaded: &Loaded) {
    node.line = loaded.place(path).line;
    match &mut node.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let inner = format!("{path}.{}", entry.key);
                entry.line = loaded.place(&inner).line;
                place(&mut entry.value, &inner, loaded);
            }
        }
        Tree::List(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                place(item, &format!("{path}[{index}]"), loaded);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::parse;

    fn check(settings: &str, expected: Option<&str>) {
        let text = format!(
            "pipeline: {{name: p}}\nproducer:\n  stream:\n    plugin: files\n    settings:\n      {settings}\n  decoder: {{type: raw}}\n"
        );
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["pattern"],
            "properties": {
                "pattern": {"type": "string"}, "rate": {"type": "integer", "minimum": 0},
                "follow": {"type": "boolean"}, "keys": {"type": "array", "items": {"type": "string"}},
                "batch_size": {"type": ["integer", "null"]},
            }
        });
        let schema = SettingsSchema::parse(&schema.to_string()).unwrap();
        let loaded = parse(&text, Path::new("s.yaml"), Path::new("/")).unwrap().remove(0);
        let settings = &loaded.spec.producer.stream.as_ref().unwrap().settings;
        let said = check_settings(&loaded, "producer.stream.settings", settings, &schema);
        let said: Vec<String> = said.iter().map(ToString::to_string).collect();
        assert_eq!(said.iter().map(String::as_str).collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn settings_fit_the_schema_of_the_plugin() {
        check("pattern: a", None);
        check("{pattern: a, rate: 5, follow: true, keys: [a, b], batch_size: 1}", None);
        check("{pattern: a, rate: '5', follow: 'true'}", None);
        check("{pattern: 5, keys: '[\"a\"]'}", None);
        check("pattern: {id: int64}", None);
        check("rate: 5", Some("s.yaml:5: `producer.stream.settings` has no `pattern`; add `pattern: …`"));
        check(
            "{pattern: a, rat: 5}",
            Some("s.yaml:6: unknown key `rat` at `producer.stream.settings.rat`; did you mean `rate`?"),
        );
        check(
            "{pattern: a, rate: fast}",
            Some("s.yaml:6: `producer.stream.settings.rate` is the string `fast`; expected a whole number"),
        );
        check(
            "{pattern: a, batchSize: 1}",
            Some(
                "s.yaml:6: unknown key `batchSize` at `producer.stream.settings.batchSize`; did you mean `batch_size`?",
            ),
        );
    }
}
