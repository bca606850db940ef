//! Closes files that have nothing to give, and finds them again when they have, wherever they are by then.

use std::collections::BTreeSet;

use spout_guest::{Result, now, warn};

use super::{Closed, Log, identify::is_copy, lost::copied, stand::TRIES};
use crate::{
    family::{Member, holds, unreadable},
    listing::Age,
    mark::Mark,
    names::{Packing, number},
    reading::Reading,
    text::Text,
};

/// What became of a file that was closed.
pub(super) enum Woken {
    /// It is open.
    Open,
    /// There is nothing to open it for.
    Rests,
    /// It is not read any more.
    Gone,
    /// What was taken from other files is given first.
    Later,
}

impl Log {
    /// Files that are open.
    pub(crate) fn open_files(&self) -> usize {
        self.readings.iter().filter(|one| !one.is_resting()).count() + usize::from(self.unpacking.is_some())
    }

    /// Bytes that were read ahead.
    pub(crate) fn held(&self) -> usize {
        self.readings.iter().map(Reading::held).sum()
    }

    /// Lets go of what was read ahead; it is read again.
    pub(crate) fn free(&mut self) {
        self.readings.iter_mut().for_each(Reading::free);
    }

    /// Closes files: those that have nothing more just now, or all.
    pub(crate) fn rest(&mut self, all: bool) {
        if all {
            self.unpacking = None;
        }
        self.readings.iter_mut().filter(|one| all || one.at_end()).for_each(Reading::rest);
    }

    /// Closes the file that was opened last if too many are open.
    pub(super) fn spare(&mut self) {
        if self.family.catalog.is_full()
            && let Some(reading) = self.readings.last_mut()
        {
            reading.rest();
        }
    }

    /// Opens a file again if it may have more.
    pub(super) fn wake(&mut self, index: usize, moved: bool) -> Result<Woken> {
        let ends = self.ends(index);
        let Some(reading) = self.readings.get_mut(index).filter(|one| one.is_resting()) else { return Ok(Woken::Open) };
        let stat = self.family.stat(&reading.path);
        if stat.is_some_and(|stat| reading.is_unchanged(&stat)) && (!ends || reading.over) {
            reading.missed = None;
            if reading.quiet() >= self.tempo.settled {
                reading.settle();
            }
            return Ok(Woken::Rests);
        }
        if let Some(stat) = stat.filter(|stat| stat.hints.inode == reading.hints().inode) {
            let member = Member { path: reading.path.clone(), name: reading.name.clone(), stat };
            match self.family.try_open(&member) {
                Ok(Some((text, stat))) if stat.hints.inode == member.stat.hints.inode => {
                    let woken = reading.wake(text).map_err(|error| unreadable(&member.path, &error))?;
                    if !woken && moved {
                        return Ok(Woken::Later);
                    }
                    if !woken {
                        self.replaced(index)?;
                        return Ok(Woken::Gone);
                    }
                    return Ok(Woken::Open);
                }
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    self.pass_over(&member.path, &error);
                    return Ok(Woken::Rests);
                }
                Err(_) if moved => return Ok(Woken::Later),
                Err(error) => return Err(unreadable(&member.path, &error)),
                Ok(_) => {}
            }
        }
        if moved {
            return Ok(Woken::Later);
        }
        self.wake_elsewhere(index)
    }

    /// The name of a file means another one now.
    fn wake_elsewhere(&mut self, index: usize) -> Result<Woken> {
        let Some(reading) = self.readings.get(index) else { return Ok(Woken::Gone) };
        let mark = reading.mark();
        let found = self.whereabouts(index, &mark)?;
        let cut = found.as_ref().is_some_and(|(member, _)| self.may_be_cut(&mark, member));
        let Some(reading) = self.readings.get_mut(index) else { return Ok(Woken::Gone) };
        let recent = reading.recent().to_vec();
        if let Some((member, text)) = found {
            let less = member.stat.hints.inode != mark.hints.inode
                && member.name.packing == Packing::Plain
                && member.stat.length < mark.seen;
            if less || cut {
                copied(&reading.path, &member, mark.seen);
                reading.forget_seen();
            }
            let woken = reading.wake(text).map_err(|error| unreadable(&member.path, &error))?;
            if woken {
                reading.rotated = member.path != self.family.log;
                (reading.path, reading.name) = (member.path, member.name);
                return Ok(Woken::Open);
            }
        }
        let missed = *reading.missed.get_or_insert_with(now);
        let path = reading.path.clone();
        if missed.elapsed() < self.tempo.look * TRIES {
            // It may be between two names. What is beside it is not taken for new meanwhile.
            return Ok(Woken::Rests);
        }
        self.readings.remove(index);
        (self.looked, self.scanned) = (None, None);
        if mark.at == 0 {
            if mark.seen > 0 {
                warn!("{path} is gone; it had {} bytes, of which none was read", mark.seen);
            }
            return Ok(Woken::Gone);
        }
        if self.is_lost(&mark, &path, Some(&recent))? {
            return Err(self.out_of_range()?);
        }
        self.closed.push(Closed::from(mark));
        Ok(Woken::Gone)
    }

    /// The file that holds what was read: by its number, or else by its content. A number may have been given to another file
    /// since, as a copy of what replaced the one that had it.
    fn whereabouts(&self, index: usize, mark: &Mark) -> Result<Option<(Member, Text)>> {
        let Some(reading) = self.readings.get(index) else { return Ok(None) };
        let age = Age::Since(self.since(false));
        let mut members = self.family.members(age)?;
        members.retain(|one| !self.has_done(one));
        let same = |one: &&Member| mark.is_of(one);
        let strangers = self.family.strangers(mark.hints.inode, age)?;
        let mut found = None;
        for member in members.iter().filter(same).chain(&strangers) {
            if let Ok(Some((mut text, stat))) = self.family.try_open(member)
                && stat.hints.inode == mark.hints.inode
                && (mark.at == 0 || holds(mark, &mut text))
            {
                if mark.at == 0 || reading.is_unchanged(&stat) {
                    return Ok(Some((Member { stat, ..member.clone() }, text)));
                }
                found = found.or(Some((Member { stat, ..member.clone() }, text)));
            }
        }
        if mark.at == 0 {
            return Ok(None);
        }
        let Some((member, mut text)) = found else {
            let others: BTreeSet<u64> = self.inodes().into_iter().filter(|inode| *inode != mark.hints.inode).collect();
            return self.family.find(mark, members.iter(), &others);
        };
        let original = self.original(mark, &member, &mut text, &members);
        Ok(Some(original.unwrap_or((member, text))))
    }

    /// What has the name of the file now, where the one that has its number is a copy of that.
    pub(super) fn original(
        &self,
        mark: &Mark,
        copy: &Member,
        text: &mut Text,
        members: &[Member],
    ) -> Option<(Member, Text)> {
        let replaced = |one: &&Member| number(&one.path) == mark.named && one.stat.hints.inode != mark.hints.inode;
        let named = members.iter().find(replaced).filter(|one| one.stat.length >= copy.stat.length)?;
        let (mut original, stat) = self.family.try_open(named).ok()??;
        let same = holds(mark, &mut original) && is_copy(&mut original, text, copy.stat.length);
        same.then(|| (Member { stat, ..named.clone() }, original))
    }
}
