//! The durable side of keyed state: runs that snapshots share, and how they are merged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use spout_base::spill::Unspilled;
use spout_data::Part;

use super::{Changes, Entry, filter::Hash, merge::Merged, piece::Piece, run::Run};

/// So many runs of like size become one.
const FAN: usize = 8;
/// Runs of fewer bytes than this are all of one size.
const SMALL: usize = 16 << 10;
/// A piece of a run is written, read and checked at once.
const FULL: usize = 64 << 20;
/// What its parts are called, before the number of the run, of which the newest has the greatest, and that of the piece of it.
const PART: &str = "keyed-";

/// Keyed state as of some point: runs, the oldest first, and the changes since the last snapshot. Copies share both.
///
/// [`FAN`] runs of like size become one, and all of them once those above the oldest weigh as much as it does: an entry is
/// written again about once for each size there is, and nothing is kept much more than twice. What is in memory of it are the
/// changes, small runs, and a few bits a key: the rest lies in files.
#[derive(Clone, Debug)]
pub struct KeyedState {
    runs: Vec<Stored>,
    changes: Arc<Changes>,
    next: u64,
    /// Bytes from which on a piece of a run is full.
    pub(super) full: usize,
}

#[derive(Clone, Debug)]
struct Stored {
    number: u64,
    run: Run,
    /// Whether the last snapshot has it.
    written: bool,
}

impl Default for KeyedState {
    fn default() -> Self {
        Self { runs: Vec::new(), changes: Arc::default(), next: 0, full: FULL }
    }
}

impl KeyedState {
    /// Takes its own parts out of those of a snapshot.
    ///
    /// # Errors
    /// Which part is damaged, and how.
    pub fn restore(parts: &mut BTreeMap<String, Bytes>) -> Result<Self, String> {
        let own: BTreeSet<(u64, u64, String)> =
            parts.keys().filter_map(|name| numbers(name).map(|(run, piece)| (run, piece, name.clone()))).collect();
        let mut state = Self::default();
        for (number, piece, name) in own {
            let wrong = |what: String| format!("its part `{name}`: {what}");
            if state.runs.last().is_none_or(|last| last.number != number) {
                state.runs.push(Stored { number, run: Run::default(), written: true });
            }
            let (Some(bytes), Some(stored)) = (parts.remove(&name), state.runs.last_mut()) else { continue };
            if stored.run.pieces().len() as u64 != piece {
                return Err(wrong("the piece before it is missing".into()));
            }
            stored.run.push(Piece::open(bytes).map_err(wrong)?).map_err(wrong)?;
            state.next = number + 1;
        }
        Ok(state)
    }

    /// Its parts: the changes since the last time as a run, and the runs that stay.
    ///
    /// # Errors
    /// [`Unspilled`] if there is no room for what is merged; the state is as before.
    pub fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Unspilled> {
        if !self.changes.is_empty() {
            let changes = Arc::clone(&self.changes);
            self.add(self.runs.len(), Some(&changes))?;
            self.changes = Arc::default();
        }
        let sizes: Vec<usize> = self.runs.iter().map(|stored| stored.run.stored()).collect();
        if let Some(from) = merge_from(&sizes) {
            self.add(from, None)?;
        }
        let mut parts = BTreeMap::new();
        for Stored { number, run, written } in &mut self.runs {
            let kept = std::mem::replace(written, true);
            for (at, piece) in run.pieces().iter().enumerate() {
                let new = || Part::from(piece.bytes().clone());
                parts.insert(part(*number, at), if kept { Part::Kept } else { new() });
            }
        }
        Ok(parts)
    }

    /// The parts of all of it as one run. Those of equal states are equal, however they came about; those of their snapshots are
    /// not, because they are cut where commits were.
    ///
    /// # Errors
    /// [`Unspilled`] if there is no room for it.
    pub fn whole(mut self) -> Result<BTreeMap<String, Bytes>, Unspilled> {
        let changes = std::mem::take(&mut self.changes);
        self.next = 0;
        self.add(0, Some(&changes))?;
        let pieces = self.runs.iter().flat_map(|stored| stored.run.pieces()).enumerate();
        Ok(pieces.map(|(at, piece)| (part(0, at), piece.bytes().clone())).collect())
    }

    /// Takes changes that are to survive a crash.
    pub(crate) fn absorb(&mut self, changes: Changes) {
        Arc::make_mut(&mut self.changes).append(changes);
    }

    /// Bytes it takes, in memory and in files.
    pub(super) fn bytes(&self) -> usize {
        self.changes.bytes + self.runs.iter().map(|stored| stored.run.size()).sum::<usize>()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let hash = Hash::of(key);
        let in_runs = || self.runs.iter().rev().find_map(|stored| stored.run.get(key, hash));
        self.changes.get(key).or_else(in_runs).flatten()
    }

    /// Its layers from `key` on, the newest first.
    pub(super) fn layers(&self, key: &[u8]) -> Vec<Box<dyn Iterator<Item = Entry<'_>> + '_>> {
        let runs = self.runs.iter().rev().map(|stored| Box::new(stored.run.from(key)) as _);
        std::iter::once(Box::new(self.changes.from(key)) as _).chain(runs).collect()
    }

    /// Makes one run of those from `from` on and of `changes`, which are newer. At the bottom, removed keys are forgotten.
    fn add(&mut self, from: usize, changes: Option<&Changes>) -> Result<(), Unspilled> {
        let runs = self.runs.iter().skip(from).rev().map(|stored| Box::new(stored.run.from(&[])) as _);
        let changes = changes.map(|changes| Box::new(changes.from(&[])) as _);
        let bottom = from == 0;
        let merged = Merged::new(changes.into_iter().chain(runs).collect());
        let run = Run::of(merged.filter(|(_, value)| !bottom || value.is_some()), self.full)?;
        self.runs.truncate(from);
        if !run.is_empty() {
            self.runs.push(Stored { number: self.next, run, written: false });
            self.next += 1;
        }
        Ok(())
    }
}

/// What the part is called that a piece of a run is.
fn part(run: u64, piece: usize) -> String {
    format!("{PART}{run}.{piece}")
}

/// The run and the piece of it that a part of this name is.
fn numbers(part: &str) -> Option<(u64, u64)> {
    let (run, piece) = part.strip_prefix(PART)?.split_once('.')?;
    Some((run.parse().ok()?, piece.parse().ok()?))
}

/// From which run on, of runs of these sizes, all are merged into one.
fn merge_from(sizes: &[usize]) -> Option<usize> {
    let (oldest, above) = sizes.split_first()?;
    let total: usize = above.iter().sum();
    if !above.is_empty() && total >= *oldest {
        return Some(0);
    }
    let (mut sizes, mut from) = (sizes.to_vec(), None);
    while let Some(at) = alike(&sizes) {
        let merged = sizes.drain(at..).sum();
        sizes.push(merged);
        from = Some(at);
    }
    from
}

/// Where the newest runs begin none of which is above some size, if there are [`FAN`] of that size among them; smaller ones
/// below one of that size count too, as they would never be merged otherwise.
fn alike(sizes: &[usize]) -> Option<usize> {
    let class = |size: &usize| (size / SMALL).checked_ilog(FAN).map_or(0, |log| log + 1);
    let greatest = sizes.iter().map(class).max()?;
    let begins = |most: u32| {
        let from = sizes.iter().rposition(|size| class(size) > most).map_or(0, |at| at + 1);
        let last = sizes.iter().rposition(|size| class(size) == most)?;
        (last + 1 >= from + FAN).then_some(from)
    };
    (0..=greatest).find_map(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_like_size_are_merged_and_all_once_they_outweigh_the_oldest() {
        let (kib, mib) = (1 << 10, 1 << 20);
        let check = |sizes: &[usize], expected: Option<usize>| assert_eq!(merge_from(sizes), expected, "{sizes:?}");
        check(&[], None);
        check(&[mib], None);
        check(&[mib, kib, kib], None);
        check(&[kib, kib], Some(0));
        check(&[64 * kib, kib, 63 * kib], Some(0));
        check(&[[mib].as_slice(), &[kib; 7]].concat(), None);
        check(&[[mib].as_slice(), &[kib; 8]].concat(), Some(1));
        // A large commit among small ones: they are merged with it, not left below it for ever.
        check(&[mib, kib, 100 * kib, kib, 100 * kib, kib, 100 * kib, kib, 100 * kib], Some(1));
        check(&[[64 * mib].as_slice(), &[200 * kib; 7], &[20 * kib; 7]].concat(), None);
        // What becomes of the small ones is alike to the ones before.
        check(&[[64 * mib].as_slice(), &[200 * kib; 7], &[20 * kib; 8]].concat(), Some(1));
    }
}
