//! Reads one stream from an offset on.
//!
//! A server that is asked for an offset which it does not have any more, or not yet, says nothing of that and delivers what comes
//! after. So a reader asks for the message before, which it has read: that comes first, and is the same, or something is missing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use spout_guest::{Error, Fetched, Limits, Messages, Position, Progress, Result, now};
use spout_queue::{Gather, PATIENCE, gather};

use crate::{
    client::{Client, QUIET},
    edge::{edge, hash, no_stream},
    frame::{Message, Taken},
    method::{Begin, Method},
    settings::Settings,
};

/// How often the end is looked for while the stream has more, at the most, and how seldom if that takes long.
const LOOK: Duration = Duration::from_secs(1);
const SHARE: u32 = 25;

/// The message before a position: where it is, and what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) hash: u64,
}

impl Place {
    /// The position after it.
    pub(crate) fn next(&self) -> Position {
        Position::of(self, self.at.saturating_add(1))
    }
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    /// Another connection, for where the stream begins and ends.
    other: Client,
    settings: Settings,
    open: Option<Open>,
    /// After what the stream is known to have, when that was looked for, and how long it took.
    end: u64,
    looked: Option<(Instant, Duration)>,
}

/// What a connection delivers.
#[derive(Debug)]
struct Open {
    connection: u64,
    /// Where it was asked for, and since when.
    start: Position,
    since: Instant,
    /// The start is known to be in this stream.
    proven: bool,
    /// Where this fetch began, and where the next one does.
    from: u64,
    next: Position,
    /// The least offset that can come next.
    expected: u64,
    /// Some before the next were lost: nothing more of this is taken.
    broken: bool,
    ready: VecDeque<(u64, Message)>,
    /// Messages that were not acknowledged, and the last tag.
    waiting: u16,
    tag: u64,
    questions: Questions,
}

/// Questions for the number of messages. The answer comes after all that the server has, and so says whether there is more.
#[derive(Debug, Default)]
struct Questions {
    open: u64,
    /// Something came since the last one.
    fresh: bool,
    /// Nothing came before the answer.
    drained: bool,
    /// The last answer.
    count: Option<u32>,
}

impl Open {
    fn new(connection: u64, start: &Position) -> Self {
        Self {
            connection,
            start: start.clone(),
            since: now(),
            proven: false,
            from: start.offset,
            next: start.clone(),
            expected: start.offset,
            broken: false,
            ready: VecDeque::new(),
            waiting: 0,
            tag: 0,
            questions: Questions::default(),
        }
    }

    /// Whether this goes on there.
    fn continues(&self, connection: Option<u64>, start: &Position) -> bool {
        let same = self.next.offset == start.offset && (start.token.is_none() || self.next.token == start.token);
        same && Some(self.connection) == connection && !(self.broken && self.ready.is_empty())
    }
}

impl Reader {
    pub(crate) fn new(client: Client, other: Client, settings: Settings) -> Self {
        Self { client, other, settings, open: None, end: 0, looked: None }
    }

    /// Sees to it that messages come from there on.
    fn begin(&mut self, start: &Position) -> Result<()> {
        let connection = self.client.link.connection();
        if let Some(open) = self.open.as_mut().filter(|open| open.continues(connection, start)) {
            open.from = start.offset;
            return Ok(());
        }
        self.open = None;
        if connection.is_some() {
            self.client.leave();
        }
        let begin = start.offset.checked_sub(1).map_or(Begin::First, Begin::Offset);
        self.client.connect(Some(begin), self.settings.prefetch)?;
        self.open = self.client.link.connection().map(|connection| Open::new(connection, start));
        Ok(())
    }

    fn take(&mut self, mut message: Message) -> Result<()> {
        let offset = message.offset().ok_or_else(no_stream)?;
        // It is the same message whenever it comes.
        message.delivery.again = false;
        let Some(open) = &mut self.open else { return Ok(()) };
        (open.waiting, open.tag) = (open.waiting.saturating_add(1), message.delivery.tag);
        (open.questions.fresh, open.questions.drained) = (true, false);
        let enough = open.waiting >= self.settings.prefetch.div_ceil(2);
        if !open.broken {
            self.place(offset, message)?;
        }
        if enough { self.acknowledge() } else { Ok(()) }
    }

    /// Puts a message where it belongs.
    fn place(&mut self, offset: u64, message: Message) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let (expected, start) = (open.expected, open.start.offset);
        if !open.proven && start > 0 && offset < start {
            if offset + 1 < start {
                return Ok(());
            }
            let place = open.start.place::<Place>("amqp.token", "a stream")?.filter(|place| place.at == offset);
            open.proven = true;
            let same = place.is_none_or(|place| place.hash == hash(&message));
            return if same { Ok(()) } else { Err(self.lost()?) };
        }
        if offset < expected {
            return Err(self.client.link.broken("protocol", "a stream goes back"));
        }
        // At the beginning nothing is missing; and a stream has what is no message, too.
        let gap = offset > expected && start.max(expected) > 0;
        (open.proven, open.expected) = (true, offset.saturating_add(1));
        if gap {
            // Asked for after the message came: what is there now was there then.
            let first = edge(&mut self.other, Begin::First)?.map_or(u64::MAX, |edge| edge.first);
            let Some(open) = &mut self.open else { return Ok(()) };
            open.broken = first > expected;
            if open.broken {
                // What came before it counts.
                return if expected == open.from { Err(self.lost()?) } else { Ok(()) };
            }
        }
        if let Some(open) = &mut self.open {
            open.ready.push_back((offset, message));
        }
        Ok(())
    }

    /// Lets the server send more.
    fn acknowledge(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.waiting == 0 {
            return Ok(());
        }
        open.waiting = 0;
        self.client.acknowledge(open.tag)
    }

    /// Asks whether there is more.
    fn ask(&mut self) -> Result<()> {
        self.acknowledge()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.questions.open > 0 || open.questions.drained || !open.ready.is_empty() {
            return Ok(());
        }
        (open.questions.open, open.questions.fresh) = (1, false);
        self.client.look()
    }

    /// What was to be read is not there any more, or is something else.
    fn lost(&mut self) -> Result<Error> {
        self.open = None;
        self.client.leave();
        let earliest = edge(&mut self.other, Begin::First)?.map_or(0, |edge| edge.first);
        let latest = edge(&mut self.other, Begin::Last)?.map_or(Position::at(earliest), |edge| edge.next());
        Ok(Error::OutOfRange { earliest: Position::at(earliest), latest })
    }

    /// There is nothing just now: whether that is all.
    fn progress(&mut self) -> Result<Progress> {
        self.client.keep()?;
        self.ask()?;
        let Some(open) = self.open.as_ref().filter(|open| !open.broken) else { return Ok(Progress::More) };
        let (quiet, late) = (open.since.elapsed() > QUIET, open.since.elapsed() > PATIENCE);
        if open.proven {
            return Ok(if open.questions.drained { Progress::Idle } else { Progress::More });
        }
        if open.start.offset == 0 {
            if quiet && open.questions.count == Some(0) {
                return Ok(Progress::Idle);
            }
        } else if quiet {
            // The message before is there, or the stream is another one.
            let start = open.start.offset;
            if edge(&mut self.other, Begin::Last)?.is_none_or(|edge| edge.next().offset < start) {
                return Err(self.lost()?);
            }
        }
        if late {
            return Err(self.client.link.broken("io", "it does not deliver what the stream has"));
        }
        if let Some(open) = &mut self.open {
            // The number of messages is counted now and then.
            open.questions.drained = false;
        }
        Ok(Progress::More)
    }

    /// After what the stream has, as far as that is known.
    fn end(&mut self, next: u64) -> Option<u64> {
        let open = self.open.as_ref().filter(|open| open.proven)?;
        if open.questions.drained && open.ready.is_empty() {
            self.end = next;
            return Some(next);
        }
        let begun = now();
        let due = |(last, took): (Instant, Duration)| begun.duration_since(last) > LOOK.max(took * SHARE);
        if self.looked.is_none_or(due) {
            // Whoever cannot say how far it is behind goes on all the same.
            let found = edge(&mut self.other, Begin::Last);
            self.end = found.ok().flatten().map_or(self.end, |edge| edge.next().offset);
            self.looked = Some((now(), begun.elapsed()));
        }
        Some(self.end.max(next))
    }
}

impl Gather for Reader {
    fn drain(&mut self, messages: &mut Messages, limits: Limits) -> Result<bool> {
        let fits = |messages: &Messages| messages.is_empty() || messages.bytes() < limits.bytes;
        let Some(open) = &mut self.open else { return Ok(false) };
        let mut last = None;
        while messages.len() < limits.messages && fits(messages) {
            let Some((offset, message)) = open.ready.pop_front() else { break };
            let mut added = messages.add(offset, &message.body);
            if let Some(id) = &message.properties.message_id {
                added = added.header("message-id", id.as_bytes());
            }
            message.describe(added, self.settings.routing_key_as_key);
            last = Some((offset, message));
        }
        if let Some((at, message)) = last {
            open.next = Place { at, hash: hash(&message) }.next();
        }
        Ok(open.ready.is_empty() && !open.broken && messages.len() < limits.messages && fits(messages))
    }

    fn step(&mut self, until: Instant) -> Result<bool> {
        match self.client.receive(until)? {
            None => return Ok(false),
            Some(Taken::Message(message)) => self.take(message)?,
            Some(Taken::Method(Method::Declared(count))) => {
                if let Some(Open { questions, .. }) = &mut self.open {
                    questions.open = questions.open.saturating_sub(1);
                    (questions.drained, questions.count) = (!questions.fresh, Some(count));
                }
            }
            Some(Taken::Nothing | Taken::Method(Method::Noted)) => {}
            Some(Taken::Method(_)) => {
                self.client.link.close();
                return Err(self.client.unexpected());
            }
        }
        Ok(true)
    }

    fn is_connected(&self) -> bool {
        self.client.link.connection().is_some()
    }

    fn close(&mut self) {
        self.client.link.close();
    }
}

impl spout_guest::Reader for Reader {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        self.begin(&start)?;
        let messages = gather(self, limits)?;
        let progress = if messages.is_empty() {
            self.progress()?
        } else {
            self.client.link.well();
            // Whether that went well, the next call finds out.
            drop(self.client.live().and_then(|()| self.ask()));
            Progress::More
        };
        let next = self.open.as_ref().map_or(start, |open| open.next.clone());
        let end = if progress == Progress::Idle { Some(next.offset) } else { self.end(next.offset) };
        Ok(Fetched { messages, next, high_watermark: end, progress })
    }
}
