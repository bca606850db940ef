//! A branch as its records add up: head, owner, files. Read from the newest checkpoint and the few records after it.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use spout_base::clock;
use spout_data::Marker;

use super::{
    base::{Base, Entry, Located},
    checkpoint::{Checkpoint, hinted, newest},
    head::Head,
    holder::Holder,
    index::{Index, Segment, Segments, dense, merged},
    moved::Moved,
    record::{Claim, Commit, FileAdded, Header, Piece, PutMode, Record, RecordKind, Slot, VERSION},
    seal,
};
use crate::{error::Error, layout::Layout, object::Objects, path};

/// Records read at once behind a checkpoint.
const WINDOW: u64 = 8;

/// What a branch is after one of its records.
#[derive(Clone, Debug)]
pub(crate) struct State {
    objects: Objects,
    layout: Layout,
    pub(crate) repo: String,
    pub(crate) branch: String,
    pub(crate) head: Head,
    /// The pipeline that owns the branch; empty if none does.
    pub(crate) owner: String,
    pub(crate) deleted: bool,
    /// By folded path.
    pub(crate) files: Index<Entry>,
    /// By commit id, and by [`by_number`].
    pub(crate) ids: Index<Located>,
    pub(crate) schemas: BTreeMap<String, String>,
    pub(crate) hidden: Vec<(u64, u64)>,
    /// Records since the newest checkpoint.
    pub(crate) since: u64,
    /// The boundary whose dense index it stands on; see [`Checkpoint::floor`].
    floor: u64,
}

impl State {
    fn empty(objects: &Objects, layout: &Layout, repo: &str, branch: &str) -> Self {
        Self {
            objects: objects.clone(),
            layout: layout.clone(),
            repo: repo.to_owned(),
            branch: branch.to_owned(),
            head: Head::default(),
            owner: String::new(),
            deleted: false,
            files: Index::new(Segments::new(objects, layout, Vec::new())),
            ids: Index::new(Segments::new(objects, layout, Vec::new())),
            schemas: BTreeMap::new(),
            hidden: Vec::new(),
            since: 0,
            floor: 0,
        }
    }

    /// The branch as it is; empty if it has no record.
    pub(crate) async fn load(objects: &Objects, layout: &Layout, repo: &str, branch: &str) -> Result<Self, Error> {
        let mut state = Self::empty(objects, layout, repo, branch);
        if let Some(checkpoint) = hinted(objects, layout, branch).await? {
            state.resume(checkpoint);
        } else if let Some(checkpoint) = newest(objects, layout, branch, u64::MAX).await? {
            state.resume(checkpoint);
        }
        state.catch_up(u64::MAX).await?;
        Ok(state)
    }

    /// The branch as it was after the record of `sequence`.
    pub(crate) async fn at(
        objects: &Objects,
        layout: &Layout,
        repo: &str,
        branch: &str,
        sequence: u64,
    ) -> Result<Self, Error> {
        let mut state = Self::empty(objects, layout, repo, branch);
        let checkpoint = match hinted(objects, layout, branch).await?.filter(|hinted| hinted.sequence <= sequence) {
            Some(hinted) => Some(hinted),
            None => newest(objects, layout, branch, sequence).await?,
        };
        if let Some(checkpoint) = checkpoint {
            state.resume(checkpoint);
        }
        state.catch_up(sequence).await?;
        if state.head.sequence == sequence {
            Ok(state)
        } else {
            Err(Error::MissingRecord { object: objects.shown(&layout.record(branch, sequence)) })
        }
    }

    /// A branch that was just set to `base`, with nothing after it.
    pub(crate) fn of_base(objects: &Objects, layout: &Layout, base: Base) -> Self {
        let mut state = Self::empty(objects, layout, &base.commit.header.repo, &base.commit.header.branch);
        state.set_to(base);
        state
    }

    /// Whether the branch has never been written.
    pub(crate) fn is_new(&self) -> bool {
        self.head.sequence == 0
    }

    /// Commits that lead to the head, squashed ones not counted.
    pub(crate) fn visible(&self) -> u64 {
        let number = self.head.commit.as_ref().map_or(0, |head| head.number);
        let hidden: u64 = self.hidden.iter().map(|(first, last)| last - first + 1).sum();
        number.saturating_sub(hidden)
    }

    fn resume(&mut self, checkpoint: Checkpoint) {
        let Checkpoint { sequence, epoch, record, owner, holder, deleted, base, floor, .. } = checkpoint;
        self.floor = floor;
        self.head = Head { sequence, epoch, checksum: record, holder, commit: None };
        (self.owner, self.deleted, self.since) = (owner, deleted, 0);
        if let Some(base) = base {
            self.set_to(base);
        }
    }

    /// Head and files become those of `base`; what is known of commits and schemas is kept.
    fn set_to(&mut self, base: Base) {
        self.head.commit = Some(base.commit);
        self.files.reset(base.files);
        self.ids.reset(base.ids);
        self.schemas.extend(base.schemas);
        self.hidden = base.hidden;
    }

    /// Reads the records up to `upto`. Records are created in order and never change; a gap is looked up once more before
    /// it is believed, because the record may have been created while the window was read.
    pub(crate) async fn catch_up(&mut self, upto: u64) -> Result<Vec<Record<Marker>>, Error> {
        let mut read = Vec::new();
        loop {
            let first = self.head.sequence + 1;
            let last = upto.min(self.head.sequence.saturating_add(WINDOW));
            let (objects, layout, branch) = (&self.objects, &self.layout, &self.branch);
            let window: Vec<_> = stream::iter(first..=last)
                .map(|sequence| async move {
                    let path = layout.record(branch, sequence);
                    objects.find(&path).await
                })
                .buffered(8)
                .collect()
                .await;
            let mut window = window.into_iter().collect::<Result<Vec<_>, _>>()?;
            let found = window.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
            let full = found as u64 == WINDOW;
            window.truncate(found);
            for (bytes, sequence) in window.into_iter().zip(first..) {
                let path = self.layout.record(&self.branch, sequence);
                let object = self.objects.shown(&path);
                let bytes = match bytes {
                    Some(bytes) => Some(bytes),
                    None => self.objects.find(&path).await?,
                };
                let Some(bytes) = bytes else { return Err(Error::MissingRecord { object }) };
                read.push(self.accept(&object, seal::parse(&object, &bytes)?)?);
            }
            if !full || self.head.sequence >= upto {
                return Ok(read);
            }
        }
    }

    /// Takes the next record, if it is that; it, with the whole marker and without inline bytes.
    pub(crate) fn accept(&mut self, object: &str, record: Record) -> Result<Record<Marker>, Error> {
        let record = record.light().whole(self.head.marker());
        self.take(object, record.clone())?;
        Ok(record)
    }

    /// The same for a commit that was just made.
    pub(crate) fn accept_commit(&mut self, object: &str, commit: Commit<Moved>) -> Result<Commit, Error> {
        let commit = commit.light().whole(self.head.marker());
        self.take(object, Record::Commit(Box::new(commit.clone())))?;
        Ok(commit)
    }

    fn take(&mut self, object: &str, record: Record<Marker>) -> Result<(), Error> {
        let wrong = |reason| Error::BadRecord { object: object.to_owned(), reason };
        placed(&record, &self.branch, self.head.sequence + 1).map_err(wrong)?;
        follows(&self.head, &record).map_err(wrong)?;
        self.apply(record);
        Ok(())
    }

    fn apply(&mut self, record: Record<Marker>) {
        self.head.sequence = record.header().sequence;
        self.head.epoch = record.header().epoch;
        record.checksum().clone_into(&mut self.head.checksum);
        self.since += 1;
        match record {
            Record::Commit(commit) => self.commit(*commit),
            Record::Claim(claim) => {
                let Claim { header: Header { nonce, at_ms: seen_ms, .. }, process, leader, .. } = claim;
                self.head.holder = Some(Holder { nonce, process, leader, seen_ms, left: false });
                (self.owner, self.deleted) = (claim.pipeline, false);
            }
            Record::Point(point) => {
                (self.owner, self.deleted) = (String::new(), point.deleted);
                (self.head.commit, self.head.holder) = (None, None);
                self.files.reset(Vec::new());
                self.ids.reset(Vec::new());
                self.hidden.clear();
                if let Some(target) = point.target {
                    self.set_to(*target);
                    // The branch has the commit it starts from in a record of its own.
                    self.locate(Slot { branch: point.header.branch, sequence: point.header.sequence });
                }
            }
            Record::Squash(squash) => hide(&mut self.hidden, squash.hidden),
            Record::Sweep(_) => {}
        }
    }

    fn commit(&mut self, mut commit: Commit) {
        if let Some(base) = commit.base.take() {
            self.files.reset(base.files);
            self.schemas.extend(base.schemas);
        }
        self.schemas.extend(commit.schemas.iter().map(|(key, text)| (key.clone(), text.clone())));
        for path in &commit.removed {
            self.files.put(path::folded(path), Entry { path: path.clone(), fresh: true, pieces: Vec::new() });
        }
        for file in &commit.files {
            self.files.put(path::folded(&file.path), entry(file));
        }
        let slot = commit.slot();
        self.head.holder.iter_mut().for_each(|holder| holder.see(&commit));
        self.deleted = false;
        self.head.commit = Some(commit);
        self.locate(slot);
    }

    /// Remembers which record has the head.
    fn locate(&mut self, slot: Slot) {
        let Some(commit) = &self.head.commit else { return };
        let located = Located { id: commit.header.id.clone(), slot, number: commit.number };
        self.ids.put(commit.header.id.clone(), located.clone());
        self.ids.put(by_number(commit.number), located);
    }

    /// The header of a record that follows the head, by a writer called `nonce`.
    pub(crate) fn next(&self, kind: RecordKind, epoch: u64, nonce: String) -> Header {
        Header {
            version: VERSION,
            kind,
            id: clock::nonce(),
            repo: self.repo.clone(),
            branch: self.branch.clone(),
            sequence: self.head.sequence + 1,
            epoch,
            nonce,
            previous: self.head.checksum.clone(),
            at_ms: clock::wall_ms(),
        }
    }

    /// The record of the head as messages show it.
    pub(crate) fn shown(&self) -> String {
        self.objects.shown(&self.layout.record(&self.branch, self.head.sequence))
    }

    /// The state with the files of `base` in the place of its own.
    pub(crate) fn reverted(&self, base: &Base) -> Self {
        let mut state = self.clone();
        state.files.reset(base.files.clone());
        state.schemas.extend(base.schemas.clone());
        state
    }

    /// The head as something that others can start from, which may outlive the branch: nothing is in it that is gone.
    pub(crate) async fn base(&self) -> Result<Option<Base>, Error> {
        self.base_of(dense(self.files.segments(), self.files.pending()).await?).await
    }

    /// The head, with everything that is not in objects yet written there.
    async fn base_of(&self, files: Vec<Segment>) -> Result<Option<Base>, Error> {
        let Some(commit) = &self.head.commit else { return Ok(None) };
        Ok(Some(Base {
            commit: Commit { base: None, ..commit.clone() },
            files,
            ids: merged(self.ids.segments(), self.ids.pending()).await?,
            schemas: self.schemas.clone(),
            hidden: self.hidden.clone(),
        }))
    }

    /// The checkpoint of this state, its segments written.
    pub(crate) async fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let files = merged(self.files.segments(), self.files.pending()).await?;
        Ok(self.checkpoint_of(self.base_of(files).await?, self.floor))
    }

    /// The same where history begins at `floor`: what was gone by then is in no page of its index.
    pub(crate) async fn dense_checkpoint(&self, floor: u64) -> Result<Checkpoint, Error> {
        Ok(self.checkpoint_of(self.base().await?, floor))
    }

    fn checkpoint_of(&self, base: Option<Base>, floor: u64) -> Checkpoint {
        Checkpoint {
            version: VERSION,
            repo: self.repo.clone(),
            branch: self.branch.clone(),
            sequence: self.head.sequence,
            epoch: self.head.epoch,
            record: self.head.checksum.clone(),
            owner: self.owner.clone(),
            holder: self.head.holder.clone(),
            deleted: self.deleted,
            base,
            floor,
            checksum: String::new(),
        }
    }

    /// Writes a checkpoint of this state. Whoever comes later starts from it.
    pub(crate) async fn write_checkpoint(&self) -> Result<Checkpoint, Error> {
        let checkpoint = self.checkpoint().await?;
        checkpoint.write(&self.objects, &self.layout).await?;
        Ok(checkpoint)
    }

    /// Sets apart what the next checkpoint holds, and a copy to write it from.
    pub(crate) fn freeze(&mut self) -> Self {
        self.files.freeze();
        self.ids.freeze();
        self.clone()
    }

    /// Takes over what [`State::write_checkpoint`] of the `frozen` copy has written.
    pub(crate) fn install(&mut self, checkpoint: Checkpoint, frozen: (u64, u64)) {
        self.since = self.head.sequence.saturating_sub(checkpoint.sequence);
        if let Some(base) = checkpoint.base {
            self.files.install(base.files, frozen.0);
            self.ids.install(base.ids, frozen.1);
        }
    }

    /// Generations of the indexes, for [`State::install`].
    pub(crate) fn generations(&self) -> (u64, u64) {
        (self.files.generation(), self.ids.generation())
    }
}

/// The key of the commit of that number in the index of commits.
pub(crate) fn by_number(number: u64) -> String {
    format!("#{number:020}")
}

/// A put as a change of the index.
fn entry(file: &FileAdded) -> Entry {
    let piece = Piece { blob: file.blob.clone(), table: file.table.clone() };
    Entry { path: file.path.clone(), fresh: file.how == PutMode::Overwrite, pieces: vec![piece] }
}

/// Adds a run of numbers to those that are hidden.
fn hide(hidden: &mut Vec<(u64, u64)>, run: (u64, u64)) {
    hidden.push(run);
    hidden.sort_unstable();
    let mut together: Vec<(u64, u64)> = Vec::with_capacity(hidden.len());
    for &(first, last) in hidden.iter() {
        match together.last_mut().filter(|before| first <= before.1 + 1) {
            Some(before) => before.1 = before.1.max(last),
            None => together.push((first, last)),
        }
    }
    *hidden = together;
}

/// Whether a record is in the slot it was made for.
pub(crate) fn placed<M>(record: &Record<M>, branch: &str, sequence: u64) -> Result<(), String> {
    let header = record.header();
    if (header.branch.as_str(), header.sequence) == (branch, sequence) {
        Ok(())
    } else {
        Err(format!("it belongs to branch `{}`, sequence {}", header.branch, header.sequence))
    }
}

/// Whether a record was made to follow the one before it.
pub(crate) fn follows<M>(before: &Head, after: &Record<M>) -> Result<(), String> {
    if after.header().previous != before.checksum {
        return Err(format!("it does not follow the record at sequence {}", before.sequence));
    }
    if after.header().epoch < before.epoch {
        return Err(format!("its epoch {} is lower than the one before it, {}", after.header().epoch, before.epoch));
    }
    Ok(())
}
