//! The stream against brokers that follow a script; tests/suite/mqtt.rs has it against a real one.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use spout_guest::{Checkpoint, Error, Limits, Messages, Progress, Result, Start, StreamConsumer as _, testing};

use super::*;

const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20, timeout: Duration::from_millis(20) };
const NEW: &[u8] = b"\x20\x03\0\0\0";
const KNOWN: &[u8] = b"\x20\x03\x01\0\0";
const TAKEN: &[u8] = b"\x90\x04\0\x01\0\x01";
const PONG: &[u8] = b"\xd0\0";
const HELLO: u8 = 0x10;
const SUBSCRIBE: u8 = 0x82;
const PING: u8 = 0xc0;
const ACK: u8 = 0x40;

/// What a broker does with a connection, which it closes then.
#[derive(Clone, Debug)]
enum Step {
    /// It waits for a packet that begins so.
    Hear(u8),
    Say(Vec<u8>),
}

fn hear(kind: u8) -> Step {
    Step::Hear(kind)
}

fn say(bytes: &[u8]) -> Step {
    Step::Say(bytes.to_vec())
}

/// A message of quality 1 to `t`.
fn publish(number: u8, again: bool, payload: &str) -> Step {
    let kind = if again { 0x3a } else { 0x32 };
    let head = [kind, 6 + payload.len() as u8, 0, 1, b't', 0, number, 0];
    Step::Say([&head, payload.as_bytes()].concat())
}

/// A broker that does this with its connections, one after the other; and the packets that it hears, but for pings.
fn broker(scripts: Vec<Vec<Step>>) -> (String, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, packets) = channel();
    thread::spawn(move || {
        for script in scripts {
            let (mut stream, _) = listener.accept().unwrap();
            for step in script {
                let done = match step {
                    Step::Say(bytes) => stream.write_all(&bytes).ok(),
                    Step::Hear(kind) => until(&mut stream, kind, &heard),
                };
                if done.is_none() {
                    break;
                }
            }
        }
    });
    (address, packets)
}

fn until(stream: &mut TcpStream, kind: u8, heard: &Sender<Vec<u8>>) -> Option<()> {
    loop {
        let (mut head, mut length) = ([0; 2], 0);
        stream.read_exact(&mut head).ok()?;
        length += usize::from(head[1]);
        assert!(length < 128, "short packets only");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        if head[0] == PING && kind != PING {
            stream.write_all(PONG).ok()?;
        } else if head[0] != PING {
            heard.send([&head[..], &body].concat()).ok()?;
        }
        if head[0] == kind {
            return Some(());
        }
    }
}

fn open(address: &str, start: Start, more: &[(&str, &str)]) -> Result<Mqtt> {
    let mut all = [&[("address", address)], more].concat();
    if !more.iter().any(|(name, _)| *name == "maxMessage") {
        all.push(("maxMessage", "1000"));
    }
    Mqtt::open("t", "p", start, testing::settings(&all).unwrap())
}

/// What comes until there is so much.
fn read(mqtt: &mut Mqtt, count: usize) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    while all.len() < count {
        let (messages, _) = match mqtt.next(LIMITS) {
            Err(Error::Retriable { code, .. }) if code == "mqtt.io" => continue,
            answer => answer?,
        };
        let id =
            |messages: &Messages, at| messages.headers(at).next().map(|(_, id)| String::from_utf8_lossy(id).into());
        let value = |at| String::from_utf8_lossy(messages.value(at)).into_owned();
        all.extend((0..messages.len()).map(|at| (value(at), id(&messages, at).unwrap())));
    }
    Ok(all)
}

fn values(read: &[(String, String)]) -> Vec<&str> {
    read.iter().map(|(value, _)| value.as_str()).collect()
}

#[test]
fn messages_come_with_what_they_have_and_are_acknowledged_after_the_commit() {
    let rich = b"\x33\x30\0\x03t/x\0\x05\x1e\x26\0\x01k\0\x01v\x03\0\x04text\x08\0\x01r\x09\0\x02\x01\xff\x26\0\x01k\0\x01wpayload";
    let rich = [&[0x33, (rich.len() - 2) as u8], &rich[2..]].concat();
    let script = vec![
        hear(HELLO),
        say(NEW),
        hear(SUBSCRIBE),
        say(TAKEN),
        say(&rich),
        publish(6, false, "two"),
        hear(ACK),
        hear(ACK),
        hear(0xff),
    ];
    let (address, packets) = broker(vec![script]);
    let mut mqtt = open(&address, Start::Earliest, &[("retained", "true"), ("topicAsKey", "true")]).unwrap();
    let mut all = Messages::default();
    let mut checkpoints = Vec::new();
    while all.len() < 2 {
        let (messages, _) = mqtt.next(Limits { messages: 1, ..LIMITS }).unwrap();
        for message in messages.iter() {
            let mut added = all.add(message.offset().unwrap(), message.value());
            added = message.headers().fold(added, |added, (name, value)| added.header(name, value));
            let _ = added.key(message.key().unwrap());
        }
        checkpoints.push(mqtt.checkpoint().unwrap());
    }
    assert_eq!((all.value(0), all.key(0), all.value(1)), (&b"payload"[..], Some(&b"t/x"[..]), &b"two"[..]));
    let header = |(name, value): (&str, &[u8])| format!("{name}={}", value.escape_ascii());
    let headers: Vec<String> = all.headers(0).skip(1).map(header).collect();
    let expected = [
        "topic=t/x",
        "retained=true",
        "content-type=text",
        "response-topic=r",
        "correlation-data=\\x01\\xff",
        "k=v",
        "k=w",
    ];
    assert_eq!(headers, expected);
    assert_eq!(all.offsets(), [0, 1]);
    let heard: Vec<Vec<u8>> = packets.try_iter().collect();
    assert_eq!(heard.iter().map(|packet| packet[0]).collect::<Vec<_>>(), [HELLO, SUBSCRIBE], "and nothing else");
    // With a limit of one, there is more where the broker was not asked; what is not committed may not be acknowledged.
    assert_eq!(mqtt.next(LIMITS).unwrap().1, Progress::More);
    let other = Checkpoint {
        extra: Some(br#"{"instance":1,"count":2,"serials":null,"filters":[]}"#.to_vec()),
        ..Checkpoint::default()
    };
    mqtt.committed(other).unwrap();
    assert!(packets.try_recv().is_err());
    mqtt.committed(checkpoints.pop().unwrap()).unwrap();
    let heard: Vec<Vec<u8>> = packets.try_iter().collect();
    assert_eq!(heard, [b"\x40\x02\0\x05", b"\x40\x02\0\x06"]);
    mqtt.committed(checkpoints.remove(0)).unwrap();
    let progress: Vec<Progress> = (0..3).map(|_| mqtt.next(LIMITS).unwrap().1).collect();
    assert_eq!(progress.last(), Some(&Progress::Idle), "{progress:?}");
}

#[test]
fn with_quality_two_a_message_is_taken_after_the_commit_and_released_then() {
    let message = |number: u8| say(&[0x34, 6, 0, 1, b't', 0, number, 0]);
    let release = say(b"\x62\x02\0\x01\xd0\0");
    let first =
        vec![hear(HELLO), say(NEW), hear(SUBSCRIBE), message(1), hear(0x50), hear(PING), release.clone(), hear(0x70)];
    let (address, packets) = broker(vec![first, vec![hear(HELLO), say(KNOWN), hear(SUBSCRIBE), release, hear(0x70)]]);
    let mut mqtt = open(&address, Start::Earliest, &[("qos", "2")]).unwrap();
    read(&mut mqtt, 1).unwrap();
    assert_eq!(packets.try_iter().map(|packet| packet[0]).collect::<Vec<_>>(), [HELLO, SUBSCRIBE]);
    let place = mqtt.checkpoint().unwrap();
    mqtt.committed(place.clone()).unwrap();
    drop(mqtt);
    // A release that comes again is answered again.
    let mut mqtt = open(&address, Start::Checkpoint(place), &[("qos", "2")]).unwrap();
    while mqtt.next(LIMITS).is_ok() {}
    let heard: Vec<Vec<u8>> = packets.iter().filter(|packet| !matches!(packet[0], HELLO | SUBSCRIBE)).collect();
    assert_eq!(heard, [b"\x50\x02\0\x01", b"\x70\x02\0\x01", b"\x70\x02\0\x01"]);
}

#[test]
fn what_an_ended_connection_brought_comes_again_and_is_acknowledged_once() {
    let first = vec![hear(HELLO), say(NEW), hear(SUBSCRIBE), publish(1, false, "a"), publish(2, false, "a")];
    let again = |ack: bool| {
        let mut script = vec![hear(HELLO), say(KNOWN), hear(SUBSCRIBE), publish(1, true, "a"), publish(2, true, "a")];
        script.push(publish(3, false, "a"));
        script.extend(ack.then_some([hear(ACK), hear(PING), say(PONG), hear(PING)]).into_iter().flatten());
        script
    };
    let (address, packets) = broker(vec![first, again(true), again(false)]);
    let mut mqtt = open(&address, Start::Earliest, &[]).unwrap();
    let one = read(&mut mqtt, 2).unwrap();
    assert_ne!(one[0].1, one[1].1, "two messages that are alike");
    let before = mqtt.checkpoint().unwrap();
    let two = read(&mut mqtt, 3).unwrap();
    assert_eq!(two[..2], one[..]);
    // The numbers could stand for others by now.
    let error = mqtt.committed(before.clone()).unwrap_err();
    assert!(error.to_string().contains("2 messages"), "{error}");
    assert!(!packets.try_iter().any(|packet| packet[0] == ACK));
    let after = mqtt.checkpoint().unwrap();
    mqtt.committed(after).unwrap();
    assert_eq!(packets.try_iter().filter(|packet| packet[0] == ACK).count(), 3);
    drop(mqtt);
    // A crash: another instance begins at the first checkpoint, and the broker did not hear of the acknowledgments.
    let mut mqtt = open(&address, Start::Checkpoint(before), &[]).unwrap();
    assert_eq!(read(&mut mqtt, 3).unwrap(), two);
}

#[test]
fn a_session_that_is_lost_stops_the_pipeline_or_begins_anew() {
    let first = || vec![hear(HELLO), say(NEW), hear(SUBSCRIBE), publish(1, false, "a"), hear(0xff)];
    let (address, packets) = broker(vec![first(), vec![hear(HELLO), say(NEW), hear(0xe0)], first()]);
    let mut mqtt = open(&address, Start::Earliest, &[]).unwrap();
    let before = read(&mut mqtt, 1).unwrap();
    let place = mqtt.checkpoint().unwrap();
    drop(mqtt);
    let error = open(&address, Start::Checkpoint(place.clone()), &[]).unwrap().next(LIMITS).unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "mqtt.session"), "{error}");
    let mut mqtt = open(&address, Start::Checkpoint(place), &[("lostSession", "continue")]).unwrap();
    let after = read(&mut mqtt, 1).unwrap();
    assert_eq!(values(&after), values(&before));
    assert_ne!(after[0].1, before[0].1, "another session");
    let heard: Vec<Vec<u8>> = packets.try_iter().collect();
    assert!(heard.iter().any(|packet| packet == b"\xe0\x07\0\x05\x11\0\0\0\0"), "{heard:?}");
}

#[test]
fn retained_messages_and_topics_that_are_no_longer_wanted_are_left_out() {
    let old = |kind: u8, number: u8| say(&[kind, 6, 0, 1, b't', 0, number, b'x']);
    let script = vec![
        hear(HELLO),
        say(b"\x20\x02\x01\0"),
        hear(SUBSCRIBE),
        hear(0xa2),
        old(0x33, 1),
        old(0x32, 2),
        hear(ACK),
        hear(0xff),
    ];
    let (address, packets) = broker(vec![script]);
    let place = Checkpoint {
        extra: Some(br#"{"instance":1,"count":7,"serials":null,"filters":["t","u"]}"#.to_vec()),
        ..Checkpoint::default()
    };
    let mut mqtt = open(&address, Start::Checkpoint(place), &[("protocol", "v3"), ("id", "nothing")]).unwrap();
    assert_eq!(values(&read(&mut mqtt, 1).unwrap()), ["x"]);
    drop(mqtt);
    let heard: Vec<Vec<u8>> = packets.iter().collect();
    assert!(heard.contains(&b"\xa2\x05\0\x02\0\x01u".to_vec()), "{heard:?}");
    assert_eq!(heard.last().unwrap(), b"\x40\x02\0\x01");
}

#[test]
fn a_broker_of_the_older_version_is_spoken_to_as_such_and_gets_the_password_from_the_host() {
    testing::set_secret("password", "pässword");
    let (address, packets) = broker(vec![
        vec![hear(HELLO), say(b"\x20\x02\0\x01")],
        vec![hear(HELLO), say(b"\x20\x02\0\0"), hear(SUBSCRIBE), say(b"\x32\x06\0\x01t\0\x01x"), hear(0xff)],
    ]);
    let mut mqtt = open(&address, Start::Earliest, &[("username", "me"), ("clientId", "c")]).unwrap();
    assert_eq!(values(&read(&mut mqtt, 1).unwrap()), ["x"]);
    let heard: Vec<Vec<u8>> = packets.try_iter().collect();
    assert_eq!((heard[0][8], heard[1][8]), (5, 4));
    assert!(heard[1].ends_with("\0\x02me\0\u{9}pässword".as_bytes()), "{heard:?}");
    testing::set_secret("password", "");
}

#[test]
fn bad_brokers_are_errors_that_say_what_to_do() {
    let subscribed = |bytes: &[u8]| vec![say(NEW), hear(SUBSCRIBE), say(bytes)];
    for (script, code, passes) in [
        (vec![say(b"HTTP/1.1 400 Bad Request\r\n\r\n")], "mqtt.protocol", true),
        (vec![say(PONG)], "mqtt.protocol", true),
        (vec![say(b"\x20\x7f\0\0")], "mqtt.io", true),
        (vec![], "mqtt.io", true),
        (vec![say(b"\x20\x03\0\x86\0")], "mqtt.denied", false),
        (vec![say(b"\x20\x09\0\x87\x06\x1f\0\x03bad")], "mqtt.denied", false),
        (vec![say(b"\x20\x03\0\x85\0")], "mqtt.refused", false),
        (vec![say(b"\x20\x03\0\x88\0")], "mqtt.unavailable", true),
        (vec![say(b"\x20\x03\0\x9d\0")], "mqtt.refused", false),
        (subscribed(b"\x90\x04\0\x01\0\0"), "mqtt.qos", false),
        (subscribed(b"\x90\x04\0\x01\0\x87"), "mqtt.topic", false),
        (subscribed(b"\x90\x04\0\x01\0\x97"), "mqtt.unavailable", true),
        (subscribed(b"\x90\x05\0\x01\0\x01\x01"), "mqtt.protocol", true),
        (subscribed(b"\x90\x04\0\x05\0\x01"), "mqtt.protocol", true),
        (subscribed(NEW), "mqtt.protocol", true),
        (subscribed(b"\xe0\x01\x8b"), "mqtt.unavailable", true),
        (subscribed(b"\x32\xff\xff\xff\x7f"), "mqtt.large", false),
        (subscribed(b"\x32\xff\x10\0"), "mqtt.io", true),
        (subscribed(b"\x36\x03\0\x01t"), "mqtt.protocol", true),
    ] {
        let told = format!("{script:?}");
        let (address, _packets) = broker(vec![[vec![hear(HELLO)], script].concat()]);
        let mut mqtt = open(&address, Start::Earliest, &[("protocol", "v5")]).unwrap();
        let error = loop {
            if let Err(error) = mqtt.next(LIMITS) {
                break error;
            }
        };
        assert!(error.to_string().starts_with(code), "{told}: {error}");
        assert_eq!(matches!(error, Error::Retriable { .. }), passes, "{error}");
    }
}

#[test]
fn wrong_settings_and_checkpoints_are_refused() {
    for wrong in
        [("qos", "0"), ("qos", "3"), ("maxMessage", "0"), ("inflight", "0"), ("clientId", ""), ("inflight", "50000")]
    {
        assert!(matches!(open("a:1", Start::Earliest, &[wrong]), Err(Error::InvalidConfig { .. })), "{wrong:?}");
    }
    let extra = Some(b"{}".to_vec());
    let broken = Start::Checkpoint(Checkpoint { extra, ..Checkpoint::default() });
    assert!(matches!(open("a:1", broken, &[]), Err(Error::Fatal { .. })));
    let user = open("127.0.0.1:1", Start::Earliest, &[("username", "me")]);
    assert!(user.unwrap().next(LIMITS).is_err());
}

#[test]
fn whatever_is_wrong_with_a_message_of_the_broker_is_an_error_in_time() {
    let script = vec![hear(HELLO), say(NEW), hear(SUBSCRIBE), say(TAKEN), publish(1, false, "one"), hear(ACK)];
    let (address, _packets) = broker(vec![script]);
    let all = testing::spoilt(|| {
        let mut mqtt = open(&address, Start::Earliest, &[])?;
        for _ in 0..20 {
            let (messages, _) = mqtt.next(LIMITS)?;
            if !messages.is_empty() {
                return Ok(messages.len());
            }
        }
        Ok(0)
    });
    assert!(all.iter().filter(|one| one.outcome.is_err()).count() > 50, "{} were spoilt", all.len());
    all.iter().for_each(|one| one.is_told_as(&["mqtt."]));
}

#[test]
fn a_broker_that_never_answers_the_subscription_is_not_idle() {
    let network = testing::Network::new();
    let peer = testing::Peer::new().hears("MQTT").says(NEW).whenever([PING, 0], PONG);
    network.peer("broker:1883", peer);
    let mut mqtt = open("broker:1883", Start::Earliest, &[]).unwrap();
    let error = (0..1000).find_map(|_| mqtt.next(LIMITS).err()).expect("an error");
    assert!(matches!(&error, Error::Retriable { code, .. } if code == "mqtt.io"), "{error}");
    assert!(error.to_string().contains("broker:1883: it does not answer whether it takes the topics"), "{error}");
}
