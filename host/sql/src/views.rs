//! Texts as views within a query: operators pass them on, filter them and group by them without copying them. An answer has them as
//! tables do.
//!
//! **Invariant**: the types of an answer do not depend on whether texts were views. A query with a table whose own columns are views
//! is left as it is, because they would be told from ours no more.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
};
use datafusion::{execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter};
use futures::StreamExt as _;
use spout_format::convert;

/// `schema` with its texts as views, but for the columns named in `but`; those within lists and structs stay as they are.
pub(super) fn viewed(schema: &Schema, but: &[Field]) -> SchemaRef {
    let field = |field: &FieldRef| {
        let text = *field.data_type() == DataType::Utf8 && !but.iter().any(|but| but.name() == field.name());
        if text { with_type(field, DataType::Utf8View) } else { FieldRef::clone(field) }
    };
    let fields: Fields = schema.fields().iter().map(field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone()).into()
}

/// Schemas with their texts as views; each is made once.
#[derive(Debug, Default)]
pub(super) struct Viewed(HashMap<usize, SchemaRef>);

impl Viewed {
    pub(super) fn of(&mut self, schema: &SchemaRef) -> SchemaRef {
        let key = Arc::as_ptr(schema).addr();
        SchemaRef::clone(self.0.entry(key).or_insert_with(|| viewed(schema, &[])))
    }
}

/// Whether a column is a view, or has one within it.
pub(super) fn has_views(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| plain(field.data_type()) != *field.data_type())
}

/// `rows` with the types that tables have.
pub(super) fn as_stored(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rows.schema();
    if !has_views(&schema) {
        return rows;
    }
    let fields: Fields = schema.fields().iter().map(|field| with_type(field, plain(field.data_type()))).collect();
    let schema = SchemaRef::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let stored = SchemaRef::clone(&schema);
    let rows = rows.map(move |batch| Ok(batch_of(&stored, &batch?)?));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

fn batch_of(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| convert(column, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

fn with_type(field: &FieldRef, data_type: DataType) -> FieldRef {
    if data_type == *field.data_type() {
        FieldRef::clone(field)
    } else {
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    }
}

/// The type of values that are no views.
fn plain(data_type: &DataType) -> DataType {
    use DataType as T;
    let inner = |field: &FieldRef| with_type(field, plain(field.data_type()));
    match data_type {
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::List(item) => T::List(inner(item)),
        T::LargeList(item) => T::LargeList(inner(item)),
        T::FixedSizeList(item, length) => T::FixedSizeList(inner(item), *length),
        T::Struct(fields) => T::Struct(fields.iter().map(inner).collect()),
        T::Map(entries, sorted) => T::Map(inner(entries), *sorted),
        T::Dictionary(key, values) => T::Dictionary(key.clone(), Box::new(plain(values))),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray as _, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn texts_are_views_within_and_texts_without() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let list = Field::new("tags", DataType::new_list(DataType::Utf8, true), true);
        let schema = Schema::new(vec![text("a"), list.clone(), text("day")]);
        let within = viewed(&schema, &[text("day")]);
        assert_eq!(*within.field(0), text("a").with_data_type(DataType::Utf8View));
        assert_eq!((within.field(1), within.field(2)), (&list, &text("day")));
        assert!(has_views(&within) && !has_views(&schema));
        let nested = DataType::new_list(DataType::Utf8View, true);
        assert_eq!(plain(&nested), DataType::new_list(DataType::Utf8, true));
    }

    #[tokio::test]
    async fn an_answer_has_what_a_table_has() {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a text that is longer than twelve"), None]));
        let batch = RecordBatch::try_from_iter_with_nullable([("a", views, true)]).unwrap();
        let schema = batch.schema();
        let rows = futures::stream::iter([Ok(batch)]);
        let mut rows = as_stored(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
        let batch = rows.next().await.unwrap().unwrap();
        assert_eq!(rows.schema(), batch.schema());
        let texts: &StringArray = batch.column(0).as_string();
        assert_eq!(texts, &StringArray::from(vec![Some("a text that is longer than twelve"), None]));
    }
}
