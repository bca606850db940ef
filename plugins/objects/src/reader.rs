//! Reads one object after the other.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use spout_guest::{Error, Every, Fetched, Limits, Messages, Position, Progress, Result, now, warn};

use crate::{
    bucket::{Bucket, Failed},
    listing::Object,
    open::{Open, Room, Step},
    place::{Place, Within},
    settings::{Order, Settings},
};

/// How long a fetch goes on with further objects and chunks.
const BUSY: Duration = Duration::from_secs(2);
/// How long a list of all objects may take, and a fetch with all its requests besides what it waits.
const LISTING: Duration = Duration::from_secs(4);
const FETCH: Duration = Duration::from_secs(8);

/// Reads the objects below a prefix.
#[derive(Debug)]
pub struct Reader {
    bucket: Rc<RefCell<Bucket>>,
    settings: Settings,
    /// Objects that are new, and the place from which they are.
    found: (Place, VecDeque<Object>),
    open: Option<Open>,
    every: Every,
}

impl Reader {
    pub(crate) fn new(bucket: Bucket, settings: Settings) -> Self {
        let (found, every) = ((Place::default(), VecDeque::new()), Every::seconds(settings.every));
        Self { bucket: Rc::new(RefCell::new(bucket)), settings, found, open: None, every }
    }

    /// The next object that was not read, in their order; it moves `place` over those that do not count.
    fn next_object(&mut self, place: &mut Place, timeout: Duration) -> Result<Option<Object>> {
        if self.found.0 != *place || self.found.1.is_empty() {
            if !self.every.due(timeout) {
                return Ok(None);
            }
            self.found = (place.clone(), VecDeque::new());
            self.look(place)?;
        }
        let object = self.found.1.front().cloned();
        self.every.set_idle(object.is_none());
        Ok(object)
    }

    fn look(&mut self, place: &mut Place) -> Result<()> {
        let counts = |object: &Object| object.size > 0 && object.key.ends_with(&self.settings.suffix);
        match self.settings.order {
            Order::Name => loop {
                let listing = self.bucket.borrow_mut().list(place.after.as_deref(), None)?;
                let last = listing.objects.last().map(|object| object.key.clone());
                let new: VecDeque<Object> = listing.objects.into_iter().filter(counts).collect();
                if !new.is_empty() || listing.more.is_none() || last.is_none() {
                    self.found = (place.clone(), new);
                    return Ok(());
                }
                place.after = last;
            },
            Order::Modified => {
                let all = self.bucket.borrow_mut().list_all(LISTING)?;
                let new = |object: &Object| counts(object) && place.is_new(object, &self.settings);
                let mut new: Vec<Object> = all.into_iter().filter(new).collect();
                new.sort_by(|one, other| (one.modified, &one.key).cmp(&(other.modified, &other.key)));
                self.found = (place.clone(), new.into());
                Ok(())
            }
        }
    }

    /// The object that is being read, open at its place.
    fn opened(&mut self, within: &Within) -> Open {
        let object = within.object();
        match self.open.take().filter(|open| open.object == object && open.at == within.at) {
            Some(open) => open,
            None => Open::new(&self.bucket, object, within.at),
        }
    }

    /// What is left of an object that went or changed while it was read is gone.
    fn gone(&mut self, place: &Place, within: &Within, offset: u64) -> Error {
        let object = within.object();
        self.found = (Place::default(), VecDeque::new());
        // It may be there anew, and is then listed; or reading goes on behind it.
        let again = Position::of(&Place { within: None, ..place.clone() }, offset);
        let behind = place.clone().passed(&object, &self.settings);
        Error::OutOfRange { earliest: again, latest: Position::of(&behind, offset) }
    }
}

impl spout_guest::Reader for Reader {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let Some(begun) = start.place::<Place>("objects.token", "a bucket")? else { return Err(Position::nowhere()) };
        let mut place = begun.clone();
        let (whole, max_line) = (self.settings.whole, self.settings.max_line);
        self.bucket.borrow_mut().begin(limits.timeout + FETCH);
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
                        Ok(Some(object)) => Within::new(object),
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
                    let (object, follows) = (reached.object(), self.found.0 == place);
                    place = place.passed(&object, &self.settings);
                    // What was found follows only from where it was found.
                    let mut rest = if follows { std::mem::take(&mut self.found.1) } else { VecDeque::new() };
                    if rest.pop_front().is_some_and(|first| first != object) {
                        rest.clear();
                    }
                    self.found = (place.clone(), rest);
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
        let idle = nothing && !again && place.within.is_none();
        let progress = if idle { Progress::Idle } else { Progress::More };
        let done = place.within.is_none() && self.found.1.is_empty();
        Ok(Fetched { messages, next, high_watermark: done.then_some(offset), progress })
    }
}
