//! The lines of one log from a position on: which of its files are read, in which order, and which are done.

mod identify;
mod stand;

use std::{
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};

use spout_guest::{Error, Fetched, Limits, Position, Progress, Result, now, pause, warn};

use crate::{
    Settings,
    disk::{Disk, Stat},
    family::{Family, unreadable},
    framing::Out,
    mark::{Mark, Places},
    names::Packing,
    reading::{ReadOptions, Reading, Step, age},
    text::Text,
};

/// Time between two looks at files that do not grow.
const STEP: Duration = Duration::from_millis(20);

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tempo {
    /// Time between two looks at whether the log's name still means the same file.
    pub(crate) look: Duration,
    /// Time between two looks at all files of the log, where nothing says that there is a new one; longer where there are
    /// many.
    pub(crate) scan: Duration,
    /// A copy, or a packed file, that was written at most so long ago may not be complete.
    pub(crate) settled: Duration,
    /// Time between two looks for files of the log that were moved to other names; longer each time.
    pub(crate) away: Duration,
    /// How long a file that was read is remembered after it was seen last.
    pub(crate) forget: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(250),
            scan: Duration::from_secs(5),
            settled: Duration::from_secs(10),
            away: Duration::from_secs(60),
            forget: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Reads one log.
#[derive(Debug)]
pub(crate) struct Log {
    family: Family,
    settings: Settings,
    options: ReadOptions,
    /// Files that are read, the oldest first.
    readings: Vec<Reading>,
    closed: Vec<Closed>,
    /// Bytes read of all files: the offset.
    offset: u64,
    /// The position that stands for all this.
    last: Option<Position>,
    /// Something was read before: files that its live one became since are read whatever their names.
    known: Option<u64>,
    looked: Option<Instant>,
    scanned: Option<Instant>,
    scan_every: Duration,
    /// When files that are gone were looked for under other names, and when that is done again.
    strayed: Option<Instant>,
    stray_every: Duration,
    /// There are files about which nothing can be said yet.
    waiting: bool,
    pub(crate) tempo: Tempo,
    unpacking: Option<(Stat, Text)>,
    said: BTreeSet<String>,
}

/// A file that was read to its end.
#[derive(Debug)]
struct Closed {
    mark: Mark,
    missed: Option<Instant>,
    /// The name outside of the log that it has now.
    away: Option<String>,
}

impl Log {
    pub(crate) fn new(disk: Rc<Disk>, log: String, settings: &Settings) -> Self {
        let family = Family { disk, log, alone: settings.whole };
        let options = ReadOptions { framer: settings.framer(), header: settings.header, whole: settings.whole };
        Self {
            family,
            settings: settings.clone(),
            options,
            readings: Vec::new(),
            closed: Vec::new(),
            offset: 0,
            last: None,
            known: None,
            looked: None,
            scanned: None,
            scan_every: Duration::ZERO,
            strayed: None,
            stray_every: Duration::ZERO,
            tempo: Tempo::default(),
            waiting: false,
            unpacking: None,
            said: BTreeSet::new(),
        }
    }

    /// The lines from `start` on.
    pub(crate) fn fetch(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        let begun = now();
        if self.last.as_ref() != Some(start) {
            self.stand_at(start)?;
        }
        loop {
            let mut out = Out::default();
            let moved = self.turn(limits, &mut out)?;
            if !moved && self.look()? {
                continue;
            }
            let over = !moved && !self.settings.follow && !self.waiting && self.readings.iter().all(|one| one.over);
            if moved || over || begun.elapsed() >= limits.timeout || !pause(STEP.min(limits.timeout)) {
                let progress = match (moved, over) {
                    (true, _) => Progress::More,
                    (false, true) => Progress::Ended,
                    (false, false) => Progress::Idle,
                };
                let next = self.position();
                let behind: u64 = self.readings.iter().map(Reading::behind).sum();
                let high_watermark = Some(self.offset + behind);
                return Ok(Fetched { messages: out.messages, next, high_watermark, progress });
            }
        }
    }

    /// What stands for the place where this is now.
    pub(crate) fn position(&mut self) -> Position {
        let open = self.readings.iter().filter(|one| one.at() > 0).map(|one| {
            let mut mark = one.mark();
            // Its new name is not known yet.
            if one.rotated && one.path == self.family.log {
                mark.named = 0;
            }
            mark
        });
        let open: Vec<Mark> = open.collect();
        let closed: Vec<Mark> = self.closed.iter().map(|one| one.mark.clone()).collect();
        let told = self.offset > 0 || !open.is_empty() || !closed.is_empty();
        let token = told.then(|| Places { log: self.family.log.clone(), open, closed }.write());
        let position = Position { offset: self.offset, token };
        self.last = Some(position.clone());
        position
    }

    fn reset(&mut self, offset: u64) {
        self.readings.clear();
        self.closed.clear();
        self.offset = offset;
        (self.last, self.known, self.looked, self.scanned, self.unpacking) = (None, None, None, None, None);
    }

    fn inodes(&self) -> BTreeSet<u64> {
        self.readings.iter().map(|one| one.hints().inode).collect()
    }

    /// Lets the oldest file that has something give it; whether one had.
    fn turn(&mut self, limits: Limits, out: &mut Out) -> Result<bool> {
        let (mut index, mut moved) = (0, false);
        while let Some(reading) = self.readings.get_mut(index) {
            let quiet = reading.quiet();
            let ends = !self.settings.follow
                || reading.name.packing != Packing::Plain
                || reading.rotated && quiet >= self.settings.rotate_wait.0
                || reading.pending() && self.settings.last_line.0.is_some_and(|after| quiet >= after);
            let stays = !reading.rotated && reading.name.packing == Packing::Plain && !self.settings.whole;
            let step = reading.step(self.options, limits, self.offset, ends, out);
            if let Some(nuls) = reading.hole() {
                let (path, at) = (&reading.path, reading.at());
                warn!(
                    "{path}: {nuls} NUL bytes before byte {at} passed over: a hole, as a cut under a writer without O_APPEND leaves it"
                );
            }
            match step {
                Ok(Step::Moved(bytes)) => {
                    self.offset += bytes;
                    let full = out.messages.bytes() >= limits.bytes || out.messages.len() >= limits.messages;
                    // Small files are given together.
                    if full || !reading.at_end() {
                        return Ok(true);
                    }
                    (moved, index) = (true, index + 1);
                }
                // What was taken is given first.
                Ok(Step::Full) => return Ok(true),
                Ok(Step::Replaced) | Err(_) if moved => return Ok(true),
                Ok(Step::Nothing) => index += 1,
                // More may be written to it, now or until the next run.
                Ok(Step::Over) if stays => {
                    reading.over = true;
                    index += 1;
                }
                Ok(Step::Over) => {
                    let reading = self.readings.remove(index);
                    if reading.at() > 0 {
                        let away = (reading.name.log != self.family.log).then(|| reading.path.clone());
                        self.closed.push(Closed { away, ..Closed::from(reading.mark()) });
                    }
                }
                Ok(Step::Replaced) => {
                    self.replaced(index)?;
                    index = 0;
                }
                Err(error) => {
                    let before = self.readings.len();
                    if self.damaged(index, &error, out)? {
                        return Ok(true);
                    }
                    index += usize::from(self.readings.len() == before);
                }
            }
        }
        Ok(moved)
    }

    /// A packed file that is damaged, or not complete yet; whether that was said.
    fn damaged(&mut self, index: usize, error: &std::io::Error, out: &mut Out) -> Result<bool> {
        let Some(reading) = self.readings.get_mut(index) else { return Ok(false) };
        let path = reading.path.clone();
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            return Err(Error::fatal("files.line", format!("{path}: {error}")));
        }
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        if denied {
            self.pass_over(&path, error);
            return Ok(false);
        }
        if reading.text().plain().is_some() {
            return Err(unreadable(&path, error));
        }
        let modified = reading.text().stat().map_or(0, |stat| stat.hints.modified);
        if age(modified) < self.tempo.settled {
            return Ok(false);
        }
        // Written since it was opened: that is looked at first.
        let opened = reading.hints().modified;
        if modified != opened {
            let mark = self.readings.remove(index).mark();
            self.closed.push(Closed::from(mark));
            (self.looked, self.scanned) = (None, None);
            return Ok(false);
        }
        let reason = format!("{path} cannot be unpacked behind byte {}: {error}", reading.at());
        out.messages.attribute("file", path.as_bytes());
        out.fault(self.offset, b"", "file.damaged", &reason);
        self.offset += 1;
        let mark = self.readings.remove(index).mark();
        self.closed.push(Closed::from(mark));
        Ok(true)
    }
}

impl From<Mark> for Closed {
    fn from(mark: Mark) -> Self {
        Self { mark, missed: None, away: None }
    }
}
