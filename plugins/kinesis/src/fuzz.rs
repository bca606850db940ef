//! What a service sends, and what those who put records into it made of them; positions that were stored.

use std::ops::RangeInclusive;

use spout_fuzz::{Corpus, Counting, Target};
use spout_guest::{Limits, Position};

use crate::{
    aggregate::{parts, tests as library},
    api::{Page, ShardList},
    lineage::{self, Lineage},
    place::Place,
    shard::Open,
};

#[global_allocator]
static MEMORY: Counting = Counting;

const KEYS: RangeInclusive<u128> = 0..=u128::MAX;

/// A record that holds several, whose checksum is right whatever else is not: no more comes out of it than it has.
#[test]
fn kinesis_aggregated() {
    let body = |messages: &[(&str, &str)]| {
        let packed = library::packed(&library::aggregated(messages));
        packed[4..packed.len() - 16].to_vec()
    };
    let corpus = Corpus::of([body(&[("a", "1")]), body(&[("a", "one"), ("b", "two"), ("a", "")]), body(&[])]);
    Target::new("kinesis_aggregated", 20_000).bytes(&corpus, |bytes| {
        let record = library::record(library::sealed(bytes));
        let found = parts(&record, &KEYS);
        let size: usize = found.iter().map(|part| part.data.len()).sum();
        assert!(size <= record.data.len() && found.len() <= record.data.len(), "{} messages", found.len());
        found.len() != 1 || found[0].data != record.data
    });
}

/// An answer is read or refused, and its messages are the same however few are taken at once.
#[test]
fn kinesis_answers() {
    let record = r#"{"SequenceNumber":"7","PartitionKey":"k","Data":"aGk=","ApproximateArrivalTimestamp":1.5E9}"#;
    let corpus = Corpus::of([
        format!(r#"{{"Records":[{record}],"NextShardIterator":"x","MillisBehindLatest":0}}"#),
        format!(r#"{{"Records":[{record},{}],"NextShardIterator":null}}"#, record.replace('7', "18")),
        format!(r#"{{"Shards":[{},{}]}}"#, lineage::tests::shard(0, &[], true), lineage::tests::shard(1, &[0], false)),
    ])
    .words(&["\"EndingHashKey\"", "340282366920938463463374607431768211456", "1e999", "-1", "null", "[]"]);
    Target::new("kinesis_answers", 20_000).bytes(&corpus, |bytes| {
        if let Ok(list) = serde_json::from_slice::<ShardList>(bytes) {
            return Lineage::new(list.shards, &[]).is_ok_and(|lineage| !lineage.partitions().is_empty());
        }
        let read = |most: usize| {
            let page = serde_json::from_slice::<Page>(bytes).ok()?;
            let (mut open, mut place, mut values) = (Open::new(Place::default()), Position::default(), Vec::new());
            open.take(page, 100).ok()?;
            let limits = Limits { messages: most, bytes: 1 << 20, timeout: std::time::Duration::ZERO };
            for _ in 0..1000 {
                let fetched = open.give(&place, &KEYS, limits, 0);
                assert!(fetched.next.offset >= place.offset);
                if fetched.messages.is_empty() {
                    break;
                }
                values.extend(fetched.messages.iter().map(|one| one.value().to_vec()));
                place = fetched.next;
            }
            Some((values, open.place.after))
        };
        let all = read(1000);
        assert_eq!(all, read(1));
        all.is_some()
    });
}

/// A token of a commit, which anyone may have written.
#[test]
fn kinesis_place() {
    let corpus = Corpus::of([
        r#"{"from":1795761436964}"#,
        r#"{"after":"49680606399253778777909009071859213378099862365267820546","read":3,"at":1795761436964}"#,
        r#"{"from":1,"after":"7","at":2,"ended":true}"#,
    ])
    .words(&["\"ended\"", "18446744073709551616", "null", "\"\""]);
    Target::new("kinesis_place", 20_000).bytes(&corpus, |bytes| {
        let position = Position { offset: 9, token: Some(bytes.to_vec()) };
        let Ok(Some(place)) = Place::parse(&position) else { return false };
        assert_eq!(Place::parse(&place.position()), Ok(Some(place)));
        true
    });
}
