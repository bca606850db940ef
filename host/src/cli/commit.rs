//! Commits and markers as they are shown.

use anyhow::Result;
use serde_json::Value;

use super::print::{Printer, Table, grouped, local_time, short, size};
use crate::{data::Marker, repo::Commit};

/// The commit record without the bytes that live inside it.
pub(super) fn shown(commit: &Commit) -> Result<Value> {
    let mut value = serde_json::to_value(commit)?;
    without_bytes(&mut value);
    Ok(value)
}

/// `{"inline": "…base64…"}` says where bytes are and holds them; where they are is enough.
fn without_bytes(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(inline) = fields.get_mut("place").filter(|place| place.get("inline").is_some()) {
                *inline = "inline".into();
            }
            fields.values_mut().for_each(without_bytes);
        }
        Value::Array(items) => items.iter_mut().for_each(without_bytes),
        _ => {}
    }
}

/// Everything a person may want to know of a commit.
pub(super) fn print_commit(commit: &Commit, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(&shown(commit)?);
    }
    let list = |pairs: Vec<String>| pairs.join("\n");
    let plugins = commit.plugins.iter().map(|(name, digest)| format!("{name} sha256:{}", short(digest)));
    let state = commit.state.iter().map(|(name, blob)| format!("{name} ({})", size(blob.size)));
    printer.facts(&[
        ("commit", commit.id.clone()),
        ("repo", format!("{}@{}", commit.repo, commit.branch)),
        ("parent", commit.parent.clone().unwrap_or_else(|| "none, it is the first".into())),
        ("sequence", format!("{} (epoch {})", commit.sequence, commit.epoch)),
        ("started", local_time(commit.started_ms)),
        ("finished", local_time(commit.finished_ms)),
        ("pipeline", format!("{} sha256:{}", commit.pipeline, short(&commit.spec_digest))),
        ("plugins", list(plugins.collect())),
        ("cut by", commit.reason.clone()),
        ("rows", grouped(commit.rows)),
        ("dead letters", grouped(commit.dead_letters)),
        ("state", list(state.collect())),
        ("removed", list(commit.removed.clone())),
    ])?;
    if !commit.files.is_empty() {
        printer.line("")?;
        printer.table(&Table::new(
            &["file added", "how", ">rows", ">size"],
            commit.files.iter().map(|file| {
                let how = format!("{:?}", file.how).to_lowercase();
                let rows = file.table.as_ref().map(|table| grouped(table.rows)).unwrap_or_default();
                vec![file.path.clone(), how, rows, size(file.blob.size)]
            }),
        ))?;
    }
    if !commit.marker.partitions.is_empty() {
        printer.line("")?;
        printer.table(&table_of_marker(&commit.marker))?;
    }
    Ok(())
}

/// Where each partition goes on.
pub(super) fn table_of_marker(marker: &Marker) -> Table {
    Table::new(
        &[">partition", "label", ">next offset", "token", ""],
        marker.partitions.iter().map(|(id, entry)| {
            let token = entry.position.token.as_ref().map(|token| format!("{} bytes", token.len())).unwrap_or_default();
            let ended = if entry.ended { "ended" } else { "" };
            let offset = entry.position.offset.to_string();
            vec![id.to_string(), entry.label.clone(), offset, token, ended.to_owned()]
        }),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inline_bytes_are_not_shown() {
        let mut value = json!({"files": [{"blob": {"place": {"inline": "AAAA"}, "size": 3}}, {"blob": {"place": {"object": "x"}}}]});
        without_bytes(&mut value);
        assert_eq!(
            value,
            json!({"files": [{"blob": {"place": "inline", "size": 3}}, {"blob": {"place": {"object": "x"}}}]})
        );
    }
}
