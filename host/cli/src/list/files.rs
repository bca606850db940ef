//! `spout list file`: the files of a commit, or of one directory of it.

use anyhow::Result;
use spout_api::{FileLine, Reference};

use super::super::{
    Global,
    print::{Printer, Table, count, grouped, short, size},
};

pub(super) async fn list(global: &Global, reference: &str, recursive: bool, printer: &mut Printer) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let found = global.api().await?.files(&reference, recursive).await?;
    let none = format!("no files in commit {} of {}@{}", short(&found.commit), found.repo, found.branch);
    print_files(&found.files, &none, printer)
}

/// Prints files with their number and size; `none` is said where there are none.
pub(in super::super) fn print_files(lines: &[FileLine], none: &str, printer: &mut Printer) -> Result<()> {
    let table = |lines: &[FileLine]| {
        Table::new(
            &["path", "type", ">rows", ">size"],
            lines.iter().map(|line| {
                let rows = line.rows.map(grouped).unwrap_or_default();
                vec![line.path.clone(), line.format.as_ref().unwrap_or(&line.r#type).clone(), rows, size(line.size)]
            }),
        )
    };
    printer.list(lines, table, none)?;
    if printer.json() || lines.is_empty() {
        return Ok(());
    }
    let bytes = lines.iter().map(|line| line.size).sum();
    let entries = count(lines.len() as u64, "entry");
    printer.line(format!("{entries}, {}", size(bytes)))
}
