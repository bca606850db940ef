//! Columns of every type of the interface, through a guest of the SDK: there and back, and beside one that it reads.

use arrow::{
    array::{
        Array as _, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Int64Array, Int64Builder,
        IntervalYearMonthArray, LargeListArray, ListArray, MapBuilder, NullArray, StringBuilder, StructArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Fields, Int64Type, Schema, TimeUnit},
};

use super::*;

/// A task for the guest `mirror`.
async fn mirror(settings: &[(&str, &str)]) -> Task {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let limits = LimitsSpec { call: Period(Duration::from_secs(10)), ..LimitsSpec::default() };
    Task { plugin: PLUGINS.get("mirror").await.expect("a plugin"), settings, limits, ..task("", "").await }
}

/// A column of each type of the interface, with nulls where the type allows them.
fn columns() -> Vec<ArrayRef> {
    use DataType as T;
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(0)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("äöü")]));
    let as_type = |from: &ArrayRef, to: DataType| cast(from, &to).unwrap_or_else(|error| panic!("{to}: {error}"));
    let number = |to: DataType| as_type(&numbers, to);
    let narrow = |to: DataType| as_type(&as_type(&numbers, T::Int32), to);
    let mut all: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(4)),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
    ];
    all.extend([T::Int8, T::Int16, T::Int32, T::Int64, T::UInt8, T::UInt16, T::UInt32, T::UInt64].map(number));
    all.extend([T::Float16, T::Float32, T::Float64, T::Decimal128(20, 2), T::Date64].map(number));
    all.extend([T::Date32, T::Time32(TimeUnit::Second), T::Time32(TimeUnit::Millisecond)].map(narrow));
    all.extend([T::Time64(TimeUnit::Microsecond), T::Time64(TimeUnit::Nanosecond)].map(number));
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        all.extend([T::Timestamp(unit, None), T::Timestamp(unit, Some("UTC".into())), T::Duration(unit)].map(number));
    }
    all.extend([T::Utf8, T::LargeUtf8, T::Binary, T::LargeBinary].map(|to| as_type(&texts, to)));
    all.extend(nested(&numbers, &texts));
    all
}

fn nested(numbers: &ArrayRef, texts: &ArrayRef) -> Vec<ArrayRef> {
    let bytes = [Some([1_u8, 2, 3]), None, Some([4, 5, 6]), Some([7, 8, 9])];
    let lists = || [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4), Some(5)])];
    let pairs = [Some(vec![Some(1), None]), None, Some(vec![Some(3), Some(4)]), Some(vec![None, None])];
    let fields: Fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)].into();
    let columns = vec![Arc::clone(numbers), Arc::clone(texts)];
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for row in [Some(vec![("k", Some(1)), ("l", None)]), None, Some(vec![]), Some(vec![("m", Some(3))])] {
        for (key, value) in row.iter().flatten() {
            map.keys().append_value(key);
            map.values().append_option(*value);
        }
        map.append(row.is_some()).unwrap();
    }
    vec![
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), 3).unwrap()),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists())),
        Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(lists())),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(pairs, 2)),
        Arc::new(StructArray::new(fields, columns, Some(vec![true, true, false, true].into()))),
        Arc::new(map.finish()),
    ]
}

/// `id`, a number in each row, and `column` beside it.
fn beside_id(column: &ArrayRef) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![10, 11, 12, 13]));
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("c", column.data_type().clone(), true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![id, Arc::clone(column)]).unwrap()
}

async fn answer(handler: &mut HandlerInstance, records: &RecordBatch) -> Rows {
    let answer = handler.process(records).await;
    answer.unwrap_or_else(|error| panic!("{}: {error}", records.schema())).expect("rows")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_goes_in_and_comes_back() {
    for settings in [&[("answer", "fresh")][..], &[("answer", "with-columns")]] {
        let mut handler = HandlerInstance::open(mirror(settings).await, None, None).await.unwrap();
        for column in columns() {
            let whole = beside_id(&column);
            for part in [whole.clone(), whole.slice(1, 2), whole.slice(3, 1), whole.slice(0, 0)] {
                match answer(&mut handler, &part).await {
                    Rows::Fresh(back) | Rows::WithColumns(back) => assert_eq!(back, part),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_not_read_is_in_nobodys_way() {
    let settings = |answer: &'static str| [("read", r#"["id"]"#), ("answer", answer)];
    let mut mask = HandlerInstance::open(mirror(&settings("mask")).await, None, None).await.unwrap();
    let mut take = HandlerInstance::open(mirror(&settings("take")).await, None, None).await.unwrap();
    let mut with = HandlerInstance::open(mirror(&settings("with-columns")).await, None, None).await.unwrap();
    for column in columns() {
        let records = beside_id(&column);
        let Rows::Masked(rows) = answer(&mut mask, &records).await else { panic!("no mask") };
        assert_eq!(rows, BooleanArray::from(vec![true, false, true, false]));
        let Rows::Taken(rows) = answer(&mut take, &records).await else { panic!("no rows") };
        assert_eq!(rows.values().to_vec(), [0, 2]);
        let Rows::WithColumns(back) = answer(&mut with, &records).await else { panic!("no columns") };
        assert_eq!(back, records.project(&[0]).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_and_dictionaries_come_as_the_plain_type() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("a")]));
    let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    let mut handler = HandlerInstance::open(mirror(&[]).await, None, None).await.unwrap();
    for (kind, plain) in [
        (DataType::Utf8View, DataType::Utf8),
        (words.clone(), DataType::Utf8),
        (list(DataType::Utf8View), list(DataType::Utf8)),
    ] {
        let records = beside_id(&cast(&texts, &kind).unwrap());
        let Rows::Fresh(back) = answer(&mut handler, &records).await else { panic!("no rows") };
        assert_eq!(back, beside_id(&cast(&texts, &plain).unwrap()), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_without_a_word_is_named_and_is_no_crash_of_the_guest() {
    let months: ArrayRef = Arc::new(IntervalYearMonthArray::from(vec![1, 2, 3, 4]));
    let mut handler = HandlerInstance::open(mirror(&[]).await, None, None).await.unwrap();
    let error = handler.process(&beside_id(&months)).await.unwrap_err();
    assert!(matches!(error, Error::Column { .. }) && !error.is_crash(), "{error:?}");
    assert!(error.to_string().contains("column `c` has the type Interval"), "{error}");
    // The instance was not touched.
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
    answer(&mut handler, &beside_id(&texts)).await;
}
