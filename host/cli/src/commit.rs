//! Commits and markers as they are shown.

use std::collections::BTreeMap;

use anyhow::Result;
use spout_api::CommitInfo;
use spout_data::{Counts, Marker, UnknownKeys, Upstream};

use super::print::{Printer, Table, count, grouped, local_time, short, size};

/// Says which commit was made by what.
pub(super) fn print_made(commit: &CommitInfo, what: &str, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(commit);
    }
    let CommitInfo { repo, branch, files, removed, .. } = commit;
    let changes = [(files.len(), "put"), (removed.len(), "deleted")];
    let changes = changes.iter().filter(|(files, _)| *files > 0);
    let changes: String = changes.map(|(files, verb)| format!(", {} {verb}", count(*files as u64, "file"))).collect();
    printer.line(format!("{repo}@{branch}: {what} in commit {}{changes}", short(&commit.id)))
}

/// Everything a person may want to know of a commit.
pub(super) fn print_commit(commit: &CommitInfo, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(commit);
    }
    facts(commit, printer)?;
    if !commit.files.is_empty() {
        printer.line("")?;
        printer.table(&Table::new(
            &["file added", "how", ">rows", ">size"],
            commit.files.iter().map(|file| {
                let rows = file.rows().map(grouped).unwrap_or_default();
                vec![file.path.clone(), file.how.clone(), rows, size(file.blob.size)]
            }),
        ))?;
    }
    if !commit.marker.partitions.is_empty() {
        printer.line("")?;
        printer.table(&table_of_marker(&commit.marker))?;
    }
    Ok(())
}

fn facts(commit: &CommitInfo, printer: &mut Printer) -> Result<()> {
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
    let base = commit.base.as_ref().map(|base| format!("the files, marker and state of {}", short(base)));
    let base = base.map(|of| if commit.reason == "begin anew" { "no file, marker or state".into() } else { of });
    let pipeline = match commit.pipeline.as_str() {
        "" => String::new(),
        pipeline => format!("{pipeline} sha256:{}", short(&commit.spec_digest)),
    };
    let counts = &commit.counts;
    let some = |number: u64| if number > 0 { count(number, "message") } else { String::new() };
    printer.facts(&[
        ("commit", commit.id.clone()),
        ("tags", commit.tags.join(" ")),
        ("repo", format!("{}@{}", commit.repo, commit.branch)),
        ("parent", commit.parent.clone().unwrap_or_else(|| "none, it is the first".into())),
        ("base", base.unwrap_or_default()),
        ("number", grouped(commit.number)),
        ("sequence", format!("{} (epoch {})", commit.sequence, commit.epoch)),
        ("started", local_time(commit.started_ms)),
        ("finished", local_time(commit.at_ms)),
        ("pipeline", pipeline),
        ("plugins", list(plugins.collect())),
        ("cut by", commit.reason.clone()),
        ("compaction", if commit.compaction { "yes: the rows are those of its parent".into() } else { String::new() }),
        ("messages", grouped(counts.messages)),
        ("rows", grouped(counts.rows)),
        ("dead letters", grouped(counts.dead_letters)),
        ("late rows", list(by_handler(&counts.late))),
        ("filtered rows", list(by_handler(&counts.filtered))),
        ("kept rows", list(kept(&counts.kept))),
        ("dropped", some(counts.dropped)),
        ("empty", some(counts.empty)),
        ("adds up", sum(counts).unwrap_or_default()),
        ("unknown keys", list(unknown(&counts.unknown))),
        ("state", list(state.collect())),
        ("removed", list(commit.removed.clone())),
        ("made from", list(from(false).collect())),
        ("looked up in", list(from(true).collect())),
        ("global id", if commit.global == commit.id { String::new() } else { short(&commit.global) }),
    ])
}

fn by_handler(counts: &BTreeMap<String, u64>) -> Vec<String> {
    counts.iter().map(|(handler, rows)| format!("{} ({handler})", grouped(*rows))).collect()
}

/// What handlers keep for themselves, or have released or made.
fn kept(counts: &BTreeMap<String, i64>) -> Vec<String> {
    let line = |(handler, rows): (&String, &i64)| {
        let number = grouped(rows.unsigned_abs());
        if *rows < 0 { format!("{number} released or made ({handler})") } else { format!("{number} ({handler})") }
    };
    counts.iter().map(line).collect()
}

/// How the messages of a commit are all accounted for, or that they are not.
pub(super) fn sum(counts: &Counts) -> Option<String> {
    if counts.messages == 0 && counts.rows == 0 {
        return None;
    }
    let made = counts.made?;
    let mut came = count(counts.messages, "message");
    match u64::try_from(made) {
        Ok(0) => {}
        Ok(more) => came += &format!(" and {}", count(more, "further row")),
        Err(_) => came += &format!(", {} of them no rows", grouped(made.unsigned_abs())),
    }
    Some(match counts.unaccounted() {
        Some(0) => format!("yes: {came}"),
        off => format!("no: {came}; {} not accounted for, `spout fsck` says more", off.unwrap_or_default()),
    })
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
            let token = entry.position.token.as_deref().map(token).unwrap_or_default();
            let ended = if entry.ended { "ended" } else { "" };
            let producer = several.then(|| entry.producer.clone());
            let offset = entry.position.offset.to_string();
            let cells = [id.number.to_string(), entry.label.clone(), offset, token, ended.to_owned()];
            producer.into_iter().chain(cells).collect()
        }),
    )
}

/// A token that people can read, or how long it is.
fn token(token: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = str::from_utf8(token).ok().filter(|text| text.len() <= LONGEST && !text.contains(char::is_control));
    text.map_or_else(|| format!("{} bytes", token.len()), str::to_owned)
}
