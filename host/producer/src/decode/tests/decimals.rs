//! Decimals with more digits than their column are set aside, wherever they are.

use std::{path::Path, sync::Arc};

use arrow::array::{ArrayRef, Decimal128Array};

use super::{
    binary::{ipc, raw_container, record},
    *,
};

/// 8388607, which is 83886.07 with a scale of 2.
const LARGE: [u8; 4] = [6, 0x7f, 0xff, 0xff];
/// 1234, which is 12.34.
const SMALL: [u8; 3] = [4, 0x04, 0xd2];
const DECIMAL: &str = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;

fn reasons(batch: &Batch) -> Vec<&str> {
    batch.dead.iter().map(|letter| letter.reason.as_str()).collect()
}

async fn set_aside(field: &str, records: &[&[u8]], sound: usize, name: &str) {
    let schema = record(&format!(r#"{{"name":"d","type":{field}}}"#));
    let container = raw_container(&schema, &[(records.len() as u8, &records.concat())]);
    let batch = decode(&factory(r#"{"type":"avro"}"#, Path::new("")), messages(&[container], None)).await;
    let reasons = reasons(&batch);
    assert_eq!((batch.records.num_rows(), batch.dead.len()), (sound, records.len() - sound), "{reasons:?}");
    for reason in reasons {
        let wanted =
            format!("`{name}` must be a number of at most 4 digits, 2 of them after the point, not `83886.07`");
        assert!(reason.contains(&wanted) && reason.ends_with("out of range"), "{reason}");
    }
}

#[tokio::test]
async fn a_decimal_above_its_precision_is_set_aside_by_its_record() {
    set_aside(DECIMAL, &[&SMALL, &LARGE, &SMALL], 2, "d").await;
    set_aside(&format!(r#"["null",{DECIMAL}]"#), &[&[0], &[&[2][..], &LARGE].concat()], 1, "d").await;
    let inner = format!(r#"{{"type":"record","name":"P","fields":[{{"name":"x","type":{DECIMAL}}}]}}"#);
    set_aside(&inner, &[&LARGE, &SMALL], 1, "d.x").await;
    let list = [&[2][..], &LARGE, &[0]].concat();
    set_aside(&format!(r#"{{"type":"array","items":{DECIMAL}}}"#), &[&list, &[0]], 1, "d[]").await;
    let map = [&[2, 2, b'k'][..], &LARGE, &[0]].concat();
    set_aside(&format!(r#"{{"type":"map","values":{DECIMAL}}}"#), &[&map, &[0]], 1, "d{}").await;
    set_aside(&format!(r#"["null","string",{DECIMAL}]"#), &[&[&[4][..], &LARGE].concat(), &[0]], 1, "d").await;
}

#[tokio::test]
async fn a_decimal_above_its_precision_is_set_aside_as_a_single_record() {
    let writer = record(&format!(r#"{{"name":"d","type":{DECIMAL}}}"#));
    let spec = format!(r#"{{"type":"avro","encoding":"record","writer":{writer}}}"#);
    let batch = decode(&factory(&spec, Path::new("")), messages(&[&SMALL[..], &LARGE, &SMALL], None)).await;
    assert_eq!((batch.records.num_rows(), batch.dead[0].offset), (2, 11));
    assert!(reasons(&batch)[0].contains("not `83886.07`"), "{:?}", batch.dead);
}

#[tokio::test]
async fn an_arrow_stream_with_such_a_decimal_is_set_aside() {
    let rows = |value: i128| {
        let column: ArrayRef = Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(4, 2).unwrap());
        ipc(&[RecordBatch::try_from_iter([("d", column)]).unwrap()], None)
    };
    let batch =
        decode(&factory(r#"{"type":"arrow"}"#, Path::new("")), messages(&[rows(1234), rows(8388607)], None)).await;
    assert_eq!((batch.records.num_rows(), batch.dead.len()), (1, 1));
    assert!(reasons(&batch)[0].contains("not `83886.07`"), "{:?}", batch.dead);
}
