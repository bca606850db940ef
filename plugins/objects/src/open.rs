//! An object that is being read: its bytes as they come, unpacked, and cut into lines.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Read},
    rc::Rc,
    time::Instant,
};

use memchr::memchr;
use spout_guest::{Messages, now};
use spout_unpack::{Gzip, Zstd};

use crate::{
    listing::Object,
    store::{Failed, Store},
};

/// Bytes that are unpacked at once.
const STEP: usize = 64 << 10;
/// What a dead letter has of a line that is too long.
const BEGINNING: usize = 64 << 10;

/// An object, read from some place on.
pub(crate) struct Open {
    pub(crate) object: Object,
    stream: Box<dyn Read>,
    failed: Rc<RefCell<Option<Failed>>>,
    /// Bytes to be passed over before the place where reading began.
    skip: u64,
    /// Where the next line begins.
    pub(crate) at: u64,
    /// What has been unpacked from there on, and how much of it has no line end.
    pending: Vec<u8>,
    searched: usize,
    /// Bytes of a line that is too long and were dropped; its beginning is still there.
    dropped: u64,
    over: bool,
    damage: Option<String>,
}

/// What came of a step.
pub(crate) enum Step {
    /// There may be more.
    More,
    /// No room, or no time.
    Enough,
    /// That was all.
    End,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("object", &self.object).field("at", &self.at).finish_non_exhaustive()
    }
}

/// How much one fetch may take of an object, and what a line may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) until: Instant,
    pub(crate) max_line: usize,
    pub(crate) whole: bool,
}

impl Open {
    pub(crate) fn new<S: Store>(store: &Rc<RefCell<S>>, object: Object, at: u64) -> Self {
        let failed = Rc::new(RefCell::new(None));
        let ends = |endings: &[&str]| endings.iter().any(|ending| object.key.ends_with(ending));
        let (gzip, zstd) = (ends(&[".gz", ".gzip"]), ends(&[".zst", ".zstd"]));
        let from = if gzip || zstd { 0 } else { at };
        let (store, shared) = (Rc::clone(store), Rc::clone(&failed));
        let body = Body { store, object: object.clone(), failed: shared, at: from, chunk: io::Cursor::default() };
        let stream: Box<dyn Read> = if gzip {
            Box::new(Gzip::new(body))
        } else if zstd {
            Box::new(Zstd::new(body))
        } else {
            Box::new(body)
        };
        let (pending, skip) = (Vec::new(), at - from);
        Self { object, stream, failed, skip, at, pending, searched: 0, dropped: 0, over: false, damage: None }
    }

    /// Unpacks some more.
    fn fill(&mut self) -> Result<(), Failed> {
        let before = self.pending.len();
        self.pending.resize(before + STEP, 0);
        let read = self.stream.read(self.pending.get_mut(before..).unwrap_or_default());
        self.pending.truncate(before + read.as_ref().copied().unwrap_or(0));
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        match read {
            Ok(0) => self.over = true,
            Ok(read) => {
                let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(read);
                self.skip -= skipped as u64;
                self.pending.drain(before..before + skipped);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => (self.over, self.damage) = (true, Some(error.to_string())),
        }
        Ok(())
    }

    /// Adds the next message to `messages`, if there is room for it.
    pub(crate) fn step(&mut self, offset: u64, messages: &mut Messages, room: Room) -> Result<Step, Failed> {
        if messages.len() >= room.messages {
            return Ok(Step::Enough);
        }
        loop {
            let tail = self.pending.get(self.searched..).unwrap_or_default();
            let end = memchr(b'\n', tail).filter(|_| !room.whole).map(|end| self.searched + end);
            if let Some(end) = end {
                return Ok(self.line(end, end + 1, offset, messages, room));
            }
            self.searched = self.pending.len();
            if self.over {
                return Ok(self.rest(offset, messages, room));
            }
            if self.pending.len() > room.max_line {
                // Its beginning is enough to tell which one it is.
                self.dropped += (self.pending.len() - BEGINNING.min(room.max_line)) as u64;
                self.pending.truncate(BEGINNING.min(room.max_line));
                self.searched = self.pending.len();
            }
            if now() >= room.until {
                return Ok(Step::Enough);
            }
            self.fill()?;
        }
    }

    /// The line up to `end`, of which the next begins at `next`.
    fn line(&mut self, end: usize, next: usize, offset: u64, messages: &mut Messages, room: Room) -> Step {
        let line = self.pending.get(..end).unwrap_or_default();
        let line = if room.whole { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        let long = self.dropped > 0 || line.len() > room.max_line;
        let line = if long { line.get(..BEGINNING.min(room.max_line)).unwrap_or(line) } else { line };
        if !messages.is_empty() && messages.bytes() + line.len() > room.bytes {
            return Step::Enough;
        }
        if !line.is_empty() {
            let fault =
                if long { format!("line.too-long it has more than {} bytes", room.max_line) } else { String::new() };
            messages.attribute("fault", fault.as_bytes());
            messages.push(offset, line);
        }
        self.at += next as u64 + self.dropped;
        self.pending.drain(..next);
        (self.searched, self.dropped) = (0, 0);
        Step::More
    }

    /// What there is at the end: a last line without an end, and what is wrong with the object.
    fn rest(&mut self, offset: u64, messages: &mut Messages, room: Room) -> Step {
        if !self.pending.is_empty() {
            let end = self.pending.len();
            return self.line(end, end, offset, messages, room);
        }
        if let Some(damage) = self.damage.take() {
            let fault = format!("objects.damaged from byte {} on it cannot be unpacked: {damage}", self.at);
            messages.attribute("fault", fault.as_bytes());
            messages.push(offset, b"");
            return Step::More;
        }
        Step::End
    }
}

/// The bytes of an object, chunk by chunk.
struct Body<S> {
    store: Rc<RefCell<S>>,
    object: Object,
    /// Why there is nothing more; whoever unpacks would take it for damage.
    failed: Rc<RefCell<Option<Failed>>>,
    at: u64,
    chunk: io::Cursor<Vec<u8>>,
}

impl<S: Store> Read for Body<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.chunk.read(into)?;
        if read > 0 || self.at >= self.object.size || into.is_empty() {
            return Ok(read);
        }
        match self.store.borrow_mut().read(&self.object, self.at) {
            Ok(bytes) => {
                self.at += bytes.len() as u64;
                self.chunk = io::Cursor::new(bytes);
                self.chunk.read(into)
            }
            Err(failed) => {
                *self.failed.borrow_mut() = Some(failed);
                Err(io::Error::other("there is nothing more"))
            }
        }
    }
}
