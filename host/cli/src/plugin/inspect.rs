//! `spout plugin inspect`: what a plugin offers, which settings it takes, and what it asks for.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use spout_plugin::{Manifest, Needs, World};

use super::located;
use crate::{
    Global,
    check::joined,
    print::{Printer, Table},
};

/// Show what a plugin offers, its settings, and what it asks for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin inspect files
  spout plugin inspect weblog/access      one of several things that it offers
  spout plugin inspect files --json | jq '.offers[].settings'

This runs the plugin in its sandbox, without any grants.")]
pub(super) struct Inspect {
    /// Name of the plugin, of one of its offers, NAME/OFFER, or with its digest, NAME@sha256:…; or a file.
    name: String,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    digest: &'a str,
    worlds: &'a [World],
    offers: Vec<Offered<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<&'a Manifest>,
}

#[derive(Debug, Serialize)]
struct Offered<'a> {
    interface: &'a str,
    name: &'a str,
    summary: &'a str,
    /// What a spec has to grant if it uses this.
    asks: Needs<'a>,
    /// Its JSON schema; a text if it is not JSON.
    settings: Value,
}

impl Inspect {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let located = located::plugin(&self.name, global).await?;
        let (plugin, offers) = (&located.plugin, located.offers().await?);
        let shown = Shown {
            name: plugin.name(),
            digest: plugin.digest(),
            worlds: plugin.worlds(),
            offers: offers
                .iter()
                .map(|offer| Offered {
                    settings: serde_json::from_str(&offer.settings_schema)
                        .unwrap_or_else(|_| Value::from(offer.settings_schema.as_str())),
                    interface: &offer.interface,
                    name: &offer.name,
                    summary: &offer.summary,
                    asks: plugin
                        .manifest()
                        .map(|manifest| manifest.needs(&offer.interface, &offer.name, None))
                        .unwrap_or_default(),
                })
                .collect(),
            manifest: plugin.manifest(),
        };
        if printer.json() { printer.value(&shown) } else { print(&shown, printer) }
    }
}

fn print(shown: &Shown<'_>, printer: &mut Printer) -> Result<()> {
    let about = shown.manifest.map(|about| format!("{} {}", about.name, about.version)).unwrap_or_default();
    let asks = |needs: &Needs<'_>| {
        let ask = |(what, grant)| format!("{what}: grants: {{{}: {{{grant}}}}}", shown.name);
        needs.lines().into_iter().map(ask).collect::<Vec<_>>()
    };
    let all = shown.manifest.map(|about| asks(&about.asks.needs())).unwrap_or_default();
    printer.facts(&[
        ("plugin", shown.name.to_owned()),
        ("crate", about),
        ("digest", shown.digest.to_owned()),
        ("worlds", joined(shown.worlds)),
        ("asks for", all.join("\n")),
    ])?;
    for offer in &shown.offers {
        let name = if offer.name.is_empty() { String::new() } else { format!(" `{}`", offer.name) };
        printer.line(format!("\n{}{name}: {}", offer.interface, offer.summary))?;
        for ask in asks(&offer.asks).iter().filter(|ask| !all.contains(ask)) {
            printer.line(format!("  asks for {ask}"))?;
        }
        let rows = settings(&offer.settings);
        if rows.is_empty() {
            printer.line("  takes no settings")?
        } else {
            printer.table(&Table::new(&["setting", "type", "default", "about"], rows))?
        }
    }
    Ok(())
}

/// One row a setting: name, type, default, description.
fn settings(schema: &Value) -> Vec<Vec<String>> {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let text = |schema: &Value, key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    properties
        .iter()
        .map(|(name, property)| {
            let target = property
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|pointer| schema.pointer(pointer.strip_prefix('#')?));
            let default = match property.get("default") {
                Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None if required.contains(&name.as_str()) => "(required)".into(),
                None => String::new(),
            };
            let about = match text(property, "description") {
                about if about.is_empty() => target.map(|target| text(target, "description")).unwrap_or_default(),
                about => about,
            };
            vec![name.clone(), type_name(target.unwrap_or(property)), default, about.replace('\n', " ")]
        })
        .collect()
}

fn type_name(schema: &Value) -> String {
    match (schema.get("type"), schema.get("enum")) {
        (_, Some(Value::Array(words))) => words
            .iter()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join("|"),
        (Some(Value::String(name)), _) => name.clone(),
        (Some(Value::Array(names)), _) => {
            names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect::<Vec<_>>().join("|")
        }
        _ => {
            let of = ["oneOf", "anyOf"].into_iter().find_map(|key| schema.get(key)).and_then(Value::as_array);
            let words: Vec<&str> =
                of.into_iter().flatten().filter_map(|schema| schema.get("const")?.as_str()).collect();
            if words.is_empty() { "any".into() } else { words.join("|") }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_reads_as_a_table() {
        let rows = settings(&json!({
            "required": ["pattern"],
            "properties": {
                "pattern": {"type": "string", "description": "Which files."},
                "rate": {"type": ["integer", "null"], "default": 5},
                "how": {"$ref": "#/$defs/How"},
            },
            "$defs": {"How": {"description": "How.", "oneOf": [{"const": "a"}, {"const": "b"}]}}
        }));
        let expected = [
            ["how", "a|b", "", "How."],
            ["pattern", "string", "(required)", "Which files."],
            ["rate", "integer", "5", ""],
        ];
        assert_eq!(rows, expected);
        assert!(settings(&json!({})).is_empty());
    }
}
