//! Rows, then changes, as messages.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use spout_guest::{Answered, Error, Fetched, Limits, Messages, Position, Progress, Result, SharedReader, now};

use crate::{
    CALL, Lsn, Settings,
    change::{Change, Item},
    changes::{self, Changes, STEP},
    covered,
    place::{Cursor, Place, Rest},
    render::{self, Deed, Said},
    rows::{Read, Rows},
    session::Row,
    settings::Format,
};

/// Changes that are taken from the stream before they are given, and about how many bytes.
const AHEAD: (usize, usize) = (256, 1 << 20);
/// How often a server that says nothing is asked how far it is, where rows wait for that.
const ASK: Duration = Duration::from_millis(50);

/// Reads a publication, which is one partition.
#[derive(Debug)]
pub struct Publication {
    settings: Settings,
    publication: String,
    first: Place,
    /// What the next fetch is expected to ask for.
    expected: Option<Position>,
    place: Place,
    offset: u64,
    rows: Option<Rows>,
    /// A row that did not fit into the last answer.
    row: Option<Row>,
    changes: Option<Changes>,
    queue: VecDeque<Item>,
    /// What is committed, and of which system.
    flush: Option<(Option<String>, Lsn)>,
}

/// An answer in the making.
struct Answer {
    messages: Messages,
    limits: Limits,
    deadline: Instant,
    /// When the call has to be over.
    call: Instant,
}

/// How an answer goes on.
enum Flow {
    /// With what the place says now.
    On,
    /// Not at all: it is full, or there is nothing for now.
    Return(Progress),
}

impl Answer {
    /// How long to wait for more: not at all where there is something.
    fn until(&self) -> Instant {
        if self.messages.is_empty() { self.deadline } else { now() }
    }

    fn full(&self) -> bool {
        self.messages.len() >= self.limits.messages || self.messages.bytes() >= self.limits.bytes
    }

    /// Adds a message, unless there is no room any more.
    fn add(&mut self, offset: u64, said: &Said<'_>, format: Format) -> bool {
        let one = render::message(said, format);
        let fits = self.messages.is_empty() || self.messages.bytes().saturating_add(one.bytes()) <= self.limits.bytes;
        if fits {
            one.add(&mut self.messages, offset);
        }
        fits
    }

    /// Adds a change, unless there is no room any more.
    fn change(&mut self, offset: u64, change: &Change, format: Format) -> bool {
        let relation = &change.table.relation;
        let said = Said {
            deed: change.deed,
            schema: &relation.schema,
            table: &relation.table,
            columns: &relation.columns,
            key: &change.table.key,
            before: change.before.as_ref(),
            key_only: change.key_only,
            after: change.after.as_ref(),
            transaction: Some(change.transaction),
        };
        self.add(offset, &said, format)
    }
}

impl SharedReader for Publication {
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        let answer = |(partition, start): &(u32, Position)| match partition {
            0 => (0, self.one(start, limits)),
            other => (*other, Err(Error::fatal("postgres.partition", "a publication is partition 0 and no other"))),
        };
        Ok(wanted.iter().map(answer).collect())
    }

    fn committed(&mut self, upto: &[(u32, Position)]) -> Result<()> {
        for (_, position) in upto.iter().filter(|(partition, position)| *partition == 0 && position.token.is_some()) {
            if let Some(place) = Place::of(position, &self.first)?.filter(|place| place.system.is_some()) {
                self.flush = Some((place.system, place.lsn));
            }
        }
        self.confirm()
    }
}

impl Publication {
    pub(crate) fn new(settings: Settings, publication: String, first: Place) -> Self {
        Self {
            settings,
            publication,
            place: first.clone(),
            first,
            expected: None,
            offset: 0,
            rows: None,
            row: None,
            changes: None,
            queue: VecDeque::new(),
            flush: None,
        }
    }

    /// Tells the server what is committed, if it listens.
    fn confirm(&mut self) -> Result<()> {
        match (&mut self.changes, &self.flush) {
            (Some(changes), Some((system, lsn))) if *system == self.place.system => changes.flush(*lsn),
            _ => Ok(()),
        }
    }

    fn one(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        let answered = self.answer(start, limits);
        answered.map_err(|error| {
            self.forget();
            error.of(&self.settings.address)
        })
    }

    fn forget(&mut self) {
        (self.expected, self.row, self.changes) = (None, None, None);
        self.queue.clear();
        self.rows.take().into_iter().for_each(Rows::close);
    }

    fn answer(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        if self.expected.as_ref() != Some(start) {
            self.forget();
            let Some(place) = Place::of(start, &self.first)? else {
                return Err(changes::out_of_range(Lsn(start.offset), start.offset));
            };
            (self.place, self.offset) = (place, start.offset);
        }
        let call = now() + limits.timeout + CALL;
        let mut answer = Answer { messages: Messages::default(), limits, deadline: now() + limits.timeout, call };
        self.rows.iter_mut().for_each(|rows| rows.within(call));
        self.changes.iter_mut().for_each(|changes| changes.within(call));
        let progress = loop {
            let flow = match self.place.rest {
                Rest::None => self.stream(&mut answer)?,
                Rest::Slot => self.begin(&answer)?,
                Rest::Rows | Rest::After(_) => self.read(&mut answer)?,
            };
            if let Flow::Return(progress) = flow {
                break progress;
            }
        };
        // Where the place moves with messages, the offset follows the log; alone, it does so in large steps.
        let moved = self.place.lsn.0.saturating_sub(self.offset);
        let between = self.place.rest == Rest::None && self.place.skip == 0;
        if between && (!answer.messages.is_empty() || moved >= STEP) {
            self.offset = Place::offset(self.offset, self.place.lsn);
        }
        let next = self.place.at(self.offset);
        self.expected = Some(next.clone());
        Ok(Fetched { messages: answer.messages, next, high_watermark: self.high_watermark(), progress })
    }

    /// Bytes of log lie between the offset and this one. Nothing is known while rows are read.
    fn high_watermark(&self) -> Option<u64> {
        let changes = self.changes.as_ref().filter(|_| self.place.rest == Rest::None)?;
        let done = changes.idle() && self.queue.is_empty();
        Some(if done { self.offset } else { Place::offset(self.offset, changes.end) })
    }

    /// As of when rows can be read; `None` if that is not known yet.
    fn ready(&mut self, answer: &Answer) -> Result<Option<Lsn>> {
        let rows = match &mut self.rows {
            Some(rows) => rows,
            none => none.insert(Rows::open(&self.settings, &self.publication, &self.place, self.offset, answer.call)?),
        };
        if !rows.ready(answer.until(), self.place.rest != Rest::Slot)? {
            return Ok(None);
        }
        self.place.system = Some(rows.system.clone());
        Ok(Some(rows.at))
    }

    /// Makes the slot where changes alone are wanted.
    fn begin(&mut self, answer: &Answer) -> Result<Flow> {
        let Some(at) = self.ready(answer)? else { return Ok(Flow::Return(Progress::More)) };
        (self.place.lsn, self.place.rest) = (self.place.lsn.max(at), Rest::None);
        self.rows.take().into_iter().for_each(Rows::close);
        Ok(Flow::On)
    }

    /// Reads rows. Those that were read before are brought to the same place in the log first.
    fn read(&mut self, answer: &mut Answer) -> Result<Flow> {
        let Some(at) = self.ready(answer)? else { return Ok(Flow::Return(Progress::More)) };
        match self.place.rest.clone() {
            Rest::After(cursor) if self.place.lsn < at || !self.queue.is_empty() => {
                return self.catch_up(&cursor, at, answer);
            }
            Rest::After(_) => {}
            _ => self.place.lsn = at,
        }
        let Some(rows) = &mut self.rows else { return Ok(Flow::On) };
        let (mut last, mut flow) = (None, Flow::Return(Progress::More));
        while !answer.full() {
            let row = match self.row.take() {
                Some(row) => row,
                None => match rows.next(answer.until())? {
                    Read::Row(row) => row,
                    Read::Waiting => break,
                    Read::Done => {
                        flow = Flow::On;
                        break;
                    }
                },
            };
            let Some(table) = rows.table() else { break };
            let after = render::tuple(&row);
            let said = Said {
                deed: Deed::Read,
                schema: &table.schema,
                table: &table.table,
                columns: &table.columns,
                key: &table.names,
                before: None,
                key_only: false,
                after: Some(&after),
                transaction: None,
            };
            if !answer.add(self.offset, &said, self.settings.format) {
                self.row = Some(row);
                break;
            }
            self.offset += 1;
            last = Some((rows.current(), row));
        }
        if let Some((table, row)) = last {
            self.place.rest = Rest::After(rows.cursor(table, &row)?);
        }
        if let Flow::On = flow {
            self.place.rest = Rest::None;
            self.offset = Place::offset(self.offset, self.place.lsn);
            self.rows.take().into_iter().for_each(Rows::close);
        }
        Ok(flow)
    }

    /// Gives the changes that covered rows had before `target`.
    fn catch_up(&mut self, cursor: &Cursor, target: Lsn, answer: &mut Answer) -> Result<Flow> {
        self.connect(answer)?;
        loop {
            if !self.drain(answer) {
                return Ok(Flow::Return(Progress::More));
            }
            let (Some(changes), Some(rows)) = (&mut self.changes, &mut self.rows) else { return Ok(Flow::On) };
            if changes.through >= target {
                (self.place.lsn, self.place.skip, self.changes) = (target, 0, None);
                return Ok(Flow::On);
            }
            let until = answer.until();
            let (mut items, mut bytes) = (Vec::new(), 0);
            while items.len() < AHEAD.0 && bytes < AHEAD.1 {
                match changes.next(if items.is_empty() { until.min(now() + ASK) } else { now() })? {
                    Some(item) if item.change.as_ref().is_some_and(|change| change.transaction.commit >= target) => {
                        changes.through = target;
                        break;
                    }
                    Some(item) => {
                        bytes += item.bytes();
                        items.push(Item { lsn: item.lsn.min(target), ..item });
                    }
                    None => break,
                }
            }
            if items.is_empty() && changes.through < target {
                changes.ask()?;
                if now() >= until {
                    return Ok(Flow::Return(Progress::More));
                }
            }
            self.queue.extend(covered::keep(items, cursor, rows)?);
        }
    }

    /// Gives changes.
    fn stream(&mut self, answer: &mut Answer) -> Result<Flow> {
        self.connect(answer)?;
        loop {
            if !self.drain(answer) {
                return Ok(Flow::Return(Progress::More));
            }
            let Some(changes) = &mut self.changes else { return Ok(Flow::On) };
            let (mut until, mut bytes) = (answer.until(), 0);
            while self.queue.len() < AHEAD.0 && bytes < AHEAD.1 {
                let Some(item) = changes.next(until)? else { break };
                bytes += item.bytes();
                self.queue.push_back(item);
                until = now();
            }
            if self.queue.is_empty() {
                let idle = changes.idle() && answer.messages.is_empty();
                if !changes.idle() {
                    changes.ask()?;
                }
                return Ok(Flow::Return(if idle { Progress::Idle } else { Progress::More }));
            }
        }
    }

    fn connect(&mut self, answer: &Answer) -> Result<()> {
        if self.changes.is_some() {
            return Ok(());
        }
        let changes = Changes::open(&self.settings, &self.publication, &self.place, self.offset, answer.call)?;
        self.place.system = Some(changes.system.clone());
        self.changes = Some(changes);
        self.confirm()
    }

    /// Gives what was taken from the stream; whether that is all.
    fn drain(&mut self, answer: &mut Answer) -> bool {
        while let Some(item) = self.queue.front() {
            if let Some(change) = &item.change {
                let offset = Place::offset(self.offset, change.transaction.commit);
                if answer.full() || !answer.change(offset, change, self.settings.format) {
                    return false;
                }
                self.offset = offset + 1;
            }
            (self.place.lsn, self.place.skip) = (item.lsn, item.skip);
            self.queue.pop_front();
        }
        !answer.full()
    }
}
