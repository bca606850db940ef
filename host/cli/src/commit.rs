//! Commits and markers as they are shown.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use spout_data::{Marker, UnknownKeys};
use spout_repo::{Commit, Header, Repo, Upstream};

use super::print::{Printer, Table, count, grouped, local_time, short, size};

/// Names of tags, by the id of the commit they are at.
pub(super) type Tags = BTreeMap<String, Vec<String>>;

/// The tags of a repo.
pub(super) async fn tags_of(repo: &Repo) -> Result<Tags> {
    let mut tags = Tags::new();
    for tag in repo.tags().await? {
        tags.entry(tag.commit.header.id).or_default().push(tag.name);
    }
    Ok(tags)
}

/// The commit record without the bytes that live inside it, with its tags, and with its counts beside the other fields.
pub(super) fn shown(commit: &Commit, tags: &Tags) -> Result<Value> {
    let mut value = serde_json::to_value(commit)?;
    let base = base(&value);
    without_bytes(&mut value);
    if let Some(fields) = value.as_object_mut() {
        if let Some(Value::Object(counts)) = fields.remove("counts") {
            fields.extend(counts);
        }
        fields.insert("tags".into(), json!(tags.get(&commit.header.id).cloned().unwrap_or_default()));
        if let Some(base) = base {
            fields.insert("base".into(), base.into());
        }
    }
    Ok(value)
}

/// The commit whose files came back in this one, which the record holds with its whole index.
fn base(value: &Value) -> Option<String> {
    Some(value.pointer("/base/commit/id")?.as_str()?.to_owned())
}

/// Says which commit was made by what.
pub(super) fn print_made(commit: &Commit, what: &str, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(&shown(commit, &Tags::new())?);
    }
    let Commit { header: Header { repo, branch, .. }, files, removed, .. } = commit;
    let changes = [(files.len(), "put"), (removed.len(), "deleted")];
    let changes = changes.iter().filter(|(files, _)| *files > 0);
    let changes: String = changes.map(|(files, verb)| format!(", {} {verb}", count(*files as u64, "file"))).collect();
    printer.line(format!("{repo}@{branch}: {what} in commit {}{changes}", short(&commit.header.id)))
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
pub(super) fn print_commit(commit: &Commit, tags: &Tags, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(&shown(commit, tags)?);
    }
    facts(commit, tags, printer)?;
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

fn facts(commit: &Commit, tags: &Tags, printer: &mut Printer) -> Result<()> {
    let list = |pairs: Vec<String>| pairs.join("\n");
    let plugins = commit.plugins.iter().map(|(name, digest)| format!("{name} sha256:{}", short(digest)));
    let state = commit.state.iter().map(|(name, blob)| format!("{name} ({})", size(blob.size)));
    let before = |from: &Upstream| match from.commits {
        0 | 1 => String::new(),
        commits => format!(", with the {} before it", grouped(commits - 1)),
    };
    let shown =
        |from: &Upstream| format!("{}@{} commit {}{}", from.repo, from.branch, short(&from.commit), before(from));
    let from = |lookup: bool| commit.provenance.iter().filter(move |from| from.lookup == lookup).map(shown);
    let base =
        base(&serde_json::to_value(commit)?).map(|base| format!("the files, marker and state of {}", short(&base)));
    let base = base.map(|of| if commit.reason == "begin anew" { "no file, marker or state".into() } else { of });
    let pipeline = match commit.pipeline.as_str() {
        "" => String::new(),
        pipeline => format!("{pipeline} sha256:{}", short(&commit.spec_digest)),
    };
    let counts = &commit.counts;
    let some = |number: u64| if number > 0 { count(number, "message") } else { String::new() };
    printer.facts(&[
        ("commit", commit.header.id.clone()),
        ("tags", tags.get(&commit.header.id).map(|tags| tags.join(" ")).unwrap_or_default()),
        ("repo", format!("{}@{}", commit.header.repo, commit.header.branch)),
        ("parent", commit.parent.clone().unwrap_or_else(|| "none, it is the first".into())),
        ("base", base.unwrap_or_default()),
        ("number", grouped(commit.number)),
        ("sequence", format!("{} (epoch {})", commit.header.sequence, commit.header.epoch)),
        ("started", local_time(commit.started_ms)),
        ("finished", local_time(commit.header.at_ms)),
        ("pipeline", pipeline),
        ("plugins", list(plugins.collect())),
        ("cut by", commit.reason.clone()),
        ("compaction", if commit.compaction { "yes: the rows are those of its parent".into() } else { String::new() }),
        ("messages", grouped(counts.messages)),
        ("rows", grouped(counts.rows)),
        ("dead letters", grouped(counts.dead_letters)),
        ("late rows", list(by_handler(&counts.late))),
        ("filtered rows", list(by_handler(&counts.filtered))),
        ("dropped", some(counts.dropped)),
        ("empty", some(counts.empty)),
        ("unknown keys", list(unknown(&counts.unknown))),
        ("state", list(state.collect())),
        ("removed", list(commit.removed.clone())),
        ("made from", list(from(false).collect())),
        ("looked up in", list(from(true).collect())),
        ("global id", if commit.global == commit.header.id { String::new() } else { short(&commit.global) }),
    ])
}

fn by_handler(counts: &BTreeMap<String, u64>) -> Vec<String> {
    counts.iter().map(|(handler, rows)| format!("{} ({handler})", grouped(*rows))).collect()
}

/// Keys that no column is for, the commonest first.
fn unknown(keys: &UnknownKeys) -> Vec<String> {
    let mut names: Vec<(&String, u64)> = keys.names.iter().map(|(name, times)| (name, *times)).collect();
    names.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let mut lines: Vec<String> = names.iter().map(|(name, times)| format!("{name} ({})", grouped(*times))).collect();
    if keys.others > 0 {
        lines.push(format!("others ({})", grouped(keys.others)));
    }
    lines
}

/// Where each partition goes on.
pub(super) fn table_of_marker(marker: &Marker) -> Table {
    let several = marker.partitions.values().any(|entry| !entry.producer.is_empty());
    let headers = ["producer", ">partition", "label", ">next offset", "token", ""];
    Table::new(
        &headers[usize::from(!several)..],
        marker.partitions.iter().map(|(id, entry)| {
            let token = entry.position.token.as_ref().map(|token| format!("{} bytes", token.len())).unwrap_or_default();
            let ended = if entry.ended { "ended" } else { "" };
            let producer = several.then(|| entry.producer.clone());
            let offset = entry.position.offset.to_string();
            let cells = [id.number.to_string(), entry.label.clone(), offset, token, ended.to_owned()];
            producer.into_iter().chain(cells).collect()
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
