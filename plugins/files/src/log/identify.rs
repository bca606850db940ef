//! Looks at the files of a log, and finds out what those are that were not there before.

use std::{collections::BTreeSet, time::Duration};

use spout_guest::{Error, Result, now, warn};

use super::{Closed, Log};
use crate::{
    family::{Member, UNPACK, at_end, holds, is_closed, unreadable},
    mark::Mark,
    names::{Packing, matches, number},
    reading::{Reading, age},
    text::Text,
};

/// Files that were read and are remembered at most.
const REMEMBERED: usize = 2000;

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
    /// Looks whether the log goes on in another file; whether there is one more to read.
    pub(super) fn look(&mut self) -> Result<bool> {
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
                if reading.path != member.path {
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
        // What a copy or a packed file was made of goes first.
        unknown.sort_by_key(|member| (member.name.packing != Packing::Plain, !member.name.live));
        for member in unknown {
            self.identify(member, &here, &mut found)?;
        }
        if let Some(new) = self.readings.get_mut(before..) {
            new.sort_by_key(|reading| (reading.hints().modified, reading.name.order));
        }
        self.forget(&found)?;
        Ok(self.readings.len() > before)
    }

    /// Finds out what a file is that was not there before, and reads it if it is new.
    fn identify(&mut self, member: Member, here: &[Member], found: &mut Vec<bool>) -> Result<()> {
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
        // A packed file may stand beside the one that it was made of, whichever of them was seen first.
        let packed = text.plain().is_none();
        let twin = |mark: &Mark| {
            packed || here.iter().any(|one| one.stat.hints == mark.hints && one.name.packing != Packing::Plain)
        };
        let candidate = |(index, one): &(usize, &Closed)| twin(&one.mark) || found.get(*index) == Some(&false);
        let member = Member { stat, ..member };
        let known = self.closed.iter().enumerate().filter(candidate).find(|(_, Closed { mark, .. })| {
            let theirs = here.iter().filter(|one| one.stat.hints.inode == mark.hints.inode);
            let gone = || self.family.find(mark, theirs, &BTreeSet::new()).is_ok_and(|it| it.is_none());
            is_closed(mark, &mut text, &member, || twin(mark) && !packed || gone())
        });
        if let Some(index) = known.map(|(index, _)| index) {
            return self.identify_known(index, member, text, found);
        }
        match self.relation(&member, &mut text, here) {
            Relation::Open => {
                self.waiting = true;
                self.unpacking = packed.then_some((member.stat, text));
            }
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
    fn identify_known(&mut self, index: usize, member: Member, mut text: Text, found: &mut Vec<bool>) -> Result<()> {
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
            let gone = !here.iter().any(|one| one.stat.hints.inode == reading.hints().inode);
            if text.plain().is_none() {
                // Replaced, moved and packed before anybody looked.
                let more = |length| length > reading.at() + reading.behind();
                if gone && text.length().ok().flatten().is_some_and(more) && holds(&mark, text) {
                    return Relation::Same(index);
                }
                // Made of a file that is still being read.
                if reading.rotated && (holds(&mark, text) || is_whole_copy(reading.text(), text)) {
                    return Relation::Open;
                }
            } else if gone {
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

/// Whether `copy`, as far as it goes, is what `original` holds.
fn is_copy(original: &mut Text, copy: &mut Text, length: u64) -> bool {
    let Ok(Some(there)) = original.length() else { return false };
    let common = there.min(length);
    let mark = Mark::bare(original, common);
    common > 0 && mark.is_ok_and(|mark| holds(&mark, copy))
}

/// Whether `packed` is what `original` holds.
fn is_whole_copy(original: &mut Text, packed: &mut Text) -> bool {
    let Ok(Some(length)) = original.length() else { return false };
    length > 0 && is_copy(original, packed, length) && packed.length().is_ok_and(|there| there == Some(length))
}
