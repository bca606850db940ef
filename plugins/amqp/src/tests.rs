//! The stream against servers that follow a script; tests/suite/amqp.rs has it against a real one.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use spout_guest::{Checkpoint, Error, Limits, Messages, Progress, Result, Start, StreamConsumer as _, testing};

mod stream;

use super::*;
use crate::frame::tests::{framed, message};

const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20, timeout: Duration::from_millis(20) };
const START_OK: [u8; 4] = [0, 10, 0, 11];
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];
const OPEN: [u8; 4] = [0, 10, 0, 40];
const OPEN_CHANNEL: [u8; 4] = [0, 20, 0, 10];
const LOOK: [u8; 4] = [0, 50, 0, 10];
const QOS: [u8; 4] = [0, 60, 0, 10];
const CONSUME: [u8; 4] = [0, 60, 0, 20];
const ACK: [u8; 4] = [0, 60, 0, 80];

/// What a server does with a connection, which it closes then.
#[derive(Clone, Debug)]
enum Step {
    /// It waits for this method; to questions for the queue it says meanwhile that there is nothing in it.
    Hear([u8; 4]),
    Say(Vec<u8>),
}

fn hear(method: [u8; 4]) -> Step {
    Step::Hear(method)
}

fn say(bytes: Vec<u8>) -> Step {
    Step::Say(bytes)
}

fn start(mechanisms: &str) -> Step {
    let mut body = b"\0\x0a\0\x0a\0\x09\0\0\0\0".to_vec();
    body.extend((mechanisms.len() as u32).to_be_bytes());
    body.extend(mechanisms.as_bytes());
    body.extend(b"\0\0\0\x05en_US");
    say(framed(1, 0, &body))
}

fn tune() -> Step {
    say(framed(1, 0, b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c"))
}

fn declared(count: u8) -> Vec<u8> {
    framed(1, 1, &[0, 50, 0, 11, 1, b'q', 0, 0, 0, count, 0, 0, 0, 0])
}

/// Up to the question for the queue.
fn opened() -> Vec<Step> {
    vec![
        start("PLAIN EXTERNAL"),
        hear(START_OK),
        tune(),
        hear(TUNE_OK),
        hear(OPEN),
        say(framed(1, 0, b"\0\x0a\0\x29\0")),
        hear(OPEN_CHANNEL),
        say(framed(1, 1, b"\0\x14\0\x0b\0\0\0\0")),
        hear(LOOK),
    ]
}

/// Up to the messages.
fn consuming() -> Vec<Step> {
    let rest = vec![
        say(declared(9)),
        hear(QOS),
        say(framed(1, 1, b"\0\x3c\0\x0b")),
        hear(CONSUME),
        say(framed(1, 1, b"\0\x3c\0\x15\x05spout")),
    ];
    [opened(), rest].concat()
}

/// A server that does this with its connections, one after the other; and the methods that it hears, but for questions.
fn server(scripts: Vec<Vec<Step>>) -> (String, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, methods) = channel();
    thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            let heard = heard.clone();
            thread::spawn(move || follow(stream, script, &heard));
        }
    });
    (address, methods)
}

fn follow(mut stream: TcpStream, script: Vec<Step>, heard: &Sender<Vec<u8>>) {
    let mut greeting = [0; 8];
    let mut alive = stream.read_exact(&mut greeting).is_ok();
    for step in script {
        alive = alive
            && match step {
                Step::Say(bytes) => stream.write_all(&bytes).is_ok(),
                Step::Hear(method) => until(&mut stream, method, heard).is_some(),
            };
    }
}

fn until(stream: &mut TcpStream, method: [u8; 4], heard: &Sender<Vec<u8>>) -> Option<()> {
    loop {
        let mut head = [0; 7];
        stream.read_exact(&mut head).ok()?;
        let mut body = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
        stream.read_exact(&mut body).ok()?;
        if body.starts_with(&method) {
            heard.send(body).ok()?;
            return Some(());
        }
        if body.starts_with(&LOOK) {
            stream.write_all(&declared(0)).ok()?;
        } else {
            heard.send(body).ok()?;
        }
    }
}

fn open(address: &str, start: Start, more: &[(&str, &str)]) -> Result<Amqp> {
    Amqp::open("q", "p", start, testing::settings(&[&[("address", address)], more].concat()).unwrap())
}

/// Payloads and ids of what comes until there is so much.
fn read(amqp: &mut Amqp, count: usize) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    while all.len() < count {
        let (messages, _) = match amqp.next(LIMITS) {
            Err(Error::Retriable { code, .. }) if code == "amqp.io" => continue,
            answer => answer?,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let id = |messages: &Messages, at| messages.headers(at).next().map(|(_, id)| text(id));
        all.extend((0..messages.len()).map(|at| (text(messages.value(at)), id(&messages, at).unwrap())));
    }
    Ok(all)
}

#[test]
fn messages_come_with_what_they_have_and_are_acknowledged_together_after_the_commit() {
    let rest = vec![
        say(message(1, false, Some("a"), b"one", 2)),
        say(message(2, true, Some("b"), b"two", 9)),
        hear(ACK),
        hear(START_OK),
    ];
    let (address, methods) = server(vec![[consuming(), rest].concat()]);
    let mut amqp = open(&address, Start::Earliest, &[]).unwrap();
    let mut headers = Vec::new();
    let mut checkpoints = Vec::new();
    while headers.len() < 2 {
        let (messages, _) = amqp.next(Limits { messages: 1, ..LIMITS }).unwrap();
        for at in 0..messages.len() {
            assert_eq!(messages.key(at), Some(&b"k"[..]));
            let all = messages.headers(at).map(|(name, value)| format!("{name}={}", value.escape_ascii()));
            headers.push(all.collect::<Vec<_>>().join(" "));
            checkpoints.push(amqp.checkpoint().unwrap());
        }
    }
    let second = "message-id=id-b exchange=x routing-key=k redelivered=true";
    assert_eq!(headers, ["message-id=id-a exchange=x routing-key=k", second]);
    let before = methods.try_iter().count();
    let other = Checkpoint { extra: Some(br#"{"instance":1,"count":2}"#.to_vec()), ..Checkpoint::default() };
    amqp.committed(other).unwrap();
    assert_eq!(amqp.next(LIMITS).unwrap().1, Progress::More, "not all is committed");
    assert_eq!((methods.try_iter().count(), before), (0, 7));
    amqp.committed(checkpoints.pop().unwrap()).unwrap();
    let acked: Vec<Vec<u8>> = methods.try_iter().collect();
    assert_eq!(acked, [b"\0\x3c\0\x50\0\0\0\0\0\0\0\x02\x01\xce"]);
    amqp.committed(checkpoints.remove(0)).unwrap();
    let progress: Vec<Progress> = (0..4).map(|_| amqp.next(LIMITS).unwrap().1).collect();
    assert!(progress.contains(&Progress::Idle), "{progress:?}");
}

#[test]
fn what_an_ended_connection_brought_comes_again_and_is_acknowledged_by_its_new_tag() {
    let first = [consuming(), vec![say(message(7, false, Some("a"), b"x", 9)), say(message(8, false, None, b"y", 9))]];
    let rest = vec![
        say(message(1, true, Some("a"), b"x", 9)),
        say(message(2, true, None, b"y", 9)),
        say(message(3, false, Some("c"), b"x", 9)),
        hear(ACK),
        hear(START_OK),
    ];
    let (address, methods) = server(vec![first.concat(), [consuming(), rest].concat()]);
    let mut amqp = open(&address, Start::Earliest, &[]).unwrap();
    let one = read(&mut amqp, 2).unwrap();
    let before = amqp.checkpoint().unwrap();
    let two = read(&mut amqp, 3).unwrap();
    assert_eq!(two[0], one[0]);
    assert_ne!(two[1].1, one[1].1, "without an id, it is taken for new");
    let error = amqp.committed(before).unwrap_err();
    assert!(error.to_string().contains("2 messages"), "{error}");
    assert!(!methods.try_iter().any(|method| method.starts_with(&ACK)));
    let after = amqp.checkpoint().unwrap();
    amqp.committed(after).unwrap();
    assert_eq!(methods.try_iter().collect::<Vec<_>>(), [b"\0\x3c\0\x50\0\0\0\0\0\0\0\x03\x01\xce"]);
}

#[test]
fn a_stream_is_no_queue() {
    let mut header = b"\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\x19\x0fx-stream-offsetl".to_vec();
    header.extend(5_u64.to_be_bytes());
    let deliver = b"\0\x3c\0\x3c\0\0\0\0\0\0\0\0\x01\0\0\0";
    let stream = vec![say(framed(1, 1, deliver)), say(framed(2, 1, &header)), hear(ACK)];
    let (address, _methods) = server(vec![[consuming(), stream].concat()]);
    let error = read(&mut open(&address, Start::Earliest, &[]).unwrap(), 1).unwrap_err();
    assert!(error.to_string().starts_with("amqp.stream"), "{error}");
}

#[test]
fn users_are_named_and_passwords_are_written_by_the_host() {
    let (address, methods) = server(vec![opened(), opened(), vec![start("AMQPLAIN")]]);
    let fails = |more: &[(&str, &str)]| open(&address, Start::Earliest, more).unwrap().next(LIMITS).unwrap_err();
    fails(&[]);
    testing::set_secret("password", "pässword");
    fails(&[("username", "me"), ("vhost", "v")]);
    let heard: Vec<Vec<u8>> = methods.try_iter().collect();
    let said = |text: &str, at: usize| heard[at].windows(text.len()).any(|part| part == text.as_bytes());
    assert!(said("\u{5}PLAIN\0\0\0\u{c}\0guest\0guest\u{5}en_US", 0), "{heard:?}");
    assert!(heard.iter().any(|method| method == b"\0\x0a\0\x28\x01v\0\0\xce"), "{heard:?}");
    assert!(said("\0me\0pässword\u{5}en_US", 5), "{heard:?}");
    let error = fails(&[("username", "me")]);
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "amqp.denied"), "{error}");
}

#[test]
fn bad_servers_are_errors_that_say_what_to_do() {
    let closed = |class: u8, method: u8, code: u16| {
        let body = [&[0, class, 0, method][..], &code.to_be_bytes(), b"\x02no\0\0\0\0"].concat();
        say(framed(1, u16::from(class == 20), &body))
    };
    let at_start = |step: Step| vec![start("PLAIN"), hear(START_OK), step];
    for (script, code, passes) in [
        (vec![say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())], "amqp.protocol", true),
        (vec![say(b"AMQP\0\x01\0\0".to_vec())], "amqp.version", false),
        (vec![tune()], "amqp.protocol", true),
        (vec![], "amqp.io", true),
        (vec![say(b"\x01\0\0\0\0\0\x09ab".to_vec())], "amqp.io", true),
        (vec![say(b"\x01\0\0\xff\xff\xff\xff".to_vec())], "amqp.protocol", true),
        (vec![start("AMQPLAIN")], "amqp.denied", false),
        (at_start(closed(10, 50, 403)), "amqp.denied", false),
        (at_start(closed(10, 50, 530)), "amqp.refused", false),
        (at_start(closed(10, 50, 320)), "amqp.unavailable", true),
        ([opened(), vec![closed(20, 40, 404)]].concat(), "amqp.queue", false),
        ([opened(), vec![closed(20, 40, 405)]].concat(), "amqp.unavailable", true),
        ([consuming(), vec![closed(20, 40, 404)]].concat(), "amqp.queue", true),
        ([consuming(), vec![closed(20, 40, 540)]].concat(), "amqp.stream", false),
        ([consuming(), vec![say(framed(1, 1, b"\0\x3c\0\x1e\x05spout\x01"))]].concat(), "amqp.cancelled", true),
        ([consuming(), vec![say(framed(3, 1, b"x"))]].concat(), "amqp.protocol", true),
        ([consuming(), vec![say(message(1, false, None, &[0; 2000], 999))]].concat(), "amqp.large", false),
        ([consuming(), vec![say(message(1, false, None, b"xy", 1)[..60].to_vec())]].concat(), "amqp.io", true),
    ] {
        let told = format!("{script:?}");
        let (address, _methods) = server(vec![script]);
        let mut amqp = open(&address, Start::Earliest, &[("maxMessage", "1000")]).unwrap();
        let error = loop {
            if let Err(error) = amqp.next(LIMITS) {
                break error;
            }
        };
        assert!(error.to_string().starts_with(code), "{told}: {error}");
        assert_eq!(matches!(error, Error::Retriable { .. }), passes, "{error}");
    }
}

#[test]
fn wrong_settings_and_checkpoints_are_refused() {
    for wrong in [("prefetch", "0"), ("maxMessage", "0"), ("vhost", "a\0b")] {
        assert!(matches!(open("a:1", Start::Earliest, &[wrong]), Err(Error::InvalidConfig { .. })), "{wrong:?}");
    }
    let none = testing::settings(&[("address", "a:1")]).unwrap();
    assert!(matches!(Amqp::open("", "p", Start::Earliest, none), Err(Error::InvalidConfig { .. })));
    let broken = Start::Checkpoint(Checkpoint { extra: Some(b"{}".to_vec()), ..Checkpoint::default() });
    assert!(matches!(open("a:1", broken, &[]), Err(Error::Fatal { .. })));
}

#[test]
fn whatever_is_wrong_with_a_message_of_the_server_is_an_error_in_time() {
    let rest = vec![say(message(1, false, Some("a"), b"one", 2)), hear(ACK)];
    let (address, _methods) = server(vec![[consuming(), rest].concat()]);
    let all = testing::spoilt(|| {
        let mut amqp = open(&address, Start::Earliest, &[])?;
        for _ in 0..20 {
            let (messages, _) = amqp.next(LIMITS)?;
            if !messages.is_empty() {
                return Ok(messages.len());
            }
        }
        Ok(0)
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 100, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["amqp."]));
}
