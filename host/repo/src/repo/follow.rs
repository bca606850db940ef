//! The commits of a branch in the order in which they were made, with what each of them added.

use std::{sync::LazyLock, time::Duration};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use spout_format::{Batches, Format, decode};
use tokio::{sync::watch, time::timeout};

use super::repository::Repo;
use crate::{
    error::Error,
    log::{Blob, Commit, FileAdded, PutMode, Record, Recorded, State, TableInfo, by_number},
    path,
    tree::decode_schema,
};

/// Raised by every commit that this process makes, so that followers within it need not wait for their next look.
static COMMITS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Tells followers in this process that something was committed somewhere.
pub(crate) fn announce() {
    COMMITS.send_modify(|count| *count = count.wrapping_add(1));
}

/// Follows a branch.
#[derive(Debug)]
pub struct Follower {
    pub(super) repo: Repo,
    branch: String,
    state: Option<State>,
    commits: watch::Receiver<u64>,
}

/// What a run of commits added.
#[derive(Clone, Debug)]
pub struct Added {
    /// The last of the commits, as it is recorded.
    pub commit: Commit<Recorded>,
    /// What was put and is still there after the last of them, in order.
    pub files: Vec<AddedFile>,
    /// What was there before and is not any more.
    pub rewritten: Vec<Rewritten>,
}

/// One put of a file.
#[derive(Clone, Debug)]
pub struct AddedFile {
    /// Path in the repo.
    pub path: String,
    /// Format, for table files.
    pub format: Option<Format>,
    /// Columns, for table files.
    pub schema: Option<SchemaRef>,
    /// Rows, for table files.
    pub rows: u64,
    /// Bytes.
    pub size: u64,
    blob: Blob,
}

/// A file whose older content is not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Its path; `/` if the whole branch was reverted.
    pub path: String,
    /// `removed`, `overwritten` or `reverted`.
    pub how: &'static str,
    /// The commit that did it.
    pub commit: String,
}

impl Repo {
    /// Follows `branch`, which need not exist yet.
    #[must_use]
    pub fn follow(&self, branch: &str) -> Follower {
        Follower { repo: self.clone(), branch: branch.to_owned(), state: None, commits: COMMITS.subscribe() }
    }
}

impl Follower {
    /// Looks for new commits; the newest one. `None` where the branch has none, or does not exist (any more).
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn refresh(&mut self) -> Result<Option<&Commit>, Error> {
        // What is announced from here on counts for the next look.
        self.commits.mark_unchanged();
        let state = match self.state.take() {
            Some(state) => self.caught_up(state).await?,
            None => self.repo.state(&self.branch).await?,
        };
        self.state = Some(state);
        Ok(self.head())
    }

    async fn caught_up(&self, mut state: State) -> Result<State, Error> {
        let collected = self.repo.boundary(&self.branch).await? > state.head.sequence;
        let swept = match collected {
            true => true,
            // Runs of the index that only this state knew may be gone with a sweep.
            false => state.catch_up(u64::MAX).await?.iter().any(|record| matches!(record, Record::Sweep(_))),
        };
        if swept { self.repo.state(&self.branch).await } else { Ok(state) }
    }

    /// Waits until something may be new, and no longer than `longest`.
    pub async fn wait(&mut self, longest: Duration) {
        // Nothing announced within that time: then it is time to look anyway.
        drop(timeout(longest, self.commits.changed()).await);
    }

    /// The newest commit of the last look.
    #[must_use]
    pub fn head(&self) -> Option<&Commit> {
        self.state().and_then(|state| state.head.commit.as_ref())
    }

    /// What the branch was at the last look; `None` where it does not exist.
    pub(crate) fn state(&self) -> Option<&State> {
        self.state.as_ref().filter(|state| !state.deleted)
    }

    /// The commit of that number, as it is recorded; `None` if there is none, or it is not kept any more.
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn commit(&self, number: u64) -> Result<Option<Commit<Recorded>>, Error> {
        let Some(state) = &self.state else { return Ok(None) };
        let Some(located) = state.ids.get(&by_number(number)).await? else { return Ok(None) };
        if located.slot.sequence < self.repo.boundary(&located.slot.branch).await? {
            Ok(None)
        } else {
            self.repo.located(&located).await
        }
    }

    /// The number of the first commit that is kept; that of the head plus one if none is.
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn first(&self) -> Result<u64, Error> {
        let (mut gone, mut kept) = (0, self.head().map_or(0, |head| head.number) + 1);
        // Before one that is gone, all are.
        while kept - gone > 1 {
            let middle = gone + (kept - gone) / 2;
            match self.commit(middle).await? {
                Some(_) => kept = middle,
                None => gone = middle,
            }
        }
        Ok(kept)
    }

    /// The last of the commits that count as one with the commit `first`: those that were squashed belong to the one after.
    #[must_use]
    pub fn run_from(&self, first: u64) -> u64 {
        let hidden = self.state.as_ref().map_or(&[][..], |state| &state.hidden);
        hidden.iter().find(|(from, to)| (*from..=*to).contains(&first)).map_or(first, |(_, to)| to + 1)
    }

    /// What the commits `first` to `last` added.
    ///
    /// # Errors
    /// [`Error::Collected`] if one of them is not kept any more, and those of reading records.
    pub async fn added(&self, first: u64, last: u64) -> Result<Added, Error> {
        let mut run = CommitRun { follower: self, first, before: None, files: Vec::new(), rewritten: Vec::new() };
        for number in first..last {
            run.take(&self.known(number).await?).await?;
        }
        let commit = self.known(last).await?;
        run.take(&commit).await?;
        let CommitRun { files, rewritten, .. } = run;
        let files = files.iter().map(|file| self.added_file(&file.path, &file.blob, file.table.as_ref()));
        Ok(Added { files: files.collect::<Result<_, _>>()?, rewritten, commit })
    }

    /// Everything that `commit` holds, as if it had added it.
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn whole(&self, commit: Commit<Recorded>) -> Result<Added, Error> {
        let tree = self.repo.tree(&commit).await?;
        let pieces = tree.files().flat_map(|file| file.pieces.iter().map(|piece| (&file.path, piece)));
        let files = pieces.map(|(path, piece)| self.added_file(path, &piece.blob, piece.table.as_ref()));
        Ok(Added { files: files.collect::<Result<_, _>>()?, rewritten: Vec::new(), commit })
    }

    /// The verified bytes of a put.
    ///
    /// # Errors
    /// [`Error::DamagedFile`], and those of reading.
    pub async fn read(&self, file: &AddedFile) -> Result<Bytes, Error> {
        self.repo.blob(&file.path, &file.blob).await
    }

    /// The rows of a put of a table; none for other files. `columns` are those that are wanted, by index and rising; all, if it
    /// does not say.
    ///
    /// # Errors
    /// As [`Follower::read`], and [`Error::Format`].
    pub async fn rows(&self, file: &AddedFile, columns: Option<&[usize]>) -> Result<Option<Batches>, Error> {
        let (Some(format), Some(schema)) = (file.format, &file.schema) else { return Ok(None) };
        Ok(Some(decode(&file.path, format, schema, self.read(file).await?, columns)?))
    }

    async fn known(&self, number: u64) -> Result<Commit<Recorded>, Error> {
        self.commit(number).await?.ok_or_else(|| Error::Collected {
            repo: self.repo.name().to_owned(),
            commit: format!("number {number} of branch {}", self.branch),
            why: "its branch keeps only newer commits",
        })
    }

    fn added_file(&self, path: &str, blob: &Blob, table: Option<&TableInfo>) -> Result<AddedFile, Error> {
        let text = table.and_then(|table| self.state.as_ref()?.schemas.get(&table.schema));
        let schema = text.map(|text| decode_schema(text)).transpose().map_err(|source| Error::BadRecord {
            object: format!("branch {} of repo {}", self.branch, self.repo.name()),
            reason: format!("the schema of {path} cannot be read: {source}"),
        })?;
        Ok(AddedFile {
            path: path.to_owned(),
            format: table.map(|table| table.format),
            schema,
            rows: table.map_or(0, |table| table.rows),
            size: blob.size,
            blob: blob.clone(),
        })
    }
}

/// Puts and deletes of a run of commits, as they add up.
struct CommitRun<'a> {
    follower: &'a Follower,
    first: u64,
    /// The branch before the run, once it was needed.
    before: Option<Option<State>>,
    files: Vec<FileAdded>,
    rewritten: Vec<Rewritten>,
}

impl CommitRun<'_> {
    async fn take(&mut self, commit: &Commit<Recorded>) -> Result<(), Error> {
        if commit.compaction {
            // The same rows in other files.
            return Ok(());
        }
        let id = commit.header.id.clone();
        if commit.base.is_some() {
            self.files.clear();
            self.rewritten.push(Rewritten { path: "/".into(), how: "reverted", commit: id.clone() });
        }
        for path in &commit.removed {
            self.files.retain(|file| file.path != *path);
            if self.was_there(path).await? {
                self.rewritten.push(Rewritten { path: path.clone(), how: "removed", commit: id.clone() });
            }
        }
        for file in &commit.files {
            if file.how == PutMode::Overwrite {
                self.files.retain(|older| older.path != file.path);
                if self.was_there(&file.path).await? {
                    let path = file.path.clone();
                    self.rewritten.push(Rewritten { path, how: "overwritten", commit: id.clone() });
                }
            }
            self.files.push(file.clone());
        }
        Ok(())
    }

    async fn was_there(&mut self, path: &str) -> Result<bool, Error> {
        let before = match &mut self.before {
            Some(before) => before,
            none => {
                let Follower { repo, .. } = self.follower;
                let state = match self.follower.commit(self.first.saturating_sub(1)).await? {
                    Some(commit) => Some(repo.state_at(&commit).await?),
                    None => None,
                };
                none.insert(state)
            }
        };
        match before {
            Some(state) => Ok(state.files.get(&path::folded(path)).await?.is_some()),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        edit::{CommitMeta, Edit, Finished},
        repo::{reference::MASTER, store::Store},
    };

    async fn repo() -> Repo {
        Store::open("memory://").await.unwrap().repo_or_create("r", "").await.unwrap()
    }

    /// Commits puts (`+path text`: append, `=path text`: overwrite) and deletes (`-path`).
    async fn commit(repo: &Repo, acts: &[&str]) {
        let mut open = repo.open_commit();
        for act in acts {
            let (path, text) = act[1..].split_once(' ').unwrap_or((&act[1..], ""));
            let text = Bytes::from(text.to_owned());
            match &act[..1] {
                "+" => open.put_file(path, PutMode::Append, text).await.unwrap(),
                "=" => open.put_file(path, PutMode::Overwrite, text).await.unwrap(),
                _ => open.delete_file(path).unwrap(),
            }
        }
        let mut editor = repo.edit(MASTER).await.unwrap();
        assert!(matches!(editor.finish(open, Edit::new("test")).await.unwrap(), Finished::Committed(_)));
    }

    async fn texts(follower: &Follower, added: &Added) -> Vec<String> {
        let mut texts = Vec::new();
        for file in &added.files {
            let bytes = follower.read(file).await.unwrap();
            texts.push(format!("{} {}", file.path, String::from_utf8_lossy(&bytes)));
        }
        texts.extend(added.rewritten.iter().map(|file| format!("{} {}", file.how, file.path)));
        texts
    }

    #[tokio::test]
    async fn each_commit_has_what_it_added() {
        let repo = repo().await;
        let mut follower = repo.follow(MASTER);
        assert!(follower.refresh().await.unwrap().is_none());
        commit(&repo, &["+/a one", "+/b x"]).await;
        commit(&repo, &["+/a two", "=/c new"]).await;
        commit(&repo, &["=/b y", "-/c"]).await;
        assert_eq!(follower.refresh().await.unwrap().unwrap().number, 3);
        let check = |number: u64, expected: &'static [&str]| {
            let follower = &follower;
            async move {
                let added = follower.added(number, number).await.unwrap();
                assert_eq!(texts(follower, &added).await, expected, "{number}");
            }
        };
        check(1, &["/a one", "/b x"]).await;
        check(2, &["/a two", "/c new"]).await;
        check(3, &["/b y", "removed /c", "overwritten /b"]).await;
        assert_eq!(follower.first().await.unwrap(), 1);
        assert!(follower.commit(4).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn squashed_commits_are_one_with_the_commit_after_them() {
        let repo = repo().await;
        for acts in [&["+/a 1"][..], &["+/a 2", "+/b x"], &["+/a 3", "-/b"], &["=/c y"]] {
            commit(&repo, acts).await;
        }
        let third = repo.resolve(&"r@master~1".parse().unwrap()).await.unwrap();
        repo.squash(MASTER, &repo.resolve(&"r@master~2".parse().unwrap()).await.unwrap(), &third).await.unwrap();
        let mut follower = repo.follow(MASTER);
        follower.refresh().await.unwrap();
        assert_eq!([1, 2, 3, 4].map(|first| follower.run_from(first)), [1, 4, 4, 4]);
        let added = follower.added(2, 4).await.unwrap();
        assert_eq!(texts(&follower, &added).await, ["/a 2", "/a 3", "/c y"]);
    }

    #[tokio::test]
    async fn a_revert_adds_nothing_and_says_so() {
        let repo = repo().await;
        commit(&repo, &["+/a 1"]).await;
        let first = repo.resolve(&"r@master".parse().unwrap()).await.unwrap();
        commit(&repo, &["+/a 2"]).await;
        assert!(matches!(repo.revert(MASTER, &first).await.unwrap(), Finished::Committed(_)));
        let mut follower = repo.follow(MASTER);
        follower.refresh().await.unwrap();
        let added = follower.added(3, 3).await.unwrap();
        assert_eq!(texts(&follower, &added).await, ["reverted /"]);
    }

    #[tokio::test]
    async fn a_commit_of_this_process_wakes_followers() {
        let repo = repo().await;
        let mut follower = repo.follow(MASTER);
        follower.refresh().await.unwrap();
        let mut writer = repo.writer(MASTER, "p").await.unwrap();
        let mut open = repo.open_commit();
        open.put_file("/a", PutMode::Append, "x".into()).await.unwrap();
        let meta = CommitMeta { pipeline: "p".into(), ..CommitMeta::default() };
        assert!(matches!(writer.finish(open, meta).await.unwrap(), Finished::Committed(_)));
        timeout(Duration::from_secs(60), follower.wait(Duration::from_secs(600))).await.unwrap();
        assert_eq!(follower.refresh().await.unwrap().unwrap().number, 1);
    }
}
