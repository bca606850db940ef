//! The one writer of a branch: claims it, and publishes each commit by one conditional creation.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    Error,
    branch::Log,
    format::sha256,
    invariants::{self, Following, Head},
    object::{Created, Step},
    open_commit::OpenCommit,
    path,
    record::{self, Blob, Claim, Commit, Place, PutMode, Record, RecordKind, VERSION},
    repository::Repo,
    tree::Tree,
};
use crate::{
    clock,
    data::{Advance, Marker},
};

/// How often a claim is tried while others write the branch.
const ATTEMPTS: u32 = 20;

/// What a pipeline knows of a commit beyond its files.
#[derive(Clone, Debug, Default)]
pub struct CommitMeta {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Digest of its spec.
    pub spec_digest: String,
    /// Digests of the plugins that ran, by name.
    pub plugins: BTreeMap<String, String>,
    /// How far each partition moves.
    pub advance: Advance,
    /// Handler snapshots, by handler.
    pub state: BTreeMap<String, Bytes>,
    /// When the first row was taken.
    pub started_ms: i64,
    /// Why it was cut: rows, bytes, time, ended, force, memory, shutdown, schema.
    pub reason: String,
    /// Rows in the files, without dead letters.
    pub rows: u64,
    /// Messages set aside.
    pub dead_letters: u64,
    /// Shows the marker as this file too.
    pub marker_file: Option<String>,
}

/// What became of a commit. Only `Committed` may be reported to the source.
#[must_use = "a commit is only there if this says so"]
#[derive(Debug)]
pub enum Finished {
    /// It is durable, and the head.
    Committed(Commit),
    /// Somebody else's commit took its place; ours does not exist.
    Lost(Commit),
    /// It may be there or come to be there. Open the branch again to find out, and delete nothing before.
    Unknown(Box<Error>),
}

/// The writer of a branch. There is one at a time; a newer one fences this one.
#[derive(Debug)]
pub struct BranchWriter {
    repo: Repo,
    branch: String,
    nonce: String,
    epoch: u64,
    head: Head,
    marker: Marker,
    tree: Tree,
    /// False from before a creation until its outcome is known, also if the future is dropped in between.
    settled: bool,
}

impl BranchWriter {
    /// Reading the head and claiming the next slot together are safe: whoever writes in between takes the slot, and we
    /// read again. The sync of the directory that makes the claim durable also covers the entries of records that a
    /// killed writer had linked and not synced.
    pub(super) async fn claim(repo: &Repo, branch: &str, pipeline: &str) -> Result<Self, Error> {
        let nonce = clock::nonce();
        for _ in 0..ATTEMPTS {
            let log = Log::load(&repo.objects, &repo.layout, branch).await?;
            let head = log.head();
            if let Some(owner) = log.records.last().map(Record::pipeline).filter(|owner| *owner != pipeline) {
                return Err(Error::OwnedBranch {
                    repo: repo.name().to_owned(),
                    branch: branch.to_owned(),
                    owner: owner.to_owned(),
                    pipeline: pipeline.to_owned(),
                });
            }
            let Some(head) = raise(repo, branch, pipeline, &nonce, head).await? else { continue };
            let tree = match &head.commit {
                Some(commit) => log.tree(&repo.objects, &repo.layout, commit)?,
                None => Tree::new(repo.name(), branch),
            };
            let marker = head.commit.as_ref().map(|commit| commit.marker.clone()).unwrap_or_default();
            let (repo, branch, epoch) = (repo.clone(), branch.to_owned(), head.epoch);
            return Ok(Self { repo, branch, nonce, epoch, head, marker, tree, settled: true });
        }
        Err(Error::Contended { repo: repo.name().to_owned(), branch: branch.to_owned(), attempts: ATTEMPTS })
    }

    /// The newest commit, without inline bytes.
    #[must_use]
    pub fn head(&self) -> Option<&Commit> {
        self.head.commit.as_ref()
    }

    /// Where each partition goes on.
    #[must_use]
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The files of the head.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The branch it writes.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Number of this writer among those that claimed the branch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Handler snapshots of the head, by handler.
    ///
    /// # Errors
    /// [`Error::DamagedFile`] if one is not what was written.
    pub async fn state(&self) -> Result<BTreeMap<String, Bytes>, Error> {
        let mut state = BTreeMap::new();
        for (key, blob) in self.head.commit.iter().flat_map(|commit| &commit.state) {
            let what = format!("the state of handler `{key}`");
            state.insert(key.clone(), self.repo.blob(&self.branch, &what, blob).await?);
        }
        Ok(state)
    }

    /// Publishes `open` as the new head. Files, marker and state become visible together or not at all.
    ///
    /// # Errors
    /// Nothing was committed: [`Error::Fenced`] if a newer writer owns the branch, an invariant's error, or what writing
    /// can end with where it is certain that nothing was written.
    pub async fn finish(&mut self, open: OpenCommit, meta: CommitMeta) -> Result<Finished, Error> {
        if !self.settled {
            return Err(Error::Unsettled { repo: self.repo.name().to_owned(), branch: self.branch.clone() });
        }
        if open.layout != self.repo.layout {
            let (expected, found) = (self.repo.layout.root().to_string(), open.layout.root().to_string());
            return Err(Error::NotNext { branch: self.branch.clone(), what: "its repo", expected, found });
        }
        let advance = meta.advance.clone();
        let mut commit = self.draft(open, meta).await?;
        let following = Following { commit: &commit, advance: &advance, head: &self.head, tree: &self.tree };
        invariants::check(following)?;
        let path = self.repo.layout.record(&self.branch, commit.sequence);
        let object = self.repo.objects.shown(&path);
        let (bytes, checksum) = record::seal(&object, &commit)?;
        commit.checksum = checksum;
        self.settled = false;
        match self.repo.objects.create(Step::Record, &path, bytes).await? {
            Created::Ours => {
                let commit = commit.light();
                self.follow(&object, &commit)?;
                Ok(Finished::Committed(commit))
            }
            Created::Nothing(source) => {
                self.settled = true;
                Err(Error::write(object, source))
            }
            Created::Unknown(source) => {
                Ok(Finished::Unknown(Box::new(Error::Unconfirmed { object, source: source.into() })))
            }
            Created::Others(there) => self.beaten(record::parse(&object, &there)?),
        }
    }

    /// Takes a commit that is durable as the head.
    fn follow(&mut self, object: &str, commit: &Commit) -> Result<(), Error> {
        self.tree.apply(object, commit)?;
        self.marker = commit.marker.clone();
        self.head = Head {
            sequence: commit.sequence,
            epoch: commit.epoch,
            checksum: commit.checksum.clone(),
            commit: Some(commit.clone()),
        };
        self.settled = true;
        Ok(())
    }

    /// The slot holds another record.
    fn beaten(&self, winner: Record) -> Result<Finished, Error> {
        match winner {
            Record::Commit(commit) if commit.epoch <= self.epoch => Ok(Finished::Lost(commit.light())),
            other => Err(Error::Fenced {
                repo: self.repo.name().to_owned(),
                branch: self.branch.clone(),
                ours: self.epoch,
                theirs: other.epoch(),
            }),
        }
    }

    /// The record as it would follow the head, its large state objects written.
    async fn draft(&mut self, mut open: OpenCommit, meta: CommitMeta) -> Result<Commit, Error> {
        let marker = meta.advance.apply(&self.marker);
        if let Some(path) = &meta.marker_file {
            self.show_marker(&mut open, path, &marker).await?;
        }
        let state = self.put_state(&mut open, meta.state).await?;
        let known = |(key, _): &(String, String)| !self.tree.knows_schema(key);
        let put: BTreeSet<_> = open.files.iter().map(|file| &file.path).collect();
        let there =
            |(path, taken_back): &(String, bool)| self.tree.get(path).is_some() || !(*taken_back || put.contains(path));
        Ok(Commit {
            version: VERSION,
            kind: RecordKind::Commit,
            parent: self.head.commit.as_ref().map(|head| head.id.clone()),
            repo: self.repo.name().to_owned(),
            branch: self.branch.clone(),
            sequence: self.head.sequence + 1,
            epoch: self.epoch,
            nonce: self.nonce.clone(),
            previous: self.head.checksum.clone(),
            started_ms: meta.started_ms,
            finished_ms: clock::wall_ms(),
            pipeline: meta.pipeline,
            spec_digest: meta.spec_digest,
            plugins: meta.plugins,
            removed: open.removed.iter().filter(|removed| there(removed)).map(|(path, _)| path.clone()).collect(),
            schemas: open.schemas.iter().filter(|schema| known(schema)).cloned().collect(),
            id: open.id().to_owned(),
            files: open.files,
            marker,
            advance: meta.advance.steps.iter().map(|(&partition, step)| (partition, step.from)).collect(),
            jumped: meta.advance.steps.iter().filter_map(|(&at, step)| Some((at, step.jumped?))).collect(),
            state,
            rows: meta.rows,
            dead_letters: meta.dead_letters,
            reason: meta.reason,
            provenance: Vec::new(),
            checksum: String::new(),
        })
    }

    /// Puts the marker as a file, unless the file says the same already: a commit that moves nothing stays empty.
    async fn show_marker(&self, open: &mut OpenCommit, path: &str, marker: &Marker) -> Result<(), Error> {
        let path = path::file_path(path)?;
        let text = serde_json::to_vec_pretty(marker)
            .map_err(|source| Error::Encode { format: "JSON", source: source.into() })?;
        match self.tree.get(&path) {
            Some(there) if there.sha256 == sha256(&text) => Ok(()),
            _ => open.put_file(&path, PutMode::Overwrite, text.into()).await,
        }
    }

    /// Snapshots in their places; one that did not change keeps the object it has.
    async fn put_state(
        &self,
        open: &mut OpenCommit,
        state: BTreeMap<String, Bytes>,
    ) -> Result<BTreeMap<String, Blob>, Error> {
        let mut blobs = BTreeMap::new();
        let before = self.head.commit.as_ref().map(|head| &head.state);
        for (key, bytes) in state {
            let sha256 = sha256(&bytes);
            let same = before.and_then(|state| state.get(&key)).filter(|blob| blob.sha256 == sha256);
            let blob = match same {
                Some(blob @ Blob { place: Place::Object(_), .. }) => blob.clone(),
                _ => open.blob(Step::State, "state", bytes, sha256).await?,
            };
            blobs.insert(key, blob);
        }
        Ok(blobs)
    }
}

/// Creates the claim record; `None` if somebody else took the slot.
async fn raise(repo: &Repo, branch: &str, pipeline: &str, nonce: &str, head: Head) -> Result<Option<Head>, Error> {
    let path = repo.layout.record(branch, head.sequence + 1);
    let object = repo.objects.shown(&path);
    let claim = Claim {
        version: VERSION,
        kind: RecordKind::Claim,
        id: clock::nonce(),
        repo: repo.name().to_owned(),
        branch: branch.to_owned(),
        sequence: head.sequence + 1,
        epoch: head.epoch + 1,
        nonce: nonce.to_owned(),
        previous: head.checksum.clone(),
        at_ms: clock::wall_ms(),
        pipeline: pipeline.to_owned(),
        checksum: String::new(),
    };
    let (bytes, checksum) = record::seal(&object, &claim)?;
    match repo.objects.create(Step::Claim, &path, bytes).await? {
        Created::Ours => Ok(Some(Head { sequence: claim.sequence, epoch: claim.epoch, checksum, commit: head.commit })),
        Created::Others(_) => Ok(None),
        Created::Nothing(source) => Err(Error::write(object, source)),
        Created::Unknown(source) => Err(Error::Unconfirmed { object, source: source.into() }),
    }
}
