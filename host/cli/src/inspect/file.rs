//! `spout inspect file`: what is known of a file or directory without reading it.

use anyhow::Result;
use serde::Serialize;
use spout_repo::{Commit, FileEntry, Piece, Place, Reference, Tree};

use super::{
    super::{
        Global,
        error::Error,
        print::{Printer, Table, grouped, short, size},
    },
    columns::{Column, columns, table_of_columns},
};

#[derive(Debug, Serialize)]
struct Shown<'a> {
    repo: &'a str,
    commit: &'a str,
    path: &'a str,
    r#type: &'static str,
    files: usize,
    size: u64,
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<Column>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<PieceLine>,
}

#[derive(Debug, Serialize)]
struct PieceLine {
    size: u64,
    rows: Option<u64>,
    sha256: String,
    #[serde(rename = "where")]
    place: String,
}

pub(super) async fn inspect(global: &Global, reference: &Reference, printer: &mut Printer) -> Result<()> {
    let usage = || Error::Usage { verb: "inspect file", what: format!("`{reference}` names no file; add :/path") };
    let path = reference.path.as_deref().ok_or_else(usage)?;
    let (repo, commit) = global.store().await?.resolve(reference).await?;
    show(&repo.tree(&commit).await?, &commit, path, printer)
}

fn show(tree: &Tree, commit: &Commit, path: &str, printer: &mut Printer) -> Result<()> {
    let shown = match tree.get(path) {
        Some(file) => of_file(tree, commit, file),
        None if tree.below(path).next().is_some() || path == "/" => of_directory(tree, commit, path),
        None => return tree.file(path).map(drop).map_err(Into::into),
    };
    if printer.json() { printer.value(&shown) } else { print(&shown, commit, printer) }
}

fn of_file<'a>(tree: &Tree, commit: &'a Commit, file: &'a FileEntry) -> Shown<'a> {
    let schema = file.pieces.last().and_then(|piece| tree.schema(piece));
    Shown {
        repo: &commit.header.repo,
        commit: &commit.header.id,
        path: &file.path,
        r#type: "file",
        files: 1,
        size: file.size,
        rows: file.rows,
        format: file.format.map(|format| format.extension()),
        sha256: Some(&file.sha256),
        columns: schema.map(|schema| columns(schema)).unwrap_or_default(),
        pieces: file.pieces.iter().map(piece).collect(),
    }
}

fn of_directory<'a>(tree: &'a Tree, commit: &'a Commit, path: &'a str) -> Shown<'a> {
    let rows: Vec<u64> = tree.below(path).filter_map(|file| file.rows).collect();
    Shown {
        repo: &commit.header.repo,
        commit: &commit.header.id,
        path,
        r#type: "dir",
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

fn print(shown: &Shown<'_>, commit: &Commit, printer: &mut Printer) -> Result<()> {
    let files = if shown.r#type == "dir" { grouped(shown.files as u64) } else { String::new() };
    printer.facts(&[
        ("path", shown.path.to_owned()),
        ("commit", format!("{}@{} {}", shown.repo, commit.header.branch, short(shown.commit))),
        ("type", shown.format.unwrap_or(shown.r#type).to_owned()),
        ("files", files),
        ("size", size(shown.size)),
        ("rows", shown.rows.map(grouped).unwrap_or_default()),
        ("sha256", shown.sha256.unwrap_or_default().to_owned()),
    ])?;
    if !shown.columns.is_empty() {
        printer.line("")?;
        printer.table(&table_of_columns(&shown.columns))?;
    }
    if shown.pieces.is_empty() {
        return Ok(());
    }
    printer.line("")?;
    printer.table(&Table::new(
        &["piece in", ">rows", ">size"],
        shown
            .pieces
            .iter()
            .map(|piece| vec![piece.place.clone(), piece.rows.map(grouped).unwrap_or_default(), size(piece.size)]),
    ))
}
