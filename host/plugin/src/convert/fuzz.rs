//! What a guest may say: refused, or sound in every part.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
        FixedSizeListArray, Float16Array, Float64Array, Int8Array, Int64Array, LargeListArray, LargeStringArray,
        ListArray, MapArray, NullArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields, Float16Type, Int64Type, Schema},
};
use spout_data::Position;
use spout_fuzz::{Corpus, Counting, Random, Target};

use super::{messages, parts, schema};
use crate::{
    LimitsSpec, Manifest,
    batch::{Bytes, Lent},
    bindings::spout::plugin::types as wit,
    manifest,
    secrets::Masks,
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// A made-up batch is refused, or valid in full and the same when it crosses again.
#[test]
fn batch_parts() {
    Target::new("batch-parts", 6_000).seeds(one_batch);
}

/// A made-up schema is refused, or means itself.
#[test]
fn plugin_schema() {
    Target::new("plugin-schema", 20_000).seeds(|seed| one_schema(&mut Random::new(seed)).is_some());
}

/// Made-up messages are refused, or whole and within their positions.
#[test]
fn plugin_messages() {
    Target::new("plugin-messages", 20_000).seeds(some_messages);
}

/// A file's manifest is read or not, whatever the file is.
#[test]
fn plugin_manifest() {
    let component = b"\0asm\x0d\0\x01\0".to_vec();
    let manifest: Manifest = serde_json::from_str("{}").unwrap_or_default();
    let packed = manifest::with_manifest(&component, &manifest, std::path::Path::new("p.wasm")).unwrap();
    let module = b"\0asm\x01\0\0\0\0\x08\x05namex\0\0".to_vec();
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), "plugin-manifest").and([packed, component, module]);
    Target::new("plugin-manifest", 10_000).bytes(&corpus, |wasm| manifest::read(wasm).is_some());
}

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let lists = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4), Some(5), Some(6)])];
    let inner: Fields = vec![Field::new("x", DataType::Utf8, true), Field::new("ok", DataType::Boolean, true)].into();
    let pair: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc"), Some("")])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
    ];
    let entry: Fields =
        vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int64, true)].into();
    let entries: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b", "c"])),
        Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
    ];
    let entries = StructArray::new(entry.clone(), entries, None);
    let entries_field = Arc::new(Field::new("entries", DataType::Struct(entry), false));
    let map = MapArray::new(entries_field, OffsetBuffer::from_lengths([2, 0, 1, 0]), entries, None, false);
    let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(
        [Some(vec![Some(1), Some(2)]), None, Some(vec![None, None]), Some(vec![Some(7), Some(8)])],
        2,
    );
    vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("name", Arc::new(StringArray::from(vec![Some("äöü"), Some(""), None, Some("z")]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(3), None]).with_timezone("UTC"))),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists.clone()))),
        ("large", Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("nested", Arc::new(StructArray::new(inner, pair, Some(vec![true, false, true, true].into())))),
        ("nothing", Arc::new(NullArray::new(4))),
        ("map", Arc::new(map)),
        ("fixed", Arc::new(fixed)),
        ("text", Arc::new(LargeStringArray::from(vec![Some("long"), None, Some("é"), Some("")]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(b"\xff".as_slice()), None, Some(b""), Some(b"xy")]))),
        ("three", Arc::new(FixedSizeBinaryArray::try_from_iter([b"abc", b"def", b"ghi", b"jkl"].into_iter()).unwrap())),
        ("exact", Arc::new(Decimal128Array::from(vec![Some(1), None, Some(-3), Some(i128::MAX / 10)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(0), None, Some(i32::MIN), Some(i32::MAX)]))),
        (
            "half",
            Arc::new(Float16Array::from_iter(vec![
                None::<<Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native>;
                4
            ])),
        ),
        ("float", Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(0.5), Some(f64::INFINITY)]))),
        ("small", Arc::new(Int8Array::from(vec![Some(1), None, Some(-1), Some(i8::MIN)]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]))),
    ]
}

/// What the guest would say if it gave back what it was lent.
fn told_back(lent: Lent) -> wit::Parts {
    let buffers = lent.buffers.iter().map(|Bytes(buffer)| buffer.as_slice().to_vec()).collect();
    wit::Parts { rows: lent.rows, nodes: lent.nodes, buffers }
}

fn one_batch(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let all = columns();
    let chosen: Vec<_> = all.into_iter().filter(|_| random.one_in(4)).collect();
    let fields: Vec<Field> =
        chosen.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), *name != "id")).collect();
    let arrays: Vec<ArrayRef> = chosen.into_iter().map(|(_, column)| column).collect();
    let indices: Vec<usize> = (0..arrays.len()).collect();
    let whole = match RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays) {
        Ok(whole) => whole,
        // No column was chosen.
        Err(_) => return false,
    };
    let mut told = told_back(parts::lower(&whole, &indices).unwrap());
    // Some guests have a schema that is not the one of their buffers.
    let schema = if random.one_in(8) { one_schema(&mut random).map(Arc::new) } else { None };
    let schema = schema.unwrap_or_else(|| whole.schema());
    for _ in 0..random.below(4) {
        spoil(&mut told, &mut random);
    }
    let Ok(records) = parts::raise(schema, told, &LimitsSpec::default()) else { return false };
    records.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    let indices: Vec<usize> = (0..records.num_columns()).collect();
    let again = told_back(parts::lower(&records, &indices).unwrap());
    let again = parts::raise(records.schema(), again, &LimitsSpec::default()).unwrap();
    assert_eq!(again, records, "seed {seed}");
    true
}

/// One random change of what a guest might send.
fn spoil(told: &mut wit::Parts, random: &mut Random) {
    let edge = |random: &mut Random| *random.pick(&[&0_u32, &1, &3, &5, &8, &255, &65_536, &(1 << 31), &u32::MAX]);
    let (node, buffer) = (random.below(told.nodes.len()), random.below(told.buffers.len()));
    match random.below(10) {
        0 => told.rows = edge(random),
        1 => told.nodes.iter_mut().skip(node).take(1).for_each(|node| node.length = edge(random)),
        2 => told.nodes.iter_mut().skip(node).take(1).for_each(|node| node.nulls = edge(random)),
        3 if !told.buffers.is_empty() => drop(told.buffers.remove(buffer)),
        4 => told.buffers.insert(buffer, vec![random.byte(); random.below(40)]),
        5 if !told.nodes.is_empty() => drop(told.nodes.remove(node)),
        _ => {
            let Some(bytes) = told.buffers.get_mut(buffer) else { return };
            let at = random.below(bytes.len());
            let value = edge(random).to_le_bytes();
            match random.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.extend(value),
                // An offset.
                2 if bytes.len() >= 4 => {
                    let at = (at / 4 * 4).min(bytes.len() - 4);
                    bytes[at..at + 4].copy_from_slice(&value);
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.byte()),
            }
        }
    }
}

/// A schema that a guest made up, if it was taken; it crosses back as it is.
fn one_schema(random: &mut Random) -> Option<Schema> {
    let count = random.below(8);
    let told: Vec<wit::Field> = (0..count)
        .map(|_| {
            let type_ = some_type(random);
            let nested = matches!(
                type_,
                wit::DataType::Struct | wit::DataType::List | wit::DataType::LargeList | wit::DataType::Map
            );
            let children =
                if nested || random.one_in(16) { *random.pick(&[&0_u32, &1, &1, &2, &3, &u32::MAX]) } else { 0 };
            let name = (*random.pick(&["a", "b", "c", "", "é", "a\0"])).to_owned();
            wit::Field { name, type_, nullable: random.one_in(2), children, metadata: Vec::new() }
        })
        .collect();
    let raised = schema::raise(&told, &LimitsSpec::default()).ok()?;
    let again = schema::raise(&schema::lower(&raised).unwrap(), &LimitsSpec::default()).unwrap();
    assert_eq!(again, raised);
    Some(raised)
}

fn some_type(random: &mut Random) -> wit::DataType {
    use wit::{DataType as W, TimeUnit};
    let unit = |random: &mut Random| match random.below(4) {
        0 => TimeUnit::Second,
        1 => TimeUnit::Millisecond,
        2 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    };
    let width = |random: &mut Random| *random.pick(&[&0_u32, &1, &3, &(1 << 20), &i32::MAX.unsigned_abs(), &u32::MAX]);
    match random.below(20) {
        0 => W::Null,
        1 => W::Boolean,
        2 => W::Int64,
        3 => W::Uint8,
        4 => W::Float64,
        5 => W::Decimal128((random.byte(), random.byte().cast_signed())),
        6 => W::Time32(unit(random)),
        7 => W::Time64(unit(random)),
        8 => {
            let zone = *random.pick(&[&None, &Some("UTC"), &Some(""), &Some("+99:99"), &Some("Europe/Berlin")]);
            W::Timestamp((unit(random), zone.map(str::to_owned)))
        }
        9 => W::Utf8,
        10 => W::LargeUtf8,
        11 => W::Binary,
        12 => W::FixedSizeBinary(width(random)),
        13 => W::FixedSizeList(width(random)),
        14 | 15 => W::List,
        16 => W::LargeList,
        17 | 18 => W::Struct,
        _ => W::Map,
    }
}

fn some_messages(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let count = u32::try_from(random.below(5)).unwrap();
    let mut bounds: Vec<u32> = (0..=count).collect();
    let mut offsets: Vec<u64> = (0..count).map(|index| 3 + 2 * u64::from(index)).collect();
    let edge = |random: &mut Random| *random.pick(&[&0_u32, &1, &2, &3, &4, &u32::MAX]);
    // Sound so far; now up to three changes.
    for _ in 0..random.below(4) {
        match random.below(4) {
            0 => {
                let at = random.below(bounds.len());
                bounds.iter_mut().skip(at).take(1).for_each(|bound| *bound = edge(&mut random));
            }
            1 => offsets.push(random.next() >> random.below(64)),
            2 => offsets.iter_mut().take(1).for_each(|offset| *offset = random.next() >> random.below(64)),
            _ => bounds.truncate(random.below(bounds.len() + 1)),
        }
    }
    let blobs = |bounds: Vec<u32>| wit::BlobsResult { bounds, bytes: vec![b'x'; count as usize] };
    let listed = |random: &mut Random| (0..random.below(3)).map(|_| edge(random)).collect::<Vec<u32>>();
    let told = wit::MessagesResult {
        keys: random.one_in(4).then(|| blobs(bounds.clone())),
        values: blobs(bounds),
        nulls: if random.one_in(3) { listed(&mut random) } else { Vec::new() },
        partitions: if random.one_in(3) { vec![random.below(2) as u32; count as usize] } else { listed(&mut random) },
        offsets,
        timestamps_ms: if random.one_in(3) { vec![-1; random.below(6)] } else { Vec::new() },
        headers: listed(&mut random)
            .into_iter()
            .map(|message| wit::HeaderResult { message, name: "n".into(), value: vec![0] })
            .collect(),
        attributes: listed(&mut random)
            .into_iter()
            .map(|first| wit::AttributeResult { first, name: "n".into(), value: vec![0] })
            .collect(),
    };
    let Ok(raised) = messages::raise(told, &Masks::default()) else { return false };
    let (start, next) = (random.below(8) as u64, random.next() >> random.below(64));
    let of_stream = messages::check_stream(&raised).is_ok();
    assert!(!of_stream || raised.partitions.len() == raised.len(), "seed {seed}");
    let whole: usize = (0..raised.len()).map(|index| raised.values.get(index).len()).sum();
    assert_eq!(whole, raised.values.bytes.len(), "seed {seed}");
    if messages::check_partition(&raised, 0, &Position::at(start), &Position::at(next)).is_ok() {
        assert!(raised.offsets.is_sorted() && raised.offsets.iter().all(|&at| start <= at && at < next), "seed {seed}");
        assert!(start <= next, "seed {seed}");
    }
    true
}
