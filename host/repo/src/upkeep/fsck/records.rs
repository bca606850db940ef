//! Records in order, checked against each other; checkpoints and tags.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use spout_data::Marker;
use spout_format::sha256;

use super::{Depth, Remedy, Report, Severity, mismatch, reason, repair::Removed, tables};
use crate::{
    error::Error,
    layout::Layout,
    log::{
        Blob, Checkpoint, Commit, Head, Moved, Place, Record, Slot, State, TableInfo, checkpoint, follows, placed, seal,
    },
    object::PARALLEL,
    repo::Repo,
    tree::{Tree, decode_schema},
    upkeep::reach::{Named, Reach},
};

/// What the records of a repo lead to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) reach: Reach,
    /// Bytes inside records that were looked at.
    pub(super) inline: BTreeSet<(Slot, String)>,
}

impl Seen {
    /// Why the table in `bytes`, which are as they were committed, is not what its record says.
    pub(super) fn undecodable(
        &self,
        depth: Depth,
        named: &Named,
        bytes: bytes::Bytes,
        report: &mut Report,
    ) -> Option<String> {
        let table = named.table.as_ref().filter(|_| depth == Depth::Decoded)?;
        report.tables += 1;
        let schema = self.reach.schemas.get(&table.schema).and_then(|text| decode_schema(text).ok());
        tables::check(&named.what, table, schema.as_ref(), bytes)
    }
}

pub(super) async fn check(repo: &Repo, depth: Depth, report: &mut Report) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    for branch in repo.branch_names().await? {
        report.branches += 1;
        Check::new(repo, &branch, report, &mut seen).run(depth).await?;
    }
    for tag in repo.objects.directories(&repo.layout.tags()).await? {
        let damaged = match repo.tag(&tag).await {
            Ok(Some(base)) => seen.reach.base(repo, &base).await.err(),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = damaged {
            report.find(
                Severity::Error,
                repo.objects.shown(&repo.layout.tag(&tag)),
                reason(error),
                format!("tag {tag}"),
            );
        }
    }
    for started in repo.started().await? {
        for staged in repo.staged(&started.id).await? {
            for file in staged.files {
                if let Place::Object(name) = &file.blob.place {
                    let what = format!("{} of the started commit {}", file.path, started.id);
                    let named = Named { blob: file.blob.clone(), table: file.table.clone(), what };
                    seen.reach.objects.entry(name.clone()).or_insert(named);
                }
            }
        }
    }
    Ok(seen)
}

/// One branch being checked.
struct Check<'a> {
    repo: &'a Repo,
    branch: &'a str,
    report: &'a mut Report,
    seen: &'a mut Seen,
    /// A record is missing, so that what follows cannot be compared with what was before.
    broken: bool,
    /// The commit before, if it is known.
    before: Option<String>,
    /// Its marker, if it is known.
    marker: Option<Marker>,
    /// The marker after the first record, where history begins at a boundary.
    first: Option<Marker>,
    /// Hash of the marker after each record that has a checkpoint.
    markers: BTreeMap<u64, String>,
}

impl<'a> Check<'a> {
    fn new(repo: &'a Repo, branch: &'a str, report: &'a mut Report, seen: &'a mut Seen) -> Self {
        let (before, marker, first) = (None, Some(Marker::default()), None);
        Self { repo, branch, report, seen, broken: false, before, marker, first, markers: BTreeMap::new() }
    }

    async fn run(&mut self, depth: Depth) -> Result<(), Error> {
        let (objects, layout) = (&self.repo.objects, &self.repo.layout);
        let mut sequences = BTreeSet::new();
        for (path, _) in objects.list(&layout.branch(self.branch)).await? {
            match Layout::sequence(&path) {
                Some(sequence) => drop(sequences.insert(sequence)),
                None => self.report.find(Severity::Warning, objects.shown(&path), "it is not a record", "nothing"),
            }
        }
        let boundary = self.repo.boundary(self.branch).await?;
        let newest = sequences.last().copied().unwrap_or(0);
        let checkpoints = objects.list(&layout.checkpoints(self.branch)).await?;
        let checkpoints: BTreeSet<_> = checkpoints.iter().filter_map(|(path, _)| Layout::sequence(path)).collect();
        let mut head = self.base(boundary, depth).await?;
        let mut read = stream::iter(boundary.max(1)..=newest)
            .map(|sequence| {
                let path = layout.record(self.branch, sequence);
                async move { (objects.shown(&path), sequence, objects.find(&path).await) }
            })
            .buffered(PARALLEL);
        while let Some((object, sequence, bytes)) = read.next().await {
            head = self.next(head, (object, sequence, bytes), depth).await;
            if let Some(first) = self.first.take() {
                self.marker = Some(first);
            }
            if let Some(marker) = self.marker.as_ref().filter(|_| checkpoints.contains(&sequence) && !self.broken) {
                self.markers.insert(sequence, hash(marker));
            }
        }
        drop(read);
        self.checkpoints(boundary, newest, depth).await
    }

    /// What the files and the marker were where the kept history begins.
    async fn base(&mut self, boundary: u64, depth: Depth) -> Result<Option<Head>, Error> {
        if boundary == 0 {
            return Ok(Some(Head::default()));
        }
        self.marker = None;
        let (objects, layout) = (&self.repo.objects, &self.repo.layout);
        let wrong = match checkpoint::newest(objects, layout, self.branch, boundary).await? {
            Some(checkpoint) => {
                if let Some(base) = &checkpoint.base {
                    self.seen.reach.base(self.repo, base).await?;
                }
                // Where the boundary cannot be read, an earlier one takes its place.
                self.first = (checkpoint.sequence == boundary).then(|| marker_of(&checkpoint));
                // The records that it was made from are gone: here the index is all there is.
                self.index(checkpoint, depth).await.err().map(reason)
            }
            None => Some("it cannot be read".to_owned()),
        };
        if let Some(wrong) = wrong {
            let affects = format!("files of branch {} that were put before sequence {boundary}", self.branch);
            self.report.find(Severity::Error, objects.shown(&layout.boundary(self.branch, boundary)), wrong, affects);
        }
        Ok(None)
    }

    /// Checks one record against the one before it, which `None` says nothing is known of.
    async fn next(
        &mut self,
        before: Option<Head>,
        (object, sequence, bytes): (String, u64, Result<Option<bytes::Bytes>, Error>),
        depth: Depth,
    ) -> Option<Head> {
        let affects = format!("branch {} of repo {} from sequence {sequence} on", self.branch, self.repo.name());
        let record = match bytes {
            Ok(Some(bytes)) => seal::parse(&object, &bytes).and_then(|record| {
                placed(&record, self.branch, sequence)
                    .map_err(|reason| Error::BadRecord { object: object.clone(), reason })?;
                Ok(record)
            }),
            Ok(None) => Err(Error::MissingRecord { object: object.clone() }),
            Err(error) => Err(error),
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                self.report.find(Severity::Error, object, reason(error), affects);
                self.broken = true;
                return None;
            }
        };
        if let Some(what) = before.and_then(|before| follows(&before, &record).err()) {
            self.report.find(Severity::Error, object.clone(), what, affects.clone());
        }
        let (sequence, epoch, checksum) =
            (record.header().sequence, record.header().epoch, record.checksum().to_owned());
        match &record {
            Record::Commit(commit) => self.commit(commit, &object, depth),
            Record::Claim(_) => self.report.claims += 1,
            Record::Point(point) => {
                let target = point.target.as_ref().map(|target| &target.commit);
                self.before = target.map(|commit| commit.header.id.clone());
                self.marker = Some(target.map(|commit| commit.marker.clone()).unwrap_or_default());
            }
            Record::Squash(_) | Record::Sweep(_) => {}
        }
        if let Err(error) = self.seen.reach.record(self.repo, record).await {
            self.report.find(Severity::Error, object, reason(error), affects);
        }
        Some(Head { sequence, epoch, checksum, ..Head::default() })
    }

    fn commit(&mut self, commit: &Commit<Moved>, object: &str, depth: Depth) {
        self.report.commits += 1;
        self.seen.reach.schemas.extend(commit.schemas.clone());
        let affects = format!("commit {}", commit.header.id);
        if let Some(before) =
            self.before.as_ref().filter(|before| !self.broken && commit.parent.as_ref() != Some(before))
        {
            let what = format!("its parent is {}, not {before}", commit.parent.as_deref().unwrap_or("none"));
            self.report.find(Severity::Error, object.to_owned(), what, &affects);
        }
        let before = self.marker.as_ref().filter(|_| !self.broken && commit.base.is_none());
        let broken = before.and_then(|before| marker_break(before, commit));
        let what = broken.or_else(|| self.first.as_ref().and_then(|first| boundary_break(first, commit)));
        if let Some(what) = what {
            self.report.find(Severity::Error, object.to_owned(), what, format!("the marker from {affects} on"));
        }
        if let Some(off) = commit.counts.unaccounted().filter(|off| *off != 0) {
            let what = if off > 0 { "are not accounted for" } else { "are accounted for that did not come" };
            let what = format!("its counts do not add up: {} messages or rows {what}", off.unsigned_abs());
            self.report.find(Severity::Error, object.to_owned(), what, &affects);
        }
        self.before = Some(commit.header.id.clone());
        self.marker = commit.start(self.marker.as_ref()).map(|start| commit.marker.over(start));
        let files = commit.files.iter().map(|file| (file.path.clone(), &file.blob, file.table.as_ref()));
        let state = commit.state.iter().map(|(key, blob)| (format!("the state of handler `{key}`"), blob, None));
        for (what, blob, table) in files.chain(state) {
            self.report.blobs += 1;
            self.inline(commit, (blob, table), (object, &format!("{what} of commit {}", commit.header.id)), depth);
        }
    }

    fn inline(
        &mut self,
        commit: &Commit<Moved>,
        (blob, table): (&Blob, Option<&TableInfo>),
        (object, what): (&str, &str),
        depth: Depth,
    ) {
        let Place::Inline(bytes) = &blob.place else { return };
        self.report.bytes += bytes.len() as u64;
        self.seen.inline.insert((commit.slot(), blob.sha256.clone()));
        let wrong = mismatch(blob, bytes.len() as u64, Some(bytes)).or_else(|| {
            let named = Named { blob: blob.clone(), table: table.cloned(), what: what.to_owned() };
            self.seen.undecodable(depth, &named, bytes.clone(), self.report)
        });
        if let Some(wrong) = wrong {
            self.report.find(Severity::Error, object.to_owned(), wrong, what);
        }
    }

    /// Checkpoints are made from records: a bad one costs time, and can go.
    async fn checkpoints(&mut self, boundary: u64, newest: u64, depth: Depth) -> Result<(), Error> {
        let (objects, layout) = (&self.repo.objects, &self.repo.layout);
        for (path, _) in objects.list(&layout.checkpoints(self.branch)).await? {
            let Some(sequence) = Layout::sequence(&path) else { continue };
            let object = objects.shown(&path);
            let wrong = match objects.find(&path).await? {
                None => continue,
                Some(bytes) => match seal::read::<Checkpoint>(&object, &bytes) {
                    Err(error) => Some(reason(error)),
                    Ok(checkpoint) if sequence < boundary || checkpoint.sequence > newest => {
                        Some("it belongs to no existing record".to_owned()).filter(|_| sequence > newest)
                    }
                    Ok(checkpoint)
                        if self.markers.get(&sequence).is_some_and(|it| *it != hash(&marker_of(&checkpoint))) =>
                    {
                        Some("its marker differs from the one that the records add up to".to_owned())
                    }
                    Ok(checkpoint) => self.index(checkpoint, depth).await.err().map(reason),
                },
            };
            if let Some(wrong) = wrong {
                self.report.find(Severity::Warning, object, wrong, "only how fast the branch opens");
                self.report.remedy(Remedy::Remove(Removed::Object(path)));
            }
        }
        Ok(())
    }

    async fn index(&mut self, checkpoint: Checkpoint, depth: Depth) -> Result<(), Error> {
        let (objects, layout) = (&self.repo.objects, &self.repo.layout);
        for segment in checkpoint.segments() {
            let path = layout.object(&segment.object);
            if objects.size(&path).await? != Some(segment.size) {
                let reason = format!("{} is missing or cut short", segment.object);
                return Err(Error::BadIndex { object: objects.shown(&path), reason });
            }
            self.seen.reach.segments.insert(segment.object.clone(), segment.clone());
        }
        let Some(base) = checkpoint.base.filter(|_| depth >= Depth::Everything) else { return Ok(()) };
        let state = State::of_base(objects, layout, base);
        drop(Tree::of(&state).await?);
        let mut ids = state.ids.scan("");
        while ids.next().await?.is_some() {}
        Ok(())
    }
}

/// Where the marker of `commit` does not go on from `before`.
fn marker_break(before: &Marker, commit: &Commit<Moved>) -> Option<String> {
    let at = |partition| Some(before.partitions.get(partition)?.position.offset);
    let starts = commit.advance.iter().find_map(|(partition, from)| {
        let expected = at(partition);
        (expected != *from).then(|| {
            format!(
                "partition {partition} starts at {}, but the commit before ends at {}",
                offset(*from),
                offset(expected)
            )
        })
    });
    let moves = || {
        commit.marker.moved.iter().find_map(|(partition, entry)| {
            let (there, to) = (at(partition), entry.position.offset);
            let back = there.is_some_and(|there| to < there) && !commit.jumped.contains_key(partition);
            (back || there != Some(to) && !commit.advance.contains_key(partition))
                .then(|| format!("partition {partition} moves back, or moves without an advance"))
        })
    };
    starts.or_else(moves)
}

/// Where the first commit that is kept says something else than the boundary, which has the whole marker.
fn boundary_break(whole: &Marker, commit: &Commit<Moved>) -> Option<String> {
    let other = commit.marker.moved.iter().find(|(partition, entry)| whole.partitions.get(partition) != Some(entry));
    other.map(|(partition, _)| format!("partition {partition} has another position in the boundary"))
}

fn marker_of(checkpoint: &Checkpoint) -> Marker {
    checkpoint.base.as_ref().map(|base| base.commit.marker.clone()).unwrap_or_default()
}

fn hash(marker: &Marker) -> String {
    sha256(&serde_json::to_vec(marker).unwrap_or_default())
}

fn offset(offset: Option<u64>) -> String {
    offset.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string())
}
