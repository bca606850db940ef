//! Looks at the files of a log, and finds out what those are that were not there before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use spout_guest::{Error, Result, now, warn};

use super::{Closed, Log, look::Scan, lost::copied};
use crate::{
    family::{Family, Member, TELLING, UNPACK, at_end, holds, is_closed, unreadable},
    mark::{Content as _, HEAD, Mark},
    names::{Packing, matches},
    reading::{Reading, age},
    text::Text,
};

/// What a file that nobody knows is.
enum Relation {
    New,
    /// Maybe a copy that is being made, or a file that is being packed: what it is will show.
    Open,
    /// A copy that nobody asked for.
    Copy,
    /// What the log's live file holds, packed beside it.
    Packed,
    /// What the reading of that index read, in another file.
    Same(usize),
}

impl Log {
    /// Finds out what a file is that was not there before, and reads it if it is new.
    pub(super) fn identify(&mut self, member: Member, scan: &mut Scan) -> Result<()> {
        let opened = match self.unpacking.take().filter(|(stat, _)| *stat == member.stat) {
            Some((_, text)) => Some((text, member.stat)),
            None => match self.family.try_open(&member) {
                // Nor keeps one that must not be read anybody from reading the others.
                Err(error) if !member.name.live || error.kind() == io::ErrorKind::PermissionDenied => {
                    self.pass_over(&member.path, &error);
                    return Ok(());
                }
                opened => opened.map_err(|error| unreadable(&member.path, &error))?,
            },
        };
        let Some((mut text, stat)) = opened else { return Ok(()) };
        self.said.remove(&member.path);
        if text.plain().is_none() {
            match text.reach(u64::MAX, now() + UNPACK) {
                Ok(true) => {}
                Ok(false) => {
                    // It comes to an end, however large it is.
                    (self.waiting, self.undecided) = (true, None);
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
        let twin = |mark: &Mark| packed || scan.is_packed(mark);
        // Compared before anything else is read.
        let first = text.bytes(0, HEAD).unwrap_or_default();
        let candidate = |(index, one): &(usize, &Closed)| {
            one.mark.begins_with(&first) && (twin(&one.mark) || scan.found.get(*index) == Some(&false))
        };
        let member = Member { stat, ..member };
        let known = self.closed.iter().enumerate().filter(candidate).find(|(_, Closed { mark, .. })| {
            let theirs = scan.here.iter().filter(|one| one.stat.hints.inode == mark.hints.inode);
            let gone = || self.family.find(mark, theirs, &BTreeSet::new()).is_ok_and(|it| it.is_none());
            is_closed(mark, &mut text, &member, || twin(mark) && !packed || gone())
        });
        if let Some(index) = known.map(|(index, _)| index) {
            return self.identify_known(index, member, text, &mut scan.found);
        }
        match self.relation(&member, &mut text, &first, scan) {
            Relation::Open => {
                self.waiting = true;
                self.unpacking = packed.then_some((member.stat, text));
            }
            Relation::Copy => {}
            Relation::Packed => {
                let length = text.length().ok().flatten().unwrap_or_default();
                let failed = |error| unreadable(&member.path, &error);
                let mut mark = Mark::of(&mut text, length, member.stat.hints).map_err(failed)?;
                mark.note_name(&member.path, &member.name);
                self.closed.push(Closed::from(mark));
                scan.found.push(true);
            }
            Relation::Same(index) => self.take_over(index, member, text)?,
            Relation::New => {
                // Of other names only what the log was written to under its own, while nobody looked.
                let missed = scan.known.is_some_and(|known| stat.hints.modified > known);
                let blank = self.take_blank(&stat);
                if blank || matches(&self.settings.pattern, &member.path) || missed && !member.name.live {
                    self.readings.push(Reading::new(member.path, member.name, text, stat.hints));
                    self.spare();
                }
            }
        }
        Ok(())
    }

    /// A rotated file that cannot be read keeps nobody from reading the others.
    pub(super) fn pass_over(&mut self, path: &str, error: &io::Error) {
        if self.said.insert(path.to_owned()) && matches(&self.settings.pattern, path) {
            warn!("cannot read {path}: {error}; the file is passed over until it can be read");
        }
    }

    /// A file that was read to its end, under another name, packed, or with more behind it.
    fn identify_known(&mut self, index: usize, member: Member, mut text: Text, found: &mut Vec<bool>) -> Result<()> {
        let grown = self.closed.get(index).is_some_and(|one| !at_end(&one.mark, &mut text));
        if !grown {
            let Some(mut mark) = self.closed.get(index).map(|one| one.mark.clone()) else { return Ok(()) };
            mark.hints = member.stat.hints;
            mark.note_name(&member.path, &member.name);
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
        let Some(mut mark) = self.readings.get(index).map(Reading::mark) else { return Ok(()) };
        if self.may_be_cut(&mark, &member) {
            copied(&self.family.log, &member, mark.seen);
            mark.saw_at_most(&member);
        }
        let resumed = Reading::resume(member.path.clone(), member.name, text, member.stat.hints, &mark);
        let resumed = resumed.map_err(|error| unreadable(&member.path, &error))?;
        if let Some(reading) = self.readings.get_mut(index) {
            *reading = resumed;
        }
        Ok(())
    }

    /// What a file that nobody knows, with these first bytes, has to do with those that are read.
    fn relation(&mut self, member: &Member, text: &mut Text, first: &[u8], scan: &mut Scan) -> Relation {
        let fresh = age(member.stat.hints.modified) < self.tempo.settled;
        for (index, reading) in self.readings.iter_mut().enumerate() {
            let length = scan.lengths.get(&reading.hints().inode).copied().filter(|_| reading.missed.is_none());
            if text.plain().is_none() || !reading.rotated {
                reopen(&self.family, reading);
            }
            let (gone, same) = (length.is_none(), reading.begins_with(first));
            if text.plain().is_none() {
                // Replaced, moved and packed before anybody looked.
                let more = |length| length > reading.at() + reading.behind();
                if gone && same && text.length().ok().flatten().is_some_and(more) && holds(&reading.mark(), text) {
                    return Relation::Same(index);
                }
                // Made of a file that is still being read.
                let whole = length.is_none() || text.length().is_ok_and(|there| there == length);
                let held = |reading: &Reading, text: &mut Text| same && holds(&reading.mark(), text);
                let copy = |reading: &mut Reading, text: &mut Text| {
                    whole && reading.text().is_some_and(|original| is_whole_copy(original, text))
                };
                if reading.rotated && (held(reading, text) || copy(reading, text)) {
                    return Relation::Open;
                }
                // Made of the live one, which stays. Until that was read this is what a cut would leave.
                let all = text.length().ok().flatten().filter(|all| *all >= TELLING && length >= Some(*all));
                if let Some(all) = all.filter(|_| !reading.rotated && reading.name.packing == Packing::Plain)
                    && reading.text().is_some_and(|original| is_copy(original, text, all))
                {
                    let wait = reading.at() == 0 || reading.at() < all && fresh;
                    return if wait { Relation::Open } else { Relation::Packed };
                }
            } else if gone {
                // Replaced by a file that has the same and maybe more, as `rsync` does; or moved from another device.
                if same && holds(&reading.mark(), text) {
                    let all = member.stat.length >= reading.at() + reading.behind();
                    return if all { Relation::Same(index) } else { Relation::Open };
                }
            } else if !member.name.live
                && !reading.rotated
                && reading.text().is_some_and(|original| is_copy(original, text, member.stat.length))
            {
                // Made before a cut that is still to come. One that stays as it is has lines of its own.
                return match matches(&self.settings.pattern, &member.path) {
                    false => Relation::Copy,
                    true if fresh => Relation::Open,
                    true => continue,
                };
            }
        }
        let cut = !member.name.live && self.is_cut(scan);
        if cut { Relation::Open } else { Relation::New }
    }

    /// Whether a file was cut in this very moment: what was read may be in another one now, and the reading will notice.
    fn is_cut(&mut self, scan: &mut Scan) -> bool {
        let (family, Scan { lengths, cut, .. }) = (&self.family, scan);
        let mut any = |rotated: bool| {
            let mut those = self.readings.iter_mut().filter(|one| one.rotated == rotated);
            those.any(|one| !is_whole(family, one, lengths))
        };
        any(false) || *cut.get_or_insert_with(|| any(true))
    }
}

/// Opens a file that rests, where it still has its name and what was read.
fn reopen(family: &Family, reading: &mut Reading) {
    if reading.is_resting()
        && let Ok(Some((text, stat))) = family.open_path(&reading.path, reading.name.packing)
        && stat.hints.inode == reading.hints().inode
    {
        // What it is otherwise shows when it is its turn.
        drop(reading.wake(text));
    }
}

/// Whether a file still has what was read.
fn is_whole(family: &Family, reading: &mut Reading, lengths: &BTreeMap<u64, u64>) -> bool {
    if reading.is_resting() && reading.at() == 0 {
        return true;
    }
    if reading.missed.is_some() {
        return false;
    }
    reopen(family, reading);
    if !reading.is_resting() {
        return reading.is_whole();
    }
    // Also where all of it was cut. One that is not here is whole wherever it is.
    let inode = reading.hints().inode;
    !lengths.contains_key(&inode) && family.stat(&reading.path).is_none_or(|stat| stat.hints.inode != inode)
}

/// Whether `copy`, as far as it goes, is what `original` holds.
pub(super) fn is_copy(original: &mut Text, copy: &mut Text, length: u64) -> bool {
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
