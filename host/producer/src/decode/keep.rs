//! The columns that a branch has settled, against those that a decoder has now: some may come, none may go or change.

use std::{fmt, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, FieldRef, Fields, Schema},
};

use crate::SchemaText;

/// How the columns of a decoder differ from those that are settled, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A column has another type.
    Type {
        /// The column.
        column: String,
        /// Its settled type.
        settled: DataType,
        /// Its type now.
        now: DataType,
    },
    /// A column is no longer there.
    Missing {
        /// The column.
        column: String,
        /// Its settled type.
        settled: DataType,
        /// The first column that was not there before: perhaps the same by another name.
        new: Option<String>,
    },
    /// A column is new, and it was not declared before the first row.
    Added {
        /// The column.
        column: String,
        /// Its type.
        now: DataType,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { column, settled, now } => write!(
                f,
                "column `{column}` is now {now}, but {settled} in the schema that the branch has settled; cast it in the decoder, or give the new values a column of their own"
            ),
            Self::Missing { column, settled, new } => {
                write!(f, "column `{column}` ({settled}) of the schema that the branch has settled is missing")?;
                new.iter().try_for_each(|new| write!(f, ", and `{new}` is new"))?;
                f.write_str("; name it as before, or leave it null in rows without a value")
            }
            Self::Added { column, now } => write!(
                f,
                "column `{column}` ({now}) is not in the schema that the branch has settled, and a decoder can add only columns that it declares; declare its columns (`output`)"
            ),
        }
    }
}

/// The columns that `now` has and `settled` has not.
///
/// # Errors
/// A settled column that is missing or has another type.
pub(super) fn added(settled: &Schema, now: &Schema) -> Result<Vec<FieldRef>, Change> {
    let new = || now.fields().iter().filter(|field| settled.field_with_name(field.name()).is_err());
    for before in settled.fields() {
        let column = before.name().clone();
        match now.field_with_name(before.name()) {
            Ok(field) if same(before.data_type(), field.data_type()) => {}
            Ok(field) => {
                let (settled, now) = (before.data_type().clone(), field.data_type().clone());
                return Err(Change::Type { column, settled, now });
            }
            Err(_) => {
                let (settled, new) = (before.data_type().clone(), new().next().map(|field| field.name().clone()));
                return Err(Change::Missing { column, settled, new });
            }
        }
    }
    Ok(new().cloned().collect())
}

/// `records` with the columns in the settled order.
///
/// # Errors
/// The first column that is not as it was settled.
pub(super) fn kept(settled: &Schema, records: RecordBatch) -> Result<RecordBatch, Change> {
    if in_order(settled.fields(), records.schema_ref().fields()) {
        return Ok(records);
    }
    if let Some(field) = added(settled, records.schema_ref())?.first() {
        return Err(Change::Added { column: field.name().clone(), now: field.data_type().clone() });
    }
    let places: Vec<usize> =
        settled.fields().iter().filter_map(|field| records.schema_ref().index_of(field.name()).ok()).collect();
    Ok(records.project(&places).unwrap_or(records))
}

fn in_order(settled: &Fields, now: &Fields) -> bool {
    let pairs = || settled.iter().zip(now);
    settled.len() == now.len()
        && pairs().all(|(a, b)| Arc::ptr_eq(a, b) || (a.name() == b.name() && same(a.data_type(), b.data_type())))
}

/// Whether two types are one in the words of a schema, which say neither what is nullable nor how items of lists are called.
fn same(a: &DataType, b: &DataType) -> bool {
    let words = |data_type: &DataType| {
        let schema = Schema::new(vec![arrow::datatypes::Field::new("c", data_type.clone(), true)]);
        SchemaText::print(&schema).ok()
    };
    a == b || words(a).is_some_and(|words_of_a| words(b).is_some_and(|words_of_b| words_of_a == words_of_b))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn schema(text: &str) -> Schema {
        serde_json::from_str::<SchemaText>(text).unwrap().parse().unwrap()
    }

    #[test]
    fn columns_may_come_but_neither_go_nor_change() {
        let settled = schema(r#"{"id": "uint64", "tags": ["utf8"]}"#);
        let check = |now: &str, expected: Result<&[&str], &[&str]>| match (added(&settled, &schema(now)), expected) {
            (Ok(new), Ok(names)) => {
                let new: Vec<&str> = new.iter().map(|field| field.name().as_str()).collect();
                assert_eq!(new, names, "{now}");
            }
            (Err(change), Err(parts)) => {
                let said = change.to_string();
                parts.iter().for_each(|part| assert!(said.contains(part), "{now}: {part}: {said}"));
            }
            (got, _) => panic!("{now}: {got:?}"),
        };
        check(r#"{"id": "uint64", "tags": ["utf8"]}"#, Ok(&[]));
        check(r#"{"tags": ["utf8"], "at": "date32", "id": "uint64"}"#, Ok(&["at"]));
        check(r#"{"id": "utf8", "tags": ["utf8"]}"#, Err(&["`id` is now Utf8, but UInt64", "cast it"]));
        check(r#"{"id": "uint64", "tags": ["binary"]}"#, Err(&["`tags` is now List"]));
        check(r#"{"id": "uint64", "labels": ["utf8"]}"#, Err(&["`tags` (List", "is missing, and `labels` is new"]));
        check(r#"{"id": "uint64"}"#, Err(&["`tags`", "is missing; name it as before"]));
    }

    #[test]
    fn rows_get_the_settled_order() {
        let (ids, names): (ArrayRef, ArrayRef) =
            (Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"])));
        let rows = RecordBatch::try_from_iter([("name", Arc::clone(&names)), ("id", Arc::clone(&ids))]).unwrap();
        let settled = schema(r#"{"id": "int64", "name": "utf8"}"#);
        let kept_rows = kept(&settled, rows).unwrap();
        assert_eq!(kept_rows.columns(), [ids.clone(), names.clone()]);
        let wider = RecordBatch::try_from_iter([("id", ids.clone()), ("name", names), ("more", ids)]).unwrap();
        assert!(matches!(kept(&settled, wider), Err(Change::Added { column, .. }) if column == "more"));
    }
}
