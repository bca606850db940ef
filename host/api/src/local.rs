//! The verbs on a store.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use spout_base::clock::{Instant, now};
use spout_data::ByteSize;
use spout_repo::{Collect, Collected, Commit, Compacted, PutMode, Reference, Repo as OpenRepo, Report, Store, Tree};

use crate::{
    Api, Branch, BranchInfo, BranchMade, ByteRange, Changes, Check, CommitInfo, Content, DeadLetters, Deleted,
    Deletion, Differences, Dropped, FileInfo, Files, Inspected, Kept, MarkerInfo, NewBranch, NewRepo, NewTag, Opened,
    Putting, Query, Repo, RepoInfo, RepoMade, Result, Retention, Rows, Seek, Sought, Squashed, Started, Tables, Tag,
    TagMade, TextFormat, Undone, branches, commits, content, convert, copying, deleting, diff, files, history, letters,
    marker, putting, repos, rows, tables, tags, upkeep,
};

/// How long the files of a commit that was named by its whole id are known without looking again.
const KNOWN: Duration = Duration::from_secs(2);

/// A store, whose repos the verbs are about.
#[derive(Debug)]
pub struct Local {
    store: Store,
    last: Arc<Mutex<Option<Looked>>>,
}

/// A commit that was looked at, so that many files of it cost one look.
#[derive(Clone, Debug)]
struct Looked {
    at: Instant,
    commit: Arc<Commit>,
    tree: Arc<Tree>,
}

impl Local {
    /// The verbs on `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, last: Arc::default() }
    }

    /// The same verbs for somebody who sees only these repos.
    #[must_use]
    pub fn limited(&self, shows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { store: self.store.limited(shows), last: Arc::clone(&self.last) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Opens a branch, or a started commit, for one who puts files by several requests.
    ///
    /// # Errors
    /// As [`Api::put`].
    pub async fn open(&self, to: &Reference) -> Result<Opened> {
        commits::open(&self.store, to).await
    }

    /// Makes what was put into a commit that was opened afresh visible.
    ///
    /// # Errors
    /// As [`Api::finish_commit`].
    pub async fn close(&self, repo: &str, id: &str) -> Result<CommitInfo> {
        Box::pin(commits::close(&self.store, repo, id)).await
    }

    /// Moves where a pipeline goes on, by a commit.
    ///
    /// # Errors
    /// [`Error::InUse`](crate::Error::InUse), [`Error::NoMarker`](crate::Error::NoMarker), and those of writing.
    pub async fn seek(&self, seek: &Seek) -> Result<Sought> {
        marker::seek(&self.store, seek).await
    }

    /// The commit that `reference` names, and its files.
    async fn look(&self, reference: &Reference) -> Result<(OpenRepo, Arc<Commit>, Arc<Tree>)> {
        let repo = self.store.repo(&reference.repo).await?;
        let fixed = reference.target.len() == 32 && reference.back == 0 && reference.at_ms.is_none();
        let known = |looked: &Looked| {
            let header = &looked.commit.header;
            header.repo == reference.repo && header.id == reference.target && now().duration_since(looked.at) < KNOWN
        };
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Looked { commit, tree, .. }) = last.filter(known).filter(|_| fixed) {
            return Ok((repo, commit, tree));
        }
        let commit = Arc::new(repo.resolve(reference).await?);
        let tree = Arc::new(repo.tree(&commit).await?);
        if fixed {
            let looked = Looked { at: now(), commit: Arc::clone(&commit), tree: Arc::clone(&tree) };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
        }
        Ok((repo, commit, tree))
    }
}

#[async_trait]
impl Api for Local {
    fn place(&self) -> &str {
        self.store.url()
    }

    async fn repos(&self) -> Result<Vec<Repo>> {
        repos::list(&self.store).await
    }

    async fn repo(&self, name: &str) -> Result<RepoInfo> {
        repos::inspect(&self.store, name).await
    }

    async fn create_repo(&self, new: &NewRepo) -> Result<RepoMade> {
        repos::create(&self.store, new).await
    }

    async fn delete_repo(&self, name: &str, force: bool) -> Result<Deleted> {
        repos::delete(&self.store, name, force).await
    }

    async fn branches(&self, repo: &str) -> Result<Vec<Branch>> {
        branches::list(&self.store, repo).await
    }

    async fn branch(&self, branch: &Reference) -> Result<BranchInfo> {
        branches::inspect(&self.store, branch).await
    }

    async fn tables(&self, branch: &Reference) -> Result<Tables> {
        tables::list(&self.store, branch).await
    }

    async fn create_branch(&self, repo: &str, new: &NewBranch) -> Result<BranchMade> {
        branches::create(&self.store, repo, new).await
    }

    async fn delete_branch(&self, repo: &str, branch: &str) -> Result<Deleted> {
        branches::delete(&self.store, repo, branch).await
    }

    async fn tags(&self, repo: &str) -> Result<Vec<Tag>> {
        tags::list(&self.store, repo).await
    }

    async fn create_tag(&self, repo: &str, new: &NewTag) -> Result<TagMade> {
        tags::create(&self.store, repo, new).await
    }

    async fn delete_tag(&self, repo: &str, tag: &str) -> Result<Deleted> {
        tags::delete(&self.store, repo, tag).await
    }

    async fn commits(&self, reference: &Reference, limit: usize) -> Result<Vec<CommitInfo>> {
        commits::list(&self.store, reference, limit).await
    }

    async fn started(&self, repo: &str, branch: Option<&str>) -> Result<Vec<Started>> {
        commits::started(&self.store, repo, branch).await
    }

    async fn commit(&self, reference: &Reference) -> Result<Inspected> {
        commits::inspect(&self.store, reference).await
    }

    async fn start_commit(&self, repo: &str, branch: &str) -> Result<Started> {
        commits::start(&self.store, repo, branch).await
    }

    async fn finish_commit(&self, repo: &str, id: &str) -> Result<CommitInfo> {
        Box::pin(commits::finish(&self.store, repo, id)).await
    }

    async fn drop_started(&self, repo: &str, id: &str) -> Result<Option<Dropped>> {
        commits::drop_started(&self.store, repo, id).await
    }

    async fn revert(&self, repo: &str, branch: &str, to: &str) -> Result<Undone> {
        history::revert(&self.store, repo, branch, to).await
    }

    async fn drop_head(&self, reference: &Reference) -> Result<Undone> {
        Box::pin(history::drop_head(&self.store, reference)).await
    }

    async fn squash(&self, commits: &str) -> Result<Squashed> {
        history::squash(&self.store, commits).await
    }

    async fn retain(&self, repo: &str, retention: Retention) -> Result<Kept> {
        history::retain(&self.store, repo, retention).await
    }

    async fn files(&self, reference: &Reference, recursive: bool) -> Result<Files> {
        let (_, commit, tree) = self.look(reference).await?;
        files::list(&commit, &tree, reference, recursive)
    }

    async fn glob(&self, reference: &Reference, pattern: &str) -> Result<Files> {
        let (_, commit, tree) = self.look(reference).await?;
        files::glob(&commit, &tree, pattern)
    }

    async fn file(&self, reference: &Reference) -> Result<FileInfo> {
        let (_, commit, tree) = self.look(reference).await?;
        files::inspect(&commit, &tree, reference)
    }

    async fn content(&self, reference: &Reference, range: Option<ByteRange>) -> Result<Content> {
        let (repo, _, tree) = self.look(reference).await?;
        content::read(&repo, &tree, reference, range).await
    }

    async fn converted(&self, reference: &Reference, format: TextFormat) -> Result<Bytes> {
        let (repo, _, tree) = self.look(reference).await?;
        convert::converted(&repo, &tree, reference, format).await
    }

    async fn put<'a>(&'a self, to: &Reference) -> Result<Box<dyn Putting + 'a>> {
        Ok(Box::new(putting::open(&self.store, to).await?))
    }

    async fn delete_files(&self, deletion: &Deletion) -> Result<Changes> {
        deleting::delete(&self.store, deletion).await
    }

    async fn copy_file(&self, from: &Reference, to: &Reference, into: bool, how: PutMode) -> Result<Changes> {
        Box::pin(copying::copy(&self.store, from, to, into, how)).await
    }

    async fn move_file(&self, from: &Reference, to: &str) -> Result<Changes> {
        Box::pin(copying::relocate(&self.store, from, to)).await
    }

    async fn diff(&self, new: &Reference, old: Option<&Reference>) -> Result<Differences> {
        diff::between(&self.store, new, old).await
    }

    async fn marker(&self, reference: &Reference) -> Result<MarkerInfo> {
        marker::show(&self.store, reference).await
    }

    async fn dead_letters(&self, reference: &Reference, limit: usize) -> Result<Vec<DeadLetters>> {
        letters::dead_letters(self, reference, limit).await
    }

    async fn sql(&self, query: &Query) -> Result<Rows> {
        rows::ask(&self.store, query).await
    }

    async fn compact(&self, branch: &Reference, target: ByteSize) -> Result<Compacted> {
        Box::pin(upkeep::compact(&self.store, branch, target)).await
    }

    async fn publish(&self, branch: &Reference, rebuild: bool) -> Result<Tables> {
        upkeep::publish(&self.store, branch, rebuild).await
    }

    async fn collect(&self, repo: &str, how: Collect) -> Result<Collected> {
        upkeep::collect(&self.store, repo, how).await
    }

    async fn check(&self, check: &Check) -> Result<Report> {
        upkeep::check(&self.store, check).await
    }
}
