//! Batches that go out and come back are the same; batches that a guest made up never panic and never lie.

use arrow::{
    array::{BooleanArray, Int64Array, ListArray, StringArray, StructArray, TimestampMillisecondArray},
    datatypes::{Field, Fields, Schema, TimeUnit},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

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

/// One random change of what a guest might send.
fn spoil(parts: &mut wit::Parts, dice: &mut StdRng) {
    let buffers = parts.buffers.len();
    match dice.random_range(0..8) {
        0 => parts.rows = dice.random_range(0..12),
        1 => parts.nodes[dice.random_range(0..6)].length = dice.random(),
        2 => parts.nodes[dice.random_range(0..6)].nulls = dice.random_range(0..9),
        3 => drop(parts.buffers.remove(dice.random_range(0..buffers))),
        4 => parts.buffers.push(vec![0; dice.random_range(0..40)]),
        5 => {
            let buffer = &mut parts.buffers[dice.random_range(0..buffers)];
            buffer.truncate(dice.random_range(0..=buffer.len()));
        }
        _ => {
            let buffer = &mut parts.buffers[dice.random_range(0..buffers)];
            if !buffer.is_empty() {
                let at = dice.random_range(0..buffer.len());
                buffer[at] = dice.random();
            }
        }
    }
}

#[test]
fn a_made_up_batch_is_refused_or_valid() {
    let seed: u64 = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let mut dice = StdRng::seed_from_u64(seed);
    let whole = batch();
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..20_000 {
        let mut parts = told_back(lower(&whole, &[0, 1, 2, 3, 4, 5]).unwrap());
        for _ in 0..dice.random_range(1..4) {
            spoil(&mut parts, &mut dice);
            if parts.buffers.is_empty() {
                break;
            }
        }
        match raise(whole.schema(), parts, &LimitsSpec::default()) {
            Ok(records) => {
                taken += 1;
                records.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
            }
            Err(_) => refused += 1,
        }
    }
    println!("{refused} refused, {taken} still valid");
    assert!(refused > 1_000 && taken > 100);
}
