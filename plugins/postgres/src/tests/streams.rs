//! Changes out of a stream: their offsets, and what is given again.

use spout_guest::{Error, Fetched, Limits, Position, Progress, Result, SharedReader as _, SharedSource as _};

use super::{
    bytes::{begin, commit, delete, insert, relation, truncate, update},
    server::{End, Script, alive, greeting, message, rows, serve, stream},
};
use crate::{Postgres, Publication, Settings};

fn start() -> Position {
    Position { offset: 9, token: Some(br#"{"system":"4711","lsn":"0/10"}"#.to_vec()) }
}

/// A connection on which these messages come at once, and what comes then.
fn connection(messages: &[Vec<u8>], rest: Vec<u8>) -> Script {
    let copy = [message(b'W', &[0; 3]), stream(messages), rest].concat();
    vec![
        greeting(),
        rows(&[&[Some("4711"), Some("1"), Some("0/10"), Some("app")]]),
        rows(&[&[Some("pgoutput"), Some("app"), Some("f"), Some("0/10"), Some("reserved")]]),
        copy,
    ]
}

fn two_transactions() -> Vec<Vec<u8>> {
    vec![
        begin(100, 1_000_000, 5),
        relation(1, "public", "t", b'd', &[("id", 23, true), ("v", 25, false)]),
        insert(1, &[Some("1"), Some("a")]),
        insert(1, &[Some("2"), Some("b")]),
        update(1, None, &[Some("1"), Some("\0")]),
        commit(100, 101),
        begin(101, 2_000_000, 6),
        delete(1, (b'K', &[Some("2"), None])),
        // Another schema from here on.
        relation(1, "public", "t", b'd', &[("id", 23, true), ("v", 25, false), ("w", 16, false)]),
        insert(1, &[Some("3"), None, Some("t")]),
        relation(2, "public", "u", b'd', &[("id", 23, true)]),
        truncate(&[1, 2]),
        commit(101, 200),
    ]
}

fn reader(settings: Settings) -> Publication {
    Postgres::open("pub", settings).unwrap().into_reader().unwrap()
}

fn fetch(reader: &mut Publication, from: &Position, messages: usize) -> Result<Fetched> {
    let limits = Limits { messages, bytes: 1 << 20, timeout: std::time::Duration::from_millis(200) };
    reader.fetch(&[(0, from.clone())], limits)?.remove(0).1
}

/// All messages from `from` on, at most so many at once, with the positions between them.
fn all(reader: &mut Publication, from: &Position, messages: usize) -> (Vec<(u64, String)>, Vec<Position>) {
    let (mut got, mut places) = (Vec::new(), vec![from.clone()]);
    loop {
        let fetched = fetch(reader, places.last().unwrap(), messages).unwrap();
        let texts = fetched.messages.iter().map(|message| String::from_utf8(message.value().to_vec()).unwrap());
        got.extend(fetched.messages.offsets().iter().copied().zip(texts));
        places.push(fetched.next);
        if fetched.progress == Progress::Idle {
            assert_eq!(fetched.high_watermark, Some(places.last().unwrap().offset));
            return (got, places);
        }
    }
}

#[test]
fn offsets_follow_the_log_and_do_not_depend_on_cuts() {
    let script = || connection(&two_transactions(), alive(200, false));
    let (settings, served) = serve(End::Wait, vec![script(); 2]);
    let (whole, _) = all(&mut reader(settings.clone()), &start(), 100);
    // The second transaction commits where the first one still counts.
    let offsets: Vec<_> = whole.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [100, 101, 102, 103, 104, 105, 106]);
    let tables: Vec<_> = whole.iter().map(|(_, text)| text.contains("\"table\":\"u\"")).collect();
    assert_eq!(tables, [false, false, false, false, false, false, true]);
    assert!(whole[2].1.contains("\"unchanged\":[\"v\"]"), "{whole:?}");
    assert!(whole[4].1.contains("\"w\":true"), "{whole:?}");
    let (singly, places) = all(&mut reader(settings), &start(), 1);
    assert_eq!(singly, whole);
    served.join().unwrap();

    // From every place again, each in a session of its own. A server sends what was committed from there on.
    for place in places.iter().take(places.len() - 2) {
        let first = String::from_utf8(place.token.clone().unwrap()).unwrap().contains("0/65");
        let messages = two_transactions();
        let messages = if first { [&messages[1..2], &messages[6..]].concat() } else { messages };
        let (settings, served) = serve(End::Wait, vec![connection(&messages, alive(200, false))]);
        let (again, _) = all(&mut reader(settings), place, 100);
        let expected: Vec<_> = whole.iter().filter(|(offset, _)| *offset >= place.offset).cloned().collect();
        assert_eq!(again, expected, "{place:?}");
        served.join().unwrap();
    }
}

#[test]
fn what_is_committed_is_confirmed_once_and_a_question_is_answered() {
    let (settings, served) =
        serve(End::Wait, vec![[connection(&two_transactions(), alive(200, true)), vec![alive(200, false)]].concat()]);
    let mut reader = reader(settings);
    let (_, places) = all(&mut reader, &start(), 100);
    let end = places.last().unwrap().clone();
    reader.committed(&[(0, end.clone())]).unwrap();
    reader.committed(&[(0, end)]).unwrap();
    // A hint for another system, or without a token, changes nothing.
    reader.committed(&[(0, Position { offset: 1, token: Some(br#"{"system":"1","lsn":"F/0"}"#.to_vec()) })]).unwrap();
    reader.committed(&[(0, Position::at(999))]).unwrap();
    drop(reader);
    let read = served.join().unwrap();
    let statuses: Vec<_> =
        read.windows(6).enumerate().filter(|(_, bytes)| *bytes == b"d\0\0\0\x26r").map(|(at, _)| at).collect();
    let flushed = |at: &usize| u64::from_be_bytes(read[at + 14..at + 22].try_into().unwrap());
    let confirmed: Vec<u64> = statuses.iter().map(flushed).filter(|lsn| *lsn > 0).collect();
    assert_eq!(confirmed, [200]);
    assert!(statuses.len() >= 3, "the question was not answered: {}", statuses.len());
}

#[test]
fn a_place_within_a_transaction_that_is_another_now_is_refused() {
    let within = |skip| Position {
        offset: 9,
        token: Some(format!(r#"{{"system":"4711","lsn":"0/64","skip":{skip}}}"#).into_bytes()),
    };
    let (settings, served) = serve(End::Wait, vec![connection(&two_transactions(), alive(200, false)); 2]);
    let mut one = reader(settings.clone());
    let error = fetch(&mut one, &within(4), 100).unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "postgres.position"), "{error}");
    drop(one);
    let mut other = reader(settings);
    assert_eq!(fetch(&mut other, &within(2), 1).unwrap().messages.offsets(), [100]);
    drop(other);
    served.join().unwrap();
}

#[test]
fn messages_out_of_place_end_the_stream() {
    for wrong in [
        vec![commit(1, 2)],
        vec![begin(100, 0, 1), begin(100, 0, 1)],
        vec![begin(100, 0, 1), commit(99, 101)],
        vec![begin(100, 0, 1), insert(1, &[None])],
        vec![begin(100, 0, 1), relation(1, "s", "t", b'd', &[("id", 23, true)]), insert(1, &[None, None])],
        vec![begin(100, 0, 1)[..5].to_vec()],
        vec![b"S".to_vec()],
    ] {
        let (settings, served) = serve(End::Close, vec![connection(&wrong, Vec::new())]);
        let mut reader = reader(settings);
        let error = fetch(&mut reader, &start(), 100).unwrap_err();
        assert!(matches!(&error, Error::Retriable { code, .. } if code == "postgres.protocol"), "{error}: {wrong:?}");
        drop(reader);
        served.join().unwrap();
    }
}

#[test]
fn whatever_is_wrong_with_a_message_of_the_server_is_an_error_in_time() {
    let (settings, _served) = serve(End::Wait, vec![connection(&two_transactions(), alive(200, false))]);
    let all = spout_guest::testing::spoilt(|| {
        // Nobody knows yet that there is no TLS.
        let mut reader = reader(Settings { clear: std::rc::Rc::default(), ..settings.clone() });
        Ok(fetch(&mut reader, &start(), 100)?.messages.len())
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 60, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["postgres."]));
}
