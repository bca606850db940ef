//! What a command changed, as it is told.

use anyhow::Result;
use spout_api::Changes;

use super::print::{Printer, count, short, size};

/// Says what was put and deleted, and in which commit.
pub(super) fn print_changes(changes: &Changes, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(changes);
    }
    let Changes { repo, branch, commit, finished, put, deleted } = changes;
    let what = [(put.len(), "put"), (deleted.len(), "deleted")];
    let what = what.iter().filter(|(files, _)| *files > 0);
    let mut what: Vec<String> = what.map(|(files, verb)| format!("{} {verb}", count(*files as u64, "file"))).collect();
    if !put.is_empty() {
        what.push(size(put.iter().map(|file| file.size).sum()));
    }
    let (what, id) = (what.join(", "), short(commit));
    printer.line(if *finished {
        format!("{repo}@{branch}: {what}, in commit {id}")
    } else {
        format!("{repo}@{branch}: {what}, in started commit {id}; `spout finish commit {repo}@{id}` makes it visible")
    })
}
