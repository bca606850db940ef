//! The lines of one file from a byte position on.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use spout_guest::{Error, Fetched, Limits, Messages, Position, Progress, Result, now, pause};

use crate::{Settings, directory::hash};

/// First bytes that tell a file from the one that replaced it.
const FINGERPRINT: usize = 1024;

/// Time between two looks at a file that does not grow.
const STEP: Duration = Duration::from_millis(20);

/// Time between two looks at whether its name still means the same file.
const LOOK: Duration = Duration::from_millis(500);

/// Bytes read at once on the way back to the last line end.
const BACK: u64 = 64 << 10;

/// Reads one file. The file stays open between fetches, and what was read and not given yet is kept.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    follow: bool,
    max_line: usize,
    whole: bool,
    open: Option<Open>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// The file's first bytes, as far as they are known.
    head: Vec<u8>,
    /// Bytes read and not given yet; the first one stands at `at` in the file.
    buffer: Vec<u8>,
    used: usize,
    at: u64,
    /// The read position of the file was its end.
    eof: bool,
}

impl Lines {
    pub(crate) fn new(path: PathBuf, settings: &Settings) -> Self {
        let Settings { follow, max_line, whole, .. } = *settings;
        Self { path, follow, max_line, whole, open: None, looked: None }
    }

    /// The lines from `start` on.
    pub(crate) fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let begun = now();
        loop {
            self.stand_at(&start)?;
            let (messages, over) = self.read(limits)?;
            let Some(open) = self.open.as_mut() else { return Err(self.gone()) };
            let (next, length) = (open.position(), open.length());
            let moved = next.offset != start.offset;
            let progress = match (moved, over) {
                (_, true) => Progress::Ended,
                (true, false) => Progress::More,
                (false, false) => Progress::Idle,
            };
            if !moved && !over && self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                self.check_replaced(&start)?;
                self.looked = Some(now());
                continue;
            }
            let waited = begun.elapsed() >= limits.timeout;
            if moved || over || waited || !pause(STEP.min(limits.timeout)) {
                let high_watermark = length.ok();
                return Ok(Fetched { messages, next, high_watermark, progress });
            }
        }
    }

    /// The position after the last whole line.
    pub(crate) fn end(&self) -> Result<Position> {
        let mut open = self.reopen()?;
        open.at = self.whole_lines(&mut open).map_err(|error| self.failed(&error))?;
        Ok(open.position())
    }

    /// The position of the first line that begins at `offset` or after it.
    pub(crate) fn at_or_after(&self, offset: u64) -> Result<Position> {
        let mut open = self.reopen()?;
        if self.whole {
            open.at = if offset == 0 { 0 } else { open.length().map_err(|error| self.failed(&error))? };
            return Ok(open.position());
        }
        let mut find = || -> io::Result<u64> {
            let Some(before) = offset.checked_sub(1).filter(|&before| open.length().is_ok_and(|end| before < end))
            else {
                return Ok(offset);
            };
            open.file.seek(SeekFrom::Start(before))?;
            let mut reader = io::BufReader::with_capacity(BACK as usize, &mut open.file);
            let mut at = before;
            loop {
                let block = io::BufRead::fill_buf(&mut reader)?;
                match memchr::memchr(b'\n', block) {
                    Some(end) => return Ok(at + end as u64 + 1),
                    None if block.is_empty() => return Ok(at),
                    None => at += block.len() as u64,
                }
                let length = block.len();
                io::BufRead::consume(&mut reader, length);
            }
        };
        open.at = find().map_err(|error| self.failed(&error))?;
        Ok(open.position())
    }

    /// Where the last line that has its end ends; where files do not grow, every line has.
    fn whole_lines(&self, open: &mut Open) -> io::Result<u64> {
        let mut end = open.length()?;
        if !self.follow || self.whole {
            return Ok(end);
        }
        while end > 0 {
            let from = end.saturating_sub(BACK);
            let mut block = vec![0; usize::try_from(end - from).unwrap_or(0)];
            open.file.seek(SeekFrom::Start(from))?;
            let read = fill(&mut open.file, &mut block)?;
            if let Some(last) = block.get(..read).and_then(|block| memchr::memrchr(b'\n', block)) {
                return Ok(from + last as u64 + 1);
            }
            end = from;
        }
        Ok(0)
    }

    /// Makes sure that the next byte given is the one at `start`, and that the file is still the same.
    fn stand_at(&mut self, start: &Position) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.at == start.offset) {
            return Ok(());
        }
        let open = self.reopen()?;
        self.take(open, start, start.offset)
    }

    /// A name may mean another file by now: one that was put in its place, or what is left after a cut. One that begins
    /// as the old one did, such as a copy with more lines, is read on from the same place.
    fn check_replaced(&mut self, start: &Position) -> Result<()> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let position = open.position();
        match self.reopen() {
            Ok(named) => self.take(named, &position, start.offset),
            // Moved away and not made anew yet: nothing to read for now.
            Err(_) => Ok(()),
        }
    }

    /// Reads on in `open` at `offset`, if it is the file that `position` was taken in.
    fn take(&mut self, mut open: Open, position: &Position, offset: u64) -> Result<()> {
        let failed = |error: io::Error| self.failed(&error);
        if open.length().map_err(failed)? < offset || !open.is_same(position) {
            let latest = self.whole_lines(&mut open).map_err(failed)?;
            self.open = None;
            return Err(Error::OutOfRange { earliest: 0, latest });
        }
        open.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        open.at = offset;
        self.open = Some(open);
        Ok(())
    }

    fn reopen(&self) -> Result<Open> {
        let mut file = File::open(&self.path).map_err(|error| self.failed(&error))?;
        let mut head = vec![0; FINGERPRINT];
        let known = fill(&mut file, &mut head).map_err(|error| self.failed(&error))?;
        head.truncate(known);
        file.seek(SeekFrom::Start(0)).map_err(|error| self.failed(&error))?;
        Ok(Open { file, head, buffer: Vec::new(), used: 0, at: 0, eof: false })
    }

    /// The file as one message, and whether it is over.
    fn read_whole(&mut self) -> Result<(Messages, bool)> {
        let Some(open) = self.open.as_mut() else { return Err(self.gone()) };
        let unreadable = |error: io::Error| {
            Error::retriable("files.unreadable", format!("cannot read {}: {error}", self.path.display()))
        };
        let length = open.length().map_err(unreadable)?;
        let mut messages = Messages::default();
        let name = self.path.display();
        if length > open.at && open.at > 0 {
            let message =
                format!("{name} grew after it was read as a whole; move files into place when they are complete");
            return Err(Error::fatal("files.grown", message));
        }
        if length > self.max_line as u64 {
            let message =
                format!("{name}: the file has {length} bytes, more than maxLine ({}); raise it", self.max_line);
            return Err(Error::fatal("files.line", message));
        }
        if length > open.at {
            let mut bytes = vec![0; length as usize];
            let read = open.file.seek(SeekFrom::Start(0)).and_then(|_| fill(&mut open.file, &mut bytes));
            bytes.truncate(read.map_err(unreadable)?);
            messages.push(0, &bytes);
            open.at = bytes.len() as u64;
        }
        Ok((messages, !self.follow))
    }

    /// Whole lines within the limits, and whether the file is over.
    fn read(&mut self, limits: Limits) -> Result<(Messages, bool)> {
        if self.whole {
            return self.read_whole();
        }
        let Self { path, follow, max_line, open, .. } = self;
        let Some(open) = open else { return Err(self.gone()) };
        let mut messages = Messages::default();
        let wanted = limits.bytes.max(64 << 10);
        loop {
            let before = open.at;
            open.give(&mut messages, limits);
            // Blank lines are passed over without a message.
            if open.at != before {
                let full = messages.len() >= limits.messages;
                return Ok((messages, !*follow && open.eof && open.pending() == 0 && !full));
            }
            if open.pending() > *max_line {
                let message = format!(
                    "{}: the line at byte {} is longer than maxLine ({max_line} bytes); raise it, or mend the file",
                    path.display(),
                    open.at
                );
                return Err(Error::fatal("files.line", message));
            }
            let more = open.fill_buffer(wanted);
            if more.map_err(|error| Error::retriable("files.unreadable", format!("{}: {error}", path.display())))? == 0
            {
                if !*follow && open.pending() > 0 {
                    open.give_rest(&mut messages);
                }
                return Ok((messages, !*follow));
            }
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::retriable("files.unreadable", format!("cannot read {}: {error}", self.path.display()))
    }

    fn gone(&self) -> Error {
        Error::retriable("files.closed", format!("{} is not open", self.path.display()))
    }
}

impl Open {
    fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Where the next line starts, with what tells this file from others: how many first bytes count, and their hash.
    fn position(&mut self) -> Position {
        let count = usize::try_from(self.at).unwrap_or(usize::MAX).min(FINGERPRINT);
        if count == 0 {
            return Position::at(0);
        }
        if self.head.len() < count {
            let mut head = vec![0; FINGERPRINT];
            let here = self.file.stream_position();
            let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| fill(&mut self.file, &mut head));
            let back = here.and_then(|here| self.file.seek(SeekFrom::Start(here)));
            if let (Ok(known), Ok(_)) = (read, back) {
                head.truncate(known);
                self.head = head;
            }
        }
        let head = self.head.get(..count).unwrap_or(&self.head);
        let mut token = (head.len() as u32).to_le_bytes().to_vec();
        token.extend_from_slice(&hash(head).to_le_bytes());
        Position { offset: self.at, token: Some(token) }
    }

    /// Whether this is the file that `position` was taken in.
    fn is_same(&self, position: &Position) -> bool {
        let Some(token) = &position.token else { return true };
        let (Some(count), Some(told)) =
            (token.first_chunk::<4>(), token.get(4..).and_then(|rest| rest.first_chunk::<8>()))
        else {
            return false;
        };
        let head = self.head.get(..u32::from_le_bytes(*count) as usize);
        head.is_some_and(|head| hash(head) == u64::from_le_bytes(*told))
    }

    /// Bytes read and not given yet.
    fn pending(&self) -> usize {
        self.buffer.len() - self.used
    }

    /// Whole lines out of the buffer.
    fn give(&mut self, messages: &mut Messages, limits: Limits) {
        let from = self.used;
        let rest = self.buffer.get(from..).unwrap_or_default();
        let mut begin = 0;
        messages.reserve(limits.messages.min(rest.len() / 32), rest.len());
        for end in memchr::memchr_iter(b'\n', rest) {
            let line = rest.get(begin..end).unwrap_or_default();
            if messages.len() >= limits.messages || messages.bytes() + line.len() > limits.bytes && !messages.is_empty()
            {
                break;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                messages.push(self.at + begin as u64, line);
            }
            begin = end + 1;
        }
        self.used += begin;
        self.at += begin as u64;
    }

    /// The last line of a file that does not grow, though it has no end.
    fn give_rest(&mut self, messages: &mut Messages) {
        let rest = self.buffer.get(self.used..).unwrap_or_default();
        messages.push(self.at, rest);
        self.at += rest.len() as u64;
        self.used = self.buffer.len();
    }

    /// Reads up to `wanted` bytes more; how many came.
    fn fill_buffer(&mut self, wanted: usize) -> io::Result<usize> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let before = self.buffer.len();
        if self.eof {
            if self.length()? <= self.at + before as u64 {
                return Ok(0);
            }
            // WASI reads files through streams, and a stream that met the end of the file has ended for good.
            self.file.seek(SeekFrom::Start(self.at + before as u64))?;
        }
        self.buffer.resize(before + wanted, 0);
        let read = fill(&mut self.file, self.buffer.get_mut(before..).unwrap_or_default());
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        self.eof = read.as_ref().is_ok_and(|&read| read < wanted);
        read
    }
}

/// Reads until `buffer` is full or the file ends; how many bytes came.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
