//! What is needed: everything that a branch, a tag or a started commit leads to.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Error,
    layout::Layout,
    log::{Base, Blob, Checkpoint, Commit, Place, Record, Segment, Slot, State, TableInfo, checkpoint, seal},
    object::PARALLEL,
    repo::Repo,
};
use futures::{StreamExt, stream};
use object_store::path::Path;

/// What a record or an index says of an object, and who says so first.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) blob: Blob,
    /// What the record says of a table.
    pub(crate) table: Option<TableInfo>,
    pub(crate) what: String,
}

/// Everything that is needed.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Objects with bytes of files and states.
    pub(crate) objects: BTreeMap<String, Named>,
    /// Bytes inside records.
    pub(crate) inline: BTreeMap<(Slot, String), Named>,
    /// Runs of the index.
    pub(crate) segments: BTreeMap<String, Segment>,
    /// Schemas of tables (IPC, base64), by key.
    pub(crate) schemas: BTreeMap<String, String>,
}

impl Reach {
    fn blob(&mut self, blob: &Blob, table: Option<&TableInfo>, what: impl FnOnce() -> String) {
        let named = |what: String| Named { blob: blob.clone(), table: table.cloned(), what };
        match &blob.place {
            Place::Object(name) => drop(self.objects.entry(name.clone()).or_insert_with(|| named(what()))),
            Place::Record(slot) => {
                let key = (slot.clone(), blob.sha256.clone());
                self.inline.entry(key).or_insert_with(|| named(what()));
            }
            Place::Inline(_) => {}
        }
    }

    /// What one commit adds to the one before it. `commit` is without inline bytes.
    pub(crate) fn commit<M>(&mut self, commit: &Commit<M>) {
        self.schemas.extend(commit.schemas.clone());
        for file in &commit.files {
            self.blob(&file.blob, file.table.as_ref(), || format!("{} of commit {}", file.path, commit.header.id));
        }
        for (key, blob) in &commit.state {
            self.blob(blob, None, || format!("the state of handler `{key}` of commit {}", commit.header.id));
        }
    }

    fn segments<'a>(&mut self, segments: impl Iterator<Item = &'a Segment>) {
        self.segments.extend(segments.map(|segment| (segment.object.clone(), segment.clone())));
    }

    /// All files of a base.
    pub(crate) async fn base(&mut self, repo: &Repo, base: &Base) -> Result<(), Error> {
        self.segments(base.segments());
        self.schemas.extend(base.schemas.clone());
        self.commit(&base.commit);
        self.files(&State::of_base(&repo.objects, &repo.layout, base.clone())).await
    }

    async fn files(&mut self, state: &State) -> Result<(), Error> {
        let commit = state.head.commit.as_ref().map(|commit| commit.header.id.clone()).unwrap_or_default();
        let mut files = state.files.scan("");
        while let Some((_, entry)) = files.next().await? {
            for piece in &entry.pieces {
                self.blob(&piece.blob, piece.table.as_ref(), || format!("{} of commit {commit}", entry.path));
            }
        }
        Ok(())
    }

    /// Everything that `repo` needs, where the checkpoints `stale` go.
    pub(crate) async fn of(repo: &Repo, stale: &BTreeSet<Path>) -> Result<Self, Error> {
        let mut reach = Self::default();
        for branch in repo.branch_names().await? {
            reach.branch(repo, &branch, stale).await?;
        }
        for tag in repo.objects.directories(&repo.layout.tags()).await? {
            if let Some(base) = repo.tag(&tag).await? {
                reach.base(repo, &base).await?;
            }
        }
        for started in repo.started().await? {
            for part in repo.staged(&started.id).await? {
                let what = || format!("started commit {}", started.id);
                part.files.iter().for_each(|file| reach.blob(&file.blob, file.table.as_ref(), what));
            }
        }
        Ok(reach)
    }

    /// The files where the branch's kept history begins, and what each record since then adds.
    async fn branch(&mut self, repo: &Repo, branch: &str, stale: &BTreeSet<Path>) -> Result<(), Error> {
        let boundary = repo.boundary(branch).await?;
        if boundary > 0
            && let Some(checkpoint) = checkpoint::newest(&repo.objects, &repo.layout, branch, boundary).await?
        {
            self.checkpoint(repo, &checkpoint).await?;
        }
        let newest = repo.state(branch).await?.head.sequence;
        let mut records = stream::iter(boundary.max(1)..=newest)
            .map(|sequence| {
                let path = repo.layout.record(branch, sequence);
                async move { (repo.objects.shown(&path), repo.objects.find(&path).await) }
            })
            .buffered(PARALLEL);
        while let Some((object, bytes)) = records.next().await {
            let Some(bytes) = bytes? else { return Err(Error::MissingRecord { object }) };
            self.record(repo, seal::parse(&object, &bytes)?).await?;
        }
        for (path, _) in repo.objects.list(&repo.layout.checkpoints(branch)).await? {
            if stale.contains(&path) || Layout::sequence(&path).is_none_or(|sequence| sequence < boundary) {
                continue;
            }
            let Some(bytes) = repo.objects.find(&path).await? else { continue };
            if let Ok(checkpoint) = seal::read::<Checkpoint>(&repo.objects.shown(&path), &bytes) {
                self.segments(checkpoint.segments());
            }
        }
        Ok(())
    }

    async fn checkpoint(&mut self, repo: &Repo, checkpoint: &Checkpoint) -> Result<(), Error> {
        match &checkpoint.base {
            Some(base) => self.base(repo, base).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn record(&mut self, repo: &Repo, record: Record) -> Result<(), Error> {
        match record.light() {
            Record::Commit(commit) => {
                if let Some(base) = &commit.base {
                    self.base(repo, base).await?;
                }
                self.commit(&commit);
                Ok(())
            }
            Record::Point(point) => match &point.target {
                Some(target) => self.base(repo, target).await,
                None => Ok(()),
            },
            Record::Claim(_) | Record::Squash(_) | Record::Sweep(_) => Ok(()),
        }
    }
}
