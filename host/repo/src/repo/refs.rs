//! Branches and tags: names for commits that can be made, moved and deleted without copying a file.

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use spout_base::clock;

use super::repository::Repo;
use crate::{
    error::Error,
    log::{Attempts, Base, Commit, Point, RecordKind, Squash, State, Taken, VERSION, seal, slot},
    object::{Created, PARALLEL, Step},
    path,
};
use spout_base::near::did_you_mean;

/// One version of a tag. The newest counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TagVersion {
    version: u32,
    name: String,
    /// Counts the versions of this tag.
    #[serde(deserialize_with = "path::stored::count")]
    number: u64,
    at_ms: i64,
    /// What it is at; `None` once it is deleted.
    base: Option<Base>,
    checksum: String,
}

/// A tag in a listing.
#[derive(Clone, Debug, Serialize)]
pub struct TagInfo {
    /// Its name.
    pub name: String,
    /// The commit it is at.
    pub commit: Commit,
    /// When it was set; for people.
    pub at_ms: i64,
}

impl Repo {
    /// Makes `branch`, at `commit` or empty; where it exists, sets it there if `anew`. A writer of the branch is fenced.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::NameTaken`], [`Error::BranchExists`], [`Error::Collected`], and those of writing.
    pub async fn create_branch(&self, branch: &str, commit: Option<&Commit>, anew: bool) -> Result<(), Error> {
        path::branch_name(branch)?;
        if self.tag(branch).await?.is_some() {
            return Err(Error::NameTaken { repo: self.name().to_owned(), what: "tag", name: branch.to_owned() });
        }
        let state = self.state(branch).await?;
        if !state.is_new() && !state.deleted && !anew {
            return Err(Error::BranchExists { repo: self.name().to_owned(), branch: branch.to_owned() });
        }
        let base = match commit {
            Some(commit) => self.state_at(commit).await?.base().await?,
            None => None,
        };
        self.point(state, base.clone(), false).await?;
        match self.unswept(commit, base.as_ref()).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let state = self.state(branch).await?;
                self.point(state, None, true).await?;
                Err(error)
            }
        }
    }

    /// Deletes `branch`; its commits stay until they are collected. A writer of it is fenced.
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], and those of writing.
    pub async fn delete_branch(&self, branch: &str) -> Result<(), Error> {
        let state = self.known(branch).await?;
        self.point(state, None, true).await
    }

    async fn point(&self, mut state: State, target: Option<Base>, deleted: bool) -> Result<(), Error> {
        let mut attempts = Attempts::new();
        while attempts.another() {
            let point = Point {
                header: state.next(RecordKind::Point, state.head.epoch + 1, clock::nonce()),
                target: target.clone().map(Box::new),
                deleted,
                checksum: String::new(),
            };
            match slot::take(self.place(), Step::Point, &state.branch, point.header.sequence, &point).await? {
                Taken::Ours(_) => return Ok(()),
                Taken::Others | Taken::Void => state = self.state(&state.branch).await?,
                Taken::Nothing(error) | Taken::Unknown(error) => return Err(error),
            }
        }
        Err(Error::Contended { repo: self.name().to_owned(), branch: state.branch, attempts: attempts.made })
    }

    /// Hides the commits of numbers `first` to `last` from the history of `branch`: what they changed then belongs to the
    /// commit after them. Their ids find nothing any more, and the next collection may remove them.
    ///
    /// # Errors
    /// [`Error::NotSquashable`] for the head, and those of writing.
    pub async fn squash(&self, branch: &str, first: &Commit, last: &Commit) -> Result<(), Error> {
        let refused = |commit: &Commit, reason| Err(Error::NotSquashable { commit: commit.header.id.clone(), reason });
        let mut state = self.known(branch).await?;
        let mut attempts = Attempts::new();
        while attempts.another() {
            for commit in [first, last] {
                let here = state.ids.get(&commit.header.id).await?.is_some_and(|there| there.number == commit.number);
                if !here {
                    return refused(commit, "the branch does not lead to it");
                }
            }
            if first.number > last.number {
                return refused(first, "it is newer than the last one to squash");
            }
            if state.head.commit.as_ref().is_none_or(|head| head.number <= last.number) {
                return refused(
                    last,
                    "it is the head, so no later commit can take over its changes; use `spout drop commit`",
                );
            }
            let squash = Squash {
                header: state.next(RecordKind::Squash, state.head.epoch, clock::nonce()),
                hidden: (first.number, last.number),
                checksum: String::new(),
            };
            match slot::take(self.place(), Step::Squash, branch, squash.header.sequence, &squash).await? {
                Taken::Ours(_) => return Ok(()),
                Taken::Others | Taken::Void => state = self.known(branch).await?,
                Taken::Nothing(error) | Taken::Unknown(error) => return Err(error),
            }
        }
        Err(Error::Contended { repo: self.name().to_owned(), branch: branch.to_owned(), attempts: attempts.made })
    }

    /// All tags, sorted by name.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn tags(&self) -> Result<Vec<TagInfo>, Error> {
        let names = self.objects.directories(&self.layout.tags()).await?;
        let versions = stream::iter(names).map(|name| async move { self.newest_version(&name).await });
        let versions: Vec<Option<TagVersion>> = versions.buffered(PARALLEL).try_collect().await?;
        let info = |version: TagVersion| {
            let TagVersion { name, at_ms, base, .. } = version;
            base.map(|base| TagInfo { name, commit: base.commit, at_ms })
        };
        Ok(versions.into_iter().flatten().filter_map(info).collect())
    }

    /// What the tag is at; `None` if there is no such tag.
    pub(crate) async fn tag(&self, name: &str) -> Result<Option<Base>, Error> {
        Ok(self.newest_version(name).await?.and_then(|version| version.base))
    }

    /// The base of a tag that is at the commit `id`.
    pub(crate) async fn tagged(&self, id: &str) -> Result<Option<Base>, Error> {
        for name in self.objects.directories(&self.layout.tags()).await? {
            if let Some(base) = self.tag(&name).await?.filter(|base| base.commit.header.id == id) {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    async fn newest_version(&self, name: &str) -> Result<Option<TagVersion>, Error> {
        if path::tag_name(name).is_err() {
            return Ok(None);
        }
        seal::newest(&self.objects, &self.layout.tag(name)).await
    }

    /// Sets the tag to `commit`, making it if there is none; moves one that exists only if `anew`.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::NameTaken`], [`Error::Collected`], and those of writing.
    pub async fn create_tag(&self, name: &str, commit: &Commit, anew: bool) -> Result<(), Error> {
        path::tag_name(name)?;
        let taken = |what| Error::NameTaken { repo: self.name().to_owned(), what, name: name.to_owned() };
        let branch = self.state(name).await?;
        if !branch.is_new() && !branch.deleted {
            return Err(taken("branch"));
        }
        if !anew && self.tag(name).await?.is_some() {
            return Err(taken("tag"));
        }
        let base = self.state_at(commit).await?.base().await?;
        self.write_tag(name, base.clone()).await?;
        match self.unswept(Some(commit), base.as_ref()).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.write_tag(name, None).await?;
                Err(error)
            }
        }
    }

    /// Deletes the tag.
    ///
    /// # Errors
    /// [`Error::UnknownTag`], and those of writing.
    pub async fn delete_tag(&self, name: &str) -> Result<(), Error> {
        if self.tag(name).await?.is_none() {
            let tags = self.tags().await?;
            let nearest = did_you_mean(name, tags.iter().map(|tag| tag.name.as_str()));
            return Err(Error::UnknownTag { repo: self.name().to_owned(), tag: name.to_owned(), nearest });
        }
        self.write_tag(name, None).await
    }

    async fn write_tag(&self, name: &str, base: Option<Base>) -> Result<(), Error> {
        let mut attempts = Attempts::new();
        while attempts.another() {
            let number = self.newest_version(name).await?.map_or(0, |version| version.number) + 1;
            let version = TagVersion {
                version: VERSION,
                name: name.to_owned(),
                number,
                at_ms: clock::wall_ms(),
                base: base.clone(),
                checksum: String::new(),
            };
            let path = self.layout.tag_version(name, number);
            let object = self.objects.shown(&path);
            let (bytes, _) = seal::seal(&object, &version)?;
            match self.objects.create(Step::Tag, &path, bytes).await? {
                Created::Ours => return Ok(()),
                Created::Others => {}
                Created::Nothing(source) => return Err(Error::write(object, source)),
                Created::Unknown(source) => return Err(Error::Unconfirmed { object, source: source.into() }),
            }
        }
        Err(Error::Contended { repo: self.name().to_owned(), branch: name.to_owned(), attempts: attempts.made })
    }

    /// Whether nothing that a new branch or tag needs is about to be collected. A collection lists what it will delete
    /// before it looks at branches and tags for the last time, so that either it sees ours, or we see its list.
    async fn unswept(&self, commit: Option<&Commit>, base: Option<&Base>) -> Result<(), Error> {
        let Some((commit, base)) = commit.zip(base) else { return Ok(()) };
        let lost = || Error::Swept { branch: commit.header.branch.clone() };
        for (path, _) in self.objects.list(&self.layout.sweeps()).await? {
            let list = self.objects.find(&path).await?.unwrap_or_default();
            let list = String::from_utf8_lossy(&list).into_owned();
            if base.segments().any(|segment| list.lines().any(|gone| gone == segment.object)) {
                return Err(lost());
            }
        }
        if self.boundary(&commit.header.branch).await? > commit.header.sequence
            && self.held(&commit.header.id).await?.is_none()
        {
            return Err(lost());
        }
        Ok(())
    }
}
