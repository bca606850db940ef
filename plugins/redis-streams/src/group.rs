//! Streams read through a consumer group: what was returned is acknowledged once it is committed, and never before.
//!
//! A consumer first reads what it was given and did not acknowledge, from the lowest id on, then what is new. It begins with that again
//! whenever a reply may have got lost with what it gave. Entries that were returned and are not acknowledged yet are known, so that
//! an instance returns each of them once.

mod claim;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use spout_guest::{
    Checkpoint, Deliveries, Error, Limits, Messages, Progress, Result, Start, StreamConsumer, Waiting, now,
};

use crate::{
    client::{Client, Commands, Failed, PATIENCE},
    entry::{Entry, Form, streams},
    id::EntryId,
    resp::Value,
    settings::Settings,
    topic::Topic,
};

/// How often what a pattern matches and what can be claimed are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What an entry is taken to have before one was seen.
const ENTRY: usize = 512;
/// Most bytes of a reply besides its entries.
const SMALL: usize = 64 << 10;
/// Entries that are acknowledged by one command.
const ACKNOWLEDGED: usize = 500;

/// One consumer of a group, over all streams of a topic.
#[derive(Debug)]
pub struct Group {
    client: Client,
    topic: Topic,
    form: Form,
    max_entry: usize,
    name: String,
    consumer: String,
    /// Where the group begins in a stream that does not have it; none, and it has to be there.
    begin: Option<&'static str>,
    min_idle: Option<Duration>,
    streams: BTreeMap<String, Stream>,
    /// Entries that came and were not returned yet.
    waiting: VecDeque<(String, Entry)>,
    /// What was returned and is to be acknowledged.
    returned: Deliveries<(String, EntryId)>,
    /// Entries that were deleted before they were acknowledged: there is nothing to wait for.
    gone: Vec<(String, EntryId)>,
    /// All of these.
    known: BTreeSet<(String, EntryId)>,
    /// What an entry has on average, as far as that was seen.
    average: usize,
    looked: Option<Instant>,
    /// How many entries there are that were not returned.
    behind: Waiting,
}

/// What is known of a stream.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// After which of its own entries it goes on; none once it has them all.
    own: Option<EntryId>,
    /// From which id on entries of others are claimed.
    claim: EntryId,
}

impl Group {
    /// Learns which streams there are, and that they have the group.
    fn learn(&mut self, until: Instant) -> Result<()> {
        for key in self.topic.keys(&mut self.client, until)? {
            if self.streams.contains_key(&key) {
                continue;
            }
            if let Some(begin) = self.begin {
                let mut words = vec!["XGROUP", "CREATE", &key, &self.name, begin];
                if matches!(self.topic, Topic::Names(_)) {
                    words.push("MKSTREAM");
                }
                match self.client.ask(&words, until) {
                    Err(Error::Fatal { message, .. }) if message.contains("BUSYGROUP") => {}
                    made => drop(made?),
                }
            }
            self.streams.insert(key, Stream { own: Some(EntryId::default()), claim: EntryId::default() });
        }
        Ok(())
    }

    /// What was given may have got lost: all that is this consumer's is read again.
    fn again(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.own = Some(EntryId::default()));
    }

    /// A reply that is none, whatever it gave.
    fn garbled(&mut self, command: &str) -> Error {
        self.again();
        Error::retriable("redis.protocol", format!("the reply to {command} is none that Redis gives"))
    }

    /// Sends one command that gives entries, as many as fit; whatever its reply says.
    fn given(&mut self, words: &[String], bytes: usize, until: Instant) -> Result<Option<Value>> {
        let most = self.max_entry.saturating_add(bytes.saturating_mul(2)).saturating_add(SMALL);
        match self.client.reply(words, most, until) {
            Ok(Value::Error(said)) if said.starts_with("NOGROUP") => Err(Error::fatal(
                "redis.group",
                format!("{said}; create the group with XGROUP CREATE, or set `create: true` and start again"),
            )),
            Ok(reply) => self.client.sound(reply).map(Some),
            Err(failed) => {
                self.again();
                match failed {
                    Failed::Other(error) => Err(error),
                    Failed::TooLarge => Ok(None),
                }
            }
        }
    }

    /// Takes entries that came: those that are not known yet.
    fn take(&mut self, key: &str, entries: Vec<Entry>) {
        for entry in entries {
            if !self.known.insert((key.to_owned(), entry.id)) {
                continue;
            }
            if entry.is_gone() {
                spout_guest::warn!("entry {} of {key} was deleted before it was acknowledged", entry.id);
                self.gone.push((key.to_owned(), entry.id));
                continue;
            }
            self.average = (self.average * 7 + entry.size()) / 8;
            self.waiting.push_back((key.to_owned(), entry));
        }
    }

    /// Reads entries of `keys` after the id with each, at most `count` of each stream.
    fn read(
        &mut self,
        keys: &[(String, String)],
        count: usize,
        block: Option<Duration>,
        limits: Limits,
        until: Instant,
    ) -> Result<Option<BTreeMap<String, Vec<Entry>>>> {
        let mut words: Vec<String> =
            ["XREADGROUP", "GROUP", &self.name, &self.consumer, "COUNT"].map(str::to_owned).into();
        words.push(count.to_string());
        // A wait of zero is one without an end.
        if let Some(block) = block.filter(|block| block.as_millis() > 0) {
            words.extend(["BLOCK".to_owned(), block.as_millis().to_string()]);
        }
        words.push("STREAMS".to_owned());
        words.extend(keys.iter().map(|(key, _)| key.clone()));
        words.extend(keys.iter().map(|(_, after)| after.clone()));
        let Some(reply) = self.given(&words, limits.bytes, until)? else { return Ok(None) };
        let mut found = BTreeMap::new();
        for (key, entries) in streams(reply).ok_or_else(|| self.garbled("XREADGROUP"))? {
            let Some((key, _)) = keys.iter().find(|(asked, _)| asked.as_bytes() == &key[..]) else {
                return Err(self.garbled("XREADGROUP"));
            };
            found.insert(key.clone(), entries);
        }
        Ok(Some(found))
    }

    /// Reads what this consumer was given before and has not acknowledged; whether there may be more of it.
    fn own(&mut self, limits: Limits, until: Instant) -> Result<bool> {
        let of = |(key, stream): (&String, &Stream)| Some((key.clone(), stream.own?.to_string()));
        let keys: Vec<(String, String)> = self.streams.iter().filter_map(of).collect();
        if keys.is_empty() {
            return Ok(false);
        }
        let mut count = self.count(limits, keys.len());
        let mut found = self.read(&keys, count, None, limits, until)?;
        while found.is_none() && count > 1 {
            count /= 8;
            found = self.read(&keys, count.max(1), None, limits, until)?;
        }
        let Some(mut found) = found else { return Err(self.too_large()) };
        for (key, after) in keys {
            let entries = found.remove(&key).unwrap_or_default();
            let last = entries.last().map(|entry| entry.id);
            if last.is_some_and(|last| last.to_string() == after) {
                return Err(self.garbled("XREADGROUP"));
            }
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.own = last;
            }
            self.take(&key, entries);
        }
        Ok(true)
    }

    /// Reads what nobody was given yet; waits for it for a while.
    fn new_ones(&mut self, limits: Limits, until: Instant) -> Result<()> {
        let keys: Vec<(String, String)> = self.streams.keys().map(|key| (key.clone(), ">".to_owned())).collect();
        if keys.is_empty() {
            spout_guest::pause(limits.timeout);
            return Ok(());
        }
        let count = self.count(limits, keys.len());
        // What is too large to be read as one reply is this consumer's now, and read as such in smaller parts.
        for (key, entries) in self.read(&keys, count, Some(limits.timeout), limits, until)?.unwrap_or_default() {
            self.take(&key, entries);
        }
        Ok(())
    }

    fn count(&self, limits: Limits, streams: usize) -> usize {
        let most = (limits.messages / streams.max(1)).max(1);
        (limits.bytes / self.average.max(1) / streams.max(1)).clamp(1, most)
    }

    /// Looks now and then at what changes slowly.
    fn look(&mut self, until: Instant) -> Result<()> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.learn(until)?;
            self.claim(until)?;
            self.looked = Some(now());
        }
        if self.behind.is_due() { self.measure(until) } else { Ok(()) }
    }

    fn too_large(&self) -> Error {
        let what = format!("an entry has more than {} bytes; raise the setting `maxEntry`", self.max_entry);
        Error::fatal("redis.large", what)
    }

    /// Acknowledges entries.
    fn acknowledge(&mut self, entries: &[(String, EntryId)]) -> Result<()> {
        let mut by_key: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (key, id) in entries {
            by_key.entry(key).or_default().push(id.to_string());
        }
        let mut commands = Commands::default();
        for (key, ids) in &by_key {
            for ids in ids.chunks(ACKNOWLEDGED) {
                let words = ["XACK", key, &self.name].map(str::to_owned);
                commands.add(&words.iter().chain(ids).collect::<Vec<_>>());
            }
        }
        let replies = self.client.replies(&commands, SMALL, now() + PATIENCE).map_err(|failed| match failed {
            Failed::Other(error) => error,
            Failed::TooLarge => Error::retriable("redis.protocol", "the reply to XACK is none that Redis gives"),
        })?;
        replies.into_iter().try_for_each(|reply| self.client.sound(reply).map(drop))?;
        for entry in entries {
            self.known.remove(entry);
        }
        Ok(())
    }

    /// Acknowledges what is gone.
    fn forget(&mut self) -> Result<()> {
        if !self.gone.is_empty() {
            let gone = self.gone.clone();
            self.acknowledge(&gone)?;
            self.gone.clear();
        }
        Ok(())
    }

    /// Sees to it that entries wait, if the server has any.
    fn fill(&mut self, limits: Limits, until: Instant) -> Result<()> {
        self.forget()?;
        if self.waiting.is_empty() {
            self.look(until)?;
        }
        if self.waiting.is_empty() && !self.own(limits, until)? {
            self.new_ones(limits, until)?;
        }
        Ok(())
    }
}

impl StreamConsumer for Group {
    type Settings = Settings;
    const ACKED: bool = true;

    fn open(topic: &str, pipeline: &str, start: Start, settings: Settings) -> Result<Self> {
        settings.check()?;
        let begin = if start == Start::Latest { "$" } else { "0" };
        Ok(Self {
            begin: Some(begin).filter(|_| settings.create),
            name: settings.group.unwrap_or_else(|| pipeline.to_owned()),
            consumer: settings.consumer.unwrap_or_else(|| "spout".to_owned()),
            min_idle: settings.min_idle.map(Duration::from_millis),
            client: Client::new(settings.address, settings.username, settings.database),
            topic: Topic::parse(topic)?,
            form: Form { value: settings.value, key: settings.key },
            max_entry: settings.max_entry,
            streams: BTreeMap::new(),
            waiting: VecDeque::new(),
            returned: Deliveries::new(),
            gone: Vec::new(),
            known: BTreeSet::new(),
            average: ENTRY,
            looked: None,
            behind: Waiting::default(),
        })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let until = now() + limits.timeout + PATIENCE;
        self.fill(limits, until).map_err(|error| error.of(self.client.address()))?;
        let (mut messages, mut bytes) = (Messages::default(), 0_usize);
        while messages.len() < limits.messages
            && let Some((key, entry)) = self.waiting.pop_front()
        {
            bytes = bytes.saturating_add(entry.size());
            if bytes > limits.bytes && !messages.is_empty() {
                self.waiting.push_front((key, entry));
                break;
            }
            let added = entry.add(self.returned.next_offset(), &self.form, &mut messages);
            added.partition(0).id(format!("{} {key}", entry.id).as_bytes());
            self.returned.push((key, entry.id));
        }
        self.behind.returned(messages.len());
        let more =
            !messages.is_empty() || !self.waiting.is_empty() || self.streams.values().any(|one| one.own.is_some());
        Ok((messages, if more { Progress::More } else { Progress::Idle }))
    }

    fn waiting(&self) -> Option<u64> {
        self.behind.count()
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        Ok(self.returned.checkpoint())
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let entries: Vec<(String, EntryId)> = self.returned.first(self.returned.covered(&upto)).cloned().collect();
        if !entries.is_empty() {
            self.acknowledge(&entries)?;
            self.returned.acknowledged(entries.len());
        }
        Ok(())
    }
}
