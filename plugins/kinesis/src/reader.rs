//! Reads any number of shards.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spout_guest::{
    Answered, Error, Fetched, Limits, Messages, Position, Progress, Result, SharedReader, metrics, now, pause,
};

use crate::{
    api::Shard,
    lineage::partition,
    place::Place,
    service::{Begin, Failed, PATIENCE, Service},
    settings::Settings,
    shard::{Bad, Open, Pace},
};

/// What a record is taken to have before one was seen.
const RECORD: usize = 1024;
/// Shortest time between two looks at shards that have nothing.
const LOOK: Duration = Duration::from_millis(10);
/// By how much clocks may differ: a time that is so little ahead may be one that the service takes for one to come. In milliseconds.
const SKEW: u64 = 15 * 60_000;

/// Reads shards.
#[derive(Debug)]
pub struct Reader {
    pub(crate) service: Service,
    interval: Duration,
    most: usize,
    shards: BTreeMap<u32, Shard>,
    open: BTreeMap<u32, Open>,
    paces: BTreeMap<u32, Pace>,
    /// What a record has on average, as far as that was seen.
    record: usize,
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Reader {
    pub(crate) fn new(service: Service, settings: &Settings) -> Self {
        let most = usize::try_from(settings.max_records_to_fetch).unwrap_or(1);
        let (shards, open, paces) = Default::default();
        Self { service, interval: settings.interval(), most, shards, open, paces, record: RECORD }
    }

    /// The shard of a partition; `None` if the service does not have it any more.
    fn shard(&mut self, id: u32, until: Instant) -> Result<Option<Shard>> {
        if !self.shards.contains_key(&id) {
            let all = self.service.shards(until)?;
            self.shards = all.into_iter().map(|shard| (partition(&shard.shard_id, false).id, shard)).collect();
        }
        Ok(self.shards.get(&id).cloned())
    }

    /// What a shard has from its position on.
    fn one(&mut self, id: u32, start: &Position, limits: Limits, until: Instant) -> Result<Fetched> {
        let Some(place) = Place::parse(start)? else { return Err(lost(start.offset)) };
        if place.ended {
            let high_watermark = Some(start.offset);
            let messages = Messages::default();
            return Ok(Fetched { messages, next: start.clone(), high_watermark, progress: Progress::Ended });
        }
        let mut open = self.open.remove(&id).filter(|open| open.place == place).unwrap_or_else(|| Open::new(place));
        let fetched = self.advance(id, &mut open, start, limits, until);
        self.open.insert(id, open);
        fetched
    }

    fn advance(
        &mut self,
        id: u32,
        open: &mut Open,
        start: &Position,
        limits: Limits,
        until: Instant,
    ) -> Result<Fetched> {
        if !open.holds() && self.paces.get(&id).is_some_and(|pace| now() < pace.due) {
            return Ok(open.nothing(start));
        }
        let Some(shard) = self.shard(id, until)? else {
            // It was removed with all its records, of which some may not have been read.
            let end = Place { ended: true, ..Place::oldest(start.offset) }.position();
            return Err(Error::OutOfRange { earliest: end.clone(), latest: end });
        };
        if !open.holds() {
            self.read(id, &shard, open, limits, until)?;
        }
        Ok(open.give(start, &shard.keys(), limits, now_ms()))
    }

    /// Asks for records, if need be with a new iterator.
    fn read(&mut self, id: u32, shard: &Shard, open: &mut Open, limits: Limits, until: Instant) -> Result<()> {
        let limit = (limits.bytes / self.record.max(1)).clamp(1, self.most.min(limits.messages.max(1)));
        let held = open.iterator(now_ms());
        let fresh = held.is_none();
        let iterator = match held {
            Some(iterator) => iterator,
            None => self.begin(id, shard, open, until)?,
        };
        let asked = now();
        self.paces.insert(id, Pace::after(asked, 0, self.interval));
        let page = match self.service.records(&iterator, limit, until) {
            Err(Failed::Expired) if !fresh => {
                open.forget();
                let iterator = self.begin(id, shard, open, until)?;
                self.service.records(&iterator, limit, until)
            }
            answer => answer,
        };
        let page = page.map_err(|failed| self.missing(id, &open.place, failed, until))?;
        let count = page.records.len();
        let bytes = open.take(page, limit).map_err(|bad| {
            open.forget();
            match bad {
                Bad::Lost => lost(open.place.offset),
                Bad::Order => self.service.again("kinesis.protocol", "records do not come in their order".into()),
            }
        })?;
        if let Some(size) = bytes.checked_div(count) {
            self.record = (self.record + size) / 2;
        }
        self.paces.insert(id, Pace::after(asked, bytes, self.interval));
        Ok(())
    }

    /// A new iterator from the place on.
    fn begin(&mut self, id: u32, shard: &Shard, open: &mut Open, until: Instant) -> Result<String> {
        let mut begin = open.begin(now_ms());
        let mut made = self.service.iterator(&shard.shard_id, &begin, until);
        if let (Begin::Since(ms), Err(Failed::Invalid(_))) = (&begin, &made)
            && ms.saturating_add(SKEW) > now_ms()
        {
            // A time to come: records before it are passed over as they come.
            begin = Begin::Newest;
            made = self.service.iterator(&shard.shard_id, &begin, until);
        }
        let iterator = made.map_err(|failed| self.missing(id, &open.place, failed, until))?;
        open.begun(&begin, iterator.clone());
        Ok(iterator)
    }

    /// What it means that a shard cannot be read from a place on.
    fn missing(&mut self, id: u32, place: &Place, failed: Failed, until: Instant) -> Error {
        let failed = match failed {
            // A record that the service does not know, of a shard that it has, is one that it has removed, or of another stream.
            Failed::Invalid(_) if place.after.is_some() => return lost(place.offset),
            Failed::Gone(message) => {
                self.shards.clear();
                match self.shard(id, until) {
                    Err(error) => return error,
                    Ok(Some(_)) if place.after.is_some() => return lost(place.offset),
                    Ok(Some(_)) => return self.service.again("kinesis.shard", message),
                    Ok(None) => {
                        let end = Place { ended: true, ..Place::oldest(place.offset) }.position();
                        return Error::OutOfRange { earliest: end.clone(), latest: end };
                    }
                }
            }
            failed => failed,
        };
        self.service.refused(failed)
    }

    /// When the first of these may be asked again.
    fn due(&self, wanted: &[(u32, Position)]) -> Option<Instant> {
        wanted.iter().filter_map(|(id, _)| self.paces.get(id)).map(|pace| pace.due).min()
    }
}

impl SharedReader for Reader {
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        let begun = now();
        let until = begun + limits.timeout + PATIENCE;
        loop {
            let (mut answers, mut left, mut any) = (Vec::new(), limits, false);
            for (id, start) in wanted {
                if left.messages == 0 || left.bytes == 0 || (now() >= until && !answers.is_empty()) {
                    break;
                }
                let fetched = self.one(*id, start, left, until);
                if let Ok(fetched) = &fetched {
                    left.messages = left.messages.saturating_sub(fetched.messages.len());
                    left.bytes = left.bytes.saturating_sub(fetched.messages.bytes());
                }
                any |= fetched.as_ref().map_or(true, |one| one.progress == Progress::Ended || one.next != *start);
                answers.push((*id, fetched));
            }
            metrics::set("behind_ms", self.open.values().map(Open::behind).max().unwrap_or(0) as f64);
            let rest = limits.timeout.saturating_sub(begun.elapsed());
            let wait = self.due(wanted).map_or(LOOK, |due| due.saturating_duration_since(now())).max(LOOK);
            if any || rest.is_zero() || !pause(wait.min(rest)) {
                return Ok(answers);
            }
        }
    }
}

/// Records from a place on are gone; what there is begins with the oldest record, and ends now.
fn lost(offset: u64) -> Error {
    Error::OutOfRange { earliest: Place::oldest(offset).position(), latest: Place::since(offset, now_ms()).position() }
}
