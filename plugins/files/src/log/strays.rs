//! Files of a log that were read to their end and are not in it any more.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use spout_guest::{Result, now, warn};

use super::Log;
use crate::{
    family::{Member, at_end},
    listing::Age,
    names::Packing,
};

/// Files that were read, are not there any more, and are remembered at most.
const REMEMBERED: usize = 2000;

impl Log {
    /// Files that were read to their end and have names outside of the log now: what is written there later is read, too.
    pub(super) fn find_strays(&mut self, found: &mut Vec<bool>) -> Result<()> {
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
            let age = if fresh { Age::Since(self.since(false)) } else { self.lately() };
            for (one, found) in self.closed.iter_mut().zip(&*found) {
                if !found && one.away.is_none() {
                    let theirs = self.family.strangers(one.mark.hints.inode, age)?;
                    let there = self.family.find(&one.mark, theirs.iter(), &BTreeSet::new())?;
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
        let stat = self.family.stat(&path).filter(|stat| stat.hints.inode == one.mark.hints.inode);
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
    pub(super) fn forget(&mut self, found: &[bool]) {
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
            if drop {
                many -= 1;
            }
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
