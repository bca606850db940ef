//! The stream is a function of the event's number, whatever the partitions and the fetches.

use spout_guest::testing;

use super::*;

fn settings(pairs: &[(&str, &str)]) -> Config {
    testing::settings(pairs).unwrap()
}

fn limits(messages: usize, bytes: usize) -> Limits {
    Limits { messages, bytes, timeout: Duration::ZERO }
}

/// All events of a partition, a few at a time.
fn read(partition: u32, pairs: &[(&str, &str)], limits: Limits) -> Vec<(u64, String)> {
    let mut reader = Nexmark::open("", settings(pairs)).unwrap().read(partition).unwrap();
    let (mut at, mut all) = (Position::at(0), Vec::new());
    loop {
        let got = reader.fetch(at, limits).unwrap();
        assert!(got.messages.len() == 1 || got.messages.bytes() <= limits.bytes);
        for (index, &offset) in got.messages.offsets().iter().enumerate() {
            assert!(got.messages.value(index).len() <= event::LONGEST);
            all.push((offset, String::from_utf8(got.messages.value(index).to_vec()).unwrap()));
        }
        at = got.next;
        if matches!(got.progress, Progress::Ended) {
            return all;
        }
    }
}

#[test]
fn partitions_share_one_stream() {
    let one = read(0, &[("total", "250")], limits(1000, usize::MAX));
    assert_eq!(one.len(), 250);
    for partition in 0..3 {
        let own = read(partition, &[("total", "250"), ("partitions", "3")], limits(7, 2000));
        assert_eq!(own.len(), one.iter().skip(partition as usize).step_by(3).count());
        for (offset, text) in own {
            assert_eq!(text, one[offset as usize * 3 + partition as usize].1);
        }
    }
}

#[test]
fn of_fifty_one_is_a_person_three_are_auctions() {
    let all = read(0, &[("total", "5000")], limits(1000, usize::MAX));
    let count = |kind: &str| all.iter().filter(|(_, text)| text.starts_with(&format!(r#"{{"event":"{kind}""#))).count();
    assert_eq!((count("person"), count("auction"), count("bid")), (100, 300, 4600));
}

#[test]
fn another_seed_is_another_stream() {
    let one = read(0, &[("total", "10")], limits(100, usize::MAX));
    assert_eq!(one, read(0, &[("total", "10")], limits(3, usize::MAX)));
    assert_ne!(one, read(0, &[("total", "10"), ("seed", "1")], limits(100, usize::MAX)));
}

#[test]
fn settings_and_positions_are_checked() {
    assert!(Nexmark::open("", settings(&[("partitions", "0")])).is_err());
    assert!(testing::settings::<Config>(&[("totl", "1")]).is_err());
    let mut reader = Nexmark::open("", settings(&[("total", "5")])).unwrap().read(0).unwrap();
    assert!(reader.fetch(Position::at(6), limits(1, 100)).is_err());
    assert!(matches!(reader.fetch(Position::at(5), limits(1, 100)).unwrap().progress, Progress::Ended));
}

#[test]
fn a_time_is_the_place_of_the_first_event_that_is_not_before_it() {
    let base = BASE_TIME;
    for (partition, partitions, at, expected) in [
        (0, "1", base, 0),
        (0, "1", base - 5, 0),
        (0, "1", base + 1, 10),
        (0, "3", base + 1, 4),
        (1, "3", base + 1, 3),
        (2, "3", base + 1, 3),
    ] {
        let pairs = [("total", "1000"), ("partitions", partitions)];
        let mut nexmark = Nexmark::open("", settings(&pairs)).unwrap();
        let found = nexmark.resolve(partition, Criteria::AtTimeMs(at), Duration::ZERO).unwrap().unwrap();
        assert_eq!(found.offset, expected, "partition {partition} of {partitions} at {at}");
        let config = settings(&pairs);
        assert!(config.time_ms(config.number(partition, expected)) >= at);
        assert!(expected == 0 || config.time_ms(config.number(partition, expected - 1)) < at);
    }
    let mut nexmark = Nexmark::open("", settings(&[("total", "10")])).unwrap();
    assert_eq!(
        nexmark.resolve(0, Criteria::AtTimeMs(u64::MAX), Duration::ZERO).unwrap(),
        Some(Position::at(10)),
        "the end"
    );
}

#[test]
fn a_rate_lets_out_what_is_due() {
    let mut reader = Nexmark::open("", settings(&[("rate", "1")])).unwrap().read(0).unwrap();
    let first = reader.fetch(Position::at(0), limits(100, usize::MAX)).unwrap();
    assert_eq!(first.messages.offsets(), [0]);
    let second = reader.fetch(first.next, limits(100, usize::MAX)).unwrap();
    assert!(second.messages.len() <= 1 && matches!(second.progress, Progress::Idle | Progress::More));
}
