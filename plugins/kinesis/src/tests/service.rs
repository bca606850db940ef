//! A service that has shards, splits and removes them, and refuses what it is told to.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use spout_guest::{
    Answered, Fetched, Limits, Position, Progress, Result, SharedReader as _, SharedSource as _, testing,
};

use crate::{Kinesis, Reader, lineage, reader::now_ms};

/// A record: its number, its time and its data.
type Stored = (u64, u64, Vec<u8>);

/// What the service has, and what it was asked.
#[derive(Debug, Default)]
pub(super) struct Inner {
    /// By number: parents, whether it is closed, and records.
    pub(super) shards: BTreeMap<u32, (Vec<u32>, bool, Vec<Stored>)>,
    /// Answers to the next requests of these actions instead of the right ones; status and body.
    pub(super) tricks: Vec<(&'static str, u16, String)>,
    /// All actions, with what iterators were asked for.
    pub(super) asked: Vec<String>,
    next: u64,
}

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Fake {
    inner: Arc<Mutex<Inner>>,
    address: String,
}

impl Fake {
    pub(super) fn start(shards: &[u32]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { inner: Arc::default(), address };
        for shard in shards {
            fake.lock().shards.insert(*shard, Default::default());
        }
        let served = fake.clone();
        thread::spawn(move || listener.incoming().for_each(|stream| served.serve(stream.unwrap())));
        fake
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Adds records to a shard, one a second from 1970 on if they have no time.
    pub(super) fn put(&self, shard: u32, at: Option<u64>, data: &[&[u8]]) {
        let mut inner = self.lock();
        for one in data {
            inner.next += 1;
            let number = inner.next;
            let stored = (number, at.unwrap_or_else(now_ms), one.to_vec());
            inner.shards.get_mut(&shard).unwrap().2.push(stored);
        }
    }

    /// Closes shards, and makes others of them.
    pub(super) fn reshard(&self, parents: &[u32], children: &[u32]) {
        let mut inner = self.lock();
        parents.iter().for_each(|parent| inner.shards.get_mut(parent).unwrap().1 = true);
        children.iter().for_each(|child| drop(inner.shards.insert(*child, (parents.to_vec(), false, Vec::new()))));
    }

    pub(super) fn trick(&self, action: &'static str, status: u16, body: &str) {
        self.lock().tricks.push((action, status, body.to_owned()));
    }

    /// How often the service was asked for something that begins so.
    pub(super) fn count(&self, what: &str) -> usize {
        self.lock().asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let (mut action, mut length, mut line) = (String::new(), 0, String::new());
        while from.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(target) = line.trim_end().strip_prefix("X-Amz-Target: Kinesis_20131202.") {
                action = target.to_owned();
            }
            if let Some(count) = line.trim_end().strip_prefix("Content-Length: ") {
                length = count.parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body).unwrap();
        let (status, answer) = self.answer(&action, &serde_json::from_slice(&body).unwrap());
        drop(write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()));
    }

    fn answer(&self, action: &str, asked: &Value) -> (u16, String) {
        let mut inner = self.lock();
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        inner.asked.push(format!("{action} {}", text("ShardIteratorType")));
        if let Some(at) = inner.tricks.iter().position(|(of, ..)| *of == action) {
            let (_, status, body) = inner.tricks.remove(at);
            return (status, body);
        }
        let refused = |kind: &str| (400, json!({"__type": kind, "message": "as told"}).to_string());
        match action {
            "ListShards" => {
                let one = |(id, (parents, closed, _)): (&u32, &(Vec<u32>, bool, Vec<Stored>))| {
                    lineage::tests::shard(*id, parents, *closed)
                };
                (200, json!({"Shards": inner.shards.iter().map(one).collect::<Vec<_>>()}).to_string())
            }
            "GetShardIterator" => {
                let id: u32 = text("ShardId").trim_start_matches("shardId-").parse().unwrap();
                let Some((_, _, records)) = inner.shards.get(&id) else { return refused("ResourceNotFoundException") };
                let number: u64 = text("StartingSequenceNumber").parse().unwrap_or_default();
                let time = asked["Timestamp"].as_f64().map(|seconds| (seconds * 1000.0).round() as u64);
                if time.is_some_and(|time| time > now_ms()) {
                    return refused("InvalidArgumentException");
                }
                let from = match text("ShardIteratorType").as_str() {
                    "TRIM_HORIZON" => 0,
                    "LATEST" => inner.next + 1,
                    "AT_SEQUENCE_NUMBER" => number,
                    "AFTER_SEQUENCE_NUMBER" => number + 1,
                    _ => records.iter().find(|one| Some(one.1) >= time).map_or(inner.next + 1, |one| one.0),
                };
                (200, json!({"ShardIterator": format!("{id} {from}")}).to_string())
            }
            _ => {
                let iterator = text("ShardIterator");
                let (id, from) = iterator.split_once(' ').unwrap();
                let from: u64 = from.parse().unwrap();
                let Some((_, closed, records)) = inner.shards.get(&id.parse().unwrap()) else {
                    return refused("ResourceNotFoundException");
                };
                let limit = usize::try_from(asked["Limit"].as_u64().unwrap()).unwrap();
                let found: Vec<_> = records.iter().filter(|one| one.0 >= from).take(limit).collect();
                let after = found.last().map_or(from, |one| one.0 + 1);
                let over = !records.iter().any(|one| one.0 >= after);
                let one = |(number, at, data): &&Stored| {
                    json!({"SequenceNumber": number.to_string(), "PartitionKey": "k", "Data": STANDARD.encode(data),
                        "ApproximateArrivalTimestamp": *at as f64 / 1000.0})
                };
                let next = Some(format!("{id} {after}")).filter(|_| !(over && *closed));
                let records: Vec<Value> = found.iter().map(one).collect();
                let behind = if over { 0 } else { 1000 };
                (200, json!({"Records": records, "NextShardIterator": next, "MillisBehindLatest": behind}).to_string())
            }
        }
    }

    /// The stream, of whose shards each may be asked so often a second.
    pub(super) fn open(&self, requests: &str) -> Kinesis {
        testing::set_secret("key", "secret");
        let address = self.address.as_str();
        let settings = [("endpoint", address), ("region", "r"), ("keyId", "K"), ("requestsPerSecond", requests)];
        Kinesis::open("s", testing::settings(&settings).unwrap()).unwrap()
    }

    pub(super) fn reader(&self) -> Reader {
        self.open("1000").into_reader().unwrap()
    }
}

/// What one shard answers; asked again while it is only not yet time.
pub(super) fn fetch(reader: &mut Reader, shard: u32, start: &Position, messages: usize) -> Result<Fetched> {
    let limits = Limits { messages, bytes: 1 << 20, timeout: Duration::from_secs(2) };
    let mut answers: Vec<Answered> = reader.fetch(&[(shard, start.clone())], limits)?;
    answers.remove(0).1
}

/// The messages of a shard from `start` on, and where that leads.
pub(super) fn all(reader: &mut Reader, shard: u32, start: &Position, most: usize) -> (Vec<String>, Position) {
    let limits = Limits { messages: most, bytes: 1 << 20, timeout: Duration::from_millis(5) };
    let (mut found, mut place, mut offset) = (Vec::new(), start.clone(), start.offset);
    loop {
        let fetched = reader.fetch(&[(shard, place.clone())], limits).unwrap().remove(0).1.unwrap();
        for (message, at) in fetched.messages.iter().zip(fetched.messages.offsets()) {
            assert!(*at >= offset && *at < fetched.next.offset, "offset {at}");
            offset = at + 1;
            found.push(String::from_utf8_lossy(message.value()).into_owned());
        }
        if fetched.progress != Progress::More {
            return (found, fetched.next);
        }
        place = fetched.next;
    }
}
