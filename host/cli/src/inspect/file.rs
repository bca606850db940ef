//! `spout inspect file`: what is known of a file or directory without reading it.

use anyhow::Result;
use spout_api::{FileInfo, Reference};

use super::{
    super::{
        Global,
        print::{Printer, Table, grouped, short, size},
    },
    columns::table_of_columns,
};

pub(super) async fn inspect(global: &Global, reference: &Reference, printer: &mut Printer) -> Result<()> {
    let shown = global.api().await?.file(reference).await?;
    if printer.json() { printer.value(&shown) } else { print(&shown, printer) }
}

fn print(shown: &FileInfo, printer: &mut Printer) -> Result<()> {
    let files = if shown.r#type == "dir" { grouped(shown.files as u64) } else { String::new() };
    printer.facts(&[
        ("path", shown.path.clone()),
        ("commit", format!("{}@{} {}", shown.repo, shown.branch, short(&shown.commit))),
        ("type", shown.format.as_ref().unwrap_or(&shown.r#type).clone()),
        ("files", files),
        ("size", size(shown.size)),
        ("rows", shown.rows.map(grouped).unwrap_or_default()),
        ("sha256", shown.sha256.clone().unwrap_or_default()),
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
