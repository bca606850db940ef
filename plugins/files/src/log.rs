//! The lines of one log from a position on: which of its files are read, in which order, and which are done.

use std::{
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};

use spout_guest::{Error, Fetched, Limits, Position, Progress, Result, now, pause, warn};

use crate::{
    Settings,
    disk::{Disk, Stat},
    family::{Family, Member, UNPACK, at_end, holds, is_closed, unreadable},
    framing::Out,
    mark::{Mark, Places},
    names::{Packing, matches, number},
    reading::{Manner, Reading, Step, age},
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
    /// How long a file that was read is remembered after it was seen last.
    pub(crate) forget: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(250),
            scan: Duration::from_secs(5),
            settled: Duration::from_secs(10),
            forget: Duration::from_secs(60),
        }
    }
}

/// Files that were read and are remembered at most.
const REMEMBERED: usize = 2000;

/// Looks for a file that must be somewhere: it may be between two names just now.
const TRIES: u32 = 4;

/// Reads one log.
#[derive(Debug)]
pub(crate) struct Log {
    family: Family,
    settings: Settings,
    manner: Manner,
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
}

/// What a file that nobody knows is.
enum Relation {
    New,
    /// Maybe a copy that is being made, or a file that is being packed: what it is will show.
    Open,
    /// A copy that nobody asked for.
    Copy,
    /// What the reading of that index read, in another file.
    Same(usize),
}

impl Log {
    pub(crate) fn new(disk: Rc<Disk>, log: String, settings: &Settings) -> Self {
        let family = Family { disk, log, alone: settings.whole };
        let manner = Manner { framer: settings.framer(), header: settings.header, whole: settings.whole };
        Self {
            family,
            settings: settings.clone(),
            manner,
            readings: Vec::new(),
            closed: Vec::new(),
            offset: 0,
            last: None,
            known: None,
            looked: None,
            scanned: None,
            scan_every: Duration::ZERO,
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

    /// The position after the last whole line there is.
    pub(crate) fn end(&mut self) -> Result<Position> {
        self.reset(0);
        for member in self.family.members()? {
            let Some((mut text, stat)) = self.family.open(&member)? else { continue };
            let failed = |error| unreadable(&member.path, &error);
            let ends = !self.settings.follow || !member.name.live || self.settings.whole;
            let length = match text.length().map_err(failed)? {
                Some(length) => length,
                None => match unpack(&mut text, u64::MAX) {
                    Ok(()) => text.length().map_err(failed)?.unwrap_or(0),
                    // What it is will show when it is complete.
                    Err(_) => continue,
                },
            };
            let at = if ends { length } else { line_before(&mut text, length).map_err(failed)? };
            if member.name.live {
                self.offset = at;
            }
            if at > 0 {
                let mark = Mark::of(&mut text, at, stat.hints).map_err(failed)?;
                self.stand(&member, text, mark, ends)?;
            }
        }
        Ok(self.position())
    }

    /// The position of the first line that begins at `offset` or after it, counted over the files in their order.
    pub(crate) fn at_or_after(&mut self, offset: u64) -> Result<Position> {
        match self.stand_at_offset(offset) {
            Err(Error::OutOfRange { latest, .. }) => return Ok(latest),
            stood => stood?,
        }
        if let Some(reading) = self.readings.first_mut().filter(|reading| reading.at() > 0 && !self.settings.whole) {
            let (at, path) = (reading.at(), reading.path.clone());
            let next = line_after(reading.text(), at).map_err(|error| unreadable(&path, &error))?;
            let mut reading = self.readings.remove(0);
            let hints = reading.hints();
            let mark = Mark::of(reading.text(), next, hints).map_err(|error| unreadable(&path, &error))?;
            self.offset += next - at;
            self.readings.insert(0, self.reopened(reading, &mark)?);
        }
        Ok(self.position())
    }

    fn reopened(&self, mut reading: Reading, mark: &Mark) -> Result<Reading> {
        let member = Member { path: reading.path.clone(), name: reading.name.clone(), stat: self.stat(&mut reading)? };
        let Some((text, stat)) = self.family.open(&member)? else { return Ok(reading) };
        let resumed = Reading::resume(member.path, member.name, text, stat.hints, mark);
        resumed.map_err(|error| unreadable(&reading.path, &error))
    }

    fn stat(&self, reading: &mut Reading) -> Result<Stat> {
        let path = reading.path.clone();
        reading.text().stat().map_err(|error| unreadable(&path, &error))
    }

    /// What stands for the place where this is now.
    pub(crate) fn position(&mut self) -> Position {
        let open: Vec<Mark> = self.readings.iter().filter(|one| one.at() > 0).map(Reading::mark).collect();
        let closed: Vec<Mark> = self.closed.iter().map(|one| one.mark.clone()).collect();
        let told = self.offset > 0 || !open.is_empty() || !closed.is_empty();
        let token = told.then(|| Places { open, closed }.write());
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

    /// Makes sure that what comes next is what stands at `start`.
    fn stand_at(&mut self, start: &Position) -> Result<()> {
        let Some(token) = &start.token else { return self.stand_at_offset(start.offset) };
        self.reset(start.offset);
        let Some(places) = Places::read(token) else {
            return Err(Error::fatal("files.token", format!("the position of {} cannot be read", self.family.log)));
        };
        self.closed = places.closed.into_iter().map(Closed::from).collect();
        let mut missing = places.open;
        self.known = missing.iter().chain(self.closed.iter().map(|one| &one.mark)).map(|one| one.hints.modified).max();
        for tried in 0..TRIES {
            let members = self.family.members()?;
            let strangers = if tried > 0 { self.family.strangers()? } else { Vec::new() };
            let mut still = Vec::new();
            for mark in missing {
                let taken = self.inodes();
                match self.family.find(&mark, members.iter().chain(&strangers), &taken)? {
                    Some((member, text)) => {
                        if member.stat.hints.inode != mark.hints.inode && self.is_there(&mark, &members) {
                            copied(&self.family.log, &member, mark.seen);
                        }
                        self.stand(&member, text, mark, false)?;
                    }
                    None => still.push(mark),
                }
            }
            missing = still;
            if missing.is_empty() {
                break;
            }
            pause(self.tempo.look);
        }
        self.find_grown()?;
        for mark in missing {
            self.lost(&mark, &self.family.log.clone(), true)?;
        }
        self.last = Some(start.clone());
        Ok(())
    }

    /// Whether the file that `mark` was made in is still there, whatever it holds now.
    fn is_there(&self, mark: &Mark, members: &[Member]) -> bool {
        let live = self.family.disk.stat(&self.family.log).ok().map(|stat| stat.hints.inode);
        members.iter().map(|one| one.stat.hints.inode).chain(live).any(|inode| inode == mark.hints.inode)
    }

    /// Goes on in files that were read to their end, then moved out of the log, and have more now.
    fn find_grown(&mut self) -> Result<()> {
        let members = self.family.members()?;
        let gone = |mark: &Mark| !members.iter().any(|one| one.stat.hints.inode == mark.hints.inode);
        if !self.closed.iter().any(|one| gone(&one.mark)) {
            return Ok(());
        }
        let strangers = self.family.strangers()?;
        for closed in std::mem::take(&mut self.closed) {
            let mark = closed.mark;
            let grown = |one: &&Member| one.stat.hints.inode == mark.hints.inode && one.stat.length > mark.at;
            let theirs = strangers.iter().filter(|one| gone(&mark) && grown(one));
            match self.family.find(&mark, theirs, &self.inodes())? {
                Some((member, text)) => self.stand(&member, text, mark, false)?,
                None => self.closed.push(Closed::from(mark)),
            }
        }
        Ok(())
    }

    /// Stands at `offset`, counted over the files in their order.
    fn stand_at_offset(&mut self, offset: u64) -> Result<()> {
        self.reset(offset);
        let mut left = offset;
        let members = if offset > 0 { self.family.members()? } else { Vec::new() };
        for member in members {
            if left == 0 {
                break;
            }
            if !matches(&self.settings.pattern, &member.path) {
                continue;
            }
            let Some((mut text, stat)) = self.family.open(&member)? else { continue };
            let failed = |error| unreadable(&member.path, &error);
            unpack(&mut text, left).map_err(failed)?;
            let length = text.length().map_err(failed)?.unwrap_or(left);
            let at = left.min(length);
            let mark = Mark::of(&mut text, at, stat.hints).map_err(failed)?;
            left -= at;
            // At the end of a file that goes on in another one, or at its very end.
            self.stand(&member, text, mark, left > 0 && at == length)?;
        }
        if left > 0 {
            // Beyond what there is: what a file has there, nobody can say.
            let latest = self.end()?;
            let earliest = Position { offset: 0, token: None };
            return Err(Error::OutOfRange { earliest, latest });
        }
        Ok(())
    }

    fn stand(&mut self, member: &Member, text: Text, mark: Mark, closed: bool) -> Result<()> {
        if closed {
            let mut mark = mark;
            mark.named = number(&member.path);
            self.closed.push(Closed::from(mark));
            return Ok(());
        }
        let (path, name) = (member.path.clone(), member.name.clone());
        let resumed = Reading::resume(path, name, text, member.stat.hints, &mark);
        self.readings.push(resumed.map_err(|error| unreadable(&member.path, &error))?);
        Ok(())
    }

    fn inodes(&self) -> BTreeSet<u64> {
        self.readings.iter().map(|one| one.hints().inode).collect()
    }

    /// Lets the oldest file that has something give it; whether one had.
    fn turn(&mut self, limits: Limits, out: &mut Out) -> Result<bool> {
        let mut index = 0;
        while let Some(reading) = self.readings.get_mut(index) {
            let quiet = reading.quiet();
            let ends = !self.settings.follow
                || reading.name.packing != Packing::Plain
                || reading.rotated && quiet >= self.settings.rotate_wait.0
                || reading.pending() && self.settings.last_line.0.is_some_and(|after| quiet >= after);
            let stays = !reading.rotated && reading.name.packing == Packing::Plain && !self.settings.whole;
            let step = reading.step(self.manner, limits, self.offset, ends, out);
            if let Some(nuls) = reading.hole() {
                let (path, at) = (&reading.path, reading.at());
                warn!(
                    "{path}: {nuls} NUL bytes before byte {at} passed over: a hole, as a cut under a writer without O_APPEND leaves it"
                );
            }
            match step {
                Ok(Step::Moved(bytes)) => {
                    self.offset += bytes;
                    return Ok(true);
                }
                Ok(Step::Nothing) => index += 1,
                // More may be written to it, now or until the next run.
                Ok(Step::Over) if stays => {
                    reading.over = true;
                    index += 1;
                }
                Ok(Step::Over) => {
                    let mark = self.readings.remove(index).mark();
                    if mark.at > 0 {
                        self.closed.push(Closed::from(mark));
                    }
                }
                Ok(Step::Replaced) => {
                    self.replaced(index)?;
                    index = 0;
                }
                Err(error) => {
                    if self.damaged(index, &error, out)? {
                        return Ok(true);
                    }
                    index += 1;
                }
            }
        }
        Ok(false)
    }

    /// A packed file that is damaged, or not complete yet; whether that was said.
    fn damaged(&mut self, index: usize, error: &std::io::Error, out: &mut Out) -> Result<bool> {
        let Some(reading) = self.readings.get_mut(index) else { return Ok(false) };
        let path = reading.path.clone();
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            return Err(Error::fatal("files.line", format!("{path}: {error}")));
        }
        if reading.text().plain().is_some() {
            return Err(unreadable(&path, error));
        }
        if age(reading.hints().modified) < self.tempo.settled {
            return Ok(false);
        }
        let reason = format!("{path} cannot be unpacked behind byte {}: {error}", reading.at());
        out.messages.attribute("file", path.as_bytes());
        out.fault(self.offset, b"", "file.damaged", &reason);
        self.offset += 1;
        let mut mark = self.readings.remove(index).mark();
        mark.refused = true;
        self.closed.push(Closed::from(mark));
        Ok(true)
    }

    /// What was read is not in its file any more: it is looked for in the others.
    fn replaced(&mut self, index: usize) -> Result<()> {
        let lost = self.readings.remove(index);
        let (mark, path) = (lost.mark(), lost.path.clone());
        drop(lost);
        (self.looked, self.scanned) = (None, None);
        if mark.at > 0 {
            let taken = self.inodes();
            let members = self.family.members()?;
            if let Some((member, text)) = self.family.find(&mark, members.iter(), &taken)? {
                copied(&path, &member, mark.seen);
                let resumed = Reading::resume(member.path.clone(), member.name, text, member.stat.hints, &mark);
                self.readings.insert(index, resumed.map_err(|error| unreadable(&member.path, &error))?);
                return Ok(());
            }
        }
        self.lost(&mark, &path, false)
    }

    /// No file has what was read, and what follows it. Whether something is missing now is not always known.
    fn lost(&mut self, mark: &Mark, path: &str, unwatched: bool) -> Result<()> {
        let Mark { at, seen, .. } = *mark;
        let copied = self.shorter_copy(mark)?;
        let unread = seen.saturating_sub(at);
        if copied && unread == 0 {
            warn!(
                "{path} was cut after it was copied and read up to byte {at}; what was written there since, if anything, is gone"
            );
            return Ok(());
        }
        if !unwatched && unread == 0 {
            warn!(
                "{path} was cut or rewritten; it was read up to byte {at}, and what was written there since, if anything, is gone"
            );
            return Ok(());
        }
        let range =
            if unread > 0 { format!("bytes {at}..{seen}") } else { format!("what followed byte {at}, if anything,") };
        warn!(
            "{path} was cut, replaced or removed; {range} of it cannot be read any more: no file here has what was before"
        );
        let earliest = self.position();
        let mut there = Self::new(Rc::clone(&self.family.disk), self.family.log.clone(), &self.settings);
        let token = there.end()?.token.or_else(|| Some(Places::default().write()));
        let latest = Position { offset: self.offset, token };
        self.last = Some(earliest.clone());
        Err(Error::OutOfRange { earliest, latest })
    }

    /// Whether there is a copy that ends before the place: it is done then.
    fn shorter_copy(&mut self, mark: &Mark) -> Result<bool> {
        // Only what is live is cut.
        if mark.named != number(&self.family.log) {
            return Ok(false);
        }
        let taken = self.inodes();
        let known = |member: &Member| self.closed.iter().any(|one| one.mark.hints == member.stat.hints);
        let mut members = self.family.members()?;
        members.retain(|one| {
            !taken.contains(&one.stat.hints.inode) && !one.name.live && one.stat.length <= mark.at && !known(one)
        });
        members.sort_by_key(|one| std::cmp::Reverse(one.stat.length));
        for member in members {
            let Ok(Some((mut text, stat))) = self.family.open(&member) else { continue };
            if text.plain().is_some() && mark.covers(&mut text, stat.length).unwrap_or(false) {
                let copy = Mark::of(&mut text, stat.length, stat.hints);
                let copy = copy.map_err(|error| unreadable(&member.path, &error))?;
                self.stand(&member, text, copy, true)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks whether the log goes on in another file; whether there is one more to read.
    fn look(&mut self) -> Result<bool> {
        let due = self.scanned.is_none_or(|at| at.elapsed() >= self.scan_every);
        if !due && self.looked.is_some_and(|at| at.elapsed() < self.tempo.look) {
            return Ok(false);
        }
        self.looked = Some(now());
        let live = self.family.disk.stat(&self.family.log).ok();
        let hints = live.filter(|stat| stat.length > 0).map(|stat| stat.hints);
        for reading in &mut self.readings {
            reading.rotated = live.is_none_or(|live| live.hints.inode != reading.hints().inode);
        }
        let read = |inode| self.readings.iter().any(|one| one.hints().inode == inode);
        let unknown =
            hints.is_some_and(|hints| !read(hints.inode) && !self.closed.iter().any(|one| one.mark.hints == hints));
        if due || unknown || self.waiting { self.scan() } else { Ok(false) }
    }

    /// Looks at all files of the log; whether there is one more to read.
    fn scan(&mut self) -> Result<bool> {
        let members = self.family.members()?;
        self.scanned = Some(now());
        self.scan_every = self.tempo.scan.max(Duration::from_millis(10 * members.len() as u64));
        self.waiting = false;
        let before = self.readings.len();
        let here = members.clone();
        let mut found = vec![false; self.closed.len()];
        let mut unknown = Vec::new();
        for member in members {
            let hints = member.stat.hints;
            if let Some(reading) = self.readings.iter_mut().find(|one| one.hints().inode == hints.inode) {
                if reading.path != member.path && reading.name != member.name {
                    (reading.path, reading.name) = (member.path, member.name);
                }
                continue;
            }
            let plain = member.name.packing == Packing::Plain;
            let known = self
                .closed
                .iter()
                .position(|one| one.mark.hints == hints && (!plain || one.mark.at == member.stat.length));
            match known.and_then(|index| found.get_mut(index)) {
                Some(found) => *found = true,
                None => unknown.push(member),
            }
        }
        // What a packed file was made of may still be there.
        unknown.sort_by_key(|member| member.name.packing != Packing::Plain);
        for member in unknown {
            self.meet(member, &here, &mut found)?;
        }
        if let Some(new) = self.readings.get_mut(before..) {
            new.sort_by_key(|reading| (reading.hints().modified, reading.name.order));
        }
        self.forget(&found)?;
        Ok(self.readings.len() > before)
    }

    /// Finds out what a file is that was not there before, and reads it if it is new.
    fn meet(&mut self, member: Member, here: &[Member], found: &mut Vec<bool>) -> Result<()> {
        let opened = match self.unpacking.take().filter(|(stat, _)| *stat == member.stat) {
            Some((_, text)) => Some((text, member.stat)),
            None => match self.family.open(&member) {
                Err(error) if !member.name.live => return self.pass_over(&member, &error),
                opened => opened?,
            },
        };
        let Some((mut text, stat)) = opened else { return Ok(()) };
        if text.plain().is_none() {
            match text.reach(u64::MAX, now() + UNPACK) {
                Ok(true) => {}
                Ok(false) => {
                    self.waiting = true;
                    self.unpacking = Some((stat, text));
                    return Ok(());
                }
                // Still being written; later it is damaged.
                Err(_) if age(stat.hints.modified) < self.tempo.settled => {
                    self.waiting = true;
                    return Ok(());
                }
                Err(_) => {}
            }
        }
        // A packed file may stand beside the one that it was made of.
        let packed = text.plain().is_none();
        let candidate = |(index, _): &(usize, &Closed)| packed || found.get(*index) == Some(&false);
        let member = Member { stat, ..member };
        let known = self.closed.iter().enumerate().filter(candidate).find(|(_, Closed { mark, .. })| {
            let theirs = here.iter().filter(|one| one.stat.hints.inode == mark.hints.inode);
            is_closed(mark, &mut text, &member, || {
                self.family.find(mark, theirs, &BTreeSet::new()).is_ok_and(|it| it.is_none())
            })
        });
        if let Some(index) = known.map(|(index, _)| index) {
            return self.meet_again(index, member, text, found);
        }
        match self.relation(&member, &mut text, here) {
            Relation::Open => self.waiting = true,
            Relation::Copy => {}
            Relation::Same(index) => self.take_over(index, member, text)?,
            Relation::New => {
                // Of other names only what the log was written to under its own, while nobody looked.
                let missed = self.known.is_some_and(|known| stat.hints.modified > known);
                if matches(&self.settings.pattern, &member.path) || missed && !member.name.live {
                    self.readings.push(Reading::new(member.path, member.name, text, stat.hints));
                }
            }
        }
        self.known =
            self.known.max(self.readings.iter().filter(|one| !one.rotated).map(|one| one.hints().modified).max());
        Ok(())
    }

    /// A rotated file that cannot be read keeps nobody from reading the others.
    fn pass_over(&mut self, member: &Member, error: &Error) -> Result<()> {
        if self.said.insert(member.path.clone()) && matches(&self.settings.pattern, &member.path) {
            warn!("{error}; the file is passed over until it can be read");
        }
        Ok(())
    }

    /// A file that was read to its end, under another name, packed, or with more behind it.
    fn meet_again(&mut self, index: usize, member: Member, mut text: Text, found: &mut Vec<bool>) -> Result<()> {
        let grown = self.closed.get(index).is_some_and(|one| !at_end(&one.mark, &mut text));
        if !grown {
            let Some(mut mark) = self.closed.get(index).map(|one| one.mark.clone()) else { return Ok(()) };
            (mark.hints, mark.named) = (member.stat.hints, number(&member.path));
            if found.get(index) == Some(&true) {
                self.closed.push(Closed::from(mark));
                found.push(true);
            } else if let (Some(one), Some(found)) = (self.closed.get_mut(index), found.get_mut(index)) {
                (one.mark, *found) = (mark, true);
            }
            return Ok(());
        }
        if self.settings.whole {
            let message = format!(
                "{} grew after it was read as a whole; move files into place when they are complete",
                member.path
            );
            return Err(Error::fatal("files.grown", message));
        }
        let mark = self.closed.remove(index).mark;
        found.remove(index);
        self.stand(&member, text, mark, false)
    }

    /// The file of a reading was replaced by one that has the same and maybe more, as `rsync` does.
    fn take_over(&mut self, index: usize, member: Member, text: Text) -> Result<()> {
        let Some(mark) = self.readings.get(index).map(Reading::mark) else { return Ok(()) };
        let resumed = Reading::resume(member.path.clone(), member.name, text, member.stat.hints, &mark);
        let resumed = resumed.map_err(|error| unreadable(&member.path, &error))?;
        if let Some(reading) = self.readings.get_mut(index) {
            *reading = resumed;
        }
        Ok(())
    }

    /// What a file that nobody knows has to do with those that are read. `here` are the files that the log has now.
    fn relation(&mut self, member: &Member, text: &mut Text, here: &[Member]) -> Relation {
        let fresh = age(member.stat.hints.modified) < self.tempo.settled;
        for (index, reading) in self.readings.iter_mut().enumerate() {
            let mark = reading.mark();
            if text.plain().is_none() {
                // Made of a file that is still being read.
                if reading.rotated && (holds(&mark, text) || is_whole_copy(reading.text(), text)) {
                    return Relation::Open;
                }
            } else if !here.iter().any(|one| one.stat.hints.inode == reading.hints().inode) {
                // Replaced by a file that has the same and maybe more, as `rsync` does; or moved from another device.
                if holds(&mark, text) {
                    let all = member.stat.length >= reading.at() + reading.behind();
                    return if all { Relation::Same(index) } else { Relation::Open };
                }
            } else if !member.name.live && !reading.rotated && is_copy(reading.text(), text, member.stat.length) {
                // Made before a cut that is still to come. One that stays as it is has lines of its own.
                return match matches(&self.settings.pattern, &member.path) {
                    false => Relation::Copy,
                    true if fresh => Relation::Open,
                    true => continue,
                };
            }
        }
        // Cut in this very moment: what was read may be in this file now, and the reading will notice.
        let cut = !member.name.live && self.readings.iter_mut().any(|reading| !reading.is_whole());
        if cut { Relation::Open } else { Relation::New }
    }

    /// Forgets files that are gone for some time, so that positions stay small.
    fn forget(&mut self, found: &[bool]) -> Result<()> {
        let (forget, mut expired) = (self.tempo.forget, false);
        for (one, found) in self.closed.iter_mut().zip(found) {
            one.missed = if *found { None } else { one.missed.or(Some(now())) };
            expired |= one.missed.is_some_and(|at| at.elapsed() >= forget);
        }
        if expired {
            let strangers = self.family.strangers()?;
            let family = self.family.clone();
            self.closed.retain_mut(|one| {
                if one.missed.is_none_or(|at| at.elapsed() < forget) {
                    return true;
                }
                // Moved out of the log: whoever meets it there has to know it.
                one.missed = Some(now());
                let same = strangers.iter().filter(|other| other.stat.hints == one.mark.hints);
                family.find(&one.mark, same, &BTreeSet::new()).is_ok_and(|found| found.is_some())
            });
        }
        let many = self.closed.len().saturating_sub(REMEMBERED);
        self.closed.drain(..many);
        Ok(())
    }
}

/// Says what a cut after a copy may have cost.
fn copied(path: &str, copy: &Member, seen: u64) {
    let (to, length) = (&copy.path, copy.stat.length);
    if copy.name.packing == Packing::Plain && seen > length {
        warn!("{path} was copied to {to} and cut; reading goes on there, and bytes {length}..{seen} of it are gone");
    } else if copy.name.packing == Packing::Plain {
        warn!(
            "{path} was copied to {to} and cut; reading goes on there, and what was written behind byte {length} before the cut, if anything, is gone"
        );
    } else {
        warn!(
            "{path} was copied to {to} and cut; reading goes on there, and what was written behind its end before the cut, if anything, is gone"
        );
    }
}

impl From<Mark> for Closed {
    fn from(mark: Mark) -> Self {
        Self { mark, missed: None }
    }
}

/// Whether `copy`, as far as it goes, is what `original` holds.
fn is_copy(original: &mut Text, copy: &mut Text, length: u64) -> bool {
    let Ok(Some(there)) = original.length() else { return false };
    let common = there.min(length);
    let mark = Mark::of(original, common, crate::mark::Hints::default());
    common > 0 && mark.is_ok_and(|mark| holds(&mark, copy))
}

/// Unpacks up to `place`, however long it takes.
fn unpack(text: &mut Text, place: u64) -> std::io::Result<()> {
    while !text.reach(place, now() + UNPACK)? {}
    Ok(())
}

/// Whether `packed` is what `original` holds.
fn is_whole_copy(original: &mut Text, packed: &mut Text) -> bool {
    let Ok(Some(length)) = original.length() else { return false };
    length > 0 && is_copy(original, packed, length) && packed.length().is_ok_and(|there| there == Some(length))
}

/// Bytes read at once while looking for a line end.
const BLOCK: u64 = 64 << 10;

/// Where the last line that has its end ends, before `end`.
fn line_before(text: &mut Text, end: u64) -> std::io::Result<u64> {
    let mut end = end;
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        let block = crate::mark::Content::bytes(text, from, (end - from) as usize)?;
        if let Some(last) = memchr::memrchr(b'\n', &block) {
            return Ok(from + last as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Where the first line begins at `at` or after it.
fn line_after(text: &mut Text, at: u64) -> std::io::Result<u64> {
    let mut from = at - 1;
    loop {
        let block = crate::mark::Content::bytes(text, from, BLOCK as usize)?;
        match memchr::memchr(b'\n', &block) {
            Some(end) => return Ok(from + end as u64 + 1),
            None if block.is_empty() => return Ok(from),
            None => from += block.len() as u64,
        }
    }
}
