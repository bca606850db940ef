//! Fuzz targets: answers of a broker that were built and then changed.

use bytes::Bytes;
use spout_fuzz::{Counting, Random, Target};
use spout_guest::Messages;

use crate::{
    records::{Budget, Records},
    tests::build::{Bat, Rec, marker},
    wire::{Aborted, FetchAnswer, Input, Metadata},
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Batches, also changed ones whose checksum is not looked at: messages are those that were sent or there is an error, and cuts
/// into calls change nothing.
#[test]
fn kafka_batches() {
    Target::new("kafka-batches", 8_000).within(160 << 20).seeds(batches);
}

/// Answers to the requests that are sent.
#[test]
fn kafka_answers() {
    Target::new("kafka-answers", 8_000).seeds(answers);
}

fn blob(random: &mut Random) -> Option<Vec<u8>> {
    let length = [0, 1, 3, 20, 200][random.below(5)];
    (random.below(5) > 0).then(|| (0..length).map(|_| random.byte()).collect())
}

/// A log: its batches, its aborted transactions, and the messages that are not of those.
type Log = (Vec<Bat>, Vec<Aborted>, Vec<(u64, Option<Vec<u8>>)>);

fn log(random: &mut Random) -> Log {
    let (mut batches, mut aborted, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut base = random.below(5) as i64;
    for _ in 0..1 + random.below(4) {
        let aborts = random.below(4) == 0;
        let count = random.below(6) as i32;
        let mut delta = 0;
        let records: Vec<Rec> = (0..count)
            .map(|_| {
                delta += 1 + random.below(3) as i32;
                let headers = (0..random.below(3)).map(|_| (blob(random).unwrap_or_default(), blob(random))).collect();
                Rec {
                    delta: delta - 1,
                    time: random.below(100) as i64 - 50,
                    key: blob(random),
                    value: blob(random),
                    headers,
                }
            })
            .collect();
        let last_delta = delta + random.below(3) as i32;
        let attributes = [0, 1, 2, 3, 4, 8][random.below(6)];
        let plain = Bat { base, last_delta, attributes, producer: -1, time: 1000, records };
        let batch = if aborts { plain.of(5) } else { plain };
        if aborts {
            aborted.push(Aborted { producer: 5, first: base });
        } else {
            kept.extend(batch.records.iter().map(|one| ((base + i64::from(one.delta)) as u64, one.value.clone())));
        }
        base = batch.last() + 1 + random.below(3) as i64;
        batches.push(batch);
        if aborts {
            batches.push(marker(base, 5, false));
            base += 1;
        }
    }
    (batches, aborted, kept)
}

fn batches(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let (batches, aborted, kept) = log(&mut random);
    let sent: Vec<Option<Vec<u8>>> =
        batches.iter().flat_map(|batch| &batch.records).map(|one| one.value.clone()).collect();
    let mut bytes: Vec<u8> = batches.iter().flat_map(Bat::bytes).collect();
    let changed = random.below(2) == 0;
    if changed {
        random.spoil(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let read = |most: usize, check: bool| -> Result<_, _> {
        let mut records = Records::new(bytes.clone(), 0, Some(aborted.clone()), check);
        let mut all: Vec<(u64, Option<Vec<u8>>)> = Vec::new();
        while !records.is_empty() {
            let (mut messages, before) = (Messages::default(), records.next());
            records.drain(&mut messages, &mut Budget { messages: most, bytes: 1 << 20, first: true }, None)?;
            assert!(records.next() >= before && messages.len() <= most);
            let nulls = messages.nulls();
            let value = |at: usize| (!nulls.contains(&(at as u32))).then(|| messages.value(at).to_vec());
            all.extend((0..messages.len()).map(|at| (messages.offsets()[at], value(at))));
            assert!(
                messages.offsets().is_sorted() && messages.offsets().last().is_none_or(|last| *last < records.next())
            );
        }
        Ok::<_, crate::records::Unreadable>(all)
    };
    let whole = read(usize::MAX, true);
    assert_eq!(whole, read(1 + random.below(3), true), "cuts change nothing");
    let taken = whole.is_ok();
    match whole {
        Ok(all) if !changed => assert_eq!(all, kept),
        // Offsets are the broker's, and no checksum is of them.
        Ok(all) => assert!(all.iter().all(|(_, value)| sent.contains(value)), "a message that was not sent"),
        Err(wrong) => assert!(changed, "{wrong:?}"),
    }
    // Whoever does not look at checksums reads what he gets, and does not fall.
    drop(read(1000, false));
    taken
}

fn answers(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let flexible = random.below(2) == 0;
    let bytes: Bytes = (0..random.below(200)).map(|_| [0, 0, 0, 1, 2, 0xff, random.byte()][random.below(7)]).collect();
    let versions = if flexible { [13, 12] } else { [11, 4] };
    let fetched = versions.map(|version| FetchAnswer::read(Input::new(bytes.clone(), flexible), version).is_ok());
    let told = versions.map(|version| Metadata::read(Input::new(bytes.clone(), flexible), version).is_ok());
    fetched.into_iter().chain(told).any(|taken| taken)
}
