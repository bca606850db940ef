//! Brokers that answer wrong, late or never: an error of a kind, in time, and nothing lost once they are well again.

use std::time::{Duration, Instant};

use spout_guest::{Criteria, Error, Limits, Position, SharedReader as _, SharedSource as _, testing::settings};

use super::{
    broker::{Brokers, Log, Manner},
    build::batch,
};
use crate::Kafka;

const APIS: [i16; 4] = [18, 3, 2, 1];
const MANNERS: [Manner; 12] = [
    Manner::Closes,
    Manner::Silent,
    Manner::Drips,
    Manner::Half,
    Manner::Other,
    Manner::Length(-1),
    Manner::Length(0),
    Manner::Length(3),
    Manner::Length(i32::MAX),
    Manner::Length(1 << 20),
    Manner::Noise,
    Manner::Http,
];
/// What a request may take, and with it the longest call there may be: reading, asking for metadata, and a range.
const TIMEOUT: &str = "200";
const LONGEST: Duration = Duration::from_secs(5);
const LIMITS: Limits = Limits { messages: 10, bytes: 1000, timeout: Duration::from_millis(50) };

fn source(brokers: &Brokers) -> Kafka {
    let address = brokers.address();
    Kafka::open("t", settings(&[("bootstrap.servers", &address), ("request.timeout.ms", TIMEOUT)]).unwrap()).unwrap()
}

/// Whether it is one the host repeats the call after.
fn retriable(error: &Error) -> bool {
    matches!(error, Error::Retriable { .. })
}

fn check(api: i16, manner: Manner) {
    let brokers = Brokers::start(1, [Log { batches: vec![batch(0, &["a", "b"])], ..Log::default() }]);
    let mut source = source(&brokers);
    let mut reader = self::source(&brokers).into_reader().unwrap();
    brokers.manner(api, manner);
    let begun = Instant::now();
    if api != 1 {
        let listed =
            source.partitions(&[], LIMITS.timeout).and_then(|_| source.resolve(0, Criteria::Earliest, LIMITS.timeout));
        let error = listed.unwrap_err();
        assert!(retriable(&error), "{api} {manner:?}: {error}");
        // Nothing is waited for that nobody could keep.
        let waits = !error.to_string().starts_with("kafka.protocol");
        assert!(!(waits && matches!(manner, Manner::Length(i32::MAX))), "{api} {manner:?}: {error}");
    }
    if api != 2 {
        let mut failed = None;
        // The answer to a fetch may be late for some calls before that is an error.
        while failed.is_none() && begun.elapsed() < LONGEST {
            let answers = reader.fetch(&[(0, Position::at(0))], LIMITS);
            failed = answers.map(|all| all.into_iter().find_map(|(_, one)| one.err())).unwrap_or_else(Some);
        }
        let error = failed.unwrap();
        assert!(retriable(&error), "{api} {manner:?}: {error}");
    }
    assert!(begun.elapsed() < LONGEST, "{api} {manner:?} took {:?}", begun.elapsed());
    // Well again, everything is there.
    brokers.manner(api, Manner::Well);
    source.partitions(&[], LIMITS.timeout).unwrap();
    assert_eq!(source.resolve(0, Criteria::Latest, LIMITS.timeout).unwrap().unwrap().offset, 2);
    let begun = Instant::now();
    loop {
        let answers = reader.fetch(&[(0, Position::at(0))], LIMITS).unwrap_or_default();
        if let Some((0, Ok(fetched))) = answers.first()
            && !fetched.messages.is_empty()
        {
            assert_eq!(fetched.messages.len(), 2);
            break;
        }
        assert!(begun.elapsed() < LONGEST, "{api} {manner:?}: nothing came");
    }
}

#[test]
fn whatever_a_broker_does_is_an_error_in_time() {
    std::thread::scope(|scope| {
        for api in APIS {
            for manner in MANNERS {
                scope.spawn(move || check(api, manner));
            }
        }
    });
}

#[test]
fn a_broker_that_is_down_does_not_keep_the_others_waiting() {
    let down = Log { leader: 1, batches: vec![batch(0, &["down"])], ..Log::default() };
    let brokers = Brokers::start(2, [Log { batches: vec![batch(0, &["up"])], ..Log::default() }, down]);
    let mut reader = source(&brokers).into_reader().unwrap();
    // Nobody listens there, as far as anybody knows.
    brokers.close(1);
    let (mut got, mut failed, begun) = (0, false, Instant::now());
    while (got == 0 || !failed) && begun.elapsed() < LONGEST {
        for (partition, answer) in reader.fetch(&[(0, Position::at(got)), (1, Position::at(0))], LIMITS).unwrap() {
            match (partition, answer) {
                (0, Ok(fetched)) => got = fetched.next.offset,
                (1, Err(error)) => failed = retriable(&error),
                (1, Ok(fetched)) => assert!(fetched.messages.is_empty()),
                (_, other) => panic!("{other:?}"),
            }
        }
    }
    assert!(got == 1 && failed);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let check = |list: &[(&str, &str)], expected: &str| {
        let opened = settings(list).and_then(|settings| Kafka::open("t", settings));
        let error = opened.unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains(expected), "{error}");
    };
    check(&[], "missing field `bootstrap.servers`");
    check(&[("bootstrap.servers", " , ")], "names no broker");
    check(&[("bootstrap.servers", "broker")], "write HOST:PORT");
    check(&[("bootstrap.servers", "a:1,b:70000")], "`b:70000`");
    let with = |name, value| [("bootstrap.servers", "a:1"), (name, value)];
    check(&with("request.timeout.ms", "5"), "at least 100");
    check(&with("fetch.max.bytes", "0"), "`fetch.max.bytes`");
    check(&with("max.partition.fetch.bytes", "99999999"), "`max.partition.fetch.bytes`");
    check(&with("isolation.level", "some"), "read_committed");
    check(&with("group.id", ""), "empty");
    check(&with("auto.offset.reset", "latest"), "unknown field");
    assert!(Kafka::open("", settings(&with("client.id", "me")).unwrap()).is_err());
}

#[test]
fn whatever_is_wrong_with_an_answer_is_an_error_in_time() {
    let brokers = Brokers::start(1, [Log { batches: vec![batch(0, &["a", "b"])], ..Log::default() }]);
    let all = spout_guest::testing::spoilt(|| {
        let mut reader = source(&brokers).into_reader()?;
        let found = reader.fetch(&[(0, Position::at(0))], LIMITS)?;
        found.into_iter().map(|(_, one)| Ok(one?.messages.len())).sum::<Result<usize, Error>>()
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 60, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["kafka."]));
}
