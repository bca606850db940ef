//! The columns of a file, a table or a decoder, as they are shown.

use arrow::datatypes::DataType;
use spout_api::Column;

use super::super::print::Table;

/// Columns as a table.
pub(super) fn table_of_columns(columns: &[Column]) -> Table {
    let row = |column: &Column| {
        let open = column.r#type == DataType::Null.to_string();
        let r#type = if open { "none yet: it has had no value".to_owned() } else { column.r#type.clone() };
        vec![column.name.clone(), r#type]
    };
    Table::new(&["column", "type"], columns.iter().map(row))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use spout_api::columns;

    use super::*;

    #[test]
    fn a_column_without_a_value_has_no_type_yet() {
        let fields = vec![Field::new("id", DataType::Int64, true), Field::new("note", DataType::Null, true)];
        let text = table_of_columns(&columns(&Schema::new(fields))).text();
        assert_eq!(text, "COLUMN  TYPE\nid      Int64\nnote    none yet: it has had no value\n");
    }
}
