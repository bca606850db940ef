//! Reads any number of streams over one connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use spout_guest::{
    Answered, Error, Fetched, Limits, Messages, Partition, Position, Progress, Result, SharedReader, metrics, now,
};

use crate::{
    client::{Client, Commands, Failed, PATIENCE},
    entry::{Entry, Form, entries, streams},
    id::{Added, EntryId, Place},
    info::Info,
    resp::Value,
    topic::Topic,
};

/// How often streams that have nothing are looked at: whether they were trimmed, or made anew.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of what the server says of a stream, besides two entries.
const INFO: usize = 64 << 10;
/// What an entry is taken to have before one was seen.
const ENTRY: usize = 512;

/// Reads streams.
#[derive(Debug)]
pub struct Reader {
    pub(crate) client: Client,
    pub(crate) topic: Topic,
    pub(crate) form: Form,
    pub(crate) max_entry: usize,
    keys: BTreeMap<u32, String>,
    /// When each stream was last looked at.
    looked: BTreeMap<u32, Instant>,
    behind: BTreeMap<u32, u64>,
    /// What an entry has on average, as far as that was seen.
    entry: usize,
}

/// A stream that is wanted.
struct Wanted {
    partition: u32,
    key: String,
    start: Position,
    place: Place,
}

impl Reader {
    pub(crate) fn new(client: Client, topic: Topic, form: Form, max_entry: usize) -> Self {
        let (keys, looked, behind) = Default::default();
        Self { client, topic, form, max_entry, keys, looked, behind, entry: ENTRY }
    }

    /// The keys of partitions, asked for anew if one is not known.
    fn learn(&mut self, wanted: &[(u32, Position)], until: Instant) -> Result<()> {
        if wanted.iter().any(|(partition, _)| !self.keys.contains_key(partition)) {
            let keys = self.topic.keys(&mut self.client, until)?;
            self.keys.extend(keys.into_iter().map(|key| (Partition::named(key.clone()).id, key)));
        }
        Ok(())
    }

    /// What the server says of each stream; `None` if there is none.
    pub(crate) fn info(&mut self, keys: &[&str], until: Instant) -> Result<Vec<Option<Info>>> {
        let mut commands = Commands::default();
        for key in keys {
            commands.add(&["XINFO", "STREAM", key]);
        }
        let most = self.max_entry.saturating_mul(2).saturating_add(INFO);
        let replies = match self.client.replies(&commands, most, until) {
            Err(Failed::TooLarge) => return Err(self.too_large()),
            Err(Failed::Other(error)) => return Err(error),
            Ok(replies) => replies,
        };
        let mut infos = Vec::new();
        for reply in replies {
            infos.push(match reply {
                Value::Error(said) if said.contains("no such key") => None,
                reply => {
                    let reply = self.client.sound(reply)?;
                    Some(Info::parse(&reply).ok_or_else(|| protocol("XINFO STREAM"))?)
                }
            });
        }
        Ok(infos)
    }

    fn too_large(&self) -> Error {
        let what = format!("an entry has more than {} bytes; raise the setting `maxEntry`", self.max_entry);
        Error::fatal("redis.large", what)
    }

    /// An offset without its token finds its place, unless the entry before it is one whose offset does not follow from its id.
    fn check_bare(&mut self, wanted: &Wanted, until: Instant) -> Result<bool> {
        if !wanted.place.bare {
            return Ok(true);
        }
        let newest = wanted.place.after.to_string();
        let words = ["XREVRANGE", &wanted.key, &newest, "-", "COUNT", "1"];
        let most = self.max_entry.saturating_add(INFO);
        match self.client.reply(&words, most, until) {
            Err(Failed::TooLarge) => Err(self.too_large()),
            Err(Failed::Other(error)) => Err(error),
            Ok(reply) => {
                let reply = self.client.sound(reply)?;
                let entries = entries(reply).ok_or_else(|| protocol("XREVRANGE"))?;
                Ok(entries.iter().all(|entry| entry.id.fits()))
            }
        }
    }

    /// Entries of the streams, those of each in their order; waits if none has any.
    fn entries(&mut self, wanted: &[Wanted], limits: Limits, until: Instant) -> Result<BTreeMap<String, Vec<Entry>>> {
        let mut asked = wanted;
        loop {
            let each = limits.bytes / self.entry.max(1) / asked.len().max(1);
            let most = (limits.messages / asked.len().max(1)).max(1);
            let count = each.clamp(1, most);
            let reply = self.client.reply(
                &read(asked, count, limits.timeout),
                self.max_entry.saturating_add(limits.bytes.saturating_mul(2)).saturating_add(INFO),
                until,
            );
            match reply {
                Ok(reply) => {
                    let reply = self.client.sound(reply)?;
                    return self.checked(streams(reply), asked);
                }
                Err(Failed::Other(error)) => return Err(error),
                // Entries became larger: fewer of them, and then of one stream alone.
                Err(Failed::TooLarge) if count > 1 => {
                    self.entry = (limits.bytes / count / asked.len()).max(self.entry) * 4
                }
                Err(Failed::TooLarge) if asked.len() > 1 => asked = asked.get(..1).unwrap_or_default(),
                Err(Failed::TooLarge) => return Err(self.too_large()),
            }
        }
    }

    /// Entries that come as they should: of streams that were asked for, with rising ids.
    fn checked(
        &mut self,
        streams: Option<Vec<(Bytes, Vec<Entry>)>>,
        asked: &[Wanted],
    ) -> Result<BTreeMap<String, Vec<Entry>>> {
        let (mut found, mut bytes, mut count) = (BTreeMap::new(), 0_usize, 0_usize);
        for (key, entries) in streams.ok_or_else(|| protocol("XREAD"))? {
            let one = asked.iter().find(|one| one.key.as_bytes() == &key[..]).ok_or_else(|| protocol("XREAD"))?;
            let mut before = one.place.after;
            for entry in &entries {
                if entry.id <= before {
                    return Err(protocol("XREAD"));
                }
                before = entry.id;
                bytes += entry.size();
            }
            count += entries.len();
            if !entries.is_empty() {
                found.insert(one.key.clone(), entries);
            }
        }
        if let Some(size) = bytes.checked_div(count) {
            self.entry = (self.entry + size) / 2;
        }
        Ok(found)
    }

    /// The answer of one stream: as many entries as there is room for.
    fn answer(&mut self, one: &Wanted, entries: &[Entry], info: Option<Info>, left: &mut Limits) -> Result<Fetched> {
        let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
        let Some(info) = info else {
            // It is gone, unless it was never there.
            if entries.is_empty() && one.place.added == Added::Unread {
                return Ok(nothing(one, None));
            }
            return Err(gone(&Info::default(), one.place));
        };
        if !info.complete(one.place, &ids) {
            return Err(gone(&info, one.place));
        }
        let (mut messages, mut place, mut taken) = (Messages::default(), one.place, 0);
        for entry in entries {
            let size = entry.size();
            if left.messages == 0 || (size > left.bytes && !(taken == 0 && left.bytes > 0)) {
                break;
            }
            let offset = place.offset_of(entry.id);
            entry.add(offset, &self.form, &mut messages);
            let next = offset.checked_add(1).ok_or_else(|| too_far(entry.id))?;
            place = Place { offset: next, after: entry.id, ..place };
            (left.messages, left.bytes, taken) = (left.messages - 1, left.bytes.saturating_sub(size), taken + 1);
        }
        place.added = info.count(one.place, ids.get(..taken).unwrap_or_default());
        if let Some(behind) = info.behind(place) {
            self.behind.insert(one.partition, behind);
        }
        if taken == 0 {
            return Ok(nothing(one, Some(info.high_watermark(place))));
        }
        let high_watermark = Some(info.high_watermark(place));
        Ok(Fetched { messages, next: place.position(), high_watermark, progress: Progress::More })
    }

    /// Streams that are looked at now: those with entries, and now and then the others.
    fn due(&self, wanted: &[Wanted], found: &BTreeMap<String, Vec<Entry>>) -> BTreeSet<u32> {
        let old = |partition: &u32| self.looked.get(partition).is_none_or(|looked| looked.elapsed() >= LOOK);
        let due = |one: &&Wanted| found.contains_key(&one.key) || old(&one.partition);
        wanted.iter().filter(due).map(|one| one.partition).collect()
    }

    fn answers(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        let until = now() + limits.timeout + PATIENCE;
        self.learn(wanted, until)?;
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        for (partition, start) in wanted {
            // One whose stream is gone before its name was learned has nothing.
            let Some(key) = self.keys.get(partition).cloned() else { continue };
            let place = Place::parse(start)?;
            let one = Wanted { partition: *partition, key, start: start.clone(), place };
            if self.check_bare(&one, until)? {
                asked.push(one);
            } else {
                let info = self.info(&[&one.key], until)?.into_iter().next().flatten().unwrap_or_default();
                answers.push((one.partition, Err(gone(&info, one.place))));
            }
        }
        if asked.is_empty() {
            return Ok(answers);
        }
        let found = self.entries(&asked, limits, until)?;
        let due = self.due(&asked, &found);
        let keys: Vec<&str> =
            asked.iter().filter(|one| due.contains(&one.partition)).map(|one| one.key.as_str()).collect();
        // Asked for after the entries: what is still there now was not trimmed before.
        let mut infos = if keys.is_empty() { Vec::new() } else { self.info(&keys, until)? }.into_iter();
        let mut left = limits;
        for one in &asked {
            if !due.contains(&one.partition) {
                answers.push((one.partition, Ok(nothing(one, Some(one.place.offset)))));
                continue;
            }
            let info = infos.next().flatten();
            self.looked.insert(one.partition, now());
            let entries = found.get(&one.key).map(Vec::as_slice).unwrap_or_default();
            if !entries.is_empty() && (left.messages == 0 || left.bytes == 0) {
                continue;
            }
            let answer = self.answer(one, entries, info, &mut left);
            answers.push((one.partition, answer));
        }
        metrics::set("behind", self.behind.values().sum::<u64>() as f64);
        Ok(answers)
    }
}

impl SharedReader for Reader {
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        let answers = self.answers(wanted, limits);
        answers.map_err(|error| error.of(self.client.address()))
    }
}

/// `XREAD` of all streams; it waits for `timeout` if none has an entry.
fn read(asked: &[Wanted], count: usize, timeout: Duration) -> Vec<String> {
    let mut words = vec!["XREAD".to_owned(), "COUNT".to_owned(), count.to_string()];
    // A wait of zero is one without an end.
    if timeout.as_millis() > 0 {
        words.extend(["BLOCK".to_owned(), timeout.as_millis().to_string()]);
    }
    words.push("STREAMS".to_owned());
    words.extend(asked.iter().map(|one| one.key.clone()));
    words.extend(asked.iter().map(|one| one.place.after.to_string()));
    words
}

fn nothing(one: &Wanted, high_watermark: Option<u64>) -> Fetched {
    Fetched { messages: Messages::default(), next: one.start.clone(), high_watermark, progress: Progress::Idle }
}

fn gone(info: &Info, place: Place) -> Error {
    Error::OutOfRange { earliest: info.earliest(place).position(), latest: info.latest(place).position() }
}

fn too_far(id: EntryId) -> Error {
    Error::fatal("redis.id", format!("there is no offset for entry {id}, nor for those after it"))
}

fn protocol(command: &str) -> Error {
    Error::retriable("redis.protocol", format!("the reply to {command} is none that Redis gives"))
}
