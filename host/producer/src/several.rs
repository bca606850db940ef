//! Several producers as one: their partitions carry the producer's number, and each is asked with its own alone.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream::FuturesUnordered};
use spout_data::{Marker, Messages, PartitionId, Position, Span};
use spout_plugin::Progress;
use tokio_util::sync::CancellationToken;

use super::{Boundary, Durable, Error, Fetched, Fetcher, Found, Producer, ProducerTraits};

/// Several producers as one.
///
/// **Invariant**: what a producer sees has number 0, as if it were the only one; what is told of it has the number that commits
/// know it by.
#[derive(Debug)]
pub struct Producers {
    all: BTreeMap<u16, Box<dyn Producer>>,
    /// Cancelled when it takes no more: those that keep nothing back end with it.
    drained: CancellationToken,
}

impl Producers {
    /// The producers by the number that commits know each by.
    #[must_use]
    pub fn new(all: BTreeMap<u16, Box<dyn Producer>>) -> Self {
        Self { all, drained: CancellationToken::new() }
    }
}

#[async_trait]
impl Producer for Producers {
    fn traits(&self) -> ProducerTraits {
        let traits = || self.all.values().map(|producer| producer.traits());
        ProducerTraits {
            discover_every: traits().map(|one| one.discover_every).min().unwrap_or_default(),
            drains: traits().any(|one| one.drains),
            finite: traits().all(|one| one.finite),
            readers: None,
            heirs: traits().any(|one| one.heirs),
            // Those that are asked in no time are asked with the others, or not at all.
            beside: traits().all(|one| one.beside),
        }
    }

    async fn partitions(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for (&number, producer) in &mut self.all {
            let own = own(marker, number);
            // One that was added to a pipeline begins where its spec says.
            let initial = initial || own.partitions.is_empty();
            let told = producer.partitions(&own, initial).await?;
            found.extend(told.into_iter().map(|one| Found { partition: of(one.partition, number), ..one }));
        }
        Ok(found)
    }

    fn look(&mut self, marker: &Marker) -> bool {
        // Whether all of them did: what one is told of now, another hears of at the next look.
        self.all.iter_mut().fold(true, |all, (&number, producer)| producer.look(&own(marker, number)) && all)
    }

    async fn looked(&mut self) -> Result<Vec<Found>, Error> {
        let looked = self.all.iter_mut().map(async |(&number, producer)| (number, producer.looked().await));
        match looked.collect::<FuturesUnordered<_>>().next().await {
            Some((number, told)) => {
                Ok(told?.into_iter().map(|one| Found { partition: of(one.partition, number), ..one }).collect())
            }
            None => std::future::pending().await,
        }
    }

    fn lane(&self, partition: PartitionId) -> PartitionId {
        let Some(producer) = self.all.get(&partition.producer) else { return partition };
        of(producer.lane(of(partition, 0)), partition.producer)
    }

    fn consumers(&self, partition: PartitionId) -> Option<u32> {
        self.all.get(&partition.producer)?.consumers(of(partition, 0))
    }

    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher> {
        let number = found.partition.producer;
        let found = Found { partition: of(found.partition, 0), ..found };
        match self.all.get_mut(&number) {
            Some(producer) => {
                let ends = (!producer.traits().drains).then(|| self.drained.clone());
                let open = BTreeMap::from([(found.partition, found.start.clone())]);
                Box::new(Numbered { number, inner: producer.fetcher(found), ends, open, ended: VecDeque::new() })
            }
            None => Box::new(Nobody),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.all.values().flat_map(|producer| producer.addresses()).collect()
    }

    fn committed(&mut self, durable: &Durable) {
        for (&number, producer) in &mut self.all {
            let own = |partition: &PartitionId| partition.producer == number;
            let positions = durable.positions.iter().filter(|(partition, _)| own(partition));
            let dead = durable.dead.iter().filter(|(partition, _)| own(partition));
            producer.committed(&Durable {
                commit: durable.commit.clone(),
                sequence: durable.sequence,
                positions: positions.map(|(&partition, position)| (of(partition, 0), position.clone())).collect(),
                dead: dead.map(|&(partition, offset)| (of(partition, 0), offset)).collect(),
            });
        }
    }

    fn drain(&mut self) {
        self.drained.cancel();
        self.all.values_mut().filter(|producer| producer.traits().drains).for_each(|producer| producer.drain());
    }

    async fn close(&mut self) {
        for producer in self.all.values_mut() {
            producer.close().await;
        }
    }
}

fn of(partition: PartitionId, producer: u16) -> PartitionId {
    PartitionId { producer, ..partition }
}

/// What `marker` says of one producer, as if it were the only one.
fn own(marker: &Marker, producer: u16) -> Marker {
    let own = marker.partitions.iter().filter(|(partition, _)| partition.producer == producer);
    Marker { partitions: own.map(|(&partition, entry)| (of(partition, 0), entry.clone())).collect() }
}

/// A fetcher of one of several producers.
#[derive(Debug)]
struct Numbered {
    number: u16,
    inner: Box<dyn Fetcher>,
    /// Where its producer does not drain: cancelled when the pipeline does, and nothing more is wanted of it.
    ends: Option<CancellationToken>,
    /// Its partitions that have not ended, and where each is.
    open: BTreeMap<PartitionId, Position>,
    /// Those that are said to have ended, because nothing more is wanted of them.
    ended: VecDeque<(PartitionId, Position)>,
}

impl Numbered {
    fn is_over(&self) -> bool {
        self.ends.as_ref().is_some_and(CancellationToken::is_cancelled)
    }
}

#[async_trait]
impl Fetcher for Numbered {
    fn add(&mut self, found: Found) {
        let found = Found { partition: of(found.partition, 0), ..found };
        self.open.insert(found.partition, found.start.clone());
        self.inner.add(found);
    }

    fn passes_on(&self) -> bool {
        self.inner.passes_on()
    }

    fn acknowledges(&self) -> bool {
        self.inner.acknowledges()
    }

    async fn ready(&mut self) {
        match &self.ends {
            Some(ends) => drop(ends.run_until_cancelled(self.inner.ready()).await),
            None => self.inner.ready().await,
        }
    }

    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        let fetched = match &self.ends {
            Some(ends) => ends.run_until_cancelled(self.inner.fetch(most)).await.transpose()?,
            None => Some(self.inner.fetch(most).await?),
        };
        if let Some(mut fetched) = fetched.filter(|_| !self.is_over()) {
            let partition = fetched.span.partition;
            if fetched.progress == Progress::Ended {
                self.open.remove(&partition);
            } else {
                self.open.insert(partition, fetched.span.next.clone());
            }
            fetched.span.partition = of(partition, self.number);
            // Their rows meet in commits of the pipeline's own.
            fetched.boundary = Boundary::Free;
            return Ok(fetched);
        }
        self.ended.extend(std::mem::take(&mut self.open));
        match self.ended.pop_front() {
            Some((partition, position)) => {
                let partition = of(partition, self.number);
                let span = Span { partition, start: position.offset, next: position };
                Ok(Fetched::new(Messages::default(), span, Progress::Ended))
            }
            None => std::future::pending().await,
        }
    }

    async fn committed(&mut self, upto: &BTreeMap<PartitionId, Position>) {
        let own = upto.iter().map(|(&partition, position)| (of(partition, 0), position.clone())).collect();
        self.inner.committed(&own).await;
    }
}

/// Fetches nothing.
#[derive(Debug)]
pub(crate) struct Nobody;

#[async_trait]
impl Fetcher for Nobody {
    async fn fetch(&mut self, _most: u32) -> Result<Fetched, Error> {
        std::future::pending().await
    }
}

/// The number that commits know each of `names` by: the one that `marker` has, or the next that is free.
///
/// # Errors
/// What is wrong, and what to do, if commits were made by a producer without a name, or by one with a name and there is none now.
pub fn numbers(names: &[&str], marker: &Marker) -> Result<Vec<u16>, String> {
    let mut known: BTreeMap<&str, u16> = BTreeMap::new();
    for (partition, entry) in marker.partitions.iter().filter(|(partition, _)| !partition.is_replay()) {
        known.insert(&entry.producer, partition.producer);
    }
    let single = names == [""];
    match known.keys().copied().find(|known| known.is_empty() != single) {
        Some("") => {
            return Err(format!(
                "its commits were made by `producer`, and the spec now has `producers`, whose messages would be read again: write another pipeline or branch, or keep `producer`; the names are {}",
                names.join(", ")
            ));
        }
        Some(other) => {
            return Err(format!(
                "its commits were made by the producer `{other}` of several, and the spec now has one `producer`, whose messages would be read again: write another pipeline or branch, or keep `producers`"
            ));
        }
        None => {}
    }
    let mut taken: BTreeSet<u16> = known.values().copied().collect();
    let mut next = || {
        let free = (0..u16::MAX).find(|number| !taken.contains(number)).unwrap_or(u16::MAX);
        taken.insert(free);
        free
    };
    Ok(names.iter().map(|name| known.get(name).copied().unwrap_or_else(&mut next)).collect())
}
