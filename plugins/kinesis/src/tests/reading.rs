//! What is read of shards, and when.

use std::time::Duration;

use spout_guest::{Criteria, Known, Limits, Partition, Position, Progress, SharedReader as _, SharedSource as _};

use super::service::{Fake, all, fetch};
use crate::{Kinesis, aggregate::tests as library, place::Place, reader::now_ms};

const WAIT: Duration = Duration::from_secs(5);

fn known(shards: &[(u32, &Position)]) -> Vec<Known> {
    let one = |(id, position): &(u32, &Position)| Known {
        id: *id,
        label: format!("shardId-{id:012}"),
        position: (*position).clone(),
    };
    shards.iter().map(one).collect()
}

fn ids(source: &mut Kinesis, shards: &[(u32, &Position)]) -> Vec<u32> {
    let mut ids: Vec<u32> =
        source.partitions(&known(shards), WAIT).unwrap().into_iter().map(|one: Partition| one.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn any_position_gives_the_same_messages_again() {
    let fake = Fake::start(&[0]);
    let both = library::packed(&library::aggregated(&[("a", "2"), ("b", "3"), ("a", "4")]));
    fake.put(0, None, &[b"1", &both, b"5", b""]);
    let mut reader = fake.reader();
    let (messages, end) = all(&mut reader, 0, &Position::default(), 100);
    assert_eq!((messages, end.offset), (["1", "2", "3", "4", "5", ""].map(str::to_owned).to_vec(), 6));
    for most in [1, 2, 4] {
        let (mut place, mut places) = (Position::default(), vec![Position::default()]);
        while place.offset < 6 {
            place = fetch(&mut reader, 0, &place, most).unwrap().next;
            places.push(place.clone());
        }
        for place in &places {
            let from = usize::try_from(place.offset).unwrap();
            for reader in [&mut reader, &mut fake.reader()] {
                let (found, after) = all(reader, 0, place, most);
                assert_eq!(found, ["1", "2", "3", "4", "5", ""][from..], "{place:?}");
                assert_eq!(after, end);
            }
        }
    }
    let first = fetch(&mut reader, 0, &Position::default(), 2).unwrap();
    let message = |at: usize| first.messages.iter().nth(at).unwrap();
    assert_eq!((message(0).key(), message(1).key()), (Some(&b"k"[..]), Some(&b"a"[..])));
    assert_eq!(message(1).headers().collect::<Vec<_>>(), [("sequence", &b"2"[..])]);
    assert!(message(0).timestamp_ms().is_some());
}

#[test]
fn shards_follow_each_other_and_lose_nothing() {
    let fake = Fake::start(&[0, 1]);
    let (mut source, mut reader) = (fake.open("1000"), fake.reader());
    fake.put(0, None, &[b"a"]);
    fake.put(1, None, &[b"b"]);
    assert_eq!(ids(&mut source, &[]), [0, 1]);
    let start = source.resolve(0, Criteria::Earliest, WAIT).unwrap().unwrap();
    let (_, zero) = all(&mut reader, 0, &start, 10);
    fake.put(0, None, &[b"c"]);
    fake.reshard(&[0], &[2, 3]);
    fake.put(3, None, &[b"d"]);
    assert_eq!(ids(&mut source, &[(0, &zero)]), [0, 1]);
    let rest = fetch(&mut reader, 0, &zero, 10).unwrap();
    assert_eq!((rest.messages.value(0), rest.progress, rest.high_watermark), (&b"c"[..], Progress::Ended, None));
    let asked = fake.count("Get");
    assert_eq!(fetch(&mut reader, 0, &rest.next, 10).unwrap().progress, Progress::Ended);
    assert_eq!(fake.count("Get"), asked, "what has ended is not asked again");
    assert_eq!(ids(&mut source, &[(0, &rest.next)]), [0, 1, 2, 3]);
    let start = source.resolve(3, Criteria::Earliest, WAIT).unwrap().unwrap();
    assert_eq!(start, Position::default());
    assert_eq!(all(&mut reader, 3, &start, 10).0, ["d"]);
    fake.reshard(&[3, 1], &[4]);
    let end = all(&mut reader, 3, &start, 10).1;
    assert_eq!(ids(&mut source, &[(0, &rest.next), (3, &end)]), [0, 1, 2, 3]);
    let one = all(&mut reader, 1, &Position::default(), 10);
    assert_eq!((one.0, Place::parse(&one.1).unwrap().unwrap().ended), (vec!["b".to_owned()], true));
    assert_eq!(ids(&mut source, &[(0, &rest.next), (3, &end), (1, &one.1)]), [0, 1, 2, 3, 4]);
}

#[test]
fn reading_begins_where_it_is_told_and_children_with_it() {
    let fake = Fake::start(&[0]);
    let (mut source, mut reader) = (fake.open("1000"), fake.reader());
    fake.put(0, Some(1000), &[b"old"]);
    fake.put(0, Some(2000), &[b"older than some"]);
    fake.reshard(&[0], &[1]);
    fake.put(1, Some(3000), &[b"x"]);
    fake.put(1, Some(4000), &[b"y"]);
    for (at, first, second) in [(1500, 1, ["x", "y"].as_slice()), (2000, 1, &["x", "y"]), (3500, 0, &["y"])] {
        assert_eq!(ids(&mut source, &[]), [0]);
        let start = source.resolve(0, Criteria::AtTimeMs(at), WAIT).unwrap().unwrap();
        let (found, end) = all(&mut reader, 0, &start, 10);
        assert_eq!(found.len(), first);
        assert_eq!(ids(&mut source, &[(0, &end)]), [0, 1]);
        let start = source.resolve(1, Criteria::Earliest, WAIT).unwrap().unwrap();
        assert_eq!(all(&mut reader, 1, &start, 10).0, second, "{at}");
    }
    let latest = source.resolve(1, Criteria::Latest, WAIT).unwrap().unwrap();
    assert_eq!(all(&mut reader, 1, &latest, 10).0.len(), 0);
    fake.put(1, None, &[b"z"]);
    for reader in [&mut reader, &mut fake.reader()] {
        assert_eq!(all(reader, 1, &latest, 10).0, ["z"]);
    }
    assert_eq!(source.resolve(1, Criteria::AtOffset(0), WAIT).unwrap(), Some(Position::at(0)));
    assert_eq!(source.resolve(1, Criteria::AtOffset(1), WAIT).unwrap(), None);
    // A time to come is waited for.
    let soon = now_ms() + 60_000;
    let start = source.resolve(1, Criteria::AtTimeMs(soon), WAIT).unwrap().unwrap();
    assert_eq!(all(&mut reader, 1, &start, 10).0.len(), 0);
    fake.put(1, None, &[b"before"]);
    fake.put(1, Some(soon), &[b"then"]);
    assert_eq!(all(&mut reader, 1, &start, 10).0, ["then"]);
}

#[test]
fn a_shard_is_asked_no_more_often_than_it_may() {
    let fake = Fake::start(&[0, 1]);
    let mut reader = fake.open("0.1").into_reader().unwrap();
    fake.put(0, None, &[b"1", b"2"]);
    let limits = Limits { messages: 1, bytes: 1 << 20, timeout: Duration::ZERO };
    let first = reader.fetch(&[(0, Position::default())], limits).unwrap().remove(0).1.unwrap();
    let next = reader.fetch(&[(0, first.next.clone()), (1, Position::default())], limits).unwrap();
    assert_eq!(fake.count("GetRecords"), 2, "one of each shard");
    // There is more, but it is not time for it.
    let waits = next[0].1.as_ref().unwrap();
    assert_eq!((waits.messages.len(), waits.progress, &waits.next), (0, Progress::More, &first.next));
    assert_eq!(next[1].1.as_ref().unwrap().progress, Progress::Idle);
}
