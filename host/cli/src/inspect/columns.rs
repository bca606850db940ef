//! The columns of a file, a table or a decoder, as they are shown.

use arrow::datatypes::DataType;
use spout_api::Column;

use super::super::print::Table;

/// Columns that are shown, and letters of a type: nested ones can go on for pages. `--json` has all.
const SHOWN: usize = 500;
const LETTERS: usize = 100;

/// Columns as a table.
pub(super) fn table_of_columns(columns: &[Column]) -> Table {
    let row = |column: &Column| {
        let open = column.r#type == DataType::Null.to_string();
        let r#type = if open { "none yet: it has had no value".to_owned() } else { cut(&column.r#type) };
        vec![column.name.clone(), r#type]
    };
    let more = columns.len().saturating_sub(SHOWN);
    let last = (more > 0).then(|| vec!["…".to_owned(), format!("{more} more; --json has all")]);
    Table::new(&["column", "type"], columns.iter().take(SHOWN).map(row).chain(last))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}… ({} letters)", text.get(..end).unwrap_or(text), text.chars().count()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use spout_api::columns;

    use super::*;

    #[test]
    fn what_would_fill_pages_is_cut_and_counted() {
        let inner: Vec<_> = (0..2000).map(|n| Field::new(format!("f{n}"), DataType::Int64, true)).collect();
        let wide = (0..SHOWN + 7).map(|n| Field::new(format!("c{n}"), DataType::Int64, true));
        let fields: Vec<_> =
            [Field::new("nested", DataType::Struct(inner.into()), true)].into_iter().chain(wide).collect();
        let text = table_of_columns(&columns(&Schema::new(fields))).text();
        assert!(text.lines().all(|line| line.chars().count() < 150), "{text}");
        assert!(text.contains("letters)") && text.ends_with("8 more; --json has all\n"), "{text}");
    }

    #[test]
    fn a_column_without_a_value_has_no_type_yet() {
        let fields = vec![Field::new("id", DataType::Int64, true), Field::new("note", DataType::Null, true)];
        let text = table_of_columns(&columns(&Schema::new(fields))).text();
        assert_eq!(text, "COLUMN  TYPE\nid      Int64\nnote    none yet: it has had no value\n");
    }
}
