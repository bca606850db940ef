//! Objects of a service of this thread.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use spout_guest::{
    Error,
    testing::{self, fetch},
};

use super::*;

/// Objects by key: second of their time, and content.
type Stored = Arc<Mutex<BTreeMap<String, (u64, Vec<u8>)>>>;

fn service(stored: &Stored) -> String {
    let stored = Arc::clone(stored);
    let answer = move |path: &str, asked: &[String]| {
        let (status, body) = answer(&stored.lock().unwrap(), path, asked);
        (format!("{status} X"), body)
    };
    testing::serve(answer).unwrap()
}

fn etag(content: &[u8]) -> String {
    format!("\"{}-{}\"", content.len(), content.iter().map(|byte| u64::from(*byte)).sum::<u64>())
}

/// Lists are cut after two objects.
fn answer(stored: &BTreeMap<String, (u64, Vec<u8>)>, path: &str, asked: &[String]) -> (u16, Vec<u8>) {
    if let Some(key) = path.strip_prefix("/b/") {
        let Some((_, content)) = stored.get(key) else { return (404, b"<Code>NoSuchKey</Code>".to_vec()) };
        let of = |name: &str| asked.iter().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        if of("If-Match: ").is_some_and(|tag| tag != etag(content)) {
            return (412, Vec::new());
        }
        let range = of("Range: bytes=").unwrap();
        let (from, to) = range.split_once('-').unwrap();
        return (206, content[from.parse().unwrap()..=to.parse().unwrap()].to_vec());
    }
    let parameter = |name: &str| {
        path.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)).map(|text| text.replace("%2F", "/"))
    };
    let after = parameter("continuation-token=").or(parameter("start-after=")).unwrap_or_default();
    let (mut xml, mut count, mut last) = (String::from("<ListBucketResult>"), 0, String::new());
    for (key, (second, content)) in stored.range(after.clone()..).filter(|(key, _)| **key != after) {
        count += 1;
        if count > 2 {
            xml += &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>");
            break;
        }
        last.clone_from(key);
        let time = format!("2026-01-01T00:00:{second:02}.000Z");
        let tag = etag(content);
        xml += &format!(
            "<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>{tag}</ETag><Size>{}</Size></Contents>",
            content.len()
        );
    }
    (200, (xml + "</ListBucketResult>").into_bytes())
}

fn put(stored: &Stored, key: &str, second: u64, content: &[u8]) {
    stored.lock().unwrap().insert(key.to_owned(), (second, content.to_vec()));
}

fn reader(stored: &Stored, more: &[(&str, &str)]) -> Reader<Bucket> {
    let endpoint = service(stored);
    let settings = testing::settings(&[more, &[("endpoint", &endpoint), ("every", "0")]].concat()).unwrap();
    Objects::open("b/", settings).unwrap().read(0).unwrap()
}

fn all(reader: &mut Reader<Bucket>, start: &Position, most: usize) -> (Vec<String>, Position) {
    testing::read_all(reader, start, most).unwrap()
}

#[test]
fn objects_are_read_line_by_line_in_their_order() {
    for (order, expected) in [("name", ["1", "2", "3", "4", "5"]), ("modified", ["4", "2", "3", "5", "1"])] {
        let stored = Stored::default();
        put(&stored, "a", 9, b"1");
        put(&stored, "b.gz", 2, &[gzip(b"2\r\n\n"), gzip(b"3\n")].concat());
        put(&stored, "c/d", 1, b"4\n");
        put(&stored, "e", 3, b"");
        put(&stored, "f", 4, b"5\n");
        for most in [1, 2, 100] {
            let mut one = reader(&stored, &[("order", order)]);
            let (found, end) = all(&mut one, &Position::default(), most);
            assert_eq!((found.as_slice(), end.offset), (&expected.map(str::to_owned)[..], 5), "{order}");
            assert_eq!(all(&mut one, &end, most).0.len(), 0);
            // Every place on the way leads to the same messages, in another reader too.
            let (mut places, mut other) = (vec![Position::default()], reader(&stored, &[("order", order)]));
            for at in 0..5 {
                // Whatever was found from later places counts no more.
                for (from, place) in places.iter().enumerate() {
                    assert_eq!(fetch(&mut other, &places[at], 1).unwrap().messages.len(), 1);
                    assert_eq!(all(&mut other, place, 3).0, expected[from..]);
                }
                places.push(fetch(&mut one, &places[at], 1).unwrap().next);
            }
        }
        // New objects: one after all others, and one that appears late.
        let mut one = reader(&stored, &[("order", order)]);
        let end = all(&mut one, &Position::default(), 100).1;
        put(&stored, "g", 10, b"6");
        put(&stored, "c", 5, b"7");
        let new = if order == "name" { vec!["6"] } else { vec!["7", "6"] };
        assert_eq!(all(&mut one, &end, 100).0, new, "{order}");
    }
}

#[test]
fn lines_that_are_too_long_and_damage_are_dead_letters() {
    let stored = Stored::default();
    put(&stored, "a", 1, &[&b"x".repeat(200_000)[..], b"\nshort\n"].concat());
    put(&stored, "b.gz", 1, &gzip(b"1\n2\n")[..20]);
    put(&stored, "c", 1, b"3");
    let mut reader = reader(&stored, &[("maxLine", "1000")]);
    let fetched = fetch(&mut reader, &Position::default(), 100).unwrap();
    let values: Vec<usize> = fetched.messages.iter().map(|one| one.value().len()).collect();
    assert_eq!(values.first(), Some(&1000));
    let faults: Vec<_> = fetched
        .messages
        .attributes()
        .iter()
        .filter(|one| one.name == "fault")
        .map(|one| (one.first, String::from_utf8_lossy(&one.value).split(' ').next().unwrap_or_default().to_owned()))
        .collect();
    let last = u32::try_from(values.len() - 2).unwrap();
    let expected = [(0, "line.too-long"), (1, ""), (last, "objects.damaged"), (last + 1, "")];
    assert_eq!(faults, expected.map(|(first, code)| (first, code.to_owned())));
    assert_eq!(fetched.messages.value(values.len() - 1), b"3");
}

#[test]
fn bytes_of_two_versions_never_mix() {
    let stored = Stored::default();
    put(&stored, "a", 1, b"1\n2\n3\n");
    let mut one = reader(&stored, &[]);
    let first = fetch(&mut one, &Position::default(), 1).unwrap();
    put(&stored, "a", 2, b"4\n5\n6\n7\n");
    let Err(Error::OutOfRange { earliest, latest }) = fetch(&mut reader(&stored, &[]), &first.next, 1) else {
        panic!("it goes on")
    };
    assert_eq!(all(&mut one, &earliest, 10).0, ["4", "5", "6", "7"]);
    assert_eq!(all(&mut one, &latest, 10).0.len(), 0);
    stored.lock().unwrap().clear();
    assert!(matches!(fetch(&mut reader(&stored, &[]), &first.next, 1), Err(Error::OutOfRange { .. })));
}

#[test]
fn whole_objects_are_messages() {
    let stored = Stored::default();
    put(&stored, "a.json", 1, b"{\n}\r\n");
    put(&stored, "b.txt", 1, b"no");
    put(&stored, "c.json", 1, b"[]");
    let mut reader = reader(&stored, &[("whole", "true"), ("suffix", ".json")]);
    assert_eq!(all(&mut reader, &Position::default(), 1).0, ["{\n}\r\n", "[]"]);
}

#[test]
fn wrong_settings_are_refused() {
    let open = |topic: &str, settings: &[(&str, &str)]| {
        testing::settings(settings).and_then(|settings| Objects::open(topic, settings)).map(drop)
    };
    for endpoint in ["http://a", "https://a:1/"] {
        assert!(open("b", &[("endpoint", endpoint)]).is_ok());
    }
    for (topic, settings) in [
        ("b", &[][..]),
        ("/b", &[("endpoint", "http://a")]),
        ("b?c", &[("endpoint", "http://a")]),
        ("b", &[("endpoint", "ftp://a")]),
        ("b", &[("endpoint", "https://a/b")]),
        ("b", &[("endpoint", "http://")]),
        ("b", &[("endpoint", "http://a"), ("order", "size")]),
        ("b", &[("endpoint", "http://a"), ("maxLine", "0")]),
        ("b", &[("endpoint", "http://a"), ("window", "99999999")]),
    ] {
        assert!(matches!(open(topic, settings), Err(Error::InvalidConfig { .. })), "{topic} {settings:?}");
    }
}

#[test]
fn whatever_is_wrong_with_an_answer_is_an_error_in_time() {
    let stored = Stored::default();
    put(&stored, "a", 1, b"1\n2\n");
    put(&stored, "b.gz", 2, &gzip(b"3\n"));
    let endpoint = service(&stored);
    let all = testing::spoilt(|| {
        let settings = testing::settings(&[("endpoint", endpoint.as_str()), ("every", "0")])?;
        let mut reader = Objects::open("b/", settings)?.read(0)?;
        Ok(testing::read_all(&mut reader, &Position::default(), 100)?.0.len())
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 60, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["http.", "objects."]));
}
