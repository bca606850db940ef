//! One file that is read: its bytes become messages, and before any is given it is made sure that the file is still the
//! one that was read so far.

mod first;
mod more;
mod rest;

use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spout_guest::{Limits, now};

use crate::{
    framing::{Framer, Out, Piece, State, foreign},
    mark::{Hints, Mark, Moving, TAIL},
    names::Name,
    text::Text,
};

/// Bytes asked for at least.
const CHUNK: usize = 64 << 10;

/// Bytes asked for at most.
const PIECE: usize = 1 << 20;

/// The file system dates changes this coarsely, at worst: two changes within it may have one date.
const COARSE: Duration = Duration::from_secs(2);

const ZEROS: [u8; TAIL] = [0; TAIL];

/// How a file's bytes become messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    pub(crate) framer: Framer,
    pub(crate) header: bool,
    pub(crate) whole: bool,
}

/// A file and the place in it. A file that rests is not open, and keeps little more than its mark.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Where it was last seen, below the directory.
    pub(crate) path: String,
    pub(crate) name: Name,
    /// It was read to its end.
    pub(crate) over: bool,
    /// Its log goes on in another file.
    pub(crate) rotated: bool,
    hints: Hints,
    /// `None` while it rests.
    text: Option<Text>,
    place: Moving,
    state: State,
    /// Nothing of it can be read: passed over to its end.
    refused: bool,
    header: Option<Vec<u8>>,
    /// The first message, once it is known; empty if it does not go with the others.
    first: Option<Vec<u8>>,
    /// Bytes read and not framed yet, from `used` on; before them there are `hole` NULs that are not kept.
    buffer: Vec<u8>,
    used: usize,
    hole: u64,
    end: Option<Seen>,
    /// The last look at it found nothing to give.
    drained: bool,
    grew: Instant,
    told_hole: bool,
    /// Since when no file has what was read, for one that rests.
    pub(crate) missed: Option<Instant>,
}

/// A file as it was when its end was met.
#[derive(Clone, Copy, Debug)]
struct Seen {
    length: u64,
    modified: u64,
    checked: Instant,
    /// It may have been changed since without another date.
    fresh: bool,
}

/// What a look at the file came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The place moved on by so many bytes.
    Moved(u64),
    /// Maybe more than what is put out already leaves room for.
    Full,
    /// Nothing for now.
    Nothing,
    /// Read to its end.
    Over,
    /// What was read is not in the file any more.
    Replaced,
}

enum More {
    Bytes,
    End,
    Replaced,
}

impl Reading {
    /// Reads `text` from its start.
    pub(crate) fn new(path: String, name: Name, text: Text, hints: Hints) -> Self {
        Self {
            over: false,
            rotated: !name.live,
            path,
            name,
            hints,
            text: Some(text),
            place: Moving::default(),
            state: State::default(),
            refused: false,
            header: None,
            first: None,
            buffer: Vec::new(),
            used: 0,
            hole: 0,
            end: None,
            drained: false,
            grew: now(),
            told_hole: false,
            missed: None,
        }
    }

    /// Goes on at `mark`, which fits.
    pub(crate) fn resume(path: String, name: Name, mut text: Text, hints: Hints, mark: &Mark) -> io::Result<Self> {
        let place = Moving::resume(mark.clone(), &mut text)?;
        let state = State { skipping: mark.skipping, nuls: 0 };
        Ok(Self { place, state, refused: mark.refused, ..Self::new(path, name, text, hints) })
    }

    pub(crate) fn mark(&self) -> Mark {
        let mut mark = self.place.mark(self.hints);
        mark.note_name(&self.path, &self.name);
        (mark.skipping, mark.refused) = (self.state.skipping, self.refused);
        if self.is_done() {
            mark.seen = mark.at;
        }
        mark
    }

    pub(crate) fn at(&self) -> u64 {
        self.place.at()
    }

    /// Whether a file with these first bytes can have what was read.
    pub(crate) fn begins_with(&self, first: &[u8]) -> bool {
        self.place.begins_with(first)
    }

    /// Nothing more is known to be in it.
    pub(crate) fn at_end(&self) -> bool {
        self.end.is_some() && !self.pending()
    }

    /// The last bytes that were read.
    pub(crate) fn recent(&self) -> &[u8] {
        self.place.recent()
    }

    pub(crate) fn hints(&self) -> Hints {
        self.hints
    }

    /// How long it has not grown.
    pub(crate) fn quiet(&self) -> Duration {
        self.grew.elapsed()
    }

    /// The file, unless it rests.
    pub(crate) fn text(&mut self) -> Option<&mut Text> {
        self.text.as_mut()
    }

    pub(crate) fn into_text(self) -> Option<Text> {
        self.text
    }

    fn open_text(&mut self) -> io::Result<&mut Text> {
        self.text.as_mut().ok_or_else(|| io::Error::other("the file is not open"))
    }

    /// Bytes behind the place, where that is known.
    pub(crate) fn behind(&self) -> u64 {
        let length = match &self.text {
            Some(text) => text.length().ok().flatten().unwrap_or_else(|| self.at()),
            None => self.place.seen(),
        };
        length.saturating_sub(self.at())
    }

    /// The same, as far as it was seen.
    pub(crate) fn lag(&self) -> u64 {
        self.place.seen().saturating_sub(self.at())
    }

    /// Whether bytes without an end wait.
    pub(crate) fn pending(&self) -> bool {
        match self.text {
            Some(_) => self.used < self.buffer.len(),
            None => self.lag() > 0,
        }
    }

    /// NULs passed over since the last call, with the place behind them, once a file.
    pub(crate) fn hole(&mut self) -> Option<u64> {
        if self.state.nuls == 0 || std::mem::replace(&mut self.told_hole, true) {
            return None;
        }
        Some(self.state.nuls)
    }

    /// The next messages, at `offset` and behind it. `ends`: nothing will be added to the file any more.
    pub(crate) fn step(
        &mut self,
        options: ReadOptions,
        limits: Limits,
        offset: u64,
        ends: bool,
        out: &mut Out,
    ) -> io::Result<Step> {
        let step = self.next_step(options, limits, offset, ends, out);
        let all = self.end.is_some() && self.buffer.is_empty() && self.hole == 0;
        self.drained = match step {
            Ok(Step::Moved(_)) => all && !options.whole && (self.header.is_some() || !options.header),
            Ok(Step::Nothing | Step::Over) => true,
            _ => false,
        };
        step
    }

    fn next_step(
        &mut self,
        options: ReadOptions,
        limits: Limits,
        offset: u64,
        ends: bool,
        out: &mut Out,
    ) -> io::Result<Step> {
        if options.whole {
            return self.step_whole(options, offset, out);
        }
        if options.header && self.header.is_none() && !self.refused {
            let found = self.find_header(options, offset, ends, out)?;
            if found != Step::Moved(0) {
                return Ok(found);
            }
        }
        let mut last = false;
        let others = !out.messages.is_empty();
        loop {
            self.find_first(options, last)?;
            self.attributes(out);
            let consumed = self.frame(options.framer, limits, offset, last, out);
            if consumed > 0 {
                return Ok(Step::Moved(consumed));
            }
            if others && self.pending() {
                return Ok(Step::Full);
            }
            if last {
                return Ok(Step::Over);
            }
            match self.more(limits.bytes.clamp(CHUNK, PIECE))? {
                More::Bytes => {}
                More::Replaced => return Ok(Step::Replaced),
                More::End if ends => last = true,
                More::End => return Ok(Step::Nothing),
            }
        }
    }

    fn frame(&mut self, framer: Framer, limits: Limits, offset: u64, last: bool, out: &mut Out) -> u64 {
        let bytes = self.buffer.get(self.used..).unwrap_or_default();
        let first = self.place.at() == 0 && self.hole == 0;
        let consumed = if self.refused {
            bytes.len()
        } else if let Some(encoding) = foreign(bytes).filter(|_| first) {
            self.refused = true;
            let reason = format!("{} is {encoding}, which has no lines for us; convert it to UTF-8", self.path);
            out.fault(offset, bytes.get(..256).unwrap_or(bytes), "file.encoding", &reason);
            bytes.len()
        } else {
            let piece = Piece { bytes, first, last, offset: offset + self.hole };
            framer.frame(&mut self.state, piece, limits, out)
        };
        if consumed == 0 && !(last && self.hole > 0) {
            return 0;
        }
        let hole = std::mem::take(&mut self.hole);
        self.state.nuls += hole;
        let mut left = hole;
        while left > 0 {
            let step = left.min(ZEROS.len() as u64);
            self.place.advance(ZEROS.get(..step as usize).unwrap_or_default());
            left -= step;
        }
        self.place.advance(bytes.get(..consumed).unwrap_or_default());
        self.used += consumed;
        if self.used == self.buffer.len() && self.end.is_some() {
            // Nothing more is known to be there: others need the memory.
            (self.buffer, self.used) = (Vec::new(), 0);
        }
        hole + consumed as u64
    }

    /// What the messages of this file have in common.
    fn attributes(&self, out: &mut Out) {
        let messages = &mut out.messages;
        messages.attribute("file", self.path.as_bytes());
        messages.attribute("modified", (self.hints.modified / 1_000_000).to_string().as_bytes());
        messages.attribute("header", self.header.as_deref().unwrap_or_default());
        messages.attribute("first", self.first.as_deref().unwrap_or_default());
    }

    /// The file as one message.
    fn step_whole(&mut self, options: ReadOptions, offset: u64, out: &mut Out) -> io::Result<Step> {
        if self.at() > 0 {
            return Ok(Step::Over);
        }
        let text = self.open_text()?;
        let stat = text.stat()?;
        let mut bytes = Vec::new();
        text.fill(0, options.framer.max.saturating_add(1), &mut bytes)?;
        if let Some(damage) = text.damage() {
            return Err(damage);
        }
        if bytes.is_empty() && text.plain().is_none() {
            return Ok(Step::Over);
        }
        if bytes.is_empty() || text.stat()? != stat {
            return Ok(Step::Nothing);
        }
        if bytes.len() > options.framer.max {
            let reason = format!("the file has more than maxLine ({} bytes); raise it", options.framer.max);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        self.attributes(out);
        out.whole(offset, &bytes);
        self.place.advance(&bytes);
        Ok(Step::Moved(bytes.len() as u64))
    }
}

/// Whether a file of that date may have been changed again within it.
pub(crate) fn is_fresh(modified: u64) -> bool {
    age(modified) < COARSE
}

/// Time since `modified`, nanoseconds since 1970.
pub(crate) fn age(modified: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(modified))
}
