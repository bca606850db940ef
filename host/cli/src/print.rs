//! Standard output: lines, aligned tables, JSON lines. A reader that has gone away is not an error.

pub(super) use spout_base::counted::{counted as count, grouped};
use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use spout_base::terminal;

use super::pipes::stdout::Ending;

/// The reader of standard output has closed it; there is nobody left to print for.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(super) struct Closed;

/// Prints for people, or as JSON lines.
#[derive(Debug)]
pub(super) struct Printer {
    json: bool,
    out: BufWriter<Ending<Stdout>>,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        Self { json, out: BufWriter::new(Ending::new()) }
    }

    /// What says, once it is true, that this process is to end, so that who does not read counts as gone.
    pub(super) fn ending(&mut self) -> Arc<AtomicBool> {
        self.out.get_mut().ending()
    }

    /// Whether the end is wanted.
    pub(super) fn is_ending(&self) -> bool {
        self.out.get_ref().is_ending()
    }

    /// From now on, who does not read for `longest` counts as gone.
    pub(super) fn wait_at_most(&mut self, longest: Duration) {
        self.out.get_mut().wait_at_most(longest);
    }

    /// Whether a program reads this.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Whether a person is watching.
    pub(super) fn is_terminal(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Characters that a line may take, where a person is watching.
    pub(super) fn width(&self) -> Option<usize> {
        let width = || terminal_size::terminal_size().map_or(120, |(width, _)| usize::from(width.0).max(20));
        self.is_terminal().then(width)
    }

    /// Prints `text` as it is, without waiting for more.
    pub(super) fn bytes(&mut self, text: &[u8]) -> Result<()> {
        written(self.out.write_all(text).and_then(|()| self.out.flush()))
    }

    /// Prints one line, or several, as a terminal may show it.
    pub(super) fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        let text = terminal::text(text.as_ref());
        written(writeln!(self.out, "{text}").and_then(|()| self.out.flush()))
    }

    /// Prints one JSON line.
    pub(super) fn value(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).context("an answer cannot be written as JSON")?;
        self.line(terminal::json(&text))
    }

    /// Prints `rows` as JSON lines, or as a table; `none` is said where there are no rows.
    pub(super) fn list<T: Serialize>(&mut self, rows: &[T], table: impl Fn(&[T]) -> Table, none: &str) -> Result<()> {
        match (self.json, rows.is_empty()) {
            (true, _) => rows.iter().try_for_each(|row| self.value(row)),
            (false, true) => self.line(none),
            (false, false) => self.table(&table(rows)),
        }
    }

    /// Prints a table.
    pub(super) fn table(&mut self, table: &Table) -> Result<()> {
        self.bytes(table.text().as_bytes())
    }

    /// Prints names and values below each other, the values aligned.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) -> Result<()> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let lines = facts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            let indented = terminal::text(value).replace('\n', &format!("\n{:width$}  ", ""));
            format!("{name:width$}  {indented}\n")
        });
        self.bytes(lines.collect::<String>().as_bytes())
    }
}

fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        other => other.context("cannot write to standard output"),
    }
}

/// Columns aligned by spaces; those whose heading starts with `>` to the right.
#[derive(Debug)]
pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&'static str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let plain = |row: Vec<String>| row.iter().map(|cell| terminal::plain(cell).into_owned()).collect();
        Self { heads: heads.to_vec(), rows: rows.into_iter().map(plain).collect() }
    }

    pub(super) fn text(&self) -> String {
        let head = |index: usize| self.heads[index].trim_start_matches('>');
        let cell = |row: &[String], index: usize| row.get(index).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|index| {
                let widest = self.rows.iter().map(|row| cell(row, index).chars().count()).max();
                widest.unwrap_or_default().max(head(index).len())
            })
            .collect();
        let line = |cells: &dyn Fn(usize) -> String| {
            let mut line = String::new();
            for (index, &width) in widths.iter().enumerate() {
                let cell = cells(index);
                if self.heads[index].starts_with('>') {
                    line += &format!("{cell:>width$}  ")
                } else {
                    line += &format!("{cell:<width$}  ")
                }
            }
            line.trim_end().to_owned() + "\n"
        };
        let heads = line(&|index| head(index).to_uppercase());
        self.rows.iter().fold(heads, |text, row| text + &line(&|index| cell(row, index)))
    }
}

/// The first twelve digits of an id, which is enough to name a commit.
pub(super) fn short(id: &str) -> String {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.chars().take(12).collect()
}

/// A time on this machine's clock, to the second.
pub(super) fn local_time(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Err(_) => "?".into(),
    }
}

/// Bytes in the largest unit that leaves at least one before the point.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = UNITS[0];
    for next in UNITS {
        value /= 1024.0;
        unit = next;
        if value < 1023.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let rows = [["a".to_owned(), "1".to_owned()], ["größe".to_owned(), "1000".to_owned()]];
        let table = Table::new(&["name", ">rows"], rows.map(Vec::from));
        assert_eq!(table.text(), "NAME   ROWS\na         1\ngröße  1000\n");
        let table = Table::new(&["path"], [vec!["/a\u{1b}[2Jb\n".to_owned()]]);
        assert_eq!(table.text(), "PATH\n/a\\u{1b}[2Jb\\n\n");
    }

    #[test]
    fn sizes_read_well() {
        let check = |bytes: u64, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check((1 << 20) - 1, "1.0 MiB");
        check(u64::MAX, "16384.0 PiB");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    }

    #[test]
    fn times_are_local_and_to_the_second() {
        let text = local_time(1_767_225_600_123);
        assert_eq!(text.len(), "2026-01-01T00:00:00+00:00".len());
        assert_eq!(text.parse::<Timestamp>().unwrap().as_second(), 1_767_225_600);
        assert_eq!(local_time(i64::MAX), "?");
    }
}
