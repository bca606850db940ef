//! What the boundary costs; run it with `cargo test --release --lib sandbox::speed -- --ignored --nocapture`.

use arrow::{
    array::{AsArray as _, BooleanArray, Int64Array},
    buffer::{BooleanBuffer, Buffer},
    compute::filter_record_batch,
    datatypes::Int64Type,
};

use super::*;
use crate::data::Blobs;

/// Median of many runs, in microseconds.
async fn median(runs: usize, mut run: impl AsyncFnMut()) -> f64 {
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = crate::clock::now();
        run().await;
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    took[runs / 2]
}

/// The guest's own predicate, word for word.
fn even(values: &[u8]) -> Vec<u8> {
    let byte = |eight: &[u8; 64]| {
        let bit = |at: usize| u8::from(eight[at * 8] & 1 == 0) << at;
        bit(0) | bit(1) | bit(2) | bit(3) | bit(4) | bit(5) | bit(6) | bit(7)
    };
    let (whole, rest) = values.as_chunks::<64>();
    let tail = rest.chunks_exact(8).enumerate().fold(0, |byte, (at, value)| byte | u8::from(value[0] & 1 == 0) << at);
    whole.iter().map(byte).chain((!rest.is_empty()).then_some(tail)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and proves nothing"]
async fn the_boundary_in_microseconds() {
    let limits = LimitsSpec::default();
    let with =
        |mode: &'static str| async move { Task { limits: LimitsSpec::default(), ..task(mode, "process").await } };
    let numbers: Vec<i64> = (0..8192).map(|n: i64| n.wrapping_mul(2_654_435_761) >> 7).collect();
    let words: StringArray = numbers.iter().map(|n| Some(format!("word {n}"))).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("n", Arc::new(Int64Array::from(numbers.clone()))),
        ("m", Arc::new(Int64Array::from(numbers))),
        ("w", Arc::new(words)),
    ];
    let records = RecordBatch::try_from_iter(columns).unwrap();

    let mut forward = HandlerInstance::open(with("").await, "", None).await.unwrap();
    let tick = median(20_000, async || drop(forward.tick(1).await.unwrap())).await;
    println!("an empty call:                       {tick:8.3} µs");
    let all = median(20_000, async || drop(forward.process("", &records).await.unwrap())).await;
    println!("a batch lent, answer `all`:          {all:8.3} µs");

    for (mode, what) in [("look-at-nothing", "no column read:"), ("look", "one column of 64 KiB read:")] {
        let mut look = HandlerInstance::open(with(mode).await, "", None).await.unwrap();
        let took = median(5_000, async || drop(look.process("", &records).await.unwrap())).await;
        println!("{what:36} {took:8.3} µs");
    }

    let native = median(3_000, async || {
        let bits = even(records.column(0).as_primitive::<Int64Type>().values().inner().as_slice());
        let even = BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, records.num_rows()), None);
        std::hint::black_box(filter_record_batch(&records, &even).unwrap());
    })
    .await;
    let mut mask = HandlerInstance::open(with("mask-even").await, "", None).await.unwrap();
    let guest = median(3_000, async || {
        let outputs = mask.process("", &records).await.unwrap();
        let Rows::Masked(even) = &outputs[0].rows else { panic!("{outputs:?}") };
        std::hint::black_box(filter_record_batch(&records, even).unwrap());
    })
    .await;
    println!("8192 rows, filter native:            {native:8.1} µs");
    println!("8192 rows, mask from the guest:      {guest:8.1} µs = {:.2}x native", native / guest);

    let mut values = Blobs::default();
    (0..8192).for_each(|_| values.push(&[b'x'; 150]));
    let messages = Messages { values, offsets: (0..8192).collect(), ..Messages::default() };
    let mut decoding = Decoding::open(Task { limits, ..with("").await }, "", "t", None).await.unwrap();
    let decode = median(500, async || drop(decoding.decode(&messages).await.unwrap())).await;
    println!("8192 messages of 150 B into a column:{decode:8.1} µs = {:.0} MB/s", 8192.0 * 150.0 / decode);
}
