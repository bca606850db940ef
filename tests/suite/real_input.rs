//! Real, nested input through the `files` plugin, decoded natively and by the `json` plugin: the same values.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, root};

/// GitHub's own events, if they are beside this checkout (`SPOUT_SHARED` names another place).
fn events() -> Option<PathBuf> {
    let shared = std::env::var_os("SPOUT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    Some(shared.join("data/github-events.ndjson")).filter(|path| path.exists())
}

fn spec(decoder: &str) -> String {
    format!(
        r#"
pipeline: {{name: github}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", follow: false}}}}
  decoder: {decoder}
commit: {{path: /events/}}
grants:
  files: {{dirs: {{in: ./in}}}}
"#
    )
}

/// `value` without nulls and empty parts: a table cannot tell a missing field from a null one.
fn dense(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> =
                fields.into_iter().filter_map(|(name, value)| Some((name, dense(value)?))).collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Array(items) if items.is_empty() => None,
        // What is empty in all messages has settled no type: its column is text.
        Value::String(text) if text == "[]" || text == "{}" => None,
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(dense).collect())),
        other => Some(other),
    }
}

/// The table's rows by event id, through the repo.
fn table(decoder: &str, input: &str) -> Result<Vec<Value>> {
    let site = Site::new()?;
    site.write("in/events.ndjson", input)?;
    site.write("spec.yaml", spec(decoder))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let dead = site.json(&["inspect", "commit", "github@master"])?;
    ensure!(dead[0].get("dead_letters").and_then(Value::as_u64) == Some(0), "dead letters: {}", dead[0]);
    let rows = site.rows("select * from github", None)?;
    by_id(rows.iter().map(String::as_str))
}

fn by_id<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Value>> {
    let mut rows: Vec<Value> =
        lines.map(|line| dense(serde_json::from_str(line)?).context("a row")).collect::<Result<_>>()?;
    rows.sort_by_key(|row| row.get("id").map(ToString::to_string));
    Ok(rows)
}

#[test]
fn github_events_keep_every_value() -> Result<()> {
    let Some(path) = events() else {
        println!(
            "SKIPPED: github-events.ndjson is not here; set SPOUT_SHARED to the directory that has data/github-events.ndjson"
        );
        return Ok(());
    };
    let input = fs::read_to_string(path)?;
    let expected = by_id(input.lines())?;
    ensure!(expected.len() == 800, "{} events", expected.len());
    for decoder in ["{type: json}", "{plugin: json}"] {
        let rows = table(decoder, &input)?;
        ensure!(rows.len() == 800, "{decoder}: {} rows", rows.len());
        for (row, expected) in rows.iter().zip(&expected) {
            ensure!(row == expected, "{decoder}: {row}\nis not\n{expected}");
        }
    }
    Ok(())
}
