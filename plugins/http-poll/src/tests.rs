//! The reader against an API that keeps to its pages, and against others.

use std::sync::{Arc, Mutex};

use spout_guest::{
    Progress,
    testing::{self, fetch},
};

use super::*;

/// What is answered to a path: headers and body.
type Answers = Arc<Mutex<Vec<(&'static str, String, String)>>>;

fn server(answers: &Answers) -> String {
    let answers = Arc::clone(answers);
    let answer = move |path: &str, asked: &[String]| {
        let answers = answers.lock().unwrap();
        let found = answers.iter().find(|(known, ..)| *known == path);
        let (head, body) = found.map_or(("404 No", ""), |(_, head, body)| (head.as_str(), body.as_str()));
        let same = asked.iter().any(|line| line.strip_prefix("If-None-Match: ").is_some_and(|tag| head.contains(tag)));
        if same { ("304 Same".to_owned(), Vec::new()) } else { (head.to_owned(), body.as_bytes().to_vec()) }
    };
    testing::serve(answer).unwrap()
}

fn set(answers: &Answers, path: &'static str, head: &str, body: &str) {
    let mut answers = answers.lock().unwrap();
    answers.retain(|(known, ..)| *known != path);
    answers.push((path, head.to_owned(), body.to_owned()));
}

fn reader(url: &str, settings: &[(&str, &str)]) -> Reader {
    let settings: Settings = testing::settings(&[settings, &[("every", "0")]].concat()).unwrap();
    HttpPoll::open(url, settings).unwrap().read(0).unwrap()
}

fn all(reader: &mut Reader, start: &Position, most: usize) -> (Vec<String>, Position) {
    testing::read_all(reader, start, most).unwrap()
}

#[test]
fn pages_are_read_to_their_end_and_on_when_they_grow() {
    for (mode, more, first, second) in [
        ("cursor", ("field", "/next"), "/x", "/x?cursor=c%202"),
        ("page", ("size", "2"), "/x?page=1", "/x?page=2"),
        ("link", ("items", "/items"), "/x", "/x?from=2"),
    ] {
        let answers = Answers::default();
        let link = "200 OK\r\nLink: </x?from=2>; rel=\"next\"";
        set(&answers, first, link, r#"{"items": [{"n":1}, {"n" : 2}], "next": "c 2"}"#);
        set(&answers, second, "200 OK", r#"{"items": [], "next": null}"#);
        let url = server(&answers) + "/x";
        let settings = [("mode", mode), ("items", "/items"), more];
        let mut reader = reader(&url, &settings[..if more.0 == "items" { 2 } else { 3 }]);
        let (found, end) = all(&mut reader, &Position::default(), 1);
        assert_eq!(found, [r#"{"n":1}"#, r#"{"n" : 2}"#], "{mode}");
        set(&answers, second, "200 OK", r#"{"items": [3], "next": ""}"#);
        let (found, then) = all(&mut reader, &end, 100);
        assert_eq!((found, then.offset), (vec!["3".to_owned()], 3), "{mode}");
        // Another reader goes on from the token, and reads the same from the beginning.
        set(&answers, second, "200 OK", r#"{"items": [3, 4]}"#);
        let mut other = self::reader(&url, &settings[..if more.0 == "items" { 2 } else { 3 }]);
        assert_eq!(all(&mut other, &then, 7).0, ["4"]);
        assert_eq!(all(&mut other, &Position::default(), 7).0.len(), 4);
        // A page that has other items than those that were read is noticed.
        set(&answers, second, "200 OK", r#"{"items": [0, 3, 4]}"#);
        let Err(Error::OutOfRange { earliest, latest }) = fetch(&mut reader, &then, 7) else { panic!("{mode}") };
        assert_eq!(all(&mut reader, &earliest, 7).0, ["0", "3", "4"]);
        assert_eq!(all(&mut reader, &latest, 7).0.len(), 0);
        // So is one of the first page.
        set(&answers, first, "200 OK", r#"{"items": [5]}"#);
        let one = fetch(&mut reader, &Position::default(), 1).unwrap();
        set(&answers, first, "200 OK", r#"{"items": [6, 7]}"#);
        let mut other = self::reader(&url, &settings[..if more.0 == "items" { 2 } else { 3 }]);
        let Err(Error::OutOfRange { earliest, .. }) = fetch(&mut other, &one.next, 7) else { panic!("{mode}") };
        assert_eq!(fetch(&mut other, &earliest, 7).unwrap().messages.value(0), b"6", "{mode}");
    }
}

#[test]
fn values_that_several_items_have_are_read_once() {
    let answers = Answers::default();
    set(&answers, "/x", "200 OK", r#"[{"t":9,"a":2}, {"t":9,"a":1}, {"t":8}]"#);
    let url = server(&answers) + "/x";
    let settings = [("mode", "since"), ("field", "/t")];
    let answer = r#"[{"t":9,"a":1}, {"t":9,"a":3}, {"t":9,"a":2}]"#;
    set(&answers, "/x?since=9", "200 OK", answer);
    set(&answers, "/x?since=8", "200 OK", answer);
    for most in [1, 2, 100] {
        let mut reader = reader(&url, &settings);
        let (mut found, end) = all(&mut reader, &Position::default(), most);
        assert_eq!((found.remove(0), end.offset), (r#"{"t":8}"#.to_owned(), 4));
        found.sort();
        assert_eq!(found, [r#"{"t":9,"a":1}"#, r#"{"t":9,"a":2}"#, r#"{"t":9,"a":3}"#]);
    }
}

#[test]
fn a_version_is_a_message() {
    let answers = Answers::default();
    let url = server(&answers) + "/x";
    for tag in ["ETag: \"1\"", "X: y"] {
        set(&answers, "/x", &format!("200 OK\r\n{tag}"), "one");
        let mut reader = reader(&url, &[("mode", "etag")]);
        let (found, end) = all(&mut reader, &Position::default(), 1);
        assert_eq!((found, end.offset), (vec!["one".to_owned()], 1));
        set(&answers, "/x", &format!("200 OK\r\n{}", tag.replace('1', "2")), "two");
        assert_eq!(all(&mut reader, &end, 1).0, ["two"]);
    }
}

#[test]
fn a_source_that_is_not_followed_ends() {
    let answers = Answers::default();
    set(&answers, "/x", "200 OK", "[1, 2]");
    let mut reader = reader(&(server(&answers) + "/x"), &[("mode", "link"), ("follow", "false")]);
    let fetched = fetch(&mut reader, &Position::default(), 1).unwrap();
    assert_eq!((fetched.progress, fetched.high_watermark), (Progress::More, Some(2)));
    assert_eq!(fetch(&mut reader, &fetched.next, 1).unwrap().progress, Progress::Ended);
}

#[test]
fn bad_answers_are_errors_that_say_what_to_do() {
    let answers = Answers::default();
    let url = server(&answers) + "/x";
    let mut reader = reader(&url, &[("mode", "link"), ("items", "/a")]);
    for (head, body, code, after) in [
        ("200 OK", "", "http.answer", None),
        ("200 OK", "<html>", "http.answer", None),
        ("200 OK", "{\"b\":[]}", "http.answer", None),
        ("200 OK\r\nLink: <http://elsewhere/>; rel=next", "{\"a\":[]}", "http.answer", None),
        ("301 Moved\r\nLocation: http://elsewhere/", "", "http.moved", None),
        ("401 Who", "", "http.status", None),
        ("429 Slow\r\nRetry-After: 7", "", "http.status", Some(7)),
        ("503 Busy\r\nRetry-After: 99999", "", "http.status", Some(300)),
        ("200 OK\r\nContent-Length: 99999999", "", "http.protocol", Some(0)),
        ("nonsense", "", "http.protocol", Some(0)),
    ] {
        set(&answers, "/x", head, body);
        let error = fetch(&mut reader, &Position::default(), 1).unwrap_err();
        assert!(error.to_string().starts_with(code), "{head}: {error}");
        let waits = if let Error::Retriable { after, .. } = &error { after.map(|after| after.as_secs()) } else { None };
        assert!(waits == after || (after == Some(0) && waits.is_some()), "{head}: {error:?}");
    }
    assert!(matches!(fetch(&mut reader, &Position::at(3), 1), Err(Error::OutOfRange { .. })));
    let strange = Position { offset: 3, token: Some(b"{".to_vec()) };
    assert!(matches!(fetch(&mut reader, &strange, 1), Err(Error::Fatal { .. })));
}

#[test]
fn wrong_settings_are_refused() {
    let open = |url: &str, settings: &[(&str, &str)]| {
        testing::settings(settings).and_then(|settings| HttpPoll::open(url, settings)).map(drop)
    };
    testing::set_secret("token", "x");
    for sound in [&[("mode", "link")][..], &[("mode", "link"), ("authorization", "bearer")]] {
        assert!(open("http://a/", sound).is_ok() && open("https://a/", sound).is_ok());
    }
    for (url, settings) in [
        ("ftp://a/", &[("mode", "link")][..]),
        ("http://a/", &[]),
        ("http://a/", &[("mode", "cursor")]),
        ("http://a/", &[("mode", "since")]),
        ("http://a/", &[("mode", "page")]),
        ("http://a/", &[("mode", "etag"), ("items", "/a")]),
        ("http://a/", &[("mode", "etag"), ("follow", "false")]),
        ("http://a/", &[("mode", "link"), ("items", "a")]),
        ("http://a/", &[("mode", "link"), ("every", "-1")]),
        ("http://a/", &[("mode", "link"), ("authorization", "digest")]),
        ("http://a/", &[("mode", "link"), ("authorization", "basic")]),
        ("http://a/", &[("mode", "link"), ("username", "me")]),
        ("http://a/", &[("mode", "link"), ("authorization", "basic"), ("username", "no password is granted")]),
        ("http://a/", &[("mode", "link"), ("authorization", "bearer"), ("secretHeader", "x")]),
        ("http://a/", &[("mode", "link"), ("headers", "{\"authorization\":\"Bearer x\"}")]),
    ] {
        assert!(matches!(open(url, settings), Err(Error::InvalidConfig { .. })), "{url} {settings:?}");
    }
}

#[test]
fn whatever_is_wrong_with_an_answer_is_an_error_in_time() {
    let answers = Answers::default();
    set(&answers, "/x", "200 OK\r\nETag: \"1\"", r#"{"items": [{"n":1}, {"n":2}], "next": "2"}"#);
    set(&answers, "/x?cursor=2", "200 OK", r#"{"items": [3], "next": null}"#);
    let url = server(&answers) + "/x";
    let all = testing::spoilt(|| {
        let mut reader = reader(&url, &[("mode", "cursor"), ("items", "/items"), ("field", "/next")]);
        Ok(testing::read_all(&mut reader, &Position::default(), 100)?.0.len())
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 60, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["http."]));
}
