//! The durable side of keyed state: runs that snapshots share, and how they are merged.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use spout_data::Part;

use super::{Changes, Entry, filter::Hash, merge::Merged, run::Run};

/// So many runs of like size become one.
const FAN: usize = 8;
/// Runs of fewer bytes than this are all of one size.
const SMALL: usize = 16 << 10;
/// What its parts are called, before a number that rises with age: the newest run has the greatest.
const PART: &str = "keyed-";

/// Keyed state as of some point: runs, the oldest first, and the changes since the last snapshot. Copies share both.
///
/// [`FAN`] runs of like size become one, and all of them once those above the oldest weigh as much as it does: an entry is
/// written again about once for each size there is, and nothing is kept much more than twice.
#[derive(Clone, Debug, Default)]
pub struct KeyedState {
    runs: Vec<Stored>,
    changes: Arc<Changes>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    number: u64,
    run: Arc<Run>,
    /// Whether the last snapshot has it.
    written: bool,
}

impl KeyedState {
    /// Takes its own parts out of those of a snapshot.
    ///
    /// # Errors
    /// Which part is damaged, and how.
    pub fn restore(parts: &mut BTreeMap<String, Bytes>) -> Result<Self, String> {
        let number = |name: &String| name.strip_prefix(PART)?.parse::<u64>().ok();
        let mut own: Vec<(u64, String)> = parts.keys().filter_map(|name| Some((number(name)?, name.clone()))).collect();
        own.sort_unstable();
        let mut state = Self::default();
        for (number, name) in own {
            let Some(bytes) = parts.remove(&name) else { continue };
            let run = Run::open(bytes).map_err(|what| format!("its part `{name}`: {what}"))?;
            state.runs.push(Stored { number, run: Arc::new(run), written: true });
            state.next = number + 1;
        }
        Ok(state)
    }

    /// Its parts: the changes since the last time as a run, and the runs that stay.
    #[must_use]
    pub fn snapshot(&mut self) -> BTreeMap<String, Part> {
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.add(&[], Some(&changes));
        }
        let sizes: Vec<usize> = self.runs.iter().map(|stored| stored.run.bytes().len()).collect();
        if let Some(from) = merge_from(&sizes) {
            let merged = self.runs.split_off(from);
            self.add(&merged, None);
        }
        let part = |stored: &mut Stored| {
            let kept = std::mem::replace(&mut stored.written, true);
            let part = if kept { Part::Kept } else { Part::from(stored.run.bytes().clone()) };
            (format!("{PART}{}", stored.number), part)
        };
        self.runs.iter_mut().map(part).collect()
    }

    /// All of it as one run. Equal states give equal bytes, however they came about; the parts of their snapshots do not, because
    /// they are cut where commits were.
    #[must_use]
    pub fn whole(mut self) -> Bytes {
        let (runs, changes) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.changes));
        self.add(&runs, Some(&changes));
        self.runs.pop().map(|stored| stored.run.bytes().clone()).unwrap_or_default()
    }

    /// Takes changes that are to survive a crash.
    pub(crate) fn absorb(&mut self, changes: Changes) {
        Arc::make_mut(&mut self.changes).append(changes);
    }

    /// Bytes it takes in memory.
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

    /// Adds one run of `runs` and `changes`, which are newer than all it has. At the bottom, removed keys are forgotten.
    fn add(&mut self, runs: &[Stored], changes: Option<&Changes>) {
        let runs = runs.iter().rev().map(|stored| Box::new(stored.run.from(&[])) as _);
        let changes = changes.map(|changes| Box::new(changes.from(&[])) as _);
        let bottom = self.runs.is_empty();
        let merged = Merged::new(changes.into_iter().chain(runs).collect());
        let run = Run::of(merged.filter(|(_, value)| !bottom || value.is_some()));
        if !(bottom && run.is_empty()) {
            self.runs.push(Stored { number: self.next, run: Arc::new(run), written: false });
            self.next += 1;
        }
    }
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
