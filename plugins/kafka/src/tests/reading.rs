//! A topic as the host reads it, from brokers that do as they are told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{
    Criteria, Error, Limits, Position, Progress, Result, SharedReader as _, SharedSource as _, Start,
    StreamConsumer as _,
    testing::{settings, take_log},
};

use super::{
    broker::{Brokers, Log, Manner},
    build::{Bat, GZIP, batch, marker},
};
use crate::{Kafka, Reader, Settings, Stream, wire::Aborted};

fn set(brokers: &Brokers, more: &[(&str, &str)]) -> Settings {
    let address = brokers.address();
    let mut list =
        vec![("bootstrap.servers", address.as_str()), ("request.timeout.ms", "600"), ("fetch.max.wait.ms", "40")];
    list.extend(more);
    settings(&list).unwrap()
}

fn source(brokers: &Brokers, more: &[(&str, &str)]) -> Kafka {
    Kafka::open("t", set(brokers, more)).unwrap()
}

fn reader(brokers: &Brokers, more: &[(&str, &str)]) -> Reader {
    source(brokers, more).into_reader().unwrap()
}

fn log(batches: &[Bat]) -> Log {
    Log { batches: batches.to_vec(), ..Log::default() }
}

/// `count` batches of three messages, `NAME-OFFSET`, one a second.
fn many(name: &str, count: i64) -> Log {
    let one = |n: i64| {
        let values: Vec<String> = (0..3).map(|at| format!("{name}-{}", 3 * n + at)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        Bat { time: 1000 * n, ..batch(3 * n, &values) }.with(if n % 2 == 0 { GZIP } else { 0 })
    };
    log(&(0..count).map(one).collect::<Vec<_>>())
}

const LIMITS: Limits = Limits { messages: 5, bytes: 1 << 20, timeout: Duration::from_millis(100) };

/// Positions, moved by what a fetch answers; what came of each partition.
#[derive(Default)]
struct Host {
    at: BTreeMap<u32, Position>,
    got: BTreeMap<u32, Vec<(u64, String)>>,
    lag: BTreeMap<u32, u64>,
    errors: Vec<(u32, Error)>,
}

impl Host {
    fn of(partitions: u32) -> Self {
        Self { at: (0..partitions).map(|one| (one, Position::default())).collect(), ..Self::default() }
    }

    fn fetch(&mut self, reader: &mut Reader) -> Result<usize> {
        self.fetch_some(reader, LIMITS)
    }

    fn fetch_some(&mut self, reader: &mut Reader, limits: Limits) -> Result<usize> {
        let wanted: Vec<_> = self.at.iter().map(|(partition, at)| (*partition, at.clone())).collect();
        let mut count = 0;
        for (partition, answer) in reader.fetch(&wanted, limits)? {
            match answer {
                Ok(fetched) => {
                    assert!(fetched.next.offset >= self.at[&partition].offset, "partition {partition} went back");
                    let got = self.got.entry(partition).or_default();
                    for message in fetched.messages.iter() {
                        let offset = message.offset().unwrap();
                        assert!(offset >= self.at[&partition].offset && offset < fetched.next.offset);
                        got.push((offset, String::from_utf8_lossy(message.value()).into_owned()));
                        count += 1;
                    }
                    if let Some(high) = fetched.high_watermark {
                        self.lag.insert(partition, high - fetched.next.offset);
                    }
                    self.at.insert(partition, fetched.next);
                }
                Err(error) => self.errors.push((partition, error)),
            }
        }
        assert!(count <= limits.messages);
        Ok(count)
    }

    /// Fetches until every partition is at its end.
    fn drain(&mut self, reader: &mut Reader) {
        let mut quiet = 0;
        while quiet < 2 {
            quiet = if self.fetch(reader).unwrap() == 0 { quiet + 1 } else { 0 };
        }
    }

    fn values(&self, partition: u32) -> Vec<&str> {
        self.got.get(&partition).map(|got| got.iter().map(|(_, value)| value.as_str()).collect()).unwrap_or_default()
    }
}

fn expected(name: &str, range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|at| format!("{name}-{at}")).collect()
}

#[test]
fn every_message_of_every_partition_comes_once() {
    for version in [17, 12, 11, 5] {
        let second = Log { leader: 1, ..many("b", 10) };
        let brokers = Brokers::start(2, [many("a", 7), second, log(&[])]);
        brokers.lock().fetch = version;
        let mut reader = reader(&brokers, &[("max.partition.fetch.bytes", "200")]);
        let mut host = Host::of(3);
        host.drain(&mut reader);
        assert_eq!(host.values(0), expected("a", 0..21), "Fetch {version}");
        assert_eq!(host.values(1), expected("b", 0..30));
        assert_eq!((host.values(2).len(), host.errors.len()), (0, 0));
        assert_eq!(host.lag.values().collect::<Vec<_>>(), [&0, &0, &0]);
        // One connection a broker, and one that asks who leads.
        assert!(brokers.lock().connections <= 3, "{}", brokers.lock().connections);
        // What comes later comes too, at once.
        let begun = Instant::now();
        brokers.log(0, |log| log.batches.push(batch(21, &["a-21"])));
        host.fetch_some(&mut reader, Limits { timeout: Duration::from_secs(5), ..LIMITS }).unwrap();
        assert_eq!(host.values(0).last(), Some(&"a-21"));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }
}

#[test]
fn a_position_from_before_gives_the_same_again() {
    let brokers = Brokers::start(1, [many("a", 7)]);
    let mut reader = reader(&brokers, &[]);
    let mut host = Host::of(1);
    host.drain(&mut reader);
    for start in [20, 4, 21, 0] {
        let mut again = Host::of(1);
        again.at.insert(0, Position::at(start));
        again.drain(&mut reader);
        assert_eq!(again.values(0), expected("a", i64::try_from(start).unwrap()..21), "from {start}");
    }
}

#[test]
fn the_beginning_the_end_and_times_are_found() {
    let gone = Log { start: 6, batches: many("a", 7).batches.split_off(2), ..Log::default() };
    let brokers = Brokers::start(2, [gone, Log { leader: 1, stable: Some(2), ..many("b", 3) }]);
    let check = |more: &[(&str, &str)], at: Criteria, expected: [u64; 2]| {
        let mut source = source(&brokers, more);
        let found = [0, 1].map(|partition| source.resolve(partition, at, LIMITS.timeout).unwrap().unwrap());
        assert_eq!(found.clone().map(|one| one.offset), expected, "{at:?}");
        assert!(found.iter().all(|one| one.token.as_deref() == Some(&[7; 16])));
    };
    check(&[], Criteria::Earliest, [6, 0]);
    check(&[], Criteria::Latest, [21, 9]);
    check(&[("isolation.level", "read_committed")], Criteria::Latest, [21, 2]);
    check(&[], Criteria::AtTimeMs(2_500), [9, 9]);
    check(&[], Criteria::AtOffset(17), [17, 17]);
    let mut listed = source(&brokers, &[("partition.ids", "1")]).partitions(&[], LIMITS.timeout).unwrap();
    assert_eq!(listed.pop().map(|one| (one.id, one.label, one.ended)), Some((1, "t-1".into(), false)));
    assert!(listed.is_empty());
}

#[test]
fn many_partitions_are_listed_at_once() {
    let brokers = Brokers::start(1, (0..100).map(|n| many("p", n % 4)));
    let mut source = source(&brokers, &[]);
    assert_eq!(source.partitions(&[], LIMITS.timeout).unwrap().len(), 100);
    for partition in 0..100 {
        let end = source.resolve(partition, Criteria::Latest, LIMITS.timeout).unwrap().unwrap();
        assert_eq!(end.offset, u64::from(3 * (partition % 4)));
    }
    assert!(brokers.lock().calls[&2] <= 3, "{:?}", brokers.lock().calls);
}

#[test]
fn only_what_was_committed_is_read_if_that_is_wanted() {
    let batches = [
        batch(0, &["gone"]).of(1),
        batch(1, &["kept"]).of(2),
        marker(2, 1, false),
        marker(3, 2, true),
        batch(4, &["open"]).of(3),
    ];
    let aborted = vec![Aborted { producer: 1, first: 0 }];
    let brokers = Brokers::start(1, [Log { aborted, ..log(&batches) }]);
    let mut host = Host::of(1);
    host.drain(&mut reader(&brokers, &[]));
    assert_eq!((host.values(0), host.at[&0].offset, host.lag[&0]), (vec!["gone", "kept", "open"], 5, 0));
    // A broker does not hand out what is behind the first open transaction; this one has to be told.
    brokers.log(0, |log| {
        log.batches.pop();
        log.stable = Some(4);
    });
    let mut host = Host::of(1);
    host.drain(&mut reader(&brokers, &[("isolation.level", "read_committed")]));
    assert_eq!((host.values(0), host.at[&0].offset, host.lag[&0]), (vec!["kept"], 4, 0));
}

#[test]
fn a_new_leader_is_found() {
    let brokers = Brokers::start(2, [many("a", 4), many("b", 4)]);
    let mut reader = reader(&brokers, &[]);
    let mut host = Host::of(2);
    host.fetch(&mut reader).unwrap();
    brokers.log(1, |log| log.leader = 1);
    host.drain(&mut reader);
    brokers.log(0, |log| log.leader = 1);
    brokers.log(0, |log| log.batches.push(batch(12, &["a-12"])));
    let begun = Instant::now();
    while host.values(0).len() < 13 && begun.elapsed() < Duration::from_secs(5) {
        host.fetch(&mut reader).unwrap();
    }
    assert_eq!(
        (host.values(0), host.values(1)),
        (
            expected("a", 0..13).iter().map(String::as_str).collect(),
            expected("b", 0..12).iter().map(String::as_str).collect()
        )
    );
    assert_eq!(host.errors, []);
}

#[test]
fn an_offset_that_is_gone_says_what_there_is() {
    let brokers = Brokers::start(1, [Log { start: 6, batches: many("a", 7).batches.split_off(2), ..Log::default() }]);
    let mut reader = reader(&brokers, &[]);
    for start in [5, 22] {
        let answer = reader.fetch(&[(0, Position::at(start))], LIMITS).unwrap().remove(0).1;
        let Err(Error::OutOfRange { earliest, latest }) = answer else { panic!("{answer:?}") };
        assert_eq!((earliest.offset, latest.offset), (6, 21));
    }
    let begin = reader.fetch(&[(0, Position::at(6))], LIMITS).unwrap().remove(0).1.unwrap();
    assert_eq!((begin.messages.len(), begin.progress), (5, Progress::More));
}

#[test]
fn a_topic_that_was_made_anew_is_not_mixed_with_the_old_one() {
    for version in [17, 11] {
        let brokers = Brokers::start(1, [many("old", 7), many("more", 1)]);
        brokers.lock().fetch = version;
        let mut reader = reader(&brokers, &[("metadata.max.age.ms", "0")]);
        let mut host = Host::of(2);
        host.drain(&mut reader);
        assert_eq!((host.values(0).len(), host.values(1).len()), (21, 3));
        // As many messages as the old one had, so offsets alone show nothing.
        let new: BTreeMap<u32, Log> = [(0, many("new", 7))].into();
        {
            let mut shared = brokers.lock();
            shared.id = [9; 16];
            shared.logs = Some(new);
        }
        let mut ranges = Vec::new();
        for _ in 0..20 {
            host.fetch(&mut reader).unwrap();
            ranges.append(&mut host.errors);
            if ranges.len() >= 2 {
                break;
            }
        }
        let zero = ranges.iter().find(|(partition, _)| *partition == 0).map(|(_, error)| error.clone());
        let Some(Error::OutOfRange { earliest, latest }) = zero else { panic!("{ranges:?}") };
        assert_eq!((earliest.offset, latest.offset), (0, 21));
        assert_eq!(earliest.token.as_deref(), Some(&[9; 16][..]));
        assert!(host.values(0).iter().all(|value| value.starts_with("old")), "{:?}", host.values(0));
        let one = ranges.iter().find(|(partition, _)| *partition == 1).map(|(_, error)| error.to_string());
        assert!(one.clone().is_some_and(|text| text.contains("made anew, without partition 1")), "{one:?}");
        assert!(take_log().iter().any(|(_, line)| line.contains("deleted and made anew")));
        // Going on where the policy says.
        host.at = [(0, earliest)].into();
        host.drain(&mut reader);
        assert_eq!(host.values(0).iter().filter(|value| value.starts_with("new")).count(), 21);
    }
}

#[test]
fn a_topic_that_is_not_there_is_said_at_once_and_one_that_goes_is_waited_for() {
    let brokers = Brokers::start(1, [many("a", 1)]);
    let mut there = source(&brokers, &[]);
    assert_eq!(there.partitions(&[], LIMITS.timeout).unwrap().len(), 1);
    brokers.lock().logs = None;
    let error = there.partitions(&[], LIMITS.timeout).unwrap_err();
    assert!(matches!(&error, Error::Retriable { message, .. } if message.contains("is gone")), "{error}");
    let error = source(&brokers, &[]).partitions(&[], LIMITS.timeout).unwrap_err();
    assert!(matches!(&error, Error::Fatal { message, .. } if message.contains("no topic `t`")), "{error}");
}

#[test]
fn the_group_is_told_and_never_less() {
    let brokers = Brokers::start(1, [many("a", 7), many("b", 7)]);
    brokers.lock().group.insert(1, 11);
    let mut reader = reader(&brokers, &[("group.id", "g")]);
    let upto = |one: u64, other: u64| vec![(0, Position::at(one)), (1, Position::at(other))];
    let group = || [0, 1].map(|partition| brokers.lock().group.get(&partition).copied());
    reader.committed(&upto(5, 9)).unwrap();
    assert_eq!(group(), [Some(5), Some(11)]);
    let calls = brokers.lock().calls.clone();
    // Late, and twice.
    reader.committed(&upto(3, 11)).unwrap();
    assert_eq!((group(), brokers.lock().calls.clone()), ([Some(5), Some(11)], calls));
    reader.committed(&upto(6, 12)).unwrap();
    assert_eq!(group(), [Some(6), Some(12)]);
    brokers.manner(8, Manner::Closes);
    reader.committed(&upto(7, 12)).unwrap_err();
    brokers.manner(8, Manner::Well);
    reader.committed(&upto(8, 12)).unwrap();
    assert_eq!(group(), [Some(8), Some(12)]);
}

#[test]
fn a_stream_goes_on_from_its_checkpoint_and_finds_new_partitions() {
    let brokers = Brokers::start(1, [many("a", 3), many("b", 2)]);
    let mut seen: Vec<(u32, u64)> = Vec::new();
    let mut checkpoint = None;
    // Killed after each call.
    for turn in 0..12 {
        let start = checkpoint.clone().map_or(Start::Earliest, Start::Checkpoint);
        let mut stream = Stream::open("t", "pipeline", start, set(&brokers, &[])).unwrap();
        let (messages, _) = stream.next(LIMITS).unwrap();
        assert!(messages.len() <= LIMITS.messages);
        seen.extend((0..messages.len()).map(|at| (messages.partition(at).unwrap(), messages.offsets()[at])));
        checkpoint = Some(stream.checkpoint().unwrap());
        if turn == 4 {
            brokers.lock().logs.as_mut().unwrap().insert(2, many("c", 1));
        }
    }
    seen.sort_unstable();
    let all =
        [(0, 9), (1, 6), (2, 3)].into_iter().flat_map(|(partition, count)| (0..count).map(move |at| (partition, at)));
    assert_eq!(seen, all.collect::<Vec<_>>());
}
