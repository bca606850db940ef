//! A queue of a protocol in lines: `M TAG TEXT` is a message, `L TAG TEXT` one that nobody wants, `C COUNT` the answer to `?`, and `A TAG`
//! acknowledges.

use std::{io, time::Instant};

use serde::{Deserialize, Serialize};
use spout_guest::{
    Checkpoint, Error, Limits, Messages, NoSettings, Progress, Result, Start, StreamConsumer as _,
    net::Broken,
    now,
    testing::{Network, Peer},
};

use crate::{Came, Given, Link, PATIENCE, Place, Protocol, Queue};

const ADDRESS: &str = "queue:1";
const LIMITS: Limits = Limits { messages: 100, bytes: 1 << 20, timeout: std::time::Duration::from_millis(20) };

struct Lines<const COUNTS: bool> {
    link: Link<()>,
    state: State,
    asked: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    joined: Option<u64>,
}

struct Line {
    wanted: bool,
    tag: u64,
    text: String,
}

impl<const COUNTS: bool> Protocol for Lines<COUNTS> {
    const NAME: &'static str = "lines";
    const COUNTS: bool = COUNTS;

    type Settings = NoSettings;
    type State = State;
    type Open = ();
    type Message = Line;
    type Tag = u64;

    fn open(_: &str, _: &str, _: NoSettings, state: State) -> Result<Self> {
        Ok(Self { link: Link::new("lines", ADDRESS), state, asked: 0 })
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn link(&self) -> &Link<()> {
        &self.link
    }

    fn link_mut(&mut self) -> &mut Link<()> {
        &mut self.link
    }

    fn connect(&mut self) -> Result<Option<u64>> {
        self.asked = 0;
        self.link.connect((), now() + PATIENCE)?;
        self.state.joined = Some(self.state.joined.unwrap_or(0) + 1);
        Ok(COUNTS.then_some(9))
    }

    fn receive(&mut self, until: Instant) -> Result<Came<Line>> {
        let line = self.link.receive(until, |got, ()| {
            let end = got.iter().position(|byte| *byte == b'\n');
            Ok::<_, String>(end.map(|end| String::from_utf8_lossy(&got.split_to(end + 1)).trim_end().to_owned()))
        });
        let line = line.map_err(|broken| match broken {
            Broken::Io(error) => self.link.failed(&error),
            Broken::Wrong(what) => self.link.again("protocol", &what),
        })?;
        let Some(line) = line else { return Ok(Came::Nothing) };
        let words: Vec<&str> = line.split(' ').collect();
        Ok(match words[..] {
            ["C", count] => {
                self.asked -= 1;
                if COUNTS { Came::Count(count.parse().unwrap()) } else { Came::Other }
            }
            [kind, tag, text] => {
                let message = Line { wanted: kind == "M", tag: tag.parse().unwrap(), text: text.to_owned() };
                Came::Message(message, text.len())
            }
            _ => return Err(self.link.broken("protocol", &line)),
        })
    }

    fn add(&mut self, message: &Line, at: Place, messages: &mut Messages) -> Result<Given<u64>> {
        if !message.wanted {
            return Ok(Given::Left(Some(message.tag)));
        }
        messages.add(at.count, message.text.as_bytes()).partition(0);
        Ok(Given::Added(Some(message.tag)))
    }

    fn acknowledge(&mut self, tags: &[u64]) -> Result<()> {
        let text: String = tags.iter().map(|tag| format!("A {tag}\n")).collect();
        self.link.send(text.as_bytes(), now() + PATIENCE)
    }

    fn ask(&mut self) -> Result<()> {
        self.asked += 1;
        self.link.send(b"?\n", now() + PATIENCE)
    }

    fn is_answered(&self) -> bool {
        self.asked == 0
    }

    fn keep(&mut self) -> Result<()> {
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress> {
        Ok(Progress::Idle)
    }
}

fn open<const COUNTS: bool>(start: Start) -> Result<Queue<Lines<COUNTS>>> {
    Queue::open("t", "p", start, NoSettings {})
}

/// What comes with the next messages.
fn texts<const COUNTS: bool>(queue: &mut Queue<Lines<COUNTS>>, most: usize) -> Vec<String> {
    let (messages, _) = queue.next(Limits { messages: most, ..LIMITS }).unwrap();
    messages.iter().map(|message| String::from_utf8_lossy(message.value()).into_owned()).collect()
}

fn heard(network: &Network) -> Vec<String> {
    network.heard(ADDRESS).into_iter().map(|heard| String::from_utf8(heard).unwrap()).collect()
}

#[test]
fn what_was_committed_is_acknowledged_on_the_connection_that_brought_it() {
    let network = Network::new();
    network.peer(ADDRESS, Peer::new().says("M 1 a\nM 2 b\nM 3 c\n").closes());
    network.peer(ADDRESS, Peer::new().says("M 1 a\nM 2 b\nM 3 c\n").whenever("?\n", "C 0\n"));
    let mut queue = open::<true>(Start::Earliest).unwrap();
    assert_eq!(texts(&mut queue, 2), ["a", "b"]);
    let first = queue.checkpoint().unwrap();
    // The rest of it is there once, by either connection.
    let mut rest = Vec::new();
    while rest.len() < 4 {
        match queue.next(LIMITS) {
            Ok((messages, _)) => rest.extend(messages.iter().map(|one| one.value().to_vec())),
            Err(error) => assert!(matches!(error, Error::Retriable { .. }), "{error}"),
        }
    }
    assert_eq!(rest.concat(), b"cabc");
    let gone = queue.committed(first.clone()).unwrap_err().to_string();
    assert!(gone.starts_with("lines.ack: 2 messages"), "{gone}");
    assert!(!heard(&network).concat().contains('A'));
    let all = queue.checkpoint().unwrap();
    let gone = queue.committed(all.clone()).unwrap_err().to_string();
    assert!(gone.starts_with("lines.ack: 1 messages"), "{gone}");
    assert!(heard(&network)[1].starts_with("A 1\nA 2\nA 3\n?\n"), "{:?}", heard(&network));
    // Twice, late, and of another instance: nothing.
    for other in
        [all, first, Checkpoint { extra: Some(br#"{"instance":1,"count":9}"#.to_vec()), ..Checkpoint::default() }]
    {
        queue.committed(other).unwrap();
    }
    assert_eq!(heard(&network)[1].matches('A').count(), 3);
}

#[test]
fn how_many_wait_is_what_the_server_says_less_what_was_returned() {
    let network = Network::new();
    network.peer(ADDRESS, Peer::new().says("M 1 a\nM 2 b\nM 3 c\n").whenever("?\n", "C 4\n"));
    let mut queue = open::<true>(Start::Earliest).unwrap();
    assert_eq!(queue.waiting(), None);
    assert_eq!(texts(&mut queue, 1), ["a"]);
    assert_eq!(queue.waiting(), Some(8), "nine when it connected");
    assert_eq!(texts(&mut queue, 1), ["b"]);
    let checkpoint = queue.checkpoint().unwrap();
    queue.committed(checkpoint).unwrap();
    let came = texts(&mut queue, 9);
    assert_eq!((came, queue.waiting()), (vec!["c".to_owned()], Some(4)), "what came is not returned yet");
    // Where the server says nothing of it, nobody knows, but for when there is nothing.
    network.peer(ADDRESS, Peer::new().says("M 1 a\n"));
    let mut queue = open::<false>(Start::Earliest).unwrap();
    assert_eq!((texts(&mut queue, 9), queue.waiting()), (vec!["a".to_owned()], None));
    network.peer(ADDRESS, Peer::new());
    let mut queue = open::<false>(Start::Earliest).unwrap();
    assert_eq!((queue.next(LIMITS).unwrap().1, queue.waiting()), (Progress::Idle, Some(0)));
}

#[test]
fn what_nobody_wants_is_acknowledged_in_its_turn() {
    let network = Network::new();
    network.peer(ADDRESS, Peer::new().says("L 1 x\nM 2 a\nL 3 y\n").whenever("?\n", "C 0\n"));
    let mut queue = open::<true>(Start::Earliest).unwrap();
    assert_eq!(texts(&mut queue, 9), ["a"]);
    assert_eq!(heard(&network), ["A 1\n"]);
    let checkpoint = queue.checkpoint().unwrap();
    queue.committed(checkpoint).unwrap();
    assert!(heard(&network)[0].starts_with("A 1\nA 2\nA 3\n?\n"), "{:?}", heard(&network));
}

#[test]
fn a_checkpoint_has_the_place_and_what_the_protocol_adds() {
    let checkpoint = |text: &str| Start::Checkpoint(Checkpoint { extra: Some(text.into()), ..Checkpoint::default() });
    let network = Network::new();
    network.peer(ADDRESS, Peer::new().says("M 1 a\n"));
    let mut queue = open::<true>(checkpoint(r#"{"instance":5,"count":7,"joined":2}"#)).unwrap();
    let (messages, _) = queue.next(LIMITS).unwrap();
    assert_eq!(messages.offsets(), [7]);
    let said: serde_json::Value = serde_json::from_slice(&queue.checkpoint().unwrap().extra.unwrap()).unwrap();
    assert_eq!((&said["count"], &said["joined"]), (&8.into(), &3.into()));
    assert_ne!(said["instance"], 5);
    for broken in ["", "{}", r#"{"instance":5}"#] {
        let error = open::<true>(checkpoint(broken)).unwrap_err().to_string();
        assert!(error.starts_with("lines.checkpoint: "), "{error}");
    }
}

#[test]
fn a_server_that_takes_no_acknowledgment_is_left() {
    let network = Network::new();
    network.peer(ADDRESS, Peer::new().says("M 1 a\n"));
    let mut queue = open::<true>(Start::Earliest).unwrap();
    assert_eq!(texts(&mut queue, 9), ["a"]);
    let checkpoint = queue.checkpoint().unwrap();
    let error = queue.committed(checkpoint).unwrap_err().to_string();
    assert!(error.starts_with("lines.io: queue:1: it does not answer in time"), "{error}");
    let refused = queue.next(LIMITS).unwrap_err();
    assert!(matches!(&refused, Error::Retriable { code, .. } if code == "lines.io"), "{refused}");
    let ended: io::Error = io::ErrorKind::NotConnected.into();
    assert_eq!(Link::<()>::new("x", ADDRESS).failed(&ended).to_string(), "x.io: queue:1: the connection has ended");
}
