//! The source against servers that misbehave; tests/suite/redis_streams.rs has it against a real one.

use std::time::Duration;

use spout_guest::{
    Answered, Checkpoint, Error, Limits, Messages, Position, Progress, SharedReader as _, SharedSource, Start,
    StreamConsumer, testing,
    testing::{Network, Peer},
};

use super::*;

const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20, timeout: Duration::ZERO };
const ADDRESS: &str = "redis:6379";

/// A server of one connection that answers each command, by its name and number, with what `answers` says, and closes after
/// them.
fn server(answers: Vec<(&'static str, Vec<u8>)>) -> Peer {
    answers.into_iter().fold(Peer::new(), |peer, (command, answer)| peer.hears(command).says(answer)).closes()
}

fn fetch(answers: Vec<(&'static str, Vec<u8>)>, start: Position) -> Result<Vec<Answered>> {
    let network = Network::new();
    network.peer(ADDRESS, server(answers));
    let settings = testing::settings(&[("address", ADDRESS), ("maxEntry", "10000")]).unwrap();
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
    let network = Network::new();
    network.peer(ADDRESS, Peer::new().says(huge).every_time());
    let settings = testing::settings(&[("address", ADDRESS), ("maxEntry", "10000")]).unwrap();
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
    let group = testing::settings(&[("address", "a:1"), ("group", "g")]).unwrap();
    let refused = RedisStreams::open("s", group).unwrap_err().to_string();
    assert!(refused.contains("consumerType: acked"), "{refused}");
    for wrong in [("group", ""), ("consumer", ""), ("minIdle", "0")] {
        let wrong = testing::settings(&[("address", "a:1"), wrong]).unwrap();
        assert!(matches!(Group::open("s", "p", Start::Earliest, wrong), Err(Error::InvalidConfig { .. })));
    }
}

fn group(more: &[(&str, &str)]) -> Group {
    let settings = [&[("address", ADDRESS), ("group", "g"), ("maxEntry", "10000")], more].concat();
    Group::open("s", "pipeline", Start::Earliest, testing::settings(&settings).unwrap()).unwrap()
}

/// What a server says of a group that is not behind.
fn standing() -> Vec<u8> {
    b"*1\r\n*6\r\n+name\r\n+g\r\n+pending\r\n:2\r\n+lag\r\n:5\r\n".to_vec()
}

fn ids(messages: &Messages) -> Vec<String> {
    let header = |at: usize| messages.headers(at).find(|(name, _)| *name == "id").map(|(_, value)| value.to_vec());
    (0..messages.len()).map(|at| String::from_utf8(header(at).unwrap()).unwrap()).collect()
}

const NOTHING: &[u8] = b"*-1\r\n";

#[test]
fn a_group_reads_its_own_entries_first_and_acknowledges_after_the_commit() {
    let network = Network::new();
    let answers = vec![
        ("XINFO", standing()),
        ("XREADGROUP", entries(&["1-0", "2-0"])),
        ("XREADGROUP", entries(&[])),
        ("XREADGROUP", entries(&["3-0"])),
        ("XACK", b":2\r\n".to_vec()),
        ("XREADGROUP", NOTHING.to_vec()),
    ];
    network.peer(ADDRESS, server(answers));
    let mut group = group(&[]);
    let (first, _) = group.next(LIMITS).unwrap();
    assert_eq!((ids(&first), group.waiting()), (vec!["1-0".to_owned(), "2-0".into()], Some(5)));
    let checkpoint = group.checkpoint().unwrap();
    let (end, progress) = group.next(LIMITS).unwrap();
    assert_eq!((end.len(), progress), (0, Progress::Idle));
    let (new, _) = group.next(LIMITS).unwrap();
    assert_eq!((ids(&new), new.offsets()), (vec!["3-0".to_owned()], &[2][..]));
    // A checkpoint of another instance, and one that is told of twice, acknowledge nothing.
    group.committed(Checkpoint { extra: Some(b"another 3".to_vec()), ..Checkpoint::default() }).unwrap();
    group.committed(checkpoint.clone()).unwrap();
    group.committed(checkpoint).unwrap();
    group.next(LIMITS).unwrap();
    let heard = String::from_utf8(network.heard(ADDRESS).remove(0)).unwrap();
    assert_eq!(heard.matches("XACK").count(), 1, "{heard}");
    assert!(heard.contains("XACK\r\n$1\r\ns\r\n$1\r\ng\r\n$3\r\n1-0\r\n$3\r\n2-0\r\n"), "{heard}");
    assert!(!heard.contains("XGROUP") && heard.contains("$5\r\nspout\r\n"), "{heard}");
    assert!(testing::take_metrics().contains(&("behind".to_owned(), 5.0)));
}

#[test]
fn a_group_is_behind_by_what_it_was_not_given_and_what_nobody_returned() {
    let standing = |lag: &str, delivered: &str| {
        let head = "*1\r\n*8\r\n+name\r\n+g\r\n+pending\r\n:2\r\n+lag\r\n";
        format!("{head}{lag}\r\n+last-delivered-id\r\n+{delivered}\r\n").into_bytes()
    };
    let stream = || info(9, "9-0", 9, "1-0", "9-0");
    for (answers, behind) in [
        (vec![standing(":5", "4-0")], Some(7)),
        // A server that has lost count says how far it is all the same.
        (vec![standing("$-1", "9-0"), stream()], Some(2)),
        (vec![standing("$-1", "8-0"), stream()], None),
        (vec![b"-ERR no such key\r\n".to_vec()], Some(0)),
        (vec![b"-NOPERM no\r\n".to_vec()], None),
    ] {
        let network = Network::new();
        let asked = answers.into_iter().map(|answer| ("XINFO", answer));
        network.peer(ADDRESS, server(asked.chain([("XREADGROUP", entries(&[]))]).collect()));
        let mut group = group(&[]);
        group.next(LIMITS).unwrap();
        assert_eq!(group.waiting(), behind);
    }
}

#[test]
fn a_reply_that_is_cut_or_spoilt_anywhere_loses_no_entry_and_doubles_none() {
    let whole = || {
        let answers = vec![
            ("XINFO", standing()),
            ("XREADGROUP", entries(&["1-0", "2-0"])),
            ("XREADGROUP", entries(&[])),
            ("XREADGROUP", entries(&["3-0"])),
        ];
        server(answers)
    };
    // Whatever was given on the first connection is this consumer's, and comes again on the next ones.
    let again = || {
        let (all, rest) = (entries(&["1-0", "2-0", "3-0"]), entries(&["2-0", "3-0"]));
        let from = |id: &str| format!("$3\r\n{id}\r\n");
        let peer = Peer::new().whenever("XINFO", standing()).whenever(from("0-0"), all).whenever(from("1-0"), rest);
        let last = peer.whenever(from("2-0"), entries(&["3-0"])).whenever(from("3-0"), entries(&[]));
        last.whenever("$1\r\n>\r\n", NOTHING).every_time()
    };
    let check = |peer: Peer, what: &str| {
        let network = Network::new();
        network.peer(ADDRESS, peer);
        network.peer(ADDRESS, again());
        let (mut group, mut found) = (group(&[]), Vec::new());
        for _ in 0..12 {
            match group.next(LIMITS) {
                Ok((messages, _)) => found.extend(ids(&messages)),
                Err(Error::Retriable { .. }) => {}
                Err(other) => panic!("{what}: {other}"),
            }
        }
        found.sort();
        assert_eq!(found, ["1-0", "2-0", "3-0"], "{what}");
    };
    for at in 0..whole().length() {
        check(whole().cut_at(at), &format!("cut at {at}"));
    }
    check(whole().in_pieces(1), "in pieces");
    check(Peer::new().says("HTTP/1.1 400 Bad Request\r\n\r\n"), "garbage");
    check(Peer::new().delays(Duration::from_secs(60)).says("+PONG\r\n"), "silence");
    check(Peer::refusing(), "refused");
}

#[test]
fn what_was_deleted_is_acknowledged_and_what_others_left_is_claimed() {
    let network = Network::new();
    let gone = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n".to_vec();
    let claimed = b"*3\r\n$3\r\n0-0\r\n*2\r\n*2\r\n$3\r\n7-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*-1\r\n*0\r\n".to_vec();
    let answers = vec![
        ("XGROUP", b"-BUSYGROUP Consumer Group name already exists\r\n".to_vec()),
        ("XAUTOCLAIM", claimed),
        ("XINFO", standing()),
        ("XREADGROUP", gone),
    ];
    network.peer(ADDRESS, server(answers));
    let mut group = group(&[("create", "true"), ("minIdle", "5000")]);
    let (messages, _) = group.next(LIMITS).unwrap();
    assert_eq!(ids(&messages), ["7-0"]);
    group.next(LIMITS).unwrap();
    assert!(testing::take_log().iter().any(|(_, line)| line.contains("1-0 of s was deleted")));
    let none = group.next(LIMITS).unwrap_err();
    assert!(matches!(none, Error::Retriable { .. }), "{none}");
    // There has to be a group.
    let without = Peer::new().whenever("XACK", ":0\r\n").whenever("XINFO", standing());
    let said = "-NOGROUP No such key 's' or consumer group 'g'\r\n";
    network.peer(ADDRESS, without.whenever("XREADGROUP", said));
    let error = group.next(LIMITS).unwrap_err().to_string();
    assert!(error.contains("redis.group"), "{error}");
}

#[test]
fn whatever_is_wrong_with_a_reply_is_an_error_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, mut asked) = (listener.accept().unwrap().0, [0; 4096]);
        for reply in [entries(&["5-1", "6-0"]), info(2, "6-0", 2, "5-1", "6-0")] {
            let read = stream.read(&mut asked).unwrap();
            assert!(read > 0);
            stream.write_all(&reply).unwrap();
        }
    });
    let all = testing::spoilt(|| {
        let settings = testing::settings(&[("address", address.as_str()), ("maxEntry", "10000")])?;
        let mut reader = RedisStreams::open("s", settings)?.into_reader()?;
        Ok(reader.fetch(&[(Partition::named("s").id, Position::at(0))], LIMITS)?.len())
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 60, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["redis."]));
}
