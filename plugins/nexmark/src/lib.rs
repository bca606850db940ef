//! Generates the Nexmark auction stream: every event is a pure function of its number.

mod event;
mod random;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{
    Criteria, Error, Fetched, Known, Limits, Messages, Partition, Position, Progress, Reader as PartitionReader,
    Result, Source, pause, register,
};

register! { name: "nexmark", summary: "generates the Nexmark auction stream: persons, auctions and bids", source: Nexmark }

/// 2026-01-01T00:00:00Z.
const BASE_TIME: u64 = 1_767_225_600_000;

/// Event times move on by this much an event, whatever the rate: the rate must not change what is generated.
const EVENT_MICROS: u64 = 100;

/// Settings of the generator.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Events over all partitions; endless without it.
    pub total: Option<u64>,
    /// Partitions, 1 to 4096.
    pub partitions: u32,
    /// Events a second over all partitions; 0 is unlimited.
    pub rate: u64,
    /// Time of event 0, in milliseconds since 1970.
    pub base_time: u64,
    /// Another seed is another stream.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { total: None, partitions: 1, rate: 0, base_time: BASE_TIME, seed: 0 }
    }
}

impl Config {
    fn checked(self) -> Result<Self> {
        match self.partitions {
            1..=4096 => Ok(self),
            other => Err(Error::invalid_config(format!("setting `partitions` is {other}; it can be 1 to 4096"))),
        }
    }

    /// How many events `partition` has; its j-th is global event j * partitions + partition.
    fn events(&self, partition: u32) -> Option<u64> {
        let (all, partition) = (u64::from(self.partitions), u64::from(partition));
        self.total.map(|total| total.saturating_sub(partition).div_ceil(all))
    }

    /// The global number of the j-th event of `partition`.
    fn number(&self, partition: u32, offset: u64) -> u64 {
        offset.saturating_mul(self.partitions.into()).saturating_add(partition.into())
    }

    /// The first offset of `partition` whose event happens at `time_ms` or later.
    fn offset_at(&self, partition: u32, time_ms: u64) -> u64 {
        let micros = u128::from(time_ms.saturating_sub(self.base_time)) * 1000;
        let number = u64::try_from(micros.div_ceil(u128::from(EVENT_MICROS))).unwrap_or(u64::MAX);
        number.saturating_sub(partition.into()).div_ceil(self.partitions.into())
    }

    /// When event `number` happens.
    fn time_ms(&self, number: u64) -> u64 {
        let micros = u128::from(number) * u128::from(EVENT_MICROS);
        self.base_time.saturating_add(u64::try_from(micros / 1000).unwrap_or(u64::MAX))
    }
}

/// The generator.
#[derive(Debug)]
pub struct Nexmark(Config);

impl Source for Nexmark {
    type Settings = Config;
    type Reader = Reader;

    fn open(_: &str, settings: Config) -> Result<Self> {
        settings.checked().map(Self)
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        let partition = |id| Partition { id, label: format!("generator {id}"), ended: false };
        Ok((0..self.0.partitions).map(partition).collect())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        let last = self.0.events(partition);
        Ok(match at {
            Criteria::Earliest => Some(Position::at(0)),
            Criteria::Latest => last.map(Position::at),
            Criteria::AtOffset(offset) => Some(Position::at(last.map_or(offset, |last| offset.min(last)))),
            Criteria::AtTimeMs(time) => {
                let at = self.0.offset_at(partition, time);
                Some(Position::at(last.map_or(at, |last| at.min(last))))
            }
        })
    }

    fn read(&mut self, partition: u32) -> Result<Reader> {
        let config = self.0.clone();
        if partition >= config.partitions {
            return Err(Error::fatal("nexmark.partition", format!("partition {partition} of {}", config.partitions)));
        }
        Ok(Reader { partition, config, began: None })
    }
}

/// Generates one partition.
#[derive(Debug)]
pub struct Reader {
    partition: u32,
    config: Config,
    /// When the first fetch happened and at which offset: the rate counts from there.
    began: Option<(u64, u64)>,
}

impl Reader {
    /// How many events may have happened since the first fetch, waiting a little if that is none.
    fn due(&mut self, start: u64, limits: Limits) -> u64 {
        let (at, offset) = *self.began.get_or_insert_with(|| (now_ms(), start));
        let start = start.max(offset);
        let mut left = limits.timeout;
        loop {
            let elapsed = u128::from(now_ms().saturating_sub(at));
            let events = elapsed * u128::from(self.config.rate) / 1000 / u128::from(self.config.partitions);
            let due = u64::try_from(events).unwrap_or(u64::MAX).saturating_add(offset + 1).saturating_sub(start);
            if due > 0 || left.is_zero() {
                return due;
            }
            let step = left.min(Duration::from_millis(10));
            if !pause(step) {
                return 0;
            }
            left -= step;
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl PartitionReader for Reader {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let total = self.config.events(self.partition);
        if let Some(total) = total
            && start.offset > total
        {
            return Err(Error::OutOfRange { earliest: Position::at(0), latest: Position::at(total) });
        }
        let left = total.map_or(u64::MAX, |total| total - start.offset);
        let mut wanted = left.min(limits.messages as u64);
        if self.config.rate > 0 && wanted > 0 {
            wanted = wanted.min(self.due(start.offset, limits));
        }
        let mut messages = Messages::default();
        let mut offset = start.offset;
        let end = offset.saturating_add(wanted);
        // At least one message, then as many as surely fit.
        while offset < end && (messages.is_empty() || messages.bytes() + event::LONGEST <= limits.bytes) {
            let number = self.config.number(self.partition, offset);
            let time = self.config.time_ms(number);
            let message = messages.write(offset, |bytes| event::write(number, time, &self.config, bytes));
            message.timestamp_ms(i64::try_from(time).unwrap_or(i64::MAX));
            offset += 1;
        }
        let progress = match total {
            Some(total) if offset >= total => Progress::Ended,
            _ if messages.is_empty() => Progress::Idle,
            _ => Progress::More,
        };
        Ok(Fetched { messages, next: Position::at(offset), high_watermark: total, progress })
    }
}

#[cfg(test)]
mod tests;
