//! A source by partition that counts, or lies about it.

use std::cell::Cell;

use crate::{
    Hostile, Plan,
    bindings::{
        exports::spout::plugin::{
            metadata_provider::{
                Guest as Metadata, GuestProvider, KnownPartition, OffsetCriteria, PartitionInfo, Provider,
            },
            partition_consumer::{
                Consumer, Error, FetchLimits, Fetched, Guest, GuestConsumer, Messages, Position, Progress,
            },
        },
        spout::plugin::types::{Blobs, Header},
    },
    deed::act,
    fatal, fault,
};

pub(crate) struct Partitions(Plan, Cell<bool>);

impl Metadata for Hostile {
    type Provider = Partitions;
}

impl GuestProvider for Partitions {
    fn open(_name: String, _topic: String, settings: Vec<(String, String)>) -> Result<Provider, Error> {
        let plan = Plan::new(&settings);
        act(&plan, "provider-open")?;
        Ok(Provider::new(Self(plan, Cell::new(false))))
    }

    fn partitions(&self, _known: Vec<KnownPartition>, _timeout_ms: u32) -> Result<Vec<PartitionInfo>, Error> {
        act(&self.0, "partitions")?;
        if self.1.replace(true) {
            act(&self.0, "partitions-again")?;
        }
        let one = |id| PartitionInfo { id, label: format!("part\u{1b}[1m-{id}"), ended: false };
        Ok(match self.0.mode("partitions") {
            "many" => (0..2_000_000).map(one).collect(),
            "twice" => vec![one(0), one(0)],
            _ => (0..self.0.partitions).map(one).collect(),
        })
    }

    fn resolve(&self, _partition: u32, at: OffsetCriteria, _timeout_ms: u32) -> Result<Option<Position>, Error> {
        act(&self.0, "resolve")?;
        let offset = match at {
            OffsetCriteria::Earliest => 0,
            OffsetCriteria::Latest => self.0.total,
            OffsetCriteria::AtOffset(offset) => offset,
            OffsetCriteria::AtTimeMs(_) => return Ok(None),
        };
        Ok(Some(Position { offset, token: None }))
    }
}

pub(crate) struct Counter {
    plan: Plan,
}

impl Guest for Hostile {
    type Consumer = Counter;
}

/// `n` messages from `start` on.
pub(crate) fn count(start: u64, n: u64) -> Messages {
    let mut values = Blobs { bounds: vec![0], bytes: Vec::new() };
    for number in start..start + n {
        values.bytes.extend_from_slice(format!("{{\"n\":{number}}}").as_bytes());
        values.bounds.push(values.bytes.len() as u32);
    }
    Messages {
        values,
        nulls: Vec::new(),
        keys: None,
        offsets: (start..start + n).collect(),
        partitions: Vec::new(),
        timestamps_ms: Vec::new(),
        headers: Vec::new(),
        attributes: Vec::new(),
    }
}

impl GuestConsumer for Counter {
    fn open(_name: String, _topic: String, settings: Vec<(String, String)>) -> Result<Consumer, Error> {
        let plan = Plan::new(&settings);
        act(&plan, "consumer-open")?;
        Ok(Consumer::new(Self { plan }))
    }

    fn fetch(
        &self,
        wanted: Vec<(u32, Position)>,
        limits: FetchLimits,
    ) -> Result<Vec<(u32, Result<Fetched, Error>)>, Error> {
        act(&self.plan, "fetch")?;
        let (mode, bad) = match self.plan.mode("fetch").rsplit_once('-') {
            Some((mode, number)) => (mode, number.parse::<u32>().ok()),
            None => ("", None),
        };
        let answer = |(partition, start): (u32, Position)| {
            let fetched = match mode {
                _ if bad != Some(partition) => Ok(self.one(partition, &start, limits)),
                "poison" => panic!("partition {partition} is poison"),
                "busy" => Err(Error::Retriable(fault("busy", "not now"))),
                "bad" => Err(fatal("bad", "never")),
                _ => Err(Error::OutOfRange(None)),
            };
            (partition, fetched)
        };
        let mut answers: Vec<_> = wanted.into_iter().map(answer).collect();
        match self.plan.mode("fetch") {
            "stranger" => answers.iter_mut().for_each(|(partition, _)| *partition += 100),
            "answered-twice" => {
                let again = answers.first().map(|(partition, _)| (*partition, Err(Error::OutOfRange(None))));
                answers.extend(again);
            }
            _ => {}
        }
        Ok(answers)
    }

    fn committed(&self, _upto: Vec<(u32, Position)>) -> Result<(), Error> {
        act(&self.plan, "committed")
    }
}

impl Counter {
    fn one(&self, partition: u32, start: &Position, limits: FetchLimits) -> Fetched {
        let left = self.plan.total.saturating_sub(start.offset);
        let n = left.min(u64::from(limits.max_messages));
        let at = start.offset;
        if self.plan.mode("fetch") == "nothing" {
            let next = start.clone();
            return Fetched { messages: count(at, 0), next, high_watermark: None, progress: Progress::More };
        }
        let mut messages = count(at, n);
        let mut next = at + n;
        match self.plan.mode("fetch") {
            "next-back" => next = at.saturating_sub(1),
            "next-short" => next = next.saturating_sub(1),
            "offsets-fall" => messages.offsets.reverse(),
            "offsets-repeat" => messages.offsets[1] = messages.offsets[0],
            "offsets-before" => messages.offsets[0] = at.saturating_sub(1),
            "offsets-missing" => messages.offsets.clear(),
            "offsets-few" => drop(messages.offsets.pop()),
            "bounds-fall" => messages.values.bounds.swap(1, 2),
            "bounds-beyond" => *messages.values.bounds.last_mut().expect("a bound") += 1000,
            "bounds-start" => messages.values.bounds[0] = 1,
            "keys-few" => messages.keys = Some(Blobs { bounds: vec![0, 0], bytes: Vec::new() }),
            "nulls-beyond" => messages.nulls = vec![1_000_000],
            "partition" => messages.partitions = vec![partition + 1; n as usize],
            "header" => messages.headers = vec![Header { message: 99_999, name: "h".into(), value: Vec::new() }],
            "giant" => messages.values.bytes = vec![b'x'; 200 << 20],
            _ => {}
        }
        let progress = if n == left { Progress::Ended } else { Progress::More };
        let next = Position { offset: next, token: None };
        Fetched { messages, next, high_watermark: Some(self.plan.total), progress }
    }
}
