//! Reads one object after the other.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use spout_guest::{Error, Every, Fetched, Limits, Messages, Position, Progress, Result, now, warn};

use crate::{
    listing::{New, Object},
    open::{Open, Room, Step},
    place::{Place, Within},
    settings::Reading,
    store::{Failed, Store},
};

/// How long a fetch goes on with further objects and chunks.
const BUSY: Duration = Duration::from_secs(2);
/// How long a fetch may take with all its requests, besides what it waits.
const FETCH: Duration = Duration::from_secs(8);

/// Reads the objects below a prefix.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    store: Rc<RefCell<S>>,
    reading: Reading,
    /// Objects that are new, and the place from which they are.
    found: (Place, VecDeque<New>),
    open: Option<Open>,
    every: Every,
}

impl<S: Store> Reader<S> {
    pub(crate) fn new(store: S, reading: Reading) -> Self {
        let (found, every) = ((Place::default(), VecDeque::new()), Every::seconds(reading.every));
        Self { store: Rc::new(RefCell::new(store)), reading, found, open: None, every }
    }

    /// The next object that was not read, in their order; it moves `place` over those that do not count.
    fn next_object(&mut self, place: &mut Place, timeout: Duration) -> Result<Option<New>> {
        if self.found.0 != *place || self.found.1.is_empty() {
            if !self.every.due(timeout) {
                return Ok(None);
            }
            self.found = (place.clone(), VecDeque::new());
            let new = self.store.borrow_mut().look(place)?;
            self.found = (place.clone(), new);
        }
        let new = self.found.1.front().cloned();
        self.every.set_idle(new.is_none());
        Ok(new)
    }

    /// The object that is being read, open at its place.
    fn opened(&mut self, within: &Within) -> Open {
        let object = within.object();
        match self.open.take().filter(|open| open.object == object && open.at == within.at) {
            Some(open) => open,
            None => Open::new(&self.store, object, within.at),
        }
    }

    /// Moves `place` past an object.
    fn pass(&mut self, place: &mut Place, object: &Object) {
        let follows = self.found.0 == *place;
        *place = self.store.borrow().passed(std::mem::take(place), object);
        // What was found follows only from where it was found.
        let mut rest = if follows { std::mem::take(&mut self.found.1) } else { VecDeque::new() };
        if rest.pop_front().is_some_and(|first| first.object != *object) {
            rest.clear();
        }
        self.found = (place.clone(), rest);
    }

    /// What is left of an object that went or changed while it was read is gone.
    fn gone(&mut self, place: &Place, within: &Within, offset: u64) -> Error {
        let object = within.object();
        self.found = (Place::default(), VecDeque::new());
        // It may be there anew, and is then listed; or reading goes on behind it.
        let again = Position::of(&Place { within: None, ..place.clone() }, offset);
        let behind = self.store.borrow().passed(place.clone(), &object);
        Error::OutOfRange { earliest: again, latest: Position::of(&behind, offset) }
    }
}

impl<S: Store> spout_guest::Reader for Reader<S> {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let Some(begun) = start.place::<Place>("objects.token", "a bucket or directory")? else {
            return Err(Position::nowhere());
        };
        let mut place = begun.clone();
        let Reading { whole, max_line, .. } = self.reading;
        self.store.borrow_mut().begin(limits.timeout + FETCH);
        let until = now() + limits.timeout + BUSY;
        let room = Room { messages: limits.messages, bytes: limits.bytes, until, max_line, whole };
        let (mut messages, mut offset, mut more) = (Messages::default(), start.offset, true);
        let mut again = false;
        while more && now() < until {
            let within = match place.within.take() {
                Some(within) => within,
                None => {
                    let wait = if messages.is_empty() { limits.timeout } else { Duration::ZERO };
                    match self.next_object(&mut place, wait) {
                        Ok(Some(New { object, aside: None })) => Within::new(object),
                        Ok(Some(New { aside: Some(_), .. })) if messages.len() >= limits.messages => break,
                        Ok(Some(New { object, aside: Some(fault) })) => {
                            messages.attribute("file", object.key.as_bytes());
                            messages.attribute("modified", object.modified.to_string().as_bytes());
                            messages.attribute("fault", fault.as_bytes());
                            messages.push(offset, b"");
                            offset += 1;
                            self.pass(&mut place, &object);
                            continue;
                        }
                        Ok(None) => break,
                        // What was read counts; the next fetch meets it.
                        Err(_) if !messages.is_empty() => break,
                        Err(error) => return Err(error),
                    }
                }
            };
            let mut open = self.opened(&within);
            messages.attribute("file", within.key.as_bytes());
            messages.attribute("modified", within.modified.to_string().as_bytes());
            let outcome = loop {
                match open.step(offset, &mut messages, room) {
                    Ok(Step::More) => offset = start.offset.saturating_add(messages.len() as u64),
                    outcome => break outcome,
                }
            };
            let reached = Within { at: open.at, ..within };
            match outcome {
                Ok(Step::End) => {
                    self.pass(&mut place, &reached.object());
                }
                Ok(_) => {
                    (self.open, place.within, more) = (Some(open), Some(reached), false);
                }
                Err(Failed::Gone) if reached.at == 0 => {
                    // Nothing of it was read: it is as if it had not been there.
                    warn!("`{}` went or changed before it was read", reached.key);
                    self.found = (Place::default(), VecDeque::new());
                    (more, again) = (false, true);
                }
                Err(Failed::Gone) if messages.is_empty() => return Err(self.gone(&place, &reached, offset)),
                Err(Failed::Other(error)) if messages.is_empty() => return Err(error),
                // What was read counts; the next fetch meets it.
                Err(_) => (place.within, more) = (Some(reached), false),
            }
        }
        let next = if place == begun { start.clone() } else { Position::of(&place, offset) };
        let nothing = messages.is_empty() && next == start;
        let waiting = self.store.borrow().is_waiting();
        let idle = nothing && !again && !waiting && place.within.is_none();
        let progress = if idle { Progress::Idle } else { Progress::More };
        let done = !waiting && place.within.is_none() && self.found.1.is_empty();
        Ok(Fetched { messages, next, high_watermark: done.then_some(offset), progress })
    }
}
