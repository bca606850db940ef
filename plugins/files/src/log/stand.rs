//! Finds the place that a position says, in whatever file it is now, and says what cannot be found.

use std::{collections::BTreeSet, io, rc::Rc};

use spout_guest::{Error, Position, Result, now, pause, warn};

use super::{Closed, Log};
use crate::{
    disk::Stat,
    family::{Member, UNPACK, unreadable},
    mark::{Content as _, Mark, Places},
    names::{Packing, matches, number},
    reading::Reading,
    text::Text,
    trail::Common,
};

/// Looks for a file that must be somewhere: it may be between two names just now.
const TRIES: u32 = 4;

impl Log {
    /// The position after the last whole line there is.
    pub(crate) fn end(&mut self) -> Result<Position> {
        self.reset(0);
        for member in self.family.members()? {
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

    fn stat(&self, reading: &mut Reading) -> Result<Stat> {
        let path = reading.path.clone();
        reading.text().stat().map_err(|error| unreadable(&path, &error))
    }

    /// Makes sure that what comes next is what stands at `start`.
    pub(super) fn stand_at(&mut self, start: &Position) -> Result<()> {
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
                        // Also where it was replaced first: it is one of the log's other files now, and was not just renamed.
                        let copy = !member.name.live && member.name.packing == Packing::Plain;
                        let moved = copy && mark.named == number(&self.family.log);
                        if member.stat.hints.inode != mark.hints.inode && (moved || self.is_there(&mark, &members)) {
                            copied(&self.family.log, &member, mark.seen);
                        }
                        self.stand(&member, text, mark, false)?;
                    }
                    None => match members.iter().find(|one| one.stat.hints.inode == mark.hints.inode).cloned() {
                        // It goes on when it can be read again.
                        Some(denied) if self.open(&denied).is_ok_and(|opened| opened.is_none()) => {
                            self.closed.push(Closed::from(mark));
                        }
                        _ => still.push(mark),
                    },
                }
            }
            missing = still;
            if missing.is_empty() {
                break;
            }
            pause(self.tempo.look);
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
        let there: BTreeSet<u64> = members.iter().map(|one| one.stat.hints.inode).collect();
        let gone = |mark: &Mark| !there.contains(&mark.hints.inode);
        if self.settings.whole || !self.closed.iter().any(|one| gone(&one.mark)) {
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
            let earliest = Position { offset: 0, token: None };
            return Err(Error::OutOfRange { earliest, latest });
        }
        Ok(())
    }

    pub(super) fn stand(&mut self, member: &Member, text: Text, mark: Mark, closed: bool) -> Result<()> {
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

    /// What was read is not in its file any more: it is looked for in the others.
    pub(super) fn replaced(&mut self, index: usize) -> Result<()> {
        let lost = self.readings.remove(index);
        let (mark, path, recent) = (lost.mark(), lost.path.clone(), lost.recent().to_vec());
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
        if self.is_lost(&mark, &path, Some(&recent))? { Err(self.out_of_range()?) } else { Ok(()) }
    }

    /// No file has what was read, and what follows it: says so. Whether something is missing now is not always known; whether
    /// something may be that nobody has seen. `recent`: the last bytes that were read, where the file was watched.
    fn is_lost(&mut self, mark: &Mark, path: &str, recent: Option<&[u8]>) -> Result<bool> {
        let Mark { at, seen, .. } = *mark;
        let copied = self.shorter_copy(mark, recent)?;
        let unread = seen.saturating_sub(at);
        if copied && unread == 0 {
            warn!(
                "{path} was cut after it was copied and read up to byte {at}; what was written there since, if anything, is gone"
            );
            return Ok(false);
        }
        if unread == 0 && self.settings.whole {
            warn!("{path} is gone; it had been read as a whole");
            return Ok(false);
        }
        if unread == 0 && mark.named != number(&self.family.log) {
            warn!("a rotated file of {path} is gone; it had been read to its end, byte {at}");
            return Ok(false);
        }
        if recent.is_some() && unread == 0 {
            warn!(
                "{path} was cut or rewritten; it was read up to byte {at}, and what was written there since, if anything, is gone"
            );
            return Ok(false);
        }
        let range =
            if unread > 0 { format!("bytes {at}..{seen}") } else { format!("what followed byte {at}, if anything,") };
        warn!(
            "{path} was cut, replaced or removed; {range} of it cannot be read any more: no file here has what was before"
        );
        Ok(true)
    }

    /// Something is lost: the places to go on from.
    fn out_of_range(&mut self) -> Result<Error> {
        let earliest = self.position();
        let mut there = Self::new(Rc::clone(&self.family.disk), self.family.log.clone(), &self.settings);
        let token =
            there.end()?.token.or_else(|| Some(Places { log: self.family.log.clone(), ..Places::default() }.write()));
        let latest = Position { offset: self.offset, token };
        self.last = Some(earliest.clone());
        Ok(Error::OutOfRange { earliest, latest })
    }

    /// Whether there is a copy that ends before the place: it is done then.
    fn shorter_copy(&mut self, mark: &Mark, recent: Option<&[u8]>) -> Result<bool> {
        // Only what is live is cut.
        if mark.named != number(&self.family.log) {
            return Ok(false);
        }
        let taken = self.inodes();
        let known = |member: &Member| self.closed.iter().any(|one| one.mark.hints == member.stat.hints);
        let members = self.family.members()?;
        let free = |one: &&Member| !taken.contains(&one.stat.hints.inode) && !one.name.live && !known(one);
        let candidates: Vec<&Member> = members.iter().filter(free).rev().collect();
        for member in candidates {
            let Ok(Some((mut text, stat))) = self.family.open(member) else { continue };
            let whole = text.reach(u64::MAX, now() + UNPACK).is_ok_and(|whole| whole);
            let Some(length) = text.length().ok().flatten().filter(|_| whole) else { continue };
            let others = members.iter().filter(|one| one.stat.hints.inode != member.stat.hints.inode);
            if self.is_beginning(mark, recent, &mut text, length, others).unwrap_or(false) {
                let copy = Mark::of(&mut text, length, stat.hints);
                let copy = copy.map_err(|error| unreadable(&member.path, &error))?;
                self.stand(member, text, copy, true)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `text` is the beginning of what was read up to `mark`.
    fn is_beginning<'a>(
        &self,
        mark: &Mark,
        recent: Option<&[u8]>,
        text: &mut Text,
        length: u64,
        others: impl Iterator<Item = &'a Member>,
    ) -> std::io::Result<bool> {
        let base = mark.at - recent.map_or(0, <[u8]>::len) as u64;
        if let Some(recent) = recent.filter(|_| (base..mark.at).contains(&length)) {
            let count = (length - base) as usize;
            let same = recent.get(..count) == Some(&text.bytes(base, count)?[..]);
            return Ok(same && (base == 0 || mark.covers(text, length)? != Common::No));
        }
        let Common::Until { from, end } = mark.covers(text, length)? else { return Ok(false) };
        // What another file has as well, before it goes on otherwise, as a banner, does not tell the two apart.
        let (shared, rest) = (text.bytes(from, (end - from) as usize)?, text.bytes(end, (length - end) as usize)?);
        for other in others {
            let Ok(Some((mut other, _))) = self.family.open(other) else { continue };
            let twin = other.bytes(end, rest.len()).is_ok_and(|bytes| rest.starts_with(&bytes));
            if !twin && other.bytes(from, shared.len()).is_ok_and(|bytes| bytes == shared) {
                return Ok(false);
            }
        }
        Ok(true)
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
