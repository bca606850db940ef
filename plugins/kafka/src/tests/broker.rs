//! Brokers on loopback that do as they are told: a topic in memory, and every way of answering wrong.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use bytes::Buf as _;

use super::{build::Bat, doorman::Doorman};
use crate::wire::{Aborted, TopicId};

/// How a broker answers requests of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Well,
    /// It closes the connection.
    Closes,
    /// It does not answer.
    Silent,
    /// A byte of the answer now and then.
    Drips,
    /// Half of the answer, and the end.
    Half,
    /// The answer to another request.
    Other,
    /// An answer of that many bytes is announced.
    Length(i32),
    /// The right length and number, with nothing in it that makes sense.
    Noise,
    /// Another protocol.
    Http,
}

/// The log of a partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<Bat>,
    pub(crate) aborted: Vec<Aborted>,
    pub(crate) start: i64,
    /// Before the first open transaction; the end of the log if it is not said.
    pub(crate) stable: Option<i64>,
    /// Which of the brokers leads it.
    pub(crate) leader: usize,
}

impl Log {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |last| last.last() + 1)
    }
}

/// What all brokers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) id: TopicId,
    /// None: there is no such topic.
    pub(crate) logs: Option<BTreeMap<u32, Log>>,
    pub(crate) manners: BTreeMap<i16, Manner>,
    pub(crate) group: BTreeMap<i32, i64>,
    /// Highest version of Fetch; its lowest one is 4.
    pub(crate) fetch: i16,
    /// Answers to each kind of request, and connections.
    pub(crate) calls: BTreeMap<i16, u32>,
    pub(crate) connections: u32,
    /// Whom they let in: mechanism, user and password; everybody if it is not said.
    pub(crate) door: Option<(&'static str, &'static str, &'static str)>,
    ports: Vec<u16>,
}

/// Brokers, until they are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Brokers(Arc<Mutex<Shared>>);

impl Brokers {
    /// So many brokers, and a topic with these partitions.
    pub(crate) fn start(count: usize, logs: impl IntoIterator<Item = Log>) -> Self {
        let logs = (0..).zip(logs).collect();
        let shared = Shared { id: [7; 16], logs: Some(logs), fetch: 17, ..Shared::default() };
        let brokers = Self(Arc::new(Mutex::new(shared)));
        for index in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            brokers.lock().ports.push(listener.local_addr().unwrap().port());
            let brokers = brokers.clone();
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let brokers = brokers.clone();
                    brokers.lock().connections += 1;
                    thread::spawn(move || {
                        let mut doorman = Doorman::new(brokers.lock().door);
                        while brokers.answer(index, &stream, &mut doorman).is_some() {}
                    });
                }
            });
        }
        brokers
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.lock().ports[0])
    }

    pub(crate) fn log<T>(&self, partition: u32, change: impl FnOnce(&mut Log) -> T) -> T {
        change(self.lock().logs.as_mut().unwrap().get_mut(&partition).unwrap())
    }

    /// Nobody finds the broker any more.
    pub(crate) fn close(&self, index: usize) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.lock().ports[index] = free;
    }

    pub(crate) fn manner(&self, api: i16, manner: Manner) {
        self.lock().manners.insert(api, manner);
    }

    fn answer(&self, index: usize, mut stream: &TcpStream, doorman: &mut Doorman) -> Option<()> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut request = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
        stream.read_exact(&mut request).ok()?;
        let mut input = request.as_slice();
        let (api, version, correlation) = (input.get_i16(), input.get_i16(), input.get_i32());
        let client = usize::try_from(input.get_i16()).unwrap();
        input.advance(client);
        let flexible = match api {
            1 => version >= 12,
            3 => version >= 9,
            _ => false,
        };
        if flexible {
            assert_eq!(input.get_u8(), 0, "no tags");
        }
        let mut out = Out { bytes: correlation.to_be_bytes().to_vec(), flexible };
        out.tags();
        if api != 18 && !doorman.lets_in(api) {
            return None;
        }
        match api {
            17 => doorman.handshake(input, &mut out.bytes),
            36 => doorman.authenticate(input, &mut out.bytes),
            18 => self.versions(&mut out),
            3 => self.metadata(&mut out),
            2 => self.offsets(index, input, &mut out),
            1 => self.fetch(index, version, input, &mut out),
            10 => self.coordinator(index, &mut out),
            9 => self.group(input, &mut out),
            8 => self.commit(input, &mut out),
            other => panic!("request {other}"),
        }
        let manner = {
            let mut shared = self.lock();
            *shared.calls.entry(api).or_default() += 1;
            shared.manners.get(&api).copied().unwrap_or_default()
        };
        behave(manner, stream, out.bytes)
    }

    fn versions(&self, out: &mut Out) {
        let fetch = self.lock().fetch;
        let known = [
            (17, 0, 1),
            (36, 0, 2),
            (18, 0, 4),
            (3, 0, 12),
            (2, 1, 9),
            (1, 4, fetch),
            (10, 0, 6),
            (9, 1, 9),
            (8, 2, 9),
        ];
        out.i16(0);
        out.i32(9);
        for (key, low, high) in known {
            [key, low, high].into_iter().for_each(|number| out.i16(number));
        }
    }

    fn metadata(&self, out: &mut Out) {
        let shared = self.lock();
        out.i32(0);
        out.count(shared.ports.len());
        for (node, port) in shared.ports.iter().enumerate() {
            out.i32(i32::try_from(node).unwrap());
            out.text("127.0.0.1");
            out.i32((*port).into());
            out.null();
            out.tags();
        }
        out.text("cluster");
        out.i32(0);
        out.count(1);
        out.i16(if shared.logs.is_some() { 0 } else { 3 });
        out.text("t");
        out.bytes.extend(shared.id);
        out.bytes.push(0);
        let none = BTreeMap::new();
        let logs = shared.logs.as_ref().unwrap_or(&none);
        out.count(logs.len());
        for (partition, log) in logs {
            out.i16(0);
            out.i32(i32::try_from(*partition).unwrap());
            out.i32(i32::try_from(log.leader).unwrap());
            out.i32(0);
            (0..3).for_each(|_| out.count(0));
            out.tags();
        }
        out.i32(0);
        out.tags();
        out.tags();
    }

    fn offsets(&self, index: usize, mut input: &[u8], out: &mut Out) {
        let shared = self.lock();
        input.advance(4);
        let committed = input.get_i8() == 1;
        input.advance(4 + 2 + 1);
        let count = input.get_i32();
        out.i32(0);
        out.i32(1);
        out.text("t");
        out.i32(count);
        for _ in 0..count {
            let (partition, time) = (input.get_i32(), input.get_i64());
            let log = shared.logs.as_ref().and_then(|logs| logs.get(&partition.unsigned_abs()));
            let led = log.filter(|log| log.leader == index);
            let offset = led.map(|log| match time {
                -2 => log.start,
                -1 if committed => log.stable.unwrap_or(log.end()),
                -1 => log.end(),
                time => log.batches.iter().find(|bat| bat.time >= time).map_or(-1, |bat| bat.base),
            });
            out.i32(partition);
            out.i16(if offset.is_some() { 0 } else { 6 });
            out.i64(-1);
            out.i64(offset.unwrap_or(-1));
        }
    }

    fn fetch(&self, index: usize, version: i16, mut input: &[u8], out: &mut Out) {
        input.advance(4);
        let wait = input.get_i32();
        input.advance(8 + 1);
        if version >= 7 {
            input.advance(8);
        }
        let flexible = version >= 12;
        let count = |input: &mut &[u8]| if flexible { u32::from(input.get_u8()) - 1 } else { input.get_u32() };
        assert_eq!(count(&mut input), 1);
        let id = if version >= 13 {
            let mut id = TopicId::default();
            input.copy_to_slice(&mut id);
            Some(id)
        } else {
            input.advance(2 + 1);
            None
        };
        let asked: Vec<(u32, i64)> = (0..count(&mut input))
            .map(|_| {
                let partition = input.get_u32();
                input.advance(if version >= 9 { 4 } else { 0 });
                let offset = input.get_i64();
                input.advance(
                    if flexible { 4 } else { 0 } + if version >= 5 { 8 } else { 0 } + 4 + usize::from(flexible),
                );
                (partition, offset)
            })
            .collect();
        // Waits a little, as brokers do where they have nothing.
        let idle = |(partition, offset): &(u32, i64)| {
            let shared = self.lock();
            shared
                .logs
                .as_ref()
                .and_then(|logs| logs.get(partition))
                .is_some_and(|log| log.leader == index && *offset == log.end())
        };
        let mut left = wait;
        while left > 0 && asked.iter().all(idle) {
            thread::sleep(Duration::from_millis(5));
            left -= 5;
        }
        let shared = self.lock();
        let wrong_id = id.is_some_and(|id| id != shared.id);
        out.i32(0);
        if version >= 7 {
            out.i16(0);
            out.i32(0);
        }
        out.count(1);
        match id {
            Some(id) => out.bytes.extend(id),
            None => out.text("t"),
        }
        out.count(asked.len());
        for (partition, offset) in asked {
            let log = shared.logs.as_ref().and_then(|logs| logs.get(&partition));
            out.i32(i32::try_from(partition).unwrap());
            let code = match log {
                _ if wrong_id => 100,
                None => 3,
                Some(log) if log.leader != index => 6,
                Some(log) if offset < log.start || offset > log.end() => 1,
                Some(_) => 0,
            };
            let log = log.filter(|_| code == 0);
            out.i16(code);
            out.i64(log.map_or(-1, Log::end));
            out.i64(log.map_or(-1, |log| log.stable.unwrap_or(log.end())));
            if version >= 5 {
                out.i64(log.map_or(-1, |log| log.start));
            }
            let aborted = log.map(|log| log.aborted.clone()).unwrap_or_default();
            out.count(aborted.len());
            for one in aborted {
                out.i64(one.producer);
                out.i64(one.first);
                out.tags();
            }
            if version >= 11 {
                out.i32(-1);
            }
            let wanted = log.iter().flat_map(|log| log.batches.iter().filter(|bat| bat.last() >= offset));
            let records: Vec<u8> = wanted.flat_map(Bat::bytes).collect();
            out.blob(&records);
            out.tags();
        }
        out.tags();
        out.tags();
    }

    fn coordinator(&self, index: usize, out: &mut Out) {
        out.i16(0);
        out.i32(0);
        out.text("127.0.0.1");
        let port = self.lock().ports[index];
        out.i32(port.into());
    }

    fn group(&self, mut input: &[u8], out: &mut Out) {
        input.advance(2 + 1 + 4 + 2 + 1);
        let count = input.get_i32();
        out.i32(1);
        out.text("t");
        out.i32(count);
        for _ in 0..count {
            let partition = input.get_i32();
            out.i32(partition);
            let offset = self.lock().group.get(&partition).copied().unwrap_or(-1);
            out.i64(offset);
            out.text("");
            out.i16(0);
        }
    }

    fn commit(&self, mut input: &[u8], out: &mut Out) {
        input.advance(2 + 1 + 4 + 2 + 8 + 4 + 2 + 1);
        let count = input.get_i32();
        out.i32(1);
        out.text("t");
        out.i32(count);
        for _ in 0..count {
            let (partition, offset) = (input.get_i32(), input.get_i64());
            input.advance(2);
            self.lock().group.insert(partition, offset);
            out.i32(partition);
            out.i16(0);
        }
    }
}

fn behave(manner: Manner, mut stream: &TcpStream, mut answer: Vec<u8>) -> Option<()> {
    let length = |answer: &[u8]| i32::try_from(answer.len()).unwrap().to_be_bytes();
    let framed = [&length(&answer)[..], &answer].concat();
    match manner {
        Manner::Well => stream.write_all(&framed).ok(),
        Manner::Closes => None,
        Manner::Silent => Some(()),
        Manner::Drips => {
            for byte in framed {
                stream.write_all(&[byte]).ok()?;
                thread::sleep(Duration::from_millis(40));
            }
            Some(())
        }
        Manner::Half => {
            stream.write_all(&framed[..framed.len() / 2]).ok()?;
            None
        }
        Manner::Other => {
            answer[3] ^= 0x55;
            stream.write_all(&[&length(&answer)[..], &answer].concat()).ok()
        }
        Manner::Length(length) => stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).ok(),
        Manner::Noise => {
            answer[4..].fill(0xfe);
            stream.write_all(&[&length(&answer)[..], &answer].concat()).ok()
        }
        Manner::Http => {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok()?;
            None
        }
    }
}

/// An answer being written.
struct Out {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Out {
    fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn count(&mut self, count: usize) {
        if self.flexible { self.varint(count + 1) } else { self.i32(i32::try_from(count).unwrap()) }
    }

    fn text(&mut self, text: &str) {
        if self.flexible {
            self.varint(text.len() + 1)
        } else {
            self.i16(i16::try_from(text.len()).unwrap())
        }
        self.bytes.extend(text.as_bytes());
    }

    fn null(&mut self) {
        if self.flexible { self.varint(0) } else { self.i16(-1) }
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend(bytes);
    }

    fn tags(&mut self) {
        if self.flexible {
            self.bytes.push(0);
        }
    }
}
