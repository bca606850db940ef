//! Batches that go out and come back are the same; batches that a guest made up never panic and never lie.

use arrow::{
    array::{BooleanArray, Int64Array, ListArray, StringArray, StructArray, TimestampMillisecondArray},
    datatypes::{Field, Fields, Schema, TimeUnit},
};

use super::*;

fn batch() -> RecordBatch {
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(4), Some(5), Some(6)]),
    ]);
    let inner: Fields = vec![Field::new("x", DataType::Utf8, true), Field::new("ok", DataType::Boolean, true)].into();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc"), Some("")])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
    ];
    let nested = StructArray::new(inner.clone(), columns, Some(vec![true, false, true, true].into()));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("tags", tags.data_type().clone(), true),
        Field::new("nested", DataType::Struct(inner), true),
        Field::new("nothing", DataType::Null, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        Arc::new(StringArray::from(vec![Some("äöü"), Some(""), None, Some("z")])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(3), None]).with_timezone("UTC")),
        Arc::new(tags),
        Arc::new(nested),
        Arc::new(arrow::array::NullArray::new(4)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// What the guest would say if it gave back what it was lent.
fn told_back(lent: Lent) -> wit::Parts {
    let buffers = lent.buffers.iter().map(|Bytes(buffer)| buffer.as_slice().to_vec()).collect();
    wit::Parts { rows: lent.rows, nodes: lent.nodes, buffers }
}

fn there_and_back(records: &RecordBatch) -> RecordBatch {
    let all: Vec<usize> = (0..records.num_columns()).collect();
    let told = super::super::schema::lower(records.schema_ref()).unwrap();
    let schema = super::super::schema::raise(&told, &LimitsSpec::default()).unwrap();
    assert_eq!(&schema, records.schema_ref().as_ref());
    raise(Arc::new(schema), told_back(lower(records, &all).unwrap()), &LimitsSpec::default()).unwrap()
}

#[test]
fn what_crosses_comes_back_the_same() {
    let whole = batch();
    assert_eq!(there_and_back(&whole), whole);
    for (from, length) in [(1, 3), (0, 0), (3, 1), (2, 2)] {
        let part = whole.slice(from, length);
        assert_eq!(there_and_back(&part), part, "{from}..+{length}");
    }
}
