//! The brokers, the topic, who leads its partitions, and what offsets those have.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use spout_guest::{Error, Result, now, warn};

use crate::{
    connection::{Answer, Connection},
    settings::{Isolation, Settings},
    trouble::{self, Meaning, UNKNOWN_TOPIC, garbage, meaning},
    wire::{
        Api, EARLIEST, LATEST, LIST_OFFSETS, ListedOffset, METADATA, Metadata, Output, TopicId, ask_metadata,
        ask_offsets, listed,
    },
};

/// What is known of the topic.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    /// None if brokers do not know ids.
    pub(crate) id: Option<TopicId>,
    /// The node that leads each partition, if one does.
    pub(crate) leaders: BTreeMap<u32, Option<i32>>,
    addresses: BTreeMap<i32, String>,
    since: Instant,
}

impl Topic {
    /// Where the leader of `partition` is.
    pub(crate) fn leader(&self, partition: u32) -> Option<&str> {
        let node = self.leaders.get(&partition).copied().flatten()?;
        self.addresses.get(&node).map(String::as_str)
    }
}

/// The brokers. Questions go over one connection, which is made anew for another broker.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    topic: Option<Topic>,
    connection: Option<Connection>,
    /// Which of the brokers that are known is asked next.
    turn: usize,
}

impl Cluster {
    pub(crate) fn new(topic: &str, settings: Settings) -> Result<Self> {
        let settings = settings.checked()?;
        if topic.is_empty() || topic.len() > 249 {
            return Err(Error::invalid_config("`topic` must be the name of a topic, of 1 to 249 characters"));
        }
        Ok(Self { name: topic.to_owned(), settings, topic: None, connection: None, turn: 0 })
    }

    pub(crate) fn isolation(&self) -> i8 {
        i8::from(self.settings.isolation_level == Isolation::ReadCommitted)
    }

    /// Asks again before the next use.
    pub(crate) fn forget(&mut self) {
        if let Some(topic) = &mut self.topic {
            topic.since = now().checked_sub(self.settings.metadata_max_age()).unwrap_or(topic.since);
        }
    }

    /// What is known of the topic, asked for anew if that is old.
    pub(crate) fn topic(&mut self, until: Instant) -> Result<&Topic> {
        let age = self.settings.metadata_max_age();
        if self.topic.as_ref().is_none_or(|topic| now().saturating_duration_since(topic.since) >= age) {
            self.refresh(until)?;
        }
        self.known()
    }

    /// What is known of the topic, however old.
    pub(crate) fn known(&self) -> Result<&Topic> {
        self.topic.as_ref().ok_or_else(|| Error::retriable("kafka.topic", "nothing is known of the topic yet"))
    }

    /// A broker that answers.
    pub(crate) fn any(&mut self, until: Instant) -> Result<String> {
        if self.connection.is_none() {
            self.refresh(until)?;
        }
        let connection = self.connection.as_ref();
        connection
            .map(|one| one.address().to_owned())
            .ok_or_else(|| Error::retriable("kafka.broker", "no broker answers"))
    }

    /// Asks for it anew.
    pub(crate) fn refresh(&mut self, until: Instant) -> Result<&Topic> {
        let metadata = self.metadata(until)?;
        if metadata.code != 0 {
            let doing = format!("topic `{}`", self.name);
            return Err(match metadata.code {
                // One that was there a moment ago may come back, or the broker has just started.
                UNKNOWN_TOPIC if self.topic.is_none() => Error::fatal(
                    "kafka.topic",
                    format!("there is no topic `{}`; make it first, or see whether its name is right", self.name),
                ),
                UNKNOWN_TOPIC => Error::retriable("kafka.topic", format!("topic `{}` is gone", self.name)),
                code => trouble::refused(&doing, code),
            });
        }
        let id = Some(metadata.id).filter(|id| *id != TopicId::default());
        let leader = |leader: i32| Some(leader).filter(|leader| *leader >= 0);
        let partitions = metadata.partitions.iter();
        let leaders =
            partitions.filter_map(|one| Some((u32::try_from(one.number).ok()?, leader(one.leader)))).collect();
        let addresses = metadata.brokers.into_iter().map(|broker| (broker.node, broker.address)).collect();
        if self.topic.as_ref().is_some_and(|known| known.id.is_some() && known.id != id) {
            warn!("topic `{}` was deleted and made anew", self.name);
        }
        Ok(self.topic.insert(Topic { id, leaders, addresses, since: now() }))
    }

    /// Asks one broker after the other, those of the settings and those that they told of.
    fn metadata(&mut self, until: Instant) -> Result<Metadata> {
        let learned = self.topic.iter().flat_map(|topic| topic.addresses.values().cloned());
        let mut all: Vec<String> = self.connection.iter().map(|connection| connection.address().to_owned()).collect();
        all.extend(learned);
        all.extend(self.settings.servers().map(str::to_owned));
        let mut seen = BTreeSet::new();
        all.retain(|address| seen.insert(address.clone()));
        let count = all.len().max(1);
        let mut last = Error::retriable("kafka.broker", "no broker is known");
        for tried in 0..count {
            let Some(address) = all.get((self.turn + tried) % count) else { continue };
            // One that does not answer leaves time for the others.
            let share = until.saturating_duration_since(now()) / u32::try_from(count - tried).unwrap_or(1);
            let name = self.name.clone();
            let answer = self.ask(address, METADATA, now() + share, |out, version| ask_metadata(out, version, &name));
            let read = answer
                .and_then(|(input, version)| Metadata::read(input, version).map_err(|what| garbage(address, what)));
            match read {
                Ok(metadata) => return Ok(metadata),
                Err(error @ (Error::Fatal { .. } | Error::InvalidConfig { .. })) if count == 1 => return Err(error),
                Err(error) => {
                    self.connection = None;
                    last = error;
                }
            }
            if now() >= until {
                break;
            }
        }
        self.turn = self.turn.wrapping_add(1);
        Err(last)
    }

    /// Asks the broker at `address` something.
    pub(crate) fn ask(
        &mut self,
        address: &str,
        api: Api,
        until: Instant,
        write: impl FnOnce(&mut Output, i16),
    ) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.address() == address => connection,
            _ => Connection::open(address, &self.settings, until)?,
        };
        // A connection that failed is not used again.
        let answer = connection.call(api, until, write)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// What these partitions, which have one leader, have at `time`.
    pub(crate) fn offsets_of(
        &mut self,
        address: &str,
        partitions: &[u32],
        time: i64,
        until: Instant,
    ) -> Result<Vec<ListedOffset>> {
        let numbers: Vec<i32> = partitions.iter().filter_map(|partition| i32::try_from(*partition).ok()).collect();
        let (name, isolation) = (self.name.clone(), self.isolation());
        let write = |out: &mut Output, _| ask_offsets(out, &name, isolation, &numbers, time);
        let (input, _) = self.ask(address, LIST_OFFSETS, until, write)?;
        listed(input).map_err(|what| garbage(address, what))
    }

    /// What `partition` has at `time`; none if that is after its end.
    pub(crate) fn offset(&mut self, partition: u32, time: i64, until: Instant) -> Result<Option<u64>> {
        let address = self.leader(partition, until)?;
        let all = self.offsets_of(&address, &[partition], time, until)?;
        let one = all.iter().find(|one| u32::try_from(one.partition) == Ok(partition));
        self.listed(partition, one.copied())
    }

    /// The offset that a broker listed.
    pub(crate) fn listed(&mut self, partition: u32, one: Option<ListedOffset>) -> Result<Option<u64>> {
        match one {
            Some(one) if one.code == 0 => Ok(u64::try_from(one.offset).ok()),
            Some(one) => {
                if meaning(one.code) == Meaning::Refresh {
                    self.forget();
                }
                Err(trouble::refused(
                    &format!("topic `{}`, partition {partition}, listing offsets", self.name),
                    one.code,
                ))
            }
            None => Err(Error::retriable(
                "kafka.protocol",
                format!("partition {partition} is missing in a list of offsets"),
            )),
        }
    }

    /// The first and the last offset of `partition`.
    pub(crate) fn range(&mut self, partition: u32, until: Instant) -> Result<(u64, u64)> {
        let earliest = self.offset(partition, EARLIEST, until)?.unwrap_or(0);
        Ok((earliest, self.offset(partition, LATEST, until)?.unwrap_or(earliest)))
    }

    /// Where the leader of `partition` is.
    pub(crate) fn leader(&mut self, partition: u32, until: Instant) -> Result<String> {
        let name = self.name.clone();
        let topic = self.topic(until)?;
        if let Some(address) = topic.leader(partition) {
            return Ok(address.to_owned());
        }
        self.forget();
        Err(Error::retriable("kafka.leader", format!("topic `{name}`, partition {partition} has no leader now")))
    }
}
