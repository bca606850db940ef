//! The source against servers that misbehave; tests/suite/nats.rs has it against a real one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use spout_guest::{Limits, Reader as _, Start, StreamConsumer as _, testing};

use super::*;

const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20, timeout: Duration::ZERO };
const INFO: &str = "INFO {\"server_id\":\"X\",\"client_id\":1,\"headers\":true}\r\n";

/// A server that says `first`, and to each line that begins with a word of `answers` what stands there; `{reply}` is the subject
/// that was asked for.
fn server(first: &'static str, answers: Vec<(&'static str, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.write_all(first.as_bytes()));
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(|line| line.ok()) {
                let Some((_, answer)) = answers.iter().find(|(word, _)| line.starts_with(word)) else { continue };
                let reply = line.split(' ').nth(2).unwrap_or_default();
                if stream.write_all(answer.replace("{reply}", reply).as_bytes()).is_err() || answer.is_empty() {
                    break;
                }
            }
        }
    });
    address
}

fn fetch(address: &str, start: Position) -> Result<spout_guest::Fetched> {
    let settings = testing::settings(&[("address", address), ("maxMessage", "2000")]).unwrap();
    let mut nats = Nats::open("S", settings).unwrap();
    nats.read(Partition::named("S").id).unwrap().fetch(start, LIMITS)
}

const STREAM: (&str, &str) = (
    "PUB $JS.API.STREAM.INFO",
    "MSG {reply} 1 57\r\n{\"created\":\"t\",\"state\":{\"first_seq\":5,\"last_seq\":9} }    \r\n",
);
const MADE: (&str, &str) = ("PUB $JS.API.CONSUMER.CREATE", "MSG {reply} 1 12\r\n{\"name\":\"c\"}\r\n");
const PONG: (&str, &str) = ("PING", "PONG\r\n");

#[test]
fn messages_come_with_what_they_have() {
    let next = "MSG a 2 $JS.ACK.S.c.1.5.1.1000000.1 2\r\nm1\r\nPING\r\nHMSG b 2 $JS.ACK.S.c.1.6.2.2999999.0 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nm2\r\nHMSG x 2 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n";
    let address = server(INFO, vec![PONG, STREAM, MADE, ("PUB $JS.API.CONSUMER.MSG", next)]);
    let fetched = fetch(&address, Position::at(5)).unwrap();
    assert_eq!(fetched.messages.offsets(), [5, 6]);
    assert_eq!((fetched.messages.value(1), fetched.messages.key(0)), (&b"m2"[..], Some(&b"a"[..])));
    assert_eq!(fetched.messages.headers(1).collect::<Vec<_>>(), [("A", &b"b"[..])]);
    assert_eq!((fetched.messages.timestamp_ms(0), fetched.messages.timestamp_ms(1)), (Some(1), Some(2)));
    assert_eq!(fetched.next, Position { offset: 7, token: Some(b"t".to_vec()) });
    assert_eq!(fetched.high_watermark, Some(7));
}

#[test]
fn what_was_purged_or_replaced_is_out_of_range() {
    let address = server(INFO, vec![PONG, STREAM, MADE]);
    for start in [Position::at(4), Position::at(11), Position { offset: 7, token: Some(b"before".to_vec()) }] {
        let error = fetch(&address, start).unwrap_err();
        let Error::OutOfRange { earliest, latest } = error else { panic!("{error}") };
        assert_eq!((earliest.offset, latest.offset), (5, 10));
    }
}

#[test]
fn a_durable_consumer_is_behind_by_what_it_was_not_given_and_what_was_not_returned() {
    let standing =
        "MSG {reply} 1 72\r\n{\"config\":{\"ack_policy\":\"explicit\"},\"num_pending\":7,\"num_ack_pending\":3}\r\n";
    let next = "MSG a 2 $JS.ACK.S.c.1.5.1.1000000.1 2\r\nm1\r\nHMSG x 2 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n";
    let answers = vec![PONG, STREAM, ("PUB $JS.API.CONSUMER.INFO", standing), ("PUB $JS.API.CONSUMER.MSG", next)];
    let address = server(INFO, answers);
    let settings = testing::settings(&[("address", address.as_str()), ("durable", "c")]).unwrap();
    let mut durable = Durable::open("S", "p", Start::Earliest, settings).unwrap();
    assert_eq!(durable.waiting(), None);
    assert_eq!(durable.next(LIMITS).unwrap().0.len(), 1);
    assert_eq!(durable.waiting(), Some(7 + 3 - 1));
}

#[test]
fn bad_servers_are_errors_that_say_what_to_do() {
    let large = "MSG a 2 $JS.ACK.S.c.1.5.1.1000000.1 999999999\r\n";
    let other = "MSG a 2 $JS.ACK.S.d.1.5.1.1000000.1 2\r\nm1\r\n";
    let none = "HMSG {reply} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
    let refused = "MSG {reply} 1 42\r\n{\"error\":{\"code\":400,\"description\":\"bad\"}}\r\n";
    let busy = "MSG {reply} 1 42\r\n{\"error\":{\"code\":503,\"description\":\"bad\"}}\r\n";
    let gone = "MSG {reply} 1 42\r\n{\"error\":{\"code\":404,\"description\":\"bad\"}}\r\n";
    let garbage = "MSG {reply} 1 5\r\nhello\r\n";
    let ended = "HMSG x 2 33 33\r\nNATS/1.0 409 Consumer Deleted\r\n\r\n\r\n";
    let api = "PUB $JS.API.STREAM.INFO";
    let pull = "PUB $JS.API.CONSUMER.MSG";
    for (first, answers, code, passes) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", vec![], "nats.protocol", true),
        ("PING\r\n", vec![], "nats.protocol", true),
        ("INFO {\r\n", vec![], "nats.protocol", true),
        ("INFO {\"auth_required\":true}\r\n", vec![], "nats.denied", false),
        ("INFO {\"tls_required\":true}\r\n", vec![], "nats.denied", false),
        ("INFO {}\r\n", vec![], "nats.version", false),
        (INFO, vec![("CONNECT", "-ERR 'Authorization Violation'\r\n")], "nats.denied", false),
        (INFO, vec![("CONNECT", "-ERR 'maximum connections exceeded'\r\n")], "nats.unavailable", true),
        (INFO, vec![("CONNECT", "")], "nats.io", true),
        (INFO, vec![PONG, (api, none)], "nats.unavailable", true),
        (INFO, vec![PONG, (api, refused)], "nats.refused", false),
        (INFO, vec![PONG, (api, busy)], "nats.unavailable", true),
        (INFO, vec![PONG, (api, gone)], "nats.stream", true),
        (INFO, vec![PONG, (api, garbage)], "nats.protocol", true),
        (INFO, vec![PONG, STREAM, MADE, (pull, large)], "nats.large", false),
        (INFO, vec![PONG, STREAM, MADE, (pull, other)], "nats.protocol", true),
        (INFO, vec![PONG, STREAM, MADE, (pull, ended)], "nats.unavailable", true),
    ] {
        let error = fetch(&server(first, answers.clone()), Position::at(5)).unwrap_err();
        assert!(error.to_string().starts_with(code), "{answers:?}: {error}");
        assert_eq!(matches!(error, Error::Retriable { .. }), passes, "{error}");
    }
}

#[test]
fn wrong_settings_are_refused() {
    let open = |topic: &str, subject: &str| {
        Nats::open(topic, testing::settings(&[("address", "a:1"), ("subject", subject)]).unwrap()).map(drop)
    };
    assert!(open("S", "a.>").is_ok());
    for (topic, subject) in [("", "a"), ("a.b", "a"), ("a b", "a"), ("S", "a\r\nPUB x 0"), ("S", "")] {
        assert!(matches!(open(topic, subject), Err(Error::InvalidConfig { .. })), "{topic} {subject}");
    }
}

#[test]
fn whatever_is_wrong_with_a_message_of_the_server_is_an_error_in_time() {
    let next = "MSG a 2 $JS.ACK.S.c.1.5.1.1000000.0 2\r\nm1\r\nHMSG x 2 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n";
    let address = server(INFO, vec![PONG, STREAM, MADE, ("PUB $JS.API.CONSUMER.MSG", next)]);
    let all = testing::spoilt(|| fetch(&address, Position::at(5)).map(|fetched| fetched.messages.len()));
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 100, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["nats."]));
}
