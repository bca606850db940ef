//! Looks at the files of a log: whether its name means the same as before, and which other files there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use spout_guest::{Result, now};

use super::{Closed, Log};
use crate::{family::Member, listing::Age, mark::Mark, names::Packing, reading::Reading};

/// What a look at all files of a log found.
pub(super) struct Scan {
    pub(super) here: Vec<Member>,
    /// How long each is.
    pub(super) lengths: BTreeMap<u64, u64>,
    /// Those that are packed.
    pub(super) packed: BTreeSet<(u64, u64)>,
    /// Which of the files that were read are there.
    pub(super) found: Vec<bool>,
    /// When the newest file that was known before was written.
    pub(super) known: Option<u64>,
    /// Whether a rotated file that is read was cut.
    pub(super) cut: Option<bool>,
}

impl Scan {
    pub(super) fn is_packed(&self, mark: &Mark) -> bool {
        self.packed.contains(&(mark.hints.inode, mark.hints.modified))
    }
}

impl Log {
    /// Looks whether the log goes on in another file; whether there is one more to read.
    pub(super) fn look(&mut self) -> Result<bool> {
        let due = self.is_due();
        if !due && self.looked.is_some_and(|at| at.elapsed() < self.tempo.look) {
            return Ok(false);
        }
        self.looked = Some(now());
        let live = self.family.stat(&self.family.log);
        let mut moved = false;
        for reading in &mut self.readings {
            let before = reading.rotated;
            reading.rotated = live.is_none_or(|live| live.hints.inode != reading.hints().inode);
            moved |= reading.rotated && !before;
        }
        let read = |inode| self.readings.iter().any(|one| one.hints().inode == inode);
        let unknown = match live.filter(|live| live.length > 0).map(|live| live.hints) {
            Some(hints) => !read(hints.inode) && !self.closed.iter().any(|one| one.mark.hints == hints),
            None => !self.is_same_blank(live.as_ref()),
        };
        // What became of a file shows before it counts as complete.
        if due || unknown || moved || self.waiting { self.scan() } else { Ok(false) }
    }

    /// Whether it is time to look at all files again.
    pub(super) fn is_due(&self) -> bool {
        self.scanned.is_none_or(|at| at.elapsed() >= self.scan_every)
    }

    /// All files of the log. What was listed a while ago is enough where it holds nothing new and misses nothing, and the log's
    /// name means the `same`.
    fn all_members(&self, same: bool) -> Result<Vec<Member>> {
        if self.scanned.is_some() && same {
            let members = self.family.members(self.lately())?;
            if self.knows(&members) {
                return Ok(members);
            }
        }
        self.family.members(Age::Since(self.since(false)))
    }

    /// Whether a file was read to its end, and nothing came to it since.
    pub(super) fn has_done(&self, member: &Member) -> bool {
        self.closed.iter().any(|closed| is_done(closed, member))
    }

    /// Whether `members` are the files that were there before.
    fn knows(&self, members: &[Member]) -> bool {
        let read = |one: &Member| {
            let same = |reading: &Reading| reading.hints().inode == one.stat.hints.inode && reading.path == one.path;
            self.readings.iter().any(same) || self.has_done(one)
        };
        let inode = |inode: u64| members.iter().any(|one| one.stat.hints.inode == inode);
        let away = |one: &Reading| one.at() > 0 && one.name.log != self.family.log;
        let there = |one: &Closed| one.away.is_some() || one.missed.is_some() || inode(one.mark.hints.inode);
        members.iter().all(read)
            && self.readings.iter().all(|one| away(one) || inode(one.hints().inode))
            && self.closed.iter().all(there)
    }

    /// Looks at all files of the log; whether there is one more to read.
    fn scan(&mut self) -> Result<bool> {
        let live = self.family.stat(&self.family.log);
        let same = live.is_some_and(|live| live.length > 0) || self.is_same_blank(live.as_ref());
        self.note_blank(live.as_ref());
        let members = self.all_members(same)?;
        self.scanned = Some(now());
        self.scan_every = self.tempo.scan.max(Duration::from_millis(10 * members.len() as u64));
        self.waiting = false;
        let before = self.readings.len();
        let packed = |one: &&Member| one.name.packing != Packing::Plain;
        let hints = |one: &Member| (one.stat.hints.inode, one.stat.hints.modified);
        let mut scan = Scan {
            lengths: members.iter().map(|one| (one.stat.hints.inode, one.stat.length)).collect(),
            packed: members.iter().filter(packed).map(hints).collect(),
            found: vec![false; self.closed.len()],
            known: self.known,
            cut: None,
            here: members.clone(),
        };
        let mut unknown = Vec::new();
        for member in members {
            let hints = member.stat.hints;
            let same = |one: &&mut Reading| one.hints().inode == hints.inode && one.missed.is_none();
            if let Some(reading) = self.readings.iter_mut().find(same) {
                if reading.path != member.path {
                    (reading.path, reading.name) = (member.path, member.name);
                }
                continue;
            }
            let known = self.closed.iter().position(|one| is_done(one, &member));
            match known.and_then(|index| scan.found.get_mut(index)) {
                Some(found) => *found = true,
                None => unknown.push(member),
            }
        }
        // What a copy or a packed file was made of goes first.
        unknown.sort_by_key(|member| (member.name.packing != Packing::Plain, !member.name.live));
        let any = !unknown.is_empty();
        for member in unknown {
            self.identify(member, &mut scan)?;
        }
        // What waits may be older than the live file, and was not known before either.
        if any && !self.waiting {
            let live = self.readings.iter().filter(|one| !one.rotated);
            self.known = self.known.max(live.map(|one| one.hints().modified).max());
        }
        self.settle_blanks(&scan);
        let mut found = scan.found;
        self.find_strays(&mut found)?;
        if let Some(new) = self.readings.get_mut(before..) {
            new.sort_by_key(|reading| (reading.hints().modified, reading.name.order));
        }
        self.forget(&found);
        Ok(self.readings.len() > before)
    }
}

/// Whether a file is as it was when it was read to its end.
fn is_done(closed: &Closed, member: &Member) -> bool {
    let plain = member.name.packing == Packing::Plain;
    closed.mark.hints == member.stat.hints && (!plain || closed.mark.at == member.stat.length)
}
