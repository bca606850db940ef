//! `spout list file`: the files of a commit, or of one directory of it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use spout_repo::{Error as RepoError, FileEntry, Reference};

use super::super::{
    Global,
    print::{Printer, Table, count, grouped, short, size},
};

/// A file or a directory in a listing.
#[derive(Debug, Serialize)]
pub(in super::super) struct FileLine {
    path: String,
    r#type: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

pub(super) async fn list(global: &Global, reference: &str, recursive: bool, printer: &mut Printer) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let (repo, commit) = global.store().await?.resolve(&reference).await?;
    let tree = repo.tree(&commit).await?;
    let prefix = reference.path.as_deref().unwrap_or("/");
    let below: Vec<&FileEntry> = tree.below(prefix).collect();
    if below.is_empty() && prefix != "/" {
        let nearest = tree.file(prefix).err();
        return Err(nearest
            .unwrap_or_else(|| RepoError::UnknownFile {
                path: prefix.to_owned(),
                commit: commit.header.id.clone(),
                nearest: String::new(),
            })
            .into());
    }
    let lines = if recursive { below.into_iter().map(file_line).collect() } else { one_level(prefix, &below) };
    let none = format!("no files in commit {} of {}@{}", short(&commit.header.id), repo.name(), commit.header.branch);
    print_files(&lines, &none, printer)
}

/// Prints files with their number and size; `none` is said where there are none.
pub(in super::super) fn print_files(lines: &[FileLine], none: &str, printer: &mut Printer) -> Result<()> {
    let table = |lines: &[FileLine]| {
        Table::new(
            &["path", "type", ">rows", ">size"],
            lines.iter().map(|line| {
                let rows = line.rows.map(grouped).unwrap_or_default();
                vec![line.path.clone(), line.format.unwrap_or(line.r#type).to_owned(), rows, size(line.size)]
            }),
        )
    };
    printer.list(lines, table, none)?;
    if printer.json() || lines.is_empty() {
        return Ok(());
    }
    let bytes = lines.iter().map(|line| line.size).sum();
    let entries = count(lines.len() as u64, "entry").replace("entrys", "entries");
    printer.line(format!("{entries}, {}", size(bytes)))
}

/// A file as it is listed.
pub(in super::super) fn file_line(file: &FileEntry) -> FileLine {
    FileLine {
        path: file.path.clone(),
        r#type: "file",
        size: file.size,
        rows: file.rows,
        format: file.format.map(|format| format.extension()),
        sha256: Some(file.sha256.clone()),
    }
}

/// Files directly in `prefix`, and its directories with the sums of what is below them.
fn one_level(prefix: &str, below: &[&FileEntry]) -> Vec<FileLine> {
    let base = if prefix == "/" { "/".to_owned() } else { format!("{}/", prefix.trim_end_matches('/')) };
    let mut lines: BTreeMap<String, FileLine> = BTreeMap::new();
    for file in below {
        let inner = file.path.strip_prefix(&base).unwrap_or_default();
        let Some((directory, _)) = inner.split_once('/') else {
            lines.insert(file.path.clone(), file_line(file));
            continue;
        };
        let path = format!("{base}{directory}/");
        let empty = FileLine { path: path.clone(), r#type: "dir", size: 0, rows: None, format: None, sha256: None };
        let line = lines.entry(path).or_insert(empty);
        line.size += file.size;
        line.rows = match (line.rows, file.rows) {
            (Some(a), Some(b)) => Some(a + b),
            (rows, None) | (None, rows) => rows,
        };
    }
    lines.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size: u64, rows: Option<u64>) -> FileEntry {
        FileEntry { path: path.into(), format: None, size, rows, sha256: String::new(), pieces: Vec::new() }
    }

    #[test]
    fn one_level_sums_directories() {
        let files = [entry("/a/x", 1, Some(2)), entry("/a/b/y", 10, Some(3)), entry("/z", 5, None)];
        let all: Vec<&FileEntry> = files.iter().collect();
        let shown = |prefix: &str, files: &[&FileEntry]| -> Vec<(String, u64, Option<u64>)> {
            one_level(prefix, files).into_iter().map(|line| (line.path, line.size, line.rows)).collect()
        };
        assert_eq!(shown("/", &all), [("/a/".into(), 11, Some(5)), ("/z".into(), 5, None)]);
        assert_eq!(shown("/a", &all[..2]), [("/a/b/".into(), 10, Some(3)), ("/a/x".into(), 1, Some(2))]);
    }
}
