//! Where a repo's objects are.

use object_store::path::Path;

/// Names of a repo's objects, from the root of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    root: String,
}

impl Layout {
    pub(super) fn repos() -> Path {
        Path::from("repos")
    }

    /// Which versions of the format the store has been of, each an object beside the repos.
    pub(super) fn versions() -> Path {
        Path::from("format")
    }

    pub(super) fn version(version: u32) -> Path {
        Path::from(format!("format/{version:020}.json"))
    }

    pub(super) fn of(repo: &str) -> Self {
        Self { root: format!("repos/{repo}") }
    }

    pub(super) fn root(&self) -> Path {
        Path::from(self.root.as_str())
    }

    fn under(&self, rest: &str) -> Path {
        Path::from(format!("{}/{rest}", self.root))
    }

    pub(super) fn about(&self) -> Path {
        self.under("repo.json")
    }

    pub(super) fn branches(&self) -> Path {
        self.under("branches")
    }

    pub(super) fn branch(&self, branch: &str) -> Path {
        self.under(&format!("branches/{branch}"))
    }

    pub(super) fn record(&self, branch: &str, sequence: u64) -> Path {
        self.under(&format!("branches/{branch}/{sequence:020}.json"))
    }

    pub(super) fn checkpoints(&self, branch: &str) -> Path {
        self.under(&format!("checkpoints/{branch}"))
    }

    pub(super) fn checkpoint(&self, branch: &str, sequence: u64) -> Path {
        self.under(&format!("checkpoints/{branch}/{sequence:020}.json"))
    }

    /// Says which checkpoint is the newest; never believed, only tried.
    pub(super) fn hint(&self, branch: &str) -> Path {
        self.under(&format!("checkpoints/{branch}/newest.json"))
    }

    pub(super) fn boundaries(&self, branch: &str) -> Path {
        self.under(&format!("boundaries/{branch}"))
    }

    pub(super) fn boundary(&self, branch: &str, sequence: u64) -> Path {
        self.under(&format!("boundaries/{branch}/{sequence:020}.json"))
    }

    /// Small files out of collected records.
    pub(super) fn packs(&self, branch: &str) -> Path {
        self.under(&format!("packs/{branch}"))
    }

    pub(super) fn pack(&self, branch: &str, boundary: u64) -> Path {
        self.under(&format!("packs/{branch}/{boundary:020}.json"))
    }

    pub(super) fn tags(&self) -> Path {
        self.under("tags")
    }

    pub(super) fn tag(&self, tag: &str) -> Path {
        self.under(&format!("tags/{tag}"))
    }

    pub(super) fn tag_version(&self, tag: &str, version: u64) -> Path {
        self.under(&format!("tags/{tag}/{version:020}.json"))
    }

    /// Commits that were started and not finished.
    pub(super) fn started(&self) -> Path {
        self.under("started")
    }

    pub(super) fn started_commit(&self, id: &str) -> Path {
        self.under(&format!("started/{id}"))
    }

    pub(super) fn started_part(&self, id: &str, part: u64) -> Path {
        self.under(&format!("started/{id}/{part:020}.json"))
    }

    pub(super) fn retention(&self, version: u64) -> Path {
        self.under(&format!("retention/{version:020}.json"))
    }

    pub(super) fn retentions(&self) -> Path {
        self.under("retention")
    }

    /// Where bytes are, each below a directory of its own kind.
    pub(super) fn data(&self) -> Path {
        self.under("data")
    }

    pub(super) fn tables(&self) -> Path {
        self.under("tables")
    }

    pub(super) fn index(&self) -> Path {
        self.under("index")
    }

    pub(super) fn sweeps(&self) -> Path {
        self.under("sweeps")
    }

    /// An object that a record names.
    pub(super) fn object(&self, name: &str) -> Path {
        self.under(name)
    }

    /// The name that a record calls an object by.
    pub(super) fn name<'a>(&self, path: &'a Path) -> &'a str {
        path.as_ref().strip_prefix(&self.root).map_or(path.as_ref(), |rest| rest.trim_start_matches('/'))
    }

    /// Whether a name looks like those that we give to objects: it starts with 32 digits that were drawn by lot. What is
    /// called otherwise was put there by somebody else.
    pub(super) fn is_ours(name: &str) -> bool {
        let file = name.rsplit('/').next().unwrap_or(name);
        file.get(..32).is_some_and(|id| id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    }

    /// The sequence that an object is named after.
    pub(super) fn sequence(path: &Path) -> Option<u64> {
        let digits = path.filename()?.strip_suffix(".json")?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
    }
}
