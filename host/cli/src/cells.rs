//! Rows of JSON values as a table that is no wider than the terminal.

use serde_json::Value;
use spout_base::terminal;
use unicode_width::UnicodeWidthStr as _;

/// Longest value, where there is room for it.
const LONGEST: usize = 48;
/// Between two columns.
const GAP: &str = "  ";

/// The columns of a table, each as wide as the widest of what it has shown.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    heads: Vec<String>,
    widths: Vec<usize>,
    /// The most that a line may take; no matter, where nobody looks.
    most: Option<usize>,
}

impl Sheet {
    /// One of lines that take at most so many characters.
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { most, ..Self::default() }
    }

    /// The lines of these rows, below their heads where those are others than before, or where a column has become wider.
    pub(super) fn lines(&mut self, heads: &[String], rows: &[Vec<Value>]) -> Vec<String> {
        let mut same = self.heads == heads;
        if !same {
            self.heads = heads.to_vec();
            self.widths = heads.iter().map(|head| shown(head).width().clamp(1, LONGEST)).collect();
        }
        let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        for (at, width) in self.widths.iter_mut().enumerate() {
            let widest = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max().unwrap_or_default();
            if widest > *width {
                (*width, same) = (widest.min(LONGEST).max(*width), false);
            }
        }
        let right: Vec<bool> =
            (0..heads.len()).map(|at| rows.iter().filter_map(|row| row.get(at)).any(Value::is_number)).collect();
        let mut lines = Vec::with_capacity(cells.len() + 2);
        if !same {
            let heads: Vec<String> = heads.iter().map(|head| shown(head)).collect();
            lines.push(self.line(&heads, &right));
            lines.push(self.line(&self.widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>(), &right));
        }
        lines.extend(cells.iter().map(|row| self.line(row, &right)));
        lines
    }

    fn line(&self, cells: &[String], right: &[bool]) -> String {
        let mut line = String::new();
        for ((cell, width), right) in cells.iter().zip(&self.widths).zip(right) {
            let cell = terminal::cut(cell, *width);
            let space = " ".repeat(width.saturating_sub(cell.width()));
            line += &if *right { space + &cell } else { cell + &space };
            line += GAP;
        }
        let line = line.trim_end();
        self.most.map_or_else(|| line.to_owned(), |most| terminal::cut(line, most))
    }
}

/// A value as text: texts as they are, everything else as JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    }
}

fn shown(text: &str) -> String {
    terminal::plain(text).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(values: Value) -> Vec<Vec<Value>> {
        serde_json::from_value(values).unwrap()
    }

    #[test]
    fn heads_come_again_where_columns_change_or_grow() {
        let (mut sheet, heads) = (Sheet::new(None), ["n".to_owned(), "text".to_owned()]);
        let lines = sheet.lines(&heads, &rows(json!([[1, "größe"], [200, null]])));
        assert_eq!(lines, ["  n  text", "───  ─────", "  1  größe", "200  null"]);
        assert_eq!(sheet.lines(&heads, &rows(json!([[3, {"a": 1}]]))), ["  n  text", "───  ───────", "  3  {\"a\":1}"]);
        assert_eq!(sheet.lines(&heads, &rows(json!([[4, "x"]]))), ["  4  x"]);
        assert_eq!(sheet.lines(&heads[1..], &rows(json!([["a\u{1b}[2J"]])))[2], "a\\u{1b}[2J");
    }

    #[test]
    fn a_line_is_no_wider_than_the_terminal() {
        let mut sheet = Sheet::new(Some(10));
        let lines = sheet.lines(&["a".into(), "b".into()], &rows(json!([["日本日本", "x".repeat(90)]])));
        assert!(lines.iter().all(|line| line.width() <= 10) && lines[2] == "日本日本 …", "{lines:?}");
    }
}
