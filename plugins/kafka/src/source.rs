//! A topic as the host sees it: its partitions, and where they begin and end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{Criteria, Known, Partition, Position, Result, SharedSource, now};

use crate::{
    cluster::Cluster,
    reader::Reader,
    settings::Settings,
    stock::position,
    wire::{EARLIEST, LATEST, ListedOffset},
};

/// How long offsets that were listed with others are good for.
const GOOD: Duration = Duration::from_secs(1);
/// Partitions that are asked for at once.
const AT_ONCE: usize = 1000;

/// A topic.
#[derive(Debug)]
pub struct Kafka {
    cluster: Cluster,
    /// What all partitions have at some time, which was asked when one of them was: the host asks for one after the other.
    listed: Option<(i64, Instant, BTreeMap<u32, ListedOffset>)>,
}

impl SharedSource for Kafka {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        Ok(Self { cluster: Cluster::new(topic, settings)?, listed: None })
    }

    fn partitions(&mut self, _: &[Known], timeout: Duration) -> Result<Vec<Partition>> {
        let until = now() + timeout.max(self.cluster.settings.request_timeout());
        let numbers: Vec<u32> = self.cluster.refresh(until)?.leaders.keys().copied().collect();
        let label = |id: u32| format!("{}-{id}", self.cluster.name);
        let read = numbers.into_iter().filter(|id| self.cluster.settings.reads(*id));
        Ok(read.map(|id| Partition { id, label: label(id), ended: false }).collect())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> Result<Option<Position>> {
        let until = now() + timeout.max(self.cluster.settings.request_timeout());
        let id = self.cluster.topic(until)?.id;
        let offset = match at {
            Criteria::AtOffset(offset) => offset,
            Criteria::Earliest => self.offset(partition, EARLIEST, until)?.unwrap_or(0),
            Criteria::Latest => self.latest(partition, until)?,
            Criteria::AtTimeMs(time) => {
                let time = i64::try_from(time).unwrap_or(i64::MAX);
                match self.offset(partition, time, until)? {
                    Some(offset) => offset,
                    // Nothing is so young: what comes next will be.
                    None => self.latest(partition, until)?,
                }
            }
        };
        Ok(Some(position(offset, id)))
    }

    fn into_reader(self) -> Result<Reader> {
        Ok(Reader::new(self.cluster))
    }
}

impl Kafka {
    fn latest(&mut self, partition: u32, until: Instant) -> Result<u64> {
        Ok(self.offset(partition, LATEST, until)?.unwrap_or(0))
    }

    fn offset(&mut self, partition: u32, time: i64, until: Instant) -> Result<Option<u64>> {
        if let Some((asked, at, listed)) = &self.listed
            && *asked == time
            && now().saturating_duration_since(*at) < GOOD
            && let Some(one) = listed.get(&partition).copied()
        {
            return self.cluster.listed(partition, Some(one));
        }
        let address = self.cluster.leader(partition, until)?;
        let topic = self.cluster.topic(until)?;
        let led = topic
            .leaders
            .keys()
            .copied()
            .filter(|one| topic.leader(*one) == Some(address.as_str()) && *one != partition);
        let mut all: Vec<u32> = std::iter::once(partition).chain(led).take(AT_ONCE).collect();
        all.sort_unstable();
        let listed = self.cluster.offsets_of(&address, &all, time, until)?;
        let listed: BTreeMap<u32, ListedOffset> =
            listed.into_iter().filter_map(|one| Some((u32::try_from(one.partition).ok()?, one))).collect();
        let one = listed.get(&partition).copied();
        self.listed = Some((time, now(), listed));
        self.cluster.listed(partition, one)
    }
}
