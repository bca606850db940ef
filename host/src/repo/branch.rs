//! The records of one branch, read in order and checked against each other.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::{
    Error,
    invariants::Head,
    object::{Objects, PARALLEL},
    record::{self, Commit, Record},
    tree::Tree,
};

/// Where a repo's objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    root: String,
}

impl Layout {
    pub(super) fn repos() -> Path {
        Path::from("repos")
    }

    pub(super) fn of(repo: &str) -> Self {
        Self { root: format!("repos/{repo}") }
    }

    pub(super) fn root(&self) -> Path {
        Path::from(self.root.as_str())
    }

    pub(super) fn about(&self) -> Path {
        Path::from(format!("{}/repo.json", self.root))
    }

    pub(super) fn branches(&self) -> Path {
        Path::from(format!("{}/branches", self.root))
    }

    pub(super) fn branch(&self, branch: &str) -> Path {
        Path::from(format!("{}/branches/{branch}", self.root))
    }

    pub(super) fn record(&self, branch: &str, sequence: u64) -> Path {
        Path::from(format!("{}/branches/{branch}/{sequence:020}.json", self.root))
    }

    pub(super) fn data(&self) -> Path {
        Path::from(format!("{}/data", self.root))
    }

    pub(super) fn object(&self, name: &str) -> Path {
        Path::from(format!("{}/data/{name}", self.root))
    }

    /// The sequence that an object of a branch's directory is named after.
    pub(super) fn sequence(path: &Path) -> Option<u64> {
        let digits = path.filename()?.strip_suffix(".json")?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
    }
}

/// All records of a branch, oldest first, without the inline bytes of files.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) records: Vec<Record>,
}

impl Log {
    /// Reads the branch. Records are created in order and never change, so what was listed is a prefix of the branch,
    /// except that a listing may miss a record that was created while it ran: a gap is looked up before it is believed.
    pub(super) async fn load(objects: &Objects, layout: &Layout, branch: &str) -> Result<Self, Error> {
        let listed = objects.list(&layout.branch(branch)).await?;
        let newest = listed.iter().filter_map(|(path, _)| Layout::sequence(path)).max().unwrap_or(0);
        let records: Vec<Record> = stream::iter(1..=newest)
            .map(|sequence| read(objects, layout, branch, sequence))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        for pair in records.windows(2) {
            let [before, after] = pair else { continue };
            let object = || objects.shown(&layout.record(branch, after.sequence()));
            follows(before, after).map_err(|reason| Error::BadRecord { object: object(), reason })?;
        }
        Ok(Self { records })
    }

    pub(super) fn head(&self) -> Head {
        let commit = self.commits().next_back().cloned();
        match self.records.last() {
            None => Head::default(),
            Some(newest) => Head {
                sequence: newest.sequence(),
                epoch: newest.epoch(),
                checksum: newest.checksum().to_owned(),
                commit,
            },
        }
    }

    /// Data commits, oldest first.
    pub(super) fn commits(&self) -> impl DoubleEndedIterator<Item = &Commit> {
        self.records.iter().filter_map(|record| match record {
            Record::Commit(commit) => Some(commit.as_ref()),
            Record::Claim(_) => None,
        })
    }

    /// The files after the commit of `sequence`.
    pub(super) fn tree(&self, objects: &Objects, layout: &Layout, upto: &Commit) -> Result<Tree, Error> {
        let mut tree = Tree::new(&upto.repo, &upto.branch);
        for commit in self.commits().take_while(|commit| commit.sequence <= upto.sequence) {
            tree.apply(&objects.shown(&layout.record(&upto.branch, commit.sequence)), commit)?;
        }
        Ok(tree)
    }
}

/// Reads one record that must be there.
async fn read(objects: &Objects, layout: &Layout, branch: &str, sequence: u64) -> Result<Record, Error> {
    let path = layout.record(branch, sequence);
    let object = objects.shown(&path);
    let Some(bytes) = objects.find(&path).await? else { return Err(Error::MissingRecord { object }) };
    let record = record::parse(&object, &bytes)?;
    placed(&record, branch, sequence).map_err(|reason| Error::BadRecord { object, reason })?;
    Ok(match record {
        Record::Commit(commit) => Record::Commit(Box::new(commit.light())),
        claim @ Record::Claim(_) => claim,
    })
}

/// Whether a record is in the slot it was made for.
pub(super) fn placed(record: &Record, branch: &str, sequence: u64) -> Result<(), String> {
    match (record.branch(), record.sequence()) == (branch, sequence) {
        true => Ok(()),
        false => Err(format!("it belongs to branch `{}`, sequence {}", record.branch(), record.sequence())),
    }
}

/// Whether a record was made to follow the one before it.
pub(super) fn follows(before: &Record, after: &Record) -> Result<(), String> {
    if after.previous() != before.checksum() {
        return Err(format!("it was made to follow another record than sequence {}", before.sequence()));
    }
    if after.epoch() < before.epoch() {
        return Err(format!("its epoch {} is lower than the one before it, {}", after.epoch(), before.epoch()));
    }
    Ok(())
}
