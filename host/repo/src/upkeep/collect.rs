//! Collection: removes what nothing leads to any more, and history that the repo's rules do not keep.
//!
//! Order makes it safe, not clocks. (1) Objects are listed. (2) Boundaries become durable: what is before them is no longer
//! history. (3) What is needed is found, and small files that are needed move out of records that go. (4) The names of what
//! will go are written down, and every branch gets a [`Sweep`] record that points there: a writer whose commit names one
//! of them loses its slot to that record, reads it, and gives up. (5) What is needed is found once more, for commits that
//! came before the sweep. (6) Objects are deleted, then records, oldest first and never the newest, so that a writer that
//! wakes up in a collected slot sees that nothing comes before it.
//!
//! Age is courtesy on top: what is younger than `min_age_ms` is left alone, so that a running pipeline is not disturbed.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use spout_base::clock;

use super::{leftovers, reach::Reach, retention};
use crate::{
    collected::{Collect, Collected},
    delta,
    error::Error,
    layout::Layout,
    log::{Attempts, Checkpoint, Pack, RecordKind, State, Sweep, Taken, pack, seal, slot},
    object::{Created, Step},
    repo::Repo,
};

/// Checkpoints that stay although newer ones exist; of the older ones, each sixteenth does, for queries of the past.
const RECENT_CHECKPOINTS: usize = 4;
const SPARSE: usize = 16;

/// Records between two checkpoints that a collection writes.
const RENEWED: u64 = 4096;

/// Lists of what was swept stay this long, whatever the age asked for: a writer that sleeps reads them when it wakes.
const LISTS_MS: i64 = 30 * 24 * 3_600_000;

/// A file that a write stages is this old before it counts as left, whatever the age asked for.
const LEFT_MS: i64 = 10 * 60_000;

/// What is about to go.
#[derive(Debug, Default)]
struct Doomed {
    /// Name from the repo's root, and size.
    objects: BTreeMap<String, u64>,
    /// Branch and first kept sequence.
    boundaries: Vec<(String, u64)>,
    /// Checkpoints whose index may tell of files that were gone at the boundary.
    stale: BTreeSet<Path>,
    young: u64,
}

impl Repo {
    /// Removes what is no longer needed.
    ///
    /// # Errors
    /// Those of reading; a repo that is damaged is not collected. Whatever was deleted until then was not needed.
    pub async fn collect(&self, how: Collect) -> Result<Collected, Error> {
        let listed = self.listed().await?;
        let tables = delta::Collection::begin(self, &listed, how).await?;
        let mut doomed = Doomed { boundaries: self.boundaries(how.dry_run).await?, ..Doomed::default() };
        for (branch, boundary) in doomed.boundaries.iter().filter(|(_, boundary)| *boundary > 1) {
            let stale = self.stale_checkpoints(branch, *boundary).await?;
            if !how.dry_run && !stale.is_empty() {
                self.renew_checkpoints(branch, *boundary).await?;
            }
            doomed.stale.extend(stale);
        }
        let gone = tables.collect(self, &doomed.boundaries).await?.with(self.leftovers(how));
        let reach = Reach::of(self, &doomed.stale).await?;
        self.find(&listed, &reach, how, &mut doomed).await?;
        let records = self.old_records(&doomed.boundaries).await?;
        if how.dry_run {
            return Ok(doomed.report(records.len() as u64).with(gone));
        }
        for (branch, boundary) in &doomed.boundaries {
            self.pack(&reach, branch, *boundary).await?;
        }
        if doomed.objects.is_empty() && records.is_empty() {
            return Ok(doomed.report(0).with(gone));
        }
        self.sweep(&doomed).await?;
        let again = Reach::of(self, &doomed.stale).await?;
        doomed.objects.retain(|name, _| !needed(&again, name));
        for name in doomed.objects.keys() {
            self.objects.delete(Step::Delete, &self.layout.object(name)).await?;
        }
        // One after the other: a later record must never be gone while an earlier one is there.
        for (branch, sequence) in &records {
            self.objects.delete(Step::Delete, &self.layout.record(branch, *sequence)).await?;
        }
        Ok(doomed.report(records.len() as u64).with(gone))
    }

    /// What broken writes left behind. Only its age distinguishes it from a write in progress.
    fn leftovers(&self, how: Collect) -> Collected {
        let young_from = clock::wall_ms().saturating_sub(how.min_age_ms.max(LEFT_MS));
        let mut gone = Collected::default();
        for left in leftovers::find(self).into_iter().filter(|left| left.at_ms <= young_from) {
            if how.dry_run || std::fs::remove_file(&left.path).is_ok() {
                (gone.objects, gone.bytes) = (gone.objects + 1, gone.bytes + left.size);
            }
        }
        gone
    }

    /// Objects that can be collected, with size and time.
    async fn listed(&self) -> Result<Vec<(String, u64, i64)>, Error> {
        let mut listed = Vec::new();
        for directory in [self.layout.data(), self.layout.tables(), self.layout.index(), self.layout.sweeps()] {
            let there = self.objects.list_aged(&directory).await?;
            listed.extend(there.iter().map(|(path, size, at)| (self.layout.name(path).to_owned(), *size, *at)));
        }
        Ok(listed)
    }

    /// Where the history of each branch begins by the rules, made durable unless it is only asked for.
    async fn boundaries(&self, dry_run: bool) -> Result<Vec<(String, u64)>, Error> {
        let rules = self.retention().await?;
        let (mut states, mut kept) = (Vec::new(), BTreeMap::new());
        for branch in self.branch_names().await? {
            let state = self.state(&branch).await?;
            retention::keep(self, &state, rules, &mut kept).await?;
            states.push(state);
        }
        let mut boundaries = Vec::new();
        for state in states {
            let there = self.boundary(&state.branch).await?;
            let first = match kept.get(&state.branch) {
                // A branch that is gone needs no more than what others lead to, and the newest record.
                None if state.deleted => state.head.sequence,
                Some(&first) if state.deleted || !rules.keeps_all() => first,
                _ => there,
            };
            if first > there.max(1) && !dry_run {
                self.set_boundary(&state, first).await?;
            }
            boundaries.push((state.branch, first.max(there)));
        }
        boundaries.retain(|(_, first)| *first > 0);
        Ok(boundaries)
    }

    async fn set_boundary(&self, state: &State, first: u64) -> Result<(), Error> {
        let at = State::at(&self.objects, &self.layout, self.name(), &state.branch, first).await?;
        let path = self.layout.boundary(&state.branch, first);
        let object = self.objects.shown(&path);
        let (bytes, _) = seal::seal(&object, &at.dense_checkpoint(first).await?)?;
        match self.objects.create(Step::Boundary, &path, bytes).await? {
            Created::Ours | Created::Others => Ok(()),
            Created::Nothing(source) => Err(Error::write(object, source)),
            Created::Unknown(source) => Err(Error::Unconfirmed { object, source: source.into() }),
        }
    }

    /// Writes checkpoints in the place of those that are stale.
    async fn renew_checkpoints(&self, branch: &str, boundary: u64) -> Result<(), Error> {
        let head = self.state(branch).await?.head.sequence;
        let mut next = boundary + RENEWED;
        while next < head {
            self.renew(branch, boundary, next).await?;
            next += RENEWED;
        }
        if head > boundary { self.renew(branch, boundary, head).await } else { Ok(()) }
    }

    async fn renew(&self, branch: &str, boundary: u64, sequence: u64) -> Result<(), Error> {
        let state = State::at(&self.objects, &self.layout, self.name(), branch, sequence).await?;
        // One that is there already is stale, has this name, and goes: the records behind the boundary tell the same.
        state.dense_checkpoint(boundary).await?.write(&self.objects, &self.layout).await
    }

    /// Checkpoints from the boundary on that stand on an index of before it.
    async fn stale_checkpoints(&self, branch: &str, boundary: u64) -> Result<Vec<Path>, Error> {
        let mut stale = Vec::new();
        for (path, _) in self.objects.list(&self.layout.checkpoints(branch)).await? {
            let Some(sequence) = Layout::sequence(&path).filter(|sequence| *sequence >= boundary) else { continue };
            let Some(bytes) = self.objects.find(&path).await? else { continue };
            let read = seal::read::<Checkpoint>(&self.objects.shown(&path), &bytes);
            // The boundary itself says what a checkpoint of its sequence does, and nothing that was gone by then.
            if sequence == boundary || read.is_ok_and(|checkpoint| checkpoint.floor < boundary) {
                stale.push(path);
            }
        }
        Ok(stale)
    }

    async fn find(
        &self,
        listed: &[(String, u64, i64)],
        reach: &Reach,
        how: Collect,
        doomed: &mut Doomed,
    ) -> Result<(), Error> {
        let young_from = clock::wall_ms().saturating_sub(how.min_age_ms);
        let unneeded = |name: &str| Layout::is_ours(name) && !needed(reach, name) && !is_published(name);
        for (name, size, at) in listed.iter().filter(|(name, ..)| unneeded(name)) {
            match *at > young_from {
                _ if name.starts_with("sweeps/") && *at > clock::wall_ms().saturating_sub(LISTS_MS) => {}
                true => doomed.young += 1,
                false => drop(doomed.objects.insert(name.clone(), *size)),
            }
        }
        for branch in self.branch_names().await? {
            let boundary = doomed.boundaries.iter().find(|(name, _)| *name == branch).map_or(0, |(_, first)| *first);
            self.old_checkpoints(&branch, boundary, doomed).await?;
        }
        self.old_tags(doomed).await
    }

    /// What tags named before they were set elsewhere or deleted: only the newest version of each counts.
    async fn old_tags(&self, doomed: &mut Doomed) -> Result<(), Error> {
        for tag in self.objects.directories(&self.layout.tags()).await? {
            let mut versions = self.objects.list(&self.layout.tag(&tag)).await?;
            versions.retain(|(path, _)| Layout::sequence(path).is_some());
            versions.pop();
            doomed.objects.extend(versions.iter().map(|(path, size)| (self.layout.name(path).to_owned(), *size)));
        }
        Ok(())
    }

    /// Checkpoints and boundaries before the newest boundary, and most of those that newer ones have replaced.
    async fn old_checkpoints(&self, branch: &str, boundary: u64, doomed: &mut Doomed) -> Result<(), Error> {
        let mut kept = Vec::new();
        let directories = [self.layout.checkpoints(branch), self.layout.boundaries(branch), self.layout.packs(branch)];
        for (at, directory) in directories.into_iter().enumerate() {
            for (path, size) in self.objects.list(&directory).await? {
                let Some(sequence) = Layout::sequence(&path) else { continue };
                let name = self.layout.name(&path).to_owned();
                match sequence < boundary || doomed.stale.contains(&path) {
                    true => drop(doomed.objects.insert(name, size)),
                    false if at == 0 => kept.push((sequence, name, size)),
                    false => {}
                }
            }
        }
        kept.sort_unstable();
        kept.truncate(kept.len().saturating_sub(RECENT_CHECKPOINTS));
        let dense = kept.into_iter().enumerate().filter(|(at, _)| at % SPARSE != 0);
        doomed.objects.extend(dense.map(|(_, (_, name, size))| (name, size)));
        Ok(())
    }

    /// Records before the boundaries, oldest first.
    async fn old_records(&self, boundaries: &[(String, u64)]) -> Result<Vec<(String, u64)>, Error> {
        let mut old = Vec::new();
        for (branch, boundary) in boundaries {
            let listed = self.objects.list(&self.layout.branch(branch)).await?;
            let sequences = listed.iter().filter_map(|(path, _)| Layout::sequence(path));
            old.extend(sequences.filter(|sequence| sequence < boundary).map(|sequence| (branch.clone(), sequence)));
        }
        Ok(old)
    }

    /// Copies small files that are still needed out of records that go.
    async fn pack(&self, reach: &Reach, branch: &str, boundary: u64) -> Result<(), Error> {
        let needed = reach.inline.iter().filter(|((slot, _), _)| slot.branch == branch && slot.sequence < boundary);
        if pack::holds(self.place(), branch, boundary, needed.map(|((slot, _), named)| (slot, &named.blob))).await? {
            return Ok(());
        }
        let mut pack = Pack::default();
        for ((slot, _), named) in &reach.inline {
            if slot.branch == branch && slot.sequence < boundary {
                pack.add(slot, &named.blob, &self.blob(&named.what, &named.blob).await?);
            }
        }
        if pack.is_empty() {
            self.objects.delete(Step::Delete, &self.layout.pack(branch, boundary)).await
        } else {
            pack.write(self.place(), branch, boundary).await
        }
    }

    /// Says what will go, to everybody who writes a branch.
    async fn sweep(&self, doomed: &Doomed) -> Result<(), Error> {
        let list = format!("sweeps/{}.txt", clock::nonce());
        let names: String = doomed.objects.keys().map(|name| format!("{name}\n")).collect();
        self.objects.create_fresh(Step::List, &self.layout.object(&list), names.into()).await?;
        for branch in self.branch_names().await? {
            self.sweep_branch(&branch, &list).await?;
        }
        Ok(())
    }

    async fn sweep_branch(&self, branch: &str, list: &str) -> Result<(), Error> {
        let mut attempts = Attempts::new();
        while attempts.another() {
            let state = self.state(branch).await?;
            let sweep = Sweep {
                header: state.next(RecordKind::Sweep, state.head.epoch, clock::nonce()),
                list: list.to_owned(),
                checksum: String::new(),
            };
            match slot::take(self.place(), Step::Sweep, branch, sweep.header.sequence, &sweep).await? {
                Taken::Ours(_) => return Ok(()),
                Taken::Others | Taken::Void => {}
                Taken::Nothing(error) | Taken::Unknown(error) => return Err(error),
            }
        }
        Err(Error::Contended { repo: self.name().to_owned(), branch: branch.to_owned(), attempts: attempts.made })
    }
}

impl Doomed {
    fn report(&self, records: u64) -> Collected {
        let bytes = self.objects.values().sum();
        Collected { records, objects: self.objects.len() as u64, bytes, young: self.young }
    }
}

fn needed(reach: &Reach, name: &str) -> bool {
    reach.objects.contains_key(name) || reach.segments.contains_key(name)
}

/// Delta logs and what the publisher keeps beside them are its own to collect.
fn is_published(name: &str) -> bool {
    delta::is_published(name)
}
