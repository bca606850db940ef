//! The files of a commit, listed and looked at without reading them.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, Schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Commit, Error as RepoError, FileEntry, Piece, Place, Reference, Tree};

use crate::{Error, Result};

/// Files of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Files {
    /// The repo.
    pub repo: String,
    /// The branch that the commit was made on.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// The files, by path.
    pub files: Vec<FileLine>,
}

/// A file or a directory in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileLine {
    /// Its path; that of a directory ends with a slash.
    pub path: String,
    /// `file` or `dir`.
    pub r#type: String,
    /// Bytes, of a directory those of all files below it.
    pub size: u64,
    /// Rows, for table files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// `parquet`, `arrow`, `ndjson` or `csv`, for table files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Hash of the bytes; for a file that grew, of its pieces' hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Everything about a file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileInfo {
    /// The repo.
    pub repo: String,
    /// The branch that the commit was made on.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// Its path.
    pub path: String,
    /// `file` or `dir`.
    pub r#type: String,
    /// Files, of a directory those below it.
    pub files: usize,
    /// Bytes.
    pub size: u64,
    /// Rows, for tables.
    pub rows: Option<u64>,
    /// Its format, for table files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Hash of the bytes; for a file that grew, of its pieces' hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Columns, for table files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// The puts it is made of, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<PieceLine>,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub r#type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// One put of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PieceLine {
    /// Bytes.
    pub size: u64,
    /// Rows, for tables.
    pub rows: Option<u64>,
    /// Their hash.
    pub sha256: String,
    /// The object or record that holds them.
    #[serde(rename = "where")]
    pub place: String,
}

/// The columns of `schema`, in order.
#[must_use]
pub fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &Field| Column {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nullable: field.is_nullable(),
    };
    schema.fields().iter().map(|field| column(field)).collect()
}

fn of(commit: &Commit, files: Vec<FileLine>) -> Files {
    let header = &commit.header;
    Files { repo: header.repo.clone(), branch: header.branch.clone(), commit: header.id.clone(), files }
}

pub(crate) fn list(commit: &Commit, tree: &Tree, reference: &Reference, recursive: bool) -> Result<Files> {
    let prefix = reference.path.as_deref().unwrap_or("/");
    let below: Vec<&FileEntry> = tree.below(prefix).collect();
    if below.is_empty() && prefix != "/" {
        let nearest = tree.file(prefix).err();
        let (path, commit) = (prefix.to_owned(), commit.header.id.clone());
        return Err(nearest.unwrap_or(RepoError::UnknownFile { path, commit, nearest: String::new() }).into());
    }
    Ok(of(commit, if recursive { below.into_iter().map(line).collect() } else { one_level(prefix, &below) }))
}

pub(crate) fn glob(commit: &Commit, tree: &Tree, pattern: &str) -> Result<Files> {
    Ok(of(commit, tree.glob(pattern)?.into_iter().map(line).collect()))
}

fn line(file: &FileEntry) -> FileLine {
    FileLine {
        path: file.path.clone(),
        r#type: "file".into(),
        size: file.size,
        rows: file.rows,
        format: file.format.map(|format| format.extension().to_owned()),
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
            lines.insert(file.path.clone(), line(file));
            continue;
        };
        let path = format!("{base}{directory}/");
        let r#type = "dir".to_owned();
        let empty = FileLine { path: path.clone(), r#type, size: 0, rows: None, format: None, sha256: None };
        let line = lines.entry(path).or_insert(empty);
        line.size += file.size;
        line.rows = match (line.rows, file.rows) {
            (Some(a), Some(b)) => Some(a + b),
            (rows, None) | (None, rows) => rows,
        };
    }
    lines.into_values().collect()
}

pub(crate) fn inspect(commit: &Commit, tree: &Tree, reference: &Reference) -> Result<FileInfo> {
    let usage = || Error::Usage { verb: "inspect file", what: format!("`{reference}` names no file; add :/path") };
    let path = reference.path.as_deref().ok_or_else(usage)?;
    match tree.get(path) {
        Some(file) => Ok(of_file(tree, commit, file)),
        None if tree.below(path).next().is_some() || path == "/" => Ok(of_directory(tree, commit, path)),
        None => Ok(of_file(tree, commit, tree.file(path)?)),
    }
}

fn of_file(tree: &Tree, commit: &Commit, file: &FileEntry) -> FileInfo {
    let schema = file.pieces.last().and_then(|piece| tree.schema(piece));
    FileInfo {
        r#type: "file".into(),
        files: 1,
        size: file.size,
        rows: file.rows,
        format: file.format.map(|format| format.extension().to_owned()),
        sha256: Some(file.sha256.clone()),
        columns: schema.map(|schema| columns(schema)).unwrap_or_default(),
        pieces: file.pieces.iter().map(piece).collect(),
        ..of_directory(tree, commit, &file.path)
    }
}

fn of_directory(tree: &Tree, commit: &Commit, path: &str) -> FileInfo {
    let rows: Vec<u64> = tree.below(path).filter_map(|file| file.rows).collect();
    FileInfo {
        repo: commit.header.repo.clone(),
        branch: commit.header.branch.clone(),
        commit: commit.header.id.clone(),
        path: path.to_owned(),
        r#type: "dir".into(),
        files: tree.below(path).count(),
        size: tree.below(path).map(|file| file.size).sum(),
        rows: (!rows.is_empty()).then(|| rows.iter().sum()),
        format: None,
        sha256: None,
        columns: Vec::new(),
        pieces: Vec::new(),
    }
}

fn piece(piece: &Piece) -> PieceLine {
    let place = match &piece.blob.place {
        Place::Object(name) => name.clone(),
        Place::Record(slot) => format!("record {} of branch {}", slot.sequence, slot.branch),
        Place::Inline(_) => "the record of its commit".to_owned(),
    };
    let rows = piece.table.as_ref().map(|table| table.rows);
    PieceLine { size: piece.blob.size, rows, sha256: piece.blob.sha256.clone(), place }
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
