//! Looks at the files of a log, and finds out what those are that were not there before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use spout_guest::{Error, Result, now, warn};

use super::{Closed, Log};
use crate::{
    family::{Member, TELLING, UNPACK, at_end, holds, is_closed, unreadable},
    mark::{Content as _, HEAD, Mark},
    names::{Packing, matches, number},
    reading::{Reading, age},
    text::Text,
};

/// Files that were read, are not there any more, and are remembered at most.
const REMEMBERED: usize = 2000;

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

/// What a look at all files of a log found.
struct Scan {
    here: Vec<Member>,
    /// How long each is.
    lengths: BTreeMap<u64, u64>,
    /// Those that are packed.
    packed: BTreeSet<(u64, u64)>,
    /// Which of the files that were read are there.
    found: Vec<bool>,
    /// When the newest file that was known before was written.
    known: Option<u64>,
    /// Whether a rotated file that is read was cut.
    cut: Option<bool>,
}

impl Scan {
    fn is_packed(&self, mark: &Mark) -> bool {
        self.packed.contains(&(mark.hints.inode, mark.hints.modified))
    }
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
            match known.and_then(|index| scan.found.get_mut(index)) {
                Some(found) => *found = true,
                None => unknown.push(member),
            }
        }
        // What a copy or a packed file was made of goes first.
        unknown.sort_by_key(|member| (member.name.packing != Packing::Plain, !member.name.live));
        for member in unknown {
            self.identify(member, &mut scan)?;
        }
        let mut found = scan.found;
        self.find_strays(&mut found)?;
        if let Some(new) = self.readings.get_mut(before..) {
            new.sort_by_key(|reading| (reading.hints().modified, reading.name.order));
        }
        self.forget(&found);
        Ok(self.readings.len() > before)
    }

    /// Finds out what a file is that was not there before, and reads it if it is new.
    fn identify(&mut self, member: Member, scan: &mut Scan) -> Result<()> {
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
                mark.named = number(&member.path);
                self.closed.push(Closed::from(mark));
                scan.found.push(true);
            }
            Relation::Same(index) => self.take_over(index, member, text)?,
            Relation::New => {
                // Of other names only what the log was written to under its own, while nobody looked.
                let missed = scan.known.is_some_and(|known| stat.hints.modified > known);
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

    /// What a file that nobody knows, with these first bytes, has to do with those that are read.
    fn relation(&mut self, member: &Member, text: &mut Text, first: &[u8], scan: &mut Scan) -> Relation {
        let fresh = age(member.stat.hints.modified) < self.tempo.settled;
        for (index, reading) in self.readings.iter_mut().enumerate() {
            let length = scan.lengths.get(&reading.hints().inode).copied();
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
                if reading.rotated && (held(reading, text) || whole && is_whole_copy(reading.text(), text)) {
                    return Relation::Open;
                }
                // Made of the live one, which stays. Until that was read this is what a cut would leave.
                let all = text.length().ok().flatten().filter(|all| *all >= TELLING && length >= Some(*all));
                if let Some(all) = all.filter(|_| !reading.rotated && reading.name.packing == Packing::Plain)
                    && is_copy(reading.text(), text, all)
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
        let cut = !member.name.live
            && (self.readings.iter_mut().any(|reading| !reading.rotated && !reading.is_whole())
                || *scan.cut.get_or_insert_with(|| {
                    self.readings.iter_mut().any(|reading| reading.rotated && !reading.is_whole())
                }));
        if cut { Relation::Open } else { Relation::New }
    }

    /// Files that were read to their end and have names outside of the log now: what is written there later is read, too.
    fn find_strays(&mut self, found: &mut Vec<bool>) -> Result<()> {
        let (mut fresh, mut lost, mut expired) = (false, false, false);
        for (one, found) in self.closed.iter().zip(&*found) {
            if !found && one.away.is_none() {
                // What was read as a whole has no more.
                fresh |= one.missed.is_none() && !self.settings.whole;
                lost |= !self.settings.whole;
                expired |= one.missed.is_some_and(|at| at.elapsed() >= self.tempo.forget);
            }
        }
        let due = lost && self.strayed.is_none_or(|at| at.elapsed() >= self.stray_every);
        if fresh || due || expired {
            let longer = if fresh { Duration::ZERO } else { self.stray_every * 2 };
            (self.strayed, self.stray_every) = (Some(now()), self.tempo.away.max(longer));
            let strangers = self.family.strangers()?;
            let strangers: BTreeMap<u64, &Member> = strangers.iter().map(|one| (one.stat.hints.inode, one)).collect();
            for (one, found) in self.closed.iter_mut().zip(&*found) {
                let theirs = strangers.get(&one.mark.hints.inode).copied();
                if !found && one.away.is_none() && theirs.is_some() {
                    let there = self.family.find(&one.mark, theirs.into_iter(), &BTreeSet::new())?;
                    one.away = there.map(|(member, _)| member.path);
                }
            }
        }
        for index in (0..self.closed.len()).rev() {
            self.visit_stray(index, found)?;
        }
        Ok(())
    }

    /// Looks at a file outside of the log that was read to its end.
    fn visit_stray(&mut self, index: usize, found: &mut Vec<bool>) -> Result<()> {
        let (Some(one), Some(seen)) = (self.closed.get_mut(index), found.get_mut(index)) else { return Ok(()) };
        let Some(path) = one.away.take() else { return Ok(()) };
        let stat = self.family.disk.stat(&path).ok().filter(|stat| stat.hints.inode == one.mark.hints.inode);
        let Some(stat) = stat.filter(|_| !*seen) else { return Ok(()) };
        let member = Member { name: self.family.name(&path), stat, path };
        let plain = member.name.packing == Packing::Plain;
        if stat.hints == one.mark.hints && (!plain || stat.length == one.mark.at) {
            (one.away, *seen) = (Some(member.path), true);
            return Ok(());
        }
        let mark = one.mark.clone();
        let there = self.family.find(&mark, std::iter::once(&member), &self.inodes())?;
        let Some((member, mut text)) = there else { return Ok(()) };
        if self.settings.whole || at_end(&mark, &mut text) {
            if let (Some(one), Some(seen)) = (self.closed.get_mut(index), found.get_mut(index)) {
                (one.mark.hints, one.away, *seen) = (member.stat.hints, Some(member.path), true);
            }
            return Ok(());
        }
        self.closed.remove(index);
        found.remove(index);
        self.stand(&member, text, mark, false)?;
        if let Some(reading) = self.readings.last_mut() {
            reading.rotated = true;
        }
        Ok(())
    }

    /// Forgets files that are gone for long, and those that are gone longest where they are many, so that positions stay
    /// small. One that is there is never forgotten: it would be read again.
    fn forget(&mut self, found: &[bool]) {
        for (one, found) in self.closed.iter_mut().zip(found) {
            one.missed = if *found { None } else { one.missed.or(Some(now())) };
        }
        let forget = self.tempo.forget;
        self.closed.retain(|one| one.missed.is_none_or(|at| at.elapsed() < forget));
        let mut missed: Vec<Instant> = self.closed.iter().filter_map(|one| one.missed).collect();
        let mut many = missed.len().saturating_sub(REMEMBERED);
        if many == 0 {
            return;
        }
        missed.sort_unstable();
        let last = missed.get(many - 1).copied();
        self.closed.retain(|one| {
            let drop = many > 0 && one.missed.is_some_and(|at| Some(at) <= last);
            many -= usize::from(drop);
            !drop
        });
        if self.said.insert("?".to_owned()) {
            let log = &self.family.log;
            warn!(
                "more than {REMEMBERED} files of {log} that were read are gone; those gone longest are forgotten, and would be read again if they came back"
            );
        }
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
