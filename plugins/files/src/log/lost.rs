//! What was read and is not where it was: it is looked for, and what cannot be found is said.

use std::rc::Rc;

use spout_guest::{Error, Position, Result, now, warn};

use super::Log;
use crate::{
    family::{Member, UNPACK, unreadable},
    listing::Age,
    mark::{Content as _, MOVED, Mark, Places},
    names::{Packing, number},
    reading::Reading,
    text::Text,
    trail::Common,
};

impl Log {
    /// What was read is not in its file any more: it is looked for in the others.
    pub(super) fn replaced(&mut self, index: usize) -> Result<()> {
        let lost = self.readings.remove(index);
        let (mark, path, recent) = (lost.mark(), lost.path.clone(), lost.recent().to_vec());
        drop(lost);
        (self.looked, self.scanned) = (None, None);
        if mark.at > 0 {
            let taken = self.inodes();
            let mut members = self.family.members(Age::Since(self.since(true)))?;
            members.retain(|one| !self.has_done(one));
            if let Some((member, text)) = self.family.find(&mark, members.iter(), &taken)? {
                copied(&path, &member, mark.seen);
                let mut mark = mark;
                mark.saw_at_most(&member);
                let resumed = Reading::resume(member.path.clone(), member.name, text, member.stat.hints, &mark);
                self.readings.insert(index, resumed.map_err(|error| unreadable(&member.path, &error))?);
                return Ok(());
            }
        }
        if self.is_lost(&mark, &path, Some(&recent))? { Err(self.out_of_range()?) } else { Ok(()) }
    }

    /// No file has what was read, and what follows it: says so. Whether something is missing now is not always known; whether
    /// something may be that nobody has seen. `recent`: the last bytes that were read, where the file was watched.
    pub(super) fn is_lost(&mut self, mark: &Mark, path: &str, recent: Option<&[u8]>) -> Result<bool> {
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
    pub(super) fn out_of_range(&mut self) -> Result<Error> {
        let earliest = self.position();
        let mut there = Self::new(Rc::clone(&self.family.catalog), self.family.log.clone(), &self.settings);
        let token =
            there.end()?.token.or_else(|| Some(Places { log: self.family.log.clone(), ..Places::default() }.write()));
        let latest = Position { offset: self.offset, token };
        self.last = Some(earliest.clone());
        Ok(Error::OutOfRange { earliest, latest })
    }

    /// Whether a file that holds what was read of the live one may be a copy before a cut, also where that was replaced first:
    /// it is one of the log's other files now, and was not just renamed.
    pub(super) fn may_be_cut(&self, mark: &Mark, member: &Member) -> bool {
        let other = !member.name.live && member.stat.hints.inode != mark.hints.inode;
        other && member.name.packing == Packing::Plain && mark.named == number(&self.family.log)
    }

    /// Whether there is a copy that ends before the place: it is done then.
    fn shorter_copy(&mut self, mark: &Mark, recent: Option<&[u8]>) -> Result<bool> {
        // Only what is live is cut, maybe before it was moved.
        if ![number(&self.family.log), MOVED].contains(&mark.named) {
            return Ok(false);
        }
        let taken = self.inodes();
        let known = |member: &Member| self.closed.iter().any(|one| one.mark.hints == member.stat.hints);
        let members = self.family.members(Age::Since(self.since(true)))?;
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
pub(super) fn copied(path: &str, copy: &Member, seen: u64) {
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
