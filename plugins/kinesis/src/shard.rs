//! A shard that is being read.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use spout_guest::{Fetched, Limits, Messages, Position, Progress, metrics, now};

use crate::{
    aggregate::{Part, parts},
    api::{Page, Record},
    place::{Place, Sequence},
    service::Begin,
};

/// How long an iterator is used; the service forgets it after five minutes.
const LIFE: Duration = Duration::from_secs(270);
/// Bytes a second that the service gives of a shard.
const BANDWIDTH: f64 = (2 << 20) as f64;
/// How old the word that a place has of its time may become. In milliseconds.
const STALE: u64 = 3_600_000;

/// What was read of a shard and not taken yet, and how to go on.
#[derive(Debug)]
pub(crate) struct Open {
    /// The place before what was not taken.
    pub(crate) place: Place,
    rest: VecDeque<Record>,
    iterator: Option<(String, Instant)>,
    /// The first record has to be this one, or some are missing.
    expected: Option<Sequence>,
    /// There are no further records, ever.
    over: bool,
    behind: Option<u64>,
}

/// Why a page cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Records are gone that were not read.
    Lost,
    /// Records do not come in their order.
    Order,
}

impl Open {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, rest: VecDeque::new(), iterator: None, expected: None, over: false, behind: None }
    }

    /// Whether there is something to be taken, or nothing ever again.
    pub(crate) fn holds(&self) -> bool {
        self.over || !self.rest.is_empty()
    }

    /// Milliseconds between the last record that was read and the newest.
    pub(crate) fn behind(&self) -> u64 {
        self.behind.unwrap_or(0)
    }

    /// The iterator to go on with, unless it is too old, or what it leads to may have been removed.
    pub(crate) fn iterator(&self, now_ms: u64) -> Option<String> {
        let (iterator, made) = self.iterator.as_ref()?;
        (made.elapsed() < LIFE && !self.place.may_have_lost(now_ms)).then(|| iterator.clone())
    }

    /// An iterator expired.
    pub(crate) fn forget(&mut self) {
        self.iterator = None;
    }

    /// Where a new iterator begins.
    pub(crate) fn begin(&self, now_ms: u64) -> Begin {
        match (&self.place.after, self.place.from) {
            (Some(after), _) if self.place.read > 0 || self.place.may_have_lost(now_ms) => Begin::At(after.clone()),
            (Some(after), _) => Begin::After(after.clone()),
            (None, Some(ms)) => Begin::Since(ms),
            (None, None) => Begin::Oldest,
        }
    }

    /// A new iterator begins there.
    pub(crate) fn begun(&mut self, begin: &Begin, iterator: String) {
        self.expected = if let Begin::At(number) = begin { Some(number.clone()) } else { None };
        self.iterator = Some((iterator, now()));
    }

    /// Takes an answer to a request for `limit` records; how many bytes it has.
    pub(crate) fn take(&mut self, page: Page, limit: usize) -> Result<usize, Bad> {
        let Page { mut records, next_shard_iterator, millis_behind_latest } = page;
        let count = records.len();
        if let Some(expected) = self.expected.take() {
            match records.first() {
                Some(first) if first.sequence_number != expected => return Err(Bad::Lost),
                Some(_) if self.place.read == 0 => drop(records.remove(0)),
                Some(_) => {}
                None if next_shard_iterator.is_none() || millis_behind_latest == Some(0) => return Err(Bad::Lost),
                None => self.expected = Some(expected),
            }
        }
        let (mut before, mut bytes) = (self.place.after.clone(), 0);
        for record in &records {
            let again = self.place.read > 0 && bytes == 0;
            let number = &record.sequence_number;
            if before.as_ref().is_some_and(|before| number < before || (number == before && !again)) {
                return Err(Bad::Order);
            }
            before = Some(number.clone());
            bytes += (record.data.len() + record.partition_key.len()).max(1);
        }
        if self.place.after.is_none()
            && let Some(from) = self.place.from
        {
            let first = records.iter().position(|record| record.arrival >= from).unwrap_or(records.len());
            records.drain(..first);
        }
        self.over = next_shard_iterator.is_none();
        self.iterator = next_shard_iterator.map(|iterator| (iterator, now()));
        // Of records that came in one millisecond, some may be left.
        self.behind = millis_behind_latest.filter(|behind| *behind > 0 || count < limit);
        self.rest.extend(records);
        Ok(bytes)
    }

    /// The messages for which there is room.
    pub(crate) fn give(
        &mut self,
        start: &Position,
        keys: &RangeInclusive<u128>,
        limits: Limits,
        now_ms: u64,
    ) -> Fetched {
        let (mut messages, mut stray) = (Messages::default(), 0);
        while let Some(record) = self.rest.front() {
            let parts = parts(record, keys);
            stray += u64::from(parts.is_empty());
            if !give(record, &parts, &mut self.place, &mut messages, limits) {
                break;
            }
            self.rest.pop_front();
        }
        if stray > 0 {
            metrics::add("records_of_other_shards", stray);
        }
        let whole = self.rest.is_empty();
        let newest = whole && (self.over || self.behind == Some(0));
        if whole && self.over {
            (self.place.ended, self.place.at) = (true, Some(now_ms));
        } else if newest
            && self.place.after.is_some()
            && self.place.at.is_none_or(|at| at.saturating_add(STALE) < now_ms)
        {
            self.place.at = Some(now_ms);
        }
        let moved = !messages.is_empty();
        let progress = if self.place.ended {
            Progress::Ended
        } else if newest && !moved {
            Progress::Idle
        } else {
            Progress::More
        };
        let next = self.place.position();
        let next = if next == *start { start.clone() } else { next };
        // What comes after the end of a shard is in its children, which nobody may have found yet.
        let high_watermark = (newest && !self.over).then_some(self.place.offset);
        Fetched { messages, next, high_watermark, progress }
    }

    /// Nothing, since it is not time to ask.
    pub(crate) fn nothing(&self, start: &Position) -> Fetched {
        let newest = self.behind == Some(0);
        let progress = if newest { Progress::Idle } else { Progress::More };
        let high_watermark = newest.then_some(start.offset);
        Fetched { messages: Messages::default(), next: start.clone(), high_watermark, progress }
    }
}

/// Adds the messages of a record that were not read; whether all of them are.
fn give(record: &Record, parts: &[Part], place: &mut Place, messages: &mut Messages, limits: Limits) -> bool {
    let read = if place.after.as_ref() == Some(&record.sequence_number) { place.read } else { 0 };
    let number = record.sequence_number.to_string();
    for (at, part) in parts.iter().enumerate().skip(read) {
        let size = part.data.len() + part.key.len() + number.len();
        let full =
            messages.len() >= limits.messages || (!messages.is_empty() && messages.bytes() + size > limits.bytes);
        if full {
            if at > read || read > 0 {
                (place.after, place.read) = (Some(record.sequence_number.clone()), at);
            }
            return false;
        }
        let added = messages.add(place.offset, &part.data);
        let added = added.key(part.key.as_bytes()).header("sequence", number.as_bytes());
        added.timestamp_ms(i64::try_from(record.arrival).unwrap_or(i64::MAX));
        place.offset = place.offset.saturating_add(1);
    }
    (place.after, place.read, place.at) = (Some(record.sequence_number.clone()), 0, Some(record.arrival));
    true
}

/// When a shard may be asked again: so many requests a second, and so many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) due: Instant,
}

impl Pace {
    /// After an answer of `bytes` to what was asked at `asked`.
    pub(crate) fn after(asked: Instant, bytes: usize, interval: Duration) -> Self {
        Self { due: asked + interval.max(Duration::from_secs_f64(bytes as f64 / BANDWIDTH)) }
    }
}
