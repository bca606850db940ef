//! The source against servers that misbehave; tests/suite/redis_streams.rs has it against a real one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

use spout_guest::{Answered, Error, Limits, Position, SharedReader as _, SharedSource, testing};

use super::*;

const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20, timeout: Duration::ZERO };

/// A server of one connection that answers each command, by its name and number, with what `answers` says, and closes after
/// them.
fn server(answers: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(|line| line.ok());
        for (command, answer) in answers {
            if lines.by_ref().find(|line| line == command).is_none() {
                return;
            }
            stream.write_all(&answer).unwrap();
        }
    });
    address
}

fn fetch(answers: Vec<(&'static str, Vec<u8>)>, start: Position) -> Result<Vec<Answered>> {
    let address = server(answers);
    let settings = testing::settings(&[("address", &address), ("maxEntry", "10000")]).unwrap();
    let mut reader = RedisStreams::open("s", settings).unwrap().into_reader().unwrap();
    reader.fetch(&[(Partition::named("s").id, start)], LIMITS)
}

fn entries(ids: &[&str]) -> Vec<u8> {
    let one = |id: &&str| format!("*2\r\n${}\r\n{id}\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", id.len());
    let all: String = ids.iter().map(one).collect();
    format!("*1\r\n*2\r\n$1\r\ns\r\n*{}\r\n{all}", ids.len()).into_bytes()
}

fn info(length: u64, newest: &str, added: u64, first: &str, last: &str) -> Vec<u8> {
    let entry = |id: &str| format!("*2\r\n+{id}\r\n*0\r\n");
    format!(
        "*10\r\n+length\r\n:{length}\r\n+last-generated-id\r\n+{newest}\r\n+entries-added\r\n:{added}\r\n+first-entry\r\n{}+last-entry\r\n{}",
        entry(first),
        entry(last)
    )
    .into_bytes()
}

#[test]
fn entries_have_the_offsets_of_their_ids() {
    let answers = vec![("XREAD", entries(&["5-1", "6-0"])), ("XINFO", info(2, "6-0", 2, "5-1", "6-0"))];
    let one = fetch(answers, Position::at(0)).unwrap().remove(0).1.unwrap();
    assert_eq!(one.messages.offsets(), [5 << 22 | 1, 6 << 22]);
    assert_eq!(one.next, Position { offset: (6 << 22) + 1, token: Some(b"6-0 2".to_vec()) });
    assert_eq!(one.high_watermark, Some(one.next.offset));
}

#[test]
fn ids_that_do_not_fit_get_the_next_offsets() {
    let ids = ["1-4194303", "1-4194304", "1-9999999", "2-0", "3-0"];
    let read = |from: usize, start: Position| {
        let answers = vec![("XREAD", entries(&ids[from..])), ("XINFO", info(5, "3-0", 5, ids[0], "3-0"))];
        fetch(answers, start).unwrap().remove(0).1.unwrap()
    };
    let all = read(0, Position::at(0));
    let base = (1 << 22) + 4_194_303;
    assert_eq!(all.messages.offsets(), [base, base + 1, base + 2, base + 3, 3 << 22]);
    // From a position with its token, offsets are the same.
    let rest = read(2, Position { offset: base + 2, token: Some(b"1-4194304 2".to_vec()) });
    assert_eq!(rest.messages.offsets(), &all.messages.offsets()[2..]);
    // An offset alone does not find such a place.
    let answers =
        vec![("XREVRANGE", b"*1\r\n*2\r\n+1-9999999\r\n*0\r\n".to_vec()), ("XINFO", info(5, "3-0", 5, "1-0", "3-0"))];
    let answered = fetch(answers, Position::at(base + 3)).unwrap().remove(0).1;
    assert!(matches!(answered, Err(Error::OutOfRange { .. })), "{answered:?}");
}

#[test]
fn what_was_trimmed_or_replaced_is_out_of_range() {
    let at = |token: &str| Position { offset: (4 << 22) + 1, token: Some(token.into()) };
    let range = |answers, token: &str| match fetch(answers, at(token)).unwrap().remove(0).1 {
        Err(Error::OutOfRange { earliest, latest }) => (earliest.offset, latest.offset),
        other => panic!("{other:?}"),
    };
    let trimmed = vec![("XREAD", entries(&["8-0"])), ("XINFO", info(1, "8-0", 8, "8-0", "8-0"))];
    assert_eq!(range(trimmed, "4-0 4"), (8 << 22, (8 << 22) + 1));
    let back = vec![("XREAD", b"*-1\r\n".to_vec()), ("XINFO", info(1, "2-0", 2, "1-0", "2-0"))];
    assert_eq!(range(back, "4-0 4"), (1 << 22, (2 << 22) + 1));
    let deleted = || vec![("XREAD", b"*-1\r\n".to_vec()), ("XINFO", b"-ERR no such key\r\n".to_vec())];
    assert_eq!(range(deleted(), "4-0 4"), (0, 0));
    // Of a stream that nobody has written to yet, nothing is missing.
    assert_eq!(fetch(deleted(), Position::at(0)).unwrap().remove(0).1.unwrap().next, Position::at(0));
}

#[test]
fn bad_servers_are_errors_that_say_what_to_do() {
    let check = |answer: &[u8], code: &str| {
        let error = fetch(vec![("XREAD", answer.to_vec())], Position::at(0)).unwrap_err();
        assert!(error.to_string().starts_with(code), "{:?}: {error}", String::from_utf8_lossy(answer));
        matches!(error, Error::Retriable { after, .. } if code != "redis.io" || after.is_some())
    };
    for (answer, code, passes) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "redis.protocol", true),
        (b"", "redis.io", true),
        (b"*1\r\n*2\r\n$1\r\ns", "redis.io", true),
        (b"+OK\r\n", "redis.protocol", true),
        (&entries(&["2-0", "1-0"]), "redis.protocol", true),
        (&entries(&["0-0"]), "redis.protocol", true),
        (b"*1\r\n*2\r\n$1\r\nt\r\n*0\r\n", "redis.protocol", true),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "redis.unavailable", true),
        (b"-NOAUTH Authentication required.\r\n", "redis.denied", false),
        (b"-WRONGTYPE Operation against a key\r\n", "redis.type", false),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", "redis.cluster", false),
        (b"-ERR unknown command\r\n", "redis.refused", false),
    ] {
        assert_eq!(check(answer, code), passes, "{code}");
    }
}

#[test]
fn an_entry_that_is_too_large_says_so() {
    let huge = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$999999999\r\n".to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(&huge).unwrap();
        }
    });
    let settings = testing::settings(&[("address", &address), ("maxEntry", "10000")]).unwrap();
    let mut reader = RedisStreams::open("s", settings).unwrap().into_reader().unwrap();
    let error = reader.fetch(&[(Partition::named("s").id, Position::at(0))], LIMITS).unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "redis.large"), "{error}");
}

#[test]
fn wrong_settings_are_refused() {
    assert!(testing::settings::<Settings>(&[]).is_err());
    assert!(testing::settings::<Settings>(&[("address", "a:1"), ("adress", "a:1")]).is_err());
    let none = testing::settings(&[("address", "a:1"), ("maxEntry", "0")]).unwrap();
    assert!(matches!(RedisStreams::open("s", none), Err(Error::InvalidConfig { .. })));
}
