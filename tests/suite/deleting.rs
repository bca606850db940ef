//! Whoever deletes data can rely on it: deleted, collected, and no byte of it is anywhere in the store.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use spout_tests::Site;

const TOKEN: &str = "VANISH-me-4711";
const COMMITS: usize = 70;

const SPEC: &str = r#"
pipeline: {name: events}
producer:
  stream: {plugin: files, topic: in, settings: {pattern: "*.ndjson", follow: false}, fetch: {messages: 10}}
  decoder: {type: json, schema: {id: int64, name: utf8}}
commit: {path: /t/, flush: {rows: 10}}
grants:
  files: {dirs: {in: ./in}}
"#;

/// As small files are written in records; a rest of less than three bytes is left out.
fn base64(text: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    text.chunks_exact(3).flat_map(digits).collect()
}

/// Files below `directory`, and those in which the token can be read, as it is or as base64.
fn searched(directory: &Path) -> Result<(usize, Vec<String>)> {
    // The digits depend on where a text starts; what comes before it shares the first four.
    let coded = |shift: usize| {
        let text = base64(format!("{}{TOKEN}", "\0".repeat(shift)).as_bytes());
        text.get(if shift == 0 { 0 } else { 4 }..).unwrap_or_default().to_owned()
    };
    let texts = [TOKEN.to_owned(), coded(0), coded(1), coded(2)];
    let (mut count, mut found, mut directories) = (0, Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            count += 1;
            let bytes = fs::read(&path)?;
            let has = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            if texts.iter().any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    Ok((count, found))
}

#[test]
fn of_deleted_rows_no_byte_is_left() -> Result<()> {
    let site = Site::new()?;
    for commit in 0..COMMITS {
        let rows = (0..10).map(|row| {
            let id = commit * 10 + row;
            let name = if id == 205 { TOKEN.to_owned() } else { format!("name {id}") };
            format!("{{\"id\":{id},\"name\":\"{name}\"}}\n")
        });
        site.write(&format!("in/{commit:03}.ndjson"), rows.collect::<String>())?;
    }
    site.write("spec.yaml", SPEC)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let store = site.path().join("store");
    let (before, found) = searched(&store)?;
    ensure!(found.iter().any(|path| path.contains("_delta_log")), "{found:?}");
    let sql = "select path from files('events') where path like '/t/%' order by path";
    let files = site.rows(sql, None)?;
    let mut deleted = 0;
    for line in files {
        let path: serde_json::Value = serde_json::from_str(&line)?;
        let path = path["path"].as_str().context("a path")?;
        let has = site.ok(&["get", "file", &format!("events@master:{path}"), "--format", "ndjson"])?.contains(TOKEN);
        if has {
            site.ok(&["delete", "file", &format!("events@master:{path}")])?;
            deleted += 1;
        }
    }
    ensure!(deleted == 1, "{deleted} files had the row");
    let left = site.number("select count(*) as n from events_t", None)?;
    // What is deleted is history, until the rules say otherwise.
    site.ok(&["gc", "--min-age", "0s"])?;
    ensure!(!searched(&store)?.1.is_empty());
    site.ok(&["update", "repo", "events", "--keep", "1"])?;
    site.ok(&["gc", "--min-age", "0s"])?;
    let (after, found) = searched(&store)?;
    ensure!(found.is_empty(), "{found:?}");
    ensure!(after < before, "{after} of {before} files are left");
    ensure!(site.number("select count(*) as n from events_t", None)? == left);
    // One large file instead of many small ones, and nothing of those is left.
    site.ok(&["compact", "events"])?;
    site.ok(&["gc", "--min-age", "0s"])?;
    let (after, _) = searched(&store)?;
    ensure!(after < 25, "{after} files are left of {COMMITS} commits");
    ensure!(site.number("select count(*) as n from events_t", None)? == left);
    ensure!(site.ok(&["fsck", "--deep"])?.starts_with("all intact"));
    let table = site.json(&["list", "table", "events"])?.remove(0);
    ensure!(table["files"] == 1, "{table}");
    Ok(())
}
