//! Finds the place that a position says, in whatever file it is now, and says what cannot be found.

use std::{collections::BTreeSet, io, time::Instant};

use spout_guest::{Error, Position, Result, now};

use super::{Closed, Log, lost::copied};
use crate::{
    disk::Stat,
    family::{Member, UNPACK, unreadable},
    listing::Age,
    mark::{Content as _, Mark, Places},
    names::matches,
    reading::Reading,
    text::Text,
};

/// Looks for a file that must be somewhere: it may be between two names just now.
pub(super) const TRIES: u32 = 4;

/// Files that are looked for.
#[derive(Debug)]
pub(super) struct Missing {
    start: Position,
    marks: Vec<Mark>,
    tries: u32,
    tried: Instant,
}

impl Log {
    /// The position after the last whole line there is.
    pub(crate) fn end(&mut self) -> Result<Position> {
        self.reset(0);
        self.note_blank(self.family.stat(&self.family.log).as_ref());
        for member in self.family.members(Age::Since(self.since(false)))? {
            let Some((mut text, stat)) = self.open(&member)? else { continue };
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
            } else if member.name.live {
                self.remember_blank(stat.hints, length);
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
        if self.settings.whole || self.readings.first().is_none_or(|reading| reading.at() == 0) {
            return Ok(self.position());
        }
        let reading = self.readings.remove(0);
        let (at, path, name, hints) = (reading.at(), reading.path.clone(), reading.name.clone(), reading.hints());
        let failed = |error| unreadable(&path, &error);
        if let Some(mut text) = reading.into_text() {
            let next = line_after(&mut text, at).map_err(failed)?;
            let mark = Mark::of(&mut text, next, hints).map_err(failed)?;
            let resumed = Reading::resume(path.clone(), name, text, hints, &mark).map_err(failed)?;
            self.offset += next - at;
            self.readings.insert(0, resumed);
        }
        Ok(self.position())
    }

    /// Opens a file; one that must not be read is named and passed over.
    fn open(&mut self, member: &Member) -> Result<Option<(Text, Stat)>> {
        match self.family.try_open(member) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.pass_over(&member.path, &error);
                Ok(None)
            }
            opened => opened.map_err(|error| unreadable(&member.path, &error)),
        }
    }

    /// Makes sure that what comes next is what stands at `start`; whether it does already. A file that is not found may be
    /// between two names: it is looked for again a little later.
    pub(super) fn stand_at(&mut self, start: &Position) -> Result<bool> {
        let Some(token) = &start.token else { return self.stand_at_offset(start.offset).map(|()| true) };
        self.tells = true;
        let (tries, marks) = match self.missing.take().filter(|missing| missing.start == *start) {
            Some(missing) if missing.tried.elapsed() < self.tempo.look => {
                self.missing = Some(missing);
                return Ok(false);
            }
            Some(missing) => (missing.tries, missing.marks),
            None => {
                self.reset(start.offset);
                let Some(places) = Places::read(token) else {
                    let message = format!("the position of {} cannot be read", self.family.log);
                    return Err(Error::fatal("files.token", message));
                };
                self.closed = places.closed.into_iter().map(Closed::from).collect();
                let open = places.open.iter().filter(|one| one.at > 0);
                let all = open.chain(self.closed.iter().map(|one| &one.mark));
                self.known = all.map(|one| one.hints.modified).max();
                (0, self.take_blanks(places.open))
            }
        };
        let missing = self.stand_in(marks, tries > 0)?;
        if !missing.is_empty() && tries + 1 < TRIES {
            let (start, tried) = (start.clone(), now());
            self.missing = Some(Missing { start, marks: missing, tries: tries + 1, tried });
            return Ok(false);
        }
        self.find_grown()?;
        let mut lost = false;
        for mark in missing {
            lost |= self.is_lost(&mark, &self.family.log.clone(), None)?;
        }
        if lost {
            return Err(self.out_of_range()?);
        }
        self.last = Some(start.clone());
        Ok(true)
    }

    /// Goes on in the files that hold what these marks say; those that no file holds.
    fn stand_in(&mut self, marks: Vec<Mark>, everywhere: bool) -> Result<Vec<Mark>> {
        let age = Age::Since(self.since(false));
        let members = if marks.is_empty() { Vec::new() } else { self.family.members(age)? };
        let mut missing = Vec::new();
        for mark in marks {
            let taken = self.inodes();
            let strangers = if everywhere { self.family.strangers_like(&mark, age)? } else { Vec::new() };
            // What was read to its end may begin as this one did, with a banner.
            let free = |one: &&Member| one.stat.hints.inode == mark.hints.inode || !self.has_done(one);
            match self.family.find(&mark, members.iter().filter(free).chain(&strangers), &taken)? {
                Some((member, mut text)) => {
                    let mut mark = mark;
                    // A number that was given again.
                    let other = mark.hints.inode == member.stat.hints.inode && mark.hints != member.stat.hints;
                    let original = other.then(|| self.original(&mark, &member, &mut text, &members)).flatten();
                    let (member, text) = original.unwrap_or((member, text));
                    let other = !member.name.live && member.stat.hints.inode != mark.hints.inode;
                    if self.may_be_cut(&mark, &member) || other && self.is_there(&mark, &members) {
                        copied(&self.family.log, &member, mark.seen);
                        mark.saw_at_most(&member);
                    }
                    self.stand(&member, text, mark, false)?;
                }
                None => match members.iter().find(|one| one.stat.hints.inode == mark.hints.inode).cloned() {
                    // It goes on when it can be read again.
                    Some(denied) if self.open(&denied).is_ok_and(|opened| opened.is_none()) => {
                        self.closed.push(Closed::from(mark));
                    }
                    _ => missing.push(mark),
                },
            }
        }
        Ok(missing)
    }

    /// Whether the file that `mark` was made in is still there, whatever it holds now.
    fn is_there(&self, mark: &Mark, members: &[Member]) -> bool {
        let live = self.family.stat(&self.family.log).map(|stat| stat.hints.inode);
        members.iter().map(|one| one.stat.hints.inode).chain(live).any(|inode| inode == mark.hints.inode)
    }

    /// Goes on in files that were read to their end, then moved out of the log, and have more now.
    fn find_grown(&mut self) -> Result<()> {
        if self.settings.whole || self.closed.is_empty() {
            return Ok(());
        }
        let age = Age::Since(self.since(false));
        let members = self.family.members(age)?;
        let there: BTreeSet<u64> = members.iter().map(|one| one.stat.hints.inode).collect();
        let gone = |mark: &Mark| !there.contains(&mark.hints.inode);
        for closed in std::mem::take(&mut self.closed) {
            let mark = closed.mark;
            let mut theirs = if gone(&mark) { self.family.strangers(mark.hints.inode, age)? } else { Vec::new() };
            theirs.retain(|one| one.stat.length > mark.at);
            match self.family.find(&mark, theirs.iter(), &self.inodes())? {
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
        let members = if offset > 0 { self.family.members(Age::Since(self.since(false)))? } else { Vec::new() };
        for member in members {
            if left == 0 {
                break;
            }
            if !matches(&self.settings.pattern, &member.path) {
                continue;
            }
            let Some((mut text, stat)) = self.open(&member)? else { continue };
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
            let earliest = beginning(self.tells.then_some(self.family.log.as_str()));
            return Err(Error::OutOfRange { earliest, latest });
        }
        Ok(())
    }

    pub(super) fn stand(&mut self, member: &Member, text: Text, mark: Mark, closed: bool) -> Result<()> {
        if closed {
            let mut mark = mark;
            mark.note_name(&member.path, &member.name);
            self.closed.push(Closed::from(mark));
            return Ok(());
        }
        let (path, name) = (member.path.clone(), member.name.clone());
        let resumed = Reading::resume(path, name, text, member.stat.hints, &mark);
        self.readings.push(resumed.map_err(|error| unreadable(&member.path, &error))?);
        Ok(())
    }
}

/// The beginning of a log, with its name if that has to be said.
pub(crate) fn beginning(log: Option<&str>) -> Position {
    let places = log.map(|log| Places { log: log.to_owned(), ..Places::default() });
    Position { offset: 0, token: places.map(|places| places.write()) }
}

/// Unpacks up to `place`, however long it takes.
fn unpack(text: &mut Text, place: u64) -> std::io::Result<()> {
    while !text.reach(place, now() + UNPACK)? {}
    Ok(())
}

/// Bytes read at once while looking for a line end.
const BLOCK: u64 = 64 << 10;

/// Where the last line that has its end ends, before `end`.
fn line_before(text: &mut Text, end: u64) -> std::io::Result<u64> {
    let mut end = end;
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        let block = text.bytes(from, (end - from) as usize)?;
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
        let block = text.bytes(from, BLOCK as usize)?;
        match memchr::memchr(b'\n', &block) {
            Some(end) => return Ok(from + end as u64 + 1),
            None if block.is_empty() => return Ok(from),
            None => from += block.len() as u64,
        }
    }
}
