//! What goes wrong.

use serde_json::json;
use spout_guest::{Error, Position, Progress, SharedSource as _, testing};

use super::service::{Fake, all, fetch};
use crate::{Kinesis, place::Place, reader::now_ms};

fn refusal(kind: &str) -> String {
    json!({"__type": format!("com.amazonaws.kinesis#{kind}"), "message": "no"}).to_string()
}

#[test]
fn trouble_is_waited_out_or_named() {
    let fake = Fake::start(&[0]);
    fake.put(0, None, &[b"1"]);
    for (status, body, code, passes) in [
        (400, refusal("ProvisionedThroughputExceededException"), "kinesis.throttled", true),
        (400, refusal("LimitExceededException"), "kinesis.throttled", true),
        (400, refusal("KMSThrottlingException"), "kinesis.throttled", true),
        (429, String::new(), "kinesis.throttled", true),
        (500, refusal("InternalFailure"), "kinesis.status", true),
        (503, "<html>".into(), "kinesis.status", true),
        (400, refusal("AccessDeniedException"), "kinesis.denied", false),
        (400, refusal("UnrecognizedClientException"), "kinesis.denied", false),
        (403, refusal("InvalidSignatureException"), "kinesis.denied", false),
        (400, refusal("KMSDisabledException"), "kinesis.denied", false),
        (400, refusal("SomethingElse"), "kinesis.status", false),
        (404, String::new(), "kinesis.status", false),
        (200, String::new(), "kinesis.protocol", true),
        (200, "{}".into(), "kinesis.protocol", true),
        (
            200,
            "{\"Records\":[{\"SequenceNumber\":\"x\",\"PartitionKey\":\"\",\"Data\":\"\"}]}".into(),
            "kinesis.protocol",
            true,
        ),
        (
            200,
            "{\"Records\":[{\"SequenceNumber\":\"1\",\"PartitionKey\":\"\",\"Data\":\"=\"}]}".into(),
            "kinesis.protocol",
            true,
        ),
    ] {
        fake.trick("GetRecords", status, &body);
        let mut reader = fake.reader();
        let error = fetch(&mut reader, 0, &Position::default(), 1).unwrap_err();
        assert!(error.to_string().starts_with(code), "{body}: {error}");
        assert_eq!(matches!(error, Error::Retriable { after: Some(_), .. }), passes, "{error:?}");
        // The same reader goes on when it has passed.
        assert_eq!(all(&mut reader, 0, &Position::default(), 1).0, ["1"]);
    }
    fake.trick("ListShards", 400, &refusal("ResourceNotFoundException"));
    let error = fetch(&mut fake.reader(), 0, &Position::default(), 1).unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "kinesis.stream"), "{error}");
}

#[test]
fn iterators_that_expired_are_made_anew() {
    let fake = Fake::start(&[0]);
    fake.put(0, None, &[b"1", b"2", b"3"]);
    let mut reader = fake.reader();
    let first = fetch(&mut reader, 0, &Position::default(), 2).unwrap();
    fake.trick("GetRecords", 400, &refusal("ExpiredIteratorException"));
    assert_eq!(all(&mut reader, 0, &first.next, 2).0, ["3"]);
    assert_eq!(fake.count("GetShardIterator AFTER_SEQUENCE_NUMBER"), 1);
    // One that expires at once is the service's trouble.
    fake.trick("GetRecords", 400, &refusal("ExpiredIteratorException"));
    fake.trick("GetRecords", 400, &refusal("ExpiredIteratorException"));
    let error = fetch(&mut reader, 0, &first.next, 2).unwrap_err();
    assert!(matches!(&error, Error::Retriable { code, .. } if code == "kinesis.expired"), "{error}");
}

fn range(error: Error) -> (Position, Position) {
    let Error::OutOfRange { earliest, latest } = error else { panic!("{error}") };
    (earliest, latest)
}

#[test]
fn what_was_removed_unread_is_out_of_range() {
    let fake = Fake::start(&[0]);
    let old = now_ms() - 30 * 3_600_000;
    fake.put(0, Some(old), &[b"1", b"2", b"3", b"4"]);
    let first = fetch(&mut fake.reader(), 0, &Position::default(), 2).unwrap();
    // It is old, but all of it is still there.
    assert_eq!(all(&mut fake.reader(), 0, &first.next, 9).0, ["3", "4"]);
    fake.lock().shards.get_mut(&0).unwrap().2.drain(..3);
    let (earliest, latest) = range(fetch(&mut fake.reader(), 0, &first.next, 2).unwrap_err());
    assert_eq!((earliest.offset, latest.offset), (2, 2));
    assert_eq!(all(&mut fake.reader(), 0, &earliest, 2).0, ["4"]);
    assert_eq!(all(&mut fake.reader(), 0, &latest, 2).0.len(), 0);
    // Nothing is left, and nobody knows what was there.
    fake.lock().shards.get_mut(&0).unwrap().2.clear();
    range(fetch(&mut fake.reader(), 0, &first.next, 2).unwrap_err());
    // A reader that is too slow notices that too.
    fake.put(0, Some(old), &[b"5", b"6", b"7"]);
    let mut slow = fake.reader();
    let at = fetch(&mut slow, 0, &Position::default(), 1).unwrap();
    fake.lock().shards.get_mut(&0).unwrap().2.drain(..2);
    range(fetch(&mut slow, 0, &at.next, 1).unwrap_err());
    // What is young cannot be gone, so that a stream which is empty today is no trouble.
    let young = Fake::start(&[0]);
    young.put(0, None, &[b"1"]);
    let at = all(&mut young.reader(), 0, &Position::default(), 9).1;
    young.lock().shards.get_mut(&0).unwrap().2.clear();
    assert_eq!(all(&mut young.reader(), 0, &at, 9).0.len(), 0);
    assert_eq!(young.count("GetShardIterator AT_SEQUENCE_NUMBER"), 0);
}

#[test]
fn a_place_that_nothing_comes_after_is_kept_young() {
    let fake = Fake::start(&[0]);
    fake.put(0, Some(now_ms() - 5 * 3_600_000), &[b"1"]);
    let mut reader = fake.reader();
    let first = fetch(&mut reader, 0, &Position::default(), 9).unwrap();
    let place = Place::parse(&first.next).unwrap().unwrap();
    assert!(place.at.unwrap() + 60_000 > now_ms(), "{place:?}");
}

#[test]
fn other_streams_and_lost_shards_are_out_of_range() {
    let fake = Fake::start(&[0]);
    fake.put(0, None, &[b"1", b"2"]);
    let first = fetch(&mut fake.reader(), 0, &Position::default(), 1).unwrap();
    for kind in ["InvalidArgumentException", "ResourceNotFoundException"] {
        fake.trick("GetShardIterator", 400, &refusal(kind));
        let (earliest, _) = range(fetch(&mut fake.reader(), 0, &first.next, 1).unwrap_err());
        assert_eq!(all(&mut fake.reader(), 0, &earliest, 9).0, ["1", "2"]);
    }
    range(fetch(&mut fake.reader(), 0, &Position::at(3), 1).unwrap_err());
    let mut reader = fake.reader();
    fetch(&mut reader, 0, &Position::default(), 1).unwrap();
    fake.lock().shards.clear();
    let (end, _) = range(fetch(&mut reader, 0, &first.next, 1).unwrap_err());
    assert_eq!(fetch(&mut reader, 0, &end, 1).unwrap().progress, Progress::Ended);
}

#[test]
fn records_out_of_order_are_not_taken() {
    let fake = Fake::start(&[0]);
    fake.put(0, None, &[b"1", b"2"]);
    let mut reader = fake.reader();
    let first = fetch(&mut reader, 0, &Position::default(), 1).unwrap();
    let record = |number: u32| json!({"SequenceNumber": number.to_string(), "PartitionKey": "k", "Data": "eA=="});
    for numbers in [[1, 2], [3, 2], [2, 2]] {
        let records: Vec<_> = numbers.map(record).into();
        fake.trick("GetRecords", 200, &json!({"Records": records, "NextShardIterator": "0 3"}).to_string());
        let error = fetch(&mut reader, 0, &first.next, 9).unwrap_err();
        assert!(matches!(&error, Error::Retriable { code, .. } if code == "kinesis.protocol"), "{error}");
    }
    assert_eq!(all(&mut reader, 0, &first.next, 9).0, ["2"]);
}

#[test]
fn a_full_page_is_not_the_last_one() {
    let fake = Fake::start(&[0]);
    fake.put(0, None, &[b"1", b"2"]);
    let record = json!({"SequenceNumber": "1", "PartitionKey": "k", "Data": "MQ=="});
    let page = json!({"Records": [record], "NextShardIterator": "0 2", "MillisBehindLatest": 0}).to_string();
    fake.trick("GetRecords", 200, &page);
    let mut reader = fake.reader();
    let first = fetch(&mut reader, 0, &Position::default(), 1).unwrap();
    assert_eq!((first.progress, first.high_watermark), (Progress::More, None));
    assert_eq!(all(&mut reader, 0, &first.next, 5).0, ["2"]);
}

#[test]
fn wrong_settings_are_refused() {
    testing::set_secret("key", "secret");
    let open = |topic: &str, settings: &[(&str, &str)]| {
        testing::settings(settings).and_then(|settings| Kinesis::open(topic, settings)).map(drop)
    };
    let sound = [("region", "eu-central-1"), ("keyId", "AKIA")];
    assert!(open("s", &sound).is_ok());
    for endpoint in ["https://a", "http://a:1/"] {
        assert!(open("s", &[&sound[..], &[("endpoint", endpoint)]].concat()).is_ok());
    }
    for (topic, settings) in [
        ("s", &[][..]),
        ("", &sound),
        ("a/b", &sound),
        ("s", &[("region", "a b"), ("keyId", "AKIA")]),
        ("s", &[("region", "r"), ("keyId", "a/b")]),
        ("s", &[sound[0], sound[1], ("endpoint", "a:1")]),
        ("s", &[sound[0], sound[1], ("endpoint", "https://u@a")]),
        ("s", &[sound[0], sound[1], ("endpoint", "https://a/b")]),
        ("s", &[sound[0], sound[1], ("maxRecordsToFetch", "0")]),
        ("s", &[sound[0], sound[1], ("requestsPerSecond", "0")]),
        ("s", &[sound[0], sound[1], ("secretKey", "x")]),
    ] {
        assert!(matches!(open(topic, settings), Err(Error::InvalidConfig { .. })), "{topic} {settings:?}");
    }
}

#[test]
fn whatever_is_wrong_with_an_answer_is_an_error_in_time() {
    let fake = Fake::start(&[0]);
    fake.put(0, None, &[b"1", b"2"]);
    let all = testing::spoilt(|| Ok(fetch(&mut fake.reader(), 0, &Position::default(), 10)?.messages.len()));
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 60, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["http.", "kinesis."]));
}

#[test]
fn a_list_of_shards_that_never_ends_is_given_up() {
    testing::set_secret("key", "secret");
    let network = testing::Network::new();
    let body = r#"{"Shards":[],"NextToken":"more"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    network.peer("kinesis:80", testing::Peer::new().hears("\r\n\r\n").says(answer).every_time());
    let settings = [("endpoint", "http://kinesis"), ("region", "r"), ("keyId", "K")];
    let mut source = Kinesis::open("s", testing::settings(&settings).unwrap()).unwrap();
    let error = source.partitions(&[], std::time::Duration::from_secs(5)).unwrap_err();
    assert!(error.to_string().contains("the list of shards does not end"), "{error}");
    assert!(network.heard("kinesis:80").len() <= 1000);
}
