//! Rows from before and after columns were added, as rows of one schema.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::{FieldRef, Schema, SchemaRef},
    error::ArrowError,
};

/// The one of the two schemas that has all columns of the other.
pub(crate) fn wider<'a>(one: &'a SchemaRef, other: &'a SchemaRef) -> Option<&'a SchemaRef> {
    if one == other || has_all(one, other) { Some(one) } else { has_all(other, one).then_some(other) }
}

fn has_all(wide: &Schema, narrow: &Schema) -> bool {
    let same =
        |field: &FieldRef| wide.field_with_name(field.name()).is_ok_and(|known| known.data_type() == field.data_type());
    wide.fields().len() >= narrow.fields().len() && narrow.fields().iter().all(same)
}

/// `batches` with the columns of the one that has all columns of the others: what these lack is null. As they are, if none has.
pub(crate) fn level(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, ArrowError> {
    let Some(first) = batches.first().map(RecordBatch::schema) else { return Ok(batches) };
    if batches.iter().all(|batch| *batch.schema_ref() == first) {
        return Ok(batches);
    }
    let widest = batches.iter().try_fold(&first, |widest, batch| wider(widest, batch.schema_ref())).cloned();
    let Some(widest) = widest else { return Ok(batches) };
    let lacks = |field: &FieldRef| batches.iter().any(|batch| batch.column_by_name(field.name()).is_none());
    let nullable = |field: &FieldRef| {
        if lacks(field) { Arc::new(field.as_ref().clone().with_nullable(true)) } else { Arc::clone(field) }
    };
    let fields: Vec<FieldRef> = widest.fields().iter().map(nullable).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, widest.metadata().clone()));
    batches.iter().map(|batch| fit(batch, &schema)).collect()
}

/// `batch` with the columns of `schema`, which are those that it has and others.
pub(crate) fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let column = |field: &FieldRef| -> ArrayRef {
        let known = batch.column_by_name(field.name()).cloned();
        known.unwrap_or_else(|| new_null_array(field.data_type(), rows))
    };
    let columns = schema.fields().iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, Int64Array, StringArray};

    use super::*;

    fn batch(columns: &[&str]) -> RecordBatch {
        let column = |name: &&str| (name.to_string(), Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef);
        RecordBatch::try_from_iter(columns.iter().map(column)).unwrap()
    }

    #[test]
    fn what_others_lack_is_null() {
        let levelled = level(vec![batch(&["a", "z"]), batch(&["a", "b", "z"]), batch(&["a", "z"])]).unwrap();
        let names: Vec<&String> = levelled[0].schema_ref().fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["a", "b", "z"]);
        assert!(levelled.iter().all(|batch| batch.schema() == levelled[0].schema()));
        let nulls: Vec<usize> = levelled.iter().map(|batch| batch.column(1).null_count()).collect();
        assert_eq!(nulls, [2, 0, 2]);
    }

    #[test]
    fn what_does_not_go_together_stays() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let text = RecordBatch::try_from_iter([("a", text)]).unwrap();
        for batches in [vec![batch(&["a", "b"]), batch(&["a", "c"])], vec![batch(&["a"]), text], Vec::new()] {
            assert_eq!(level(batches.clone()).unwrap(), batches);
        }
    }
}
