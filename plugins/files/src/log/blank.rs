//! Files of which nothing was read yet: an empty one, or one whose first line has no end. No content tells them from others;
//! they are known by their number, and read from their start whatever their names are by then.

use spout_guest::warn;

use super::{Log, look::Scan};
use crate::{
    disk::Stat,
    mark::{Hints, Mark},
    names::matches,
    reading::Reading,
};

/// So many are remembered: one that was renamed while it was empty may be written to later.
const REMEMBERED: usize = 4;

impl Log {
    /// Whether the log's name means the same as when all files were looked at, where that is a file without content, or none.
    pub(super) fn is_same_blank(&self, live: Option<&Stat>) -> bool {
        let Some(live) = live else { return self.live.is_none() || self.blanks.is_empty() };
        let inode = live.hints.inode;
        self.settings.whole
            || self.blanks.iter().any(|one| one.hints.inode == inode)
            || self.readings.iter().any(|one| one.hints().inode == inode)
    }

    /// Remembers what the log's name means if that has no content.
    pub(super) fn note_blank(&mut self, live: Option<&Stat>) {
        self.live = live.map(|live| live.hints.inode);
        if let Some(live) = live.filter(|live| live.length == 0 && !self.is_same_blank(Some(live))) {
            self.remember_blank(live.hints, 0);
        }
    }

    /// Remembers a file of which nothing was read.
    pub(super) fn remember_blank(&mut self, hints: Hints, seen: u64) {
        if !self.settings.whole {
            self.blanks.push(Mark::blank(hints, seen));
            let many = self.blanks.len().saturating_sub(REMEMBERED);
            self.blanks.drain(..many);
        }
    }

    /// Whether a file is one of those; it is read now. A number that an older file got is not meant.
    pub(super) fn take_blank(&mut self, stat: &Stat) -> bool {
        let same = |one: &Mark| one.hints.inode == stat.hints.inode && stat.hints.modified >= one.hints.modified;
        let found = self.blanks.iter().position(same);
        found.map(|index| self.blanks.remove(index)).is_some()
    }

    /// Takes those that a position has; the others.
    pub(super) fn take_blanks(&mut self, marks: Vec<Mark>) -> Vec<Mark> {
        let (blanks, marks) = marks.into_iter().partition(|one| one.at == 0);
        self.blanks = blanks;
        // One that had a part of a line may have been packed since, and has its date still.
        let since = |one: &Mark| one.hints.modified - u64::from(one.seen > 0).min(one.hints.modified);
        self.known = self.known.or_else(|| self.blanks.iter().map(since).max());
        marks
    }

    /// After a look: says what is gone. Where the log was looked at for the first time, and was empty, all its rotated files
    /// are older than what is read of it.
    pub(super) fn settle_blanks(&mut self, scan: &Scan) {
        if self.known.is_none()
            && let Some(blank) = self.blanks.iter_mut().find(|one| Some(one.hints.inode) == self.live)
        {
            let dates = scan.here.iter().map(|one| one.stat.hints.modified);
            blank.hints.modified = dates.fold(blank.hints.modified, u64::max);
            self.known = Some(blank.hints.modified);
        }
        if self.waiting {
            return;
        }
        for blank in self.blanks.iter_mut().filter(|one| !scan.lengths.contains_key(&one.hints.inode)) {
            let seen = std::mem::take(&mut blank.seen);
            // Packed, it is read like any file that is younger.
            let packed = |one: &Reading| one.rotated && one.at() == 0 && one.hints().modified >= blank.hints.modified;
            if seen > 0 && !self.readings.iter().any(packed) {
                let log = &self.family.log;
                warn!("{log} was replaced or removed; it had {seen} bytes, of which none was read");
            }
        }
    }

    /// Whether a position names a file of which nothing was read, since its name alone would not get it read.
    pub(super) fn is_kept_blank(&self, reading: &Reading) -> bool {
        let (live, path) = (reading.path == self.family.log, &reading.path);
        !self.settings.whole && (live || !matches(&self.settings.pattern, path))
    }
}
