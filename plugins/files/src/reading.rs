//! One file that is read: its bytes become messages, and before any is given it is made sure that the file is still the
//! one that was read so far.

use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spout_guest::{Limits, now};

use crate::{
    framing::{Framer, Out, Piece, State, foreign, nuls},
    mark::{Content as _, Hints, Mark, Moving, TAIL},
    names::{Name, number},
    text::Text,
};

/// Bytes asked for at least.
const CHUNK: usize = 64 << 10;

/// A header that is longer is none.
const HEADER: usize = 1 << 20;

/// A first message that is longer does not go with the others.
const FIRST: usize = 64 << 10;

/// Bytes asked for at first to find it again: of a packed file they are still there.
const FIRST_LOOK: usize = 4 << 10;

/// The file system dates changes this coarsely, at worst: two changes within it may have one date.
const COARSE: Duration = Duration::from_secs(2);

/// Time between two looks at the content of a file that was changed just now.
const RECHECK: Duration = Duration::from_millis(500);

const ZEROS: [u8; TAIL] = [0; TAIL];

/// How a file's bytes become messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    pub(crate) framer: Framer,
    pub(crate) header: bool,
    pub(crate) whole: bool,
}

/// An open file and the place in it.
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
    text: Text,
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
    grew: Instant,
    told_hole: bool,
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
            text,
            place: Moving::default(),
            state: State::default(),
            refused: false,
            header: None,
            first: None,
            buffer: Vec::new(),
            used: 0,
            hole: 0,
            end: None,
            grew: now(),
            told_hole: false,
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
        (mark.named, mark.skipping, mark.refused) = (number(&self.path), self.state.skipping, self.refused);
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

    pub(crate) fn text(&mut self) -> &mut Text {
        &mut self.text
    }

    /// Bytes behind the place, where that is known.
    pub(crate) fn behind(&self) -> u64 {
        let length = self.text.length().ok().flatten().unwrap_or_else(|| self.at());
        length.saturating_sub(self.at())
    }

    /// Whether bytes without an end wait.
    pub(crate) fn pending(&self) -> bool {
        self.used < self.buffer.len()
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
            match self.more(limits.bytes.max(CHUNK))? {
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

    /// Finds the first message, which may name what is in all others: also where reading goes on in the middle.
    fn find_first(&mut self, options: ReadOptions, last: bool) -> io::Result<()> {
        if options.header || self.refused || self.first.is_some() {
            return Ok(());
        }
        let told = |bytes: &[u8], all: bool, most: usize| -> Option<Vec<u8>> {
            let bytes = bytes.get(nuls(bytes)..).unwrap_or_default();
            let found = options.framer.first(bytes, all).map(|(first, _)| bytes.get(first).unwrap_or_default());
            match found {
                // An object names its own values.
                Some(first) if first.len() > FIRST || first.starts_with(b"{") => Some(Vec::new()),
                Some(first) => Some(first.to_vec()),
                None => (bytes.len() >= most).then(Vec::new),
            }
        };
        self.first = if self.place.at() == 0 {
            let bytes = self.buffer.get(self.used..).unwrap_or_default();
            if self.hole > 0 { Some(Vec::new()) } else { told(bytes, last, FIRST + 2) }
        } else {
            let few = self.text.bytes(0, FIRST_LOOK)?;
            match told(&few, false, usize::MAX) {
                Some(first) => Some(first),
                None => Some(told(&self.text.bytes(0, FIRST + 2)?, false, 0).unwrap_or_default()),
            }
        };
        Ok(())
    }

    /// Reads more behind what is there.
    fn more(&mut self, wanted: usize) -> io::Result<More> {
        let stat = self.text.stat()?;
        let plain = self.text.plain().is_some();
        let from = self.place.at() + self.hole + (self.buffer.len() - self.used) as u64;
        if plain && stat.length < from {
            return Ok(More::Replaced);
        }
        let unchanged = self.end.filter(|end| (end.length, end.modified) == (stat.length, stat.hints.modified));
        if let Some(end) = unchanged {
            return if end.fresh && end.checked.elapsed() >= RECHECK { self.recheck(end) } else { Ok(More::End) };
        }
        if self.end.take().is_some() && self.hole > 0 {
            // What was a hole may have been written since.
            (self.hole, self.used) = (0, 0);
            self.buffer.clear();
            return Ok(More::Bytes);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let before = self.buffer.len();
        let read = match self.text.fill(from, wanted, &mut self.buffer) {
            Ok(read) => read,
            Err(error) => {
                self.buffer.truncate(before);
                return Err(error);
            }
        };
        if plain && !self.is_intact(from + read as u64, before)? {
            self.buffer.truncate(before);
            return Ok(More::Replaced);
        }
        if plain {
            self.place.saw(stat.length);
        }
        // One that is packed is unpacked as it was when it was opened: had it grown since, its date tells.
        if plain {
            self.hints.modified = stat.hints.modified;
        }
        if read > 0 {
            self.grew = now();
        }
        if read < wanted && self.text.damage().is_none() {
            let (length, modified) = (stat.length, stat.hints.modified);
            self.end = Some(Seen { length, modified, checked: now(), fresh: plain && is_fresh(modified) });
        }
        self.drop_hole();
        Ok(if read > 0 { More::Bytes } else { More::End })
    }

    /// Whether the file still has what was read before, now that more was read: it was not cut in between, then. The first
    /// `known` bytes of the buffer were read earlier.
    fn is_intact(&mut self, end: u64, known: usize) -> io::Result<bool> {
        let recent = self.place.recent();
        let (from, expected) = if recent.is_empty() {
            (self.hole, self.buffer.get(..known.min(TAIL)).unwrap_or_default())
        } else {
            (self.place.at() - recent.len() as u64, recent)
        };
        if expected.is_empty() {
            return Ok(true);
        }
        let Some(handle) = self.text.plain() else { return Ok(true) };
        let there = (&mut &*handle).bytes(from, expected.len())?;
        let intact = there == expected;
        Ok(intact && self.text.stat()?.length >= end)
    }

    /// Whether the file still has what was read.
    pub(crate) fn is_whole(&mut self) -> bool {
        let at = self.at();
        self.text.plain().is_none() || self.is_intact(at, self.buffer.len()).unwrap_or(false)
    }

    fn recheck(&mut self, end: Seen) -> io::Result<More> {
        let known = self.buffer.len();
        if !self.is_intact(end.length, known)? {
            return Ok(More::Replaced);
        }
        self.end = Some(Seen { checked: now(), fresh: is_fresh(end.modified), ..end });
        Ok(More::End)
    }

    /// Lets go of a buffer that has nothing but NULs.
    fn drop_hole(&mut self) {
        let pending = self.buffer.get(self.used..).unwrap_or_default();
        if pending.len() >= CHUNK && !self.state.skipping && !self.refused && nuls(pending) == pending.len() {
            self.hole += pending.len() as u64;
            self.buffer.clear();
            self.used = 0;
        }
    }

    /// The record that names the columns. Where the file is read from its start, the place moves behind it. It is no message,
    /// unless there may be more in it than a header.
    fn find_header(&mut self, options: ReadOptions, offset: u64, ends: bool, out: &mut Out) -> io::Result<Step> {
        let mut wanted = CHUNK;
        loop {
            let bytes = self.text.bytes(0, wanted)?;
            let all = bytes.len() < wanted;
            if bytes.is_empty() {
                return Ok(if ends { Step::Over } else { Step::Nothing });
            }
            if foreign(&bytes).is_some() {
                self.header = Some(Vec::new());
                return Ok(Step::Moved(0));
            }
            if let Some((header, next)) = options.framer.first(&bytes, all && ends) {
                let start = header.start as u64;
                let header = bytes.get(header).unwrap_or_default();
                self.header = Some(header.to_vec());
                if self.at() > 0 {
                    return Ok(Step::Moved(0));
                }
                let ended = bytes.get(..next).is_some_and(|record| record.ends_with(b"\n"));
                if options.framer.has_return(header) {
                    self.attributes(out);
                    let reason = format!(
                        "the header of {} has a carriage return outside quotes, and no line feed behind it: lines end with \\n or \\r\\n",
                        self.path
                    );
                    out.fault(offset + start, header.get(..256).unwrap_or(header), "csv.syntax", &reason);
                } else if !ended && !header.is_empty() {
                    // It may be all that there is of a cut file, or a record: who decodes knows the columns.
                    self.attributes(out);
                    out.whole(offset + start, header);
                }
                self.place.advance(bytes.get(..next).unwrap_or_default());
                return Ok(Step::Moved(next as u64));
            }
            if all && !ends && wanted <= HEADER {
                return Ok(Step::Nothing);
            }
            if all || wanted > HEADER {
                self.refused = true;
                self.attributes(out);
                let reason = format!("the header of {} has no end; nothing of the file is read", self.path);
                out.fault(offset + self.at(), bytes.get(..256).unwrap_or(&bytes), "csv.header", &reason);
                self.place.advance(&bytes);
                return Ok(Step::Moved(bytes.len() as u64));
            }
            wanted *= 4;
        }
    }

    /// The file as one message.
    fn step_whole(&mut self, options: ReadOptions, offset: u64, out: &mut Out) -> io::Result<Step> {
        if self.at() > 0 {
            return Ok(Step::Over);
        }
        let stat = self.text.stat()?;
        let mut bytes = Vec::new();
        self.text.fill(0, options.framer.max.saturating_add(1), &mut bytes)?;
        if let Some(damage) = self.text.damage() {
            return Err(damage);
        }
        if bytes.is_empty() && self.text.plain().is_none() {
            return Ok(Step::Over);
        }
        if bytes.is_empty() || self.text.stat()? != stat {
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
