//! What batches of strangers grow to when they become plain columns: a dictionary, a run or a view says with a few bytes what then
//! stands there as often as there are rows, and a column that a batch lacks is null in each of them.

use arrow::{
    array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch, downcast_run_array},
    datatypes::{DataType, Schema},
};

/// Bytes that one message may grow to besides its own.
const MOST: u64 = 256 << 20;

/// Checks what `batches`, which are one message, grow to as rows of `schema`.
///
/// # Errors
/// It is too much; with the column.
pub(super) fn bounded(batches: &[RecordBatch], schema: Option<&Schema>) -> Result<(), String> {
    let mut grown = 0_u64;
    let mut add = |name: &str, bytes: u64| {
        grown = grown.saturating_add(bytes);
        if grown <= MOST {
            return Ok(());
        }
        Err(format!(
            "the rows of the message take more than {MOST} bytes besides its own in memory, at column `{name}`; send fewer rows at a time, or declare fewer columns"
        ))
    };
    for batch in batches {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            add(field.name(), plain(column))?;
        }
        let lacks = |name: &str| batch.column_by_name(name).is_none();
        for field in schema.iter().flat_map(|schema| schema.fields()).filter(|field| lacks(field.name())) {
            add(field.name(), nulls(field.data_type(), batch.num_rows() as u64))?;
        }
    }
    Ok(())
}

/// Bytes of so many nulls of a type.
fn nulls(kind: &DataType, rows: u64) -> u64 {
    match kind {
        DataType::Struct(fields) => {
            fields.iter().map(|field| nulls(field.data_type(), rows)).fold(rows / 8, u64::saturating_add)
        }
        DataType::FixedSizeList(item, length) => {
            nulls(item.data_type(), rows.saturating_mul(u64::try_from(*length).unwrap_or(0)))
        }
        other => rows.saturating_mul(other.primitive_width().unwrap_or(4) as u64),
    }
}

/// Bytes that `array` takes as a plain array, where it is none.
fn plain(array: &ArrayRef) -> u64 {
    let rows = array.len() as u64;
    match array.data_type() {
        DataType::Null => rows.saturating_mul(4),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            // Without a value all keys are null, and arrow has no word for that.
            if dictionary.values().is_empty() {
                return 0;
            }
            let taken = dictionary.normalized_keys().into_iter();
            taken.map(sizes(dictionary.values())).fold(0, u64::saturating_add)
        }
        DataType::RunEndEncoded(..) => downcast_run_array!(
            array => {
                let size = sizes(array.values());
                let ends = array.run_ends().values().iter().map(|end| u64::try_from(*end).unwrap_or(u64::MAX));
                let mut before = 0;
                let mut grown = 0_u64;
                for (run, end) in ends.enumerate() {
                    let length = end.min(rows).saturating_sub(std::mem::replace(&mut before, end));
                    grown = grown.saturating_add(size(run).saturating_mul(length));
                }
                grown
            },
            _ => u64::MAX,
        ),
        DataType::ListView(_) => viewed(array.as_list_view::<i32>().sizes(), array.as_list_view::<i32>().values()),
        DataType::LargeListView(_) => viewed(array.as_list_view::<i64>().sizes(), array.as_list_view::<i64>().values()),
        DataType::Utf8View => array.as_string_view().views().iter().map(|view| u64::from(*view as u32)).sum(),
        DataType::BinaryView => array.as_binary_view().views().iter().map(|view| u64::from(*view as u32)).sum(),
        DataType::Struct(_) => array.as_struct().columns().iter().map(plain).fold(0, u64::saturating_add),
        DataType::List(_) => plain(array.as_list::<i32>().values()),
        DataType::LargeList(_) => plain(array.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => plain(array.as_fixed_size_list().values()),
        DataType::Map(..) => array.as_map().entries().columns().iter().map(plain).fold(0, u64::saturating_add),
        _ => 0,
    }
}

/// What each value of `values` takes.
fn sizes(values: &ArrayRef) -> Box<dyn Fn(usize) -> u64 + '_> {
    fn between<O: OffsetSizeTrait>(offsets: &[O]) -> impl Fn(usize) -> u64 {
        let lengths: Vec<u64> =
            offsets.windows(2).map(|pair| (pair[1] - pair[0]).as_usize() as u64 + size_of::<O>() as u64).collect();
        move |at| lengths.get(at).copied().unwrap_or_default()
    }
    match values.data_type() {
        DataType::Utf8 => Box::new(between(values.as_string::<i32>().value_offsets())),
        DataType::LargeUtf8 => Box::new(between(values.as_string::<i64>().value_offsets())),
        DataType::Binary => Box::new(between(values.as_binary::<i32>().value_offsets())),
        DataType::LargeBinary => Box::new(between(values.as_binary::<i64>().value_offsets())),
        other => {
            // Of values that have values themselves each is taken for the largest that there could be.
            let each = other.primitive_width().unwrap_or_else(|| values.get_array_memory_size()) as u64;
            Box::new(move |_| each)
        }
    }
}

/// What the items of views take, which may overlap.
fn viewed<O: OffsetSizeTrait>(sizes: &[O], values: &ArrayRef) -> u64 {
    let items: u64 = sizes.iter().map(|size| size.as_usize() as u64).fold(0, u64::saturating_add);
    let each = values.get_array_memory_size() as u64 / (values.len() as u64).max(1) + 1;
    items.saturating_mul(each.saturating_add(plain(values)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{DictionaryArray, Int32Array, ListViewArray, NullArray, RunArray, StringArray, UInt8Array},
        buffer::ScalarBuffer,
        datatypes::{Field, Int32Type, UInt8Type},
    };

    use super::*;

    fn check(array: ArrayRef, expected: Option<&str>) {
        let batch = RecordBatch::try_from_iter([("a", array)]).unwrap();
        match (bounded(&[batch], None), expected) {
            (Ok(()), None) => {}
            (Err(said), Some(part)) => assert!(said.contains(part), "{said}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn few_bytes_do_not_become_many() {
        let text = |size: usize| Arc::new(StringArray::from(vec!["x".repeat(size)])) as ArrayRef;
        let dictionary = |rows: usize, size| {
            Arc::new(DictionaryArray::<UInt8Type>::new(UInt8Array::from(vec![0; rows]), text(size))) as ArrayRef
        };
        check(dictionary(100_000, 10), None);
        let nothing = Arc::new(StringArray::from(Vec::<&str>::new()));
        check(Arc::new(DictionaryArray::<UInt8Type>::new(UInt8Array::from(vec![None; 3]), nothing)), None);
        check(dictionary(100_000, 10_000), Some("more than 268435456 bytes besides its own in memory, at column `a`"));
        let run = |rows, size| {
            let (ends, values) = (Int32Array::from(vec![rows]), StringArray::from(vec!["x".repeat(size)]));
            Arc::new(RunArray::<Int32Type>::try_new(&ends, &values).unwrap()) as ArrayRef
        };
        check(run(1_000_000, 10), None);
        check(run(i32::MAX, 10), Some("column `a`"));
        let views = |rows: usize| {
            let item = Arc::new(Field::new_list_field(DataType::Int32, true));
            let (offsets, sizes) = (ScalarBuffer::from(vec![0; rows]), ScalarBuffer::from(vec![10_000; rows]));
            let values = Arc::new(Int32Array::from(vec![7; 10_000]));
            Arc::new(ListViewArray::try_new(item, offsets, sizes, values, None).unwrap()) as ArrayRef
        };
        check(views(10), None);
        check(views(10_000), Some("column `a`"));
        check(Arc::new(NullArray::new(1000)), None);
        check(Arc::new(NullArray::new(100 << 20)), Some("column `a`"));
    }

    #[test]
    fn columns_that_a_message_lacks_count_too() {
        let batch =
            |rows: usize| RecordBatch::try_from_iter([("b", Arc::new(UInt8Array::from(vec![0; rows])) as ArrayRef)]);
        let field = |at| Field::new(format!("c{at}"), DataType::Int64, true);
        let wide = Schema::new((0..400).map(field).collect::<Vec<_>>());
        assert_eq!(bounded(&[batch(1000).unwrap()], Some(&wide)), Ok(()));
        assert!(bounded(&[batch(100_000).unwrap()], Some(&wide)).unwrap_err().contains("column `c"));
    }
}
