//! The requests that verbs are.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use reqwest::{Method, Response};
use serde_json::json;
use spout_api::{
    Api, Branch, BranchInfo, BranchMade, ByteRange, ByteSize, Changes, Check, Collect, Collected, CommitInfo,
    Compacted, Content, DeadLetters, Deleted, Deletion, Differences, Dropped, Error, FileInfo, Files, Inspected, Kept,
    MarkerInfo, NewBranch, NewRepo, NewTag, Opened, PutMode, Putting, Query, Reference, Repo, RepoInfo, RepoMade,
    Report, Result, Retention, Rows, Squashed, Started, Tables, Tag, TagMade, TextFormat, Undone,
};
use spout_base::secret::Secret;

use crate::{link::Link, putting::RemotePutting, rows};

/// A server.
#[derive(Debug)]
pub struct Remote {
    pub(crate) link: Link,
}

/// The commit that is meant, without its repo and path.
fn at(reference: &Reference) -> String {
    let whole = Reference { path: None, ..reference.clone() }.to_string();
    whole.split_once('@').map(|(_, at)| at.to_owned()).unwrap_or_default()
}

pub(crate) fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

pub(crate) fn how(how: PutMode) -> &'static str {
    word(how == PutMode::Append)
}

/// The segments of a path in a repo.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('/').split('/')
}

impl Remote {
    /// The server at this address.
    ///
    /// # Errors
    /// [`Error::Foreign`] for what is no address of one.
    pub fn new(server: &str, token: Option<Secret>) -> Result<Self> {
        Ok(Self { link: Link::new(server, token.as_ref())? })
    }

    /// A process of this machine, at its socket.
    ///
    /// # Errors
    /// Those of making a client.
    pub fn at_socket(socket: &Path) -> Result<Self> {
        Ok(Self { link: Link::at_socket(socket)? })
    }

    pub(crate) async fn get<'a, T: serde::de::DeserializeOwned>(
        &self,
        path: impl IntoIterator<Item = &'a str>,
        query: &[(&str, &str)],
    ) -> Result<T> {
        self.link.json(self.link.request(Method::GET, path, query)).await
    }

    async fn bytes_of(&self, reference: &Reference, query: &[(&str, &str)], range: Option<&str>) -> Result<Response> {
        let at = at(reference);
        let path = reference.path.as_deref().filter(|path| *path != "/").into_iter().flat_map(segments);
        let here = ["repos", &reference.repo, "files", &at].into_iter().chain(path);
        let mut request = self.link.request(Method::GET, here, query);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        self.link.send(request).await
    }
}

#[async_trait]
impl Api for Remote {
    fn place(&self) -> &str {
        self.link.shown()
    }

    async fn repos(&self) -> Result<Vec<Repo>> {
        self.get(["repos"], &[]).await
    }

    async fn repo(&self, name: &str) -> Result<RepoInfo> {
        self.get(["repos", name], &[]).await
    }

    async fn create_repo(&self, new: &NewRepo) -> Result<RepoMade> {
        self.link.post(self.link.request(Method::POST, ["repos"], &[]), new).await
    }

    async fn delete_repo(&self, name: &str, force: bool) -> Result<Deleted> {
        let query = [("force", word(force))];
        self.link.json(self.link.request(Method::DELETE, ["repos", name], &query)).await
    }

    async fn branches(&self, repo: &str) -> Result<Vec<Branch>> {
        self.get(["repos", repo, "branches"], &[]).await
    }

    async fn branch(&self, branch: &Reference) -> Result<BranchInfo> {
        self.get(["repos", &branch.repo, "branches", &at(branch)], &[]).await
    }

    async fn tables(&self, branch: &Reference) -> Result<Tables> {
        self.get(["repos", &branch.repo, "branches", &branch.target, "tables"], &[]).await
    }

    async fn create_branch(&self, repo: &str, new: &NewBranch) -> Result<BranchMade> {
        self.link.post(self.link.request(Method::POST, ["repos", repo, "branches"], &[]), new).await
    }

    async fn delete_branch(&self, repo: &str, branch: &str) -> Result<Deleted> {
        self.link.json(self.link.request(Method::DELETE, ["repos", repo, "branches", branch], &[])).await
    }

    async fn tags(&self, repo: &str) -> Result<Vec<Tag>> {
        self.get(["repos", repo, "tags"], &[]).await
    }

    async fn create_tag(&self, repo: &str, new: &NewTag) -> Result<TagMade> {
        self.link.post(self.link.request(Method::POST, ["repos", repo, "tags"], &[]), new).await
    }

    async fn delete_tag(&self, repo: &str, tag: &str) -> Result<Deleted> {
        self.link.json(self.link.request(Method::DELETE, ["repos", repo, "tags", tag], &[])).await
    }

    async fn commits(&self, reference: &Reference, limit: usize) -> Result<Vec<CommitInfo>> {
        let (at, limit) = (at(reference), limit.to_string());
        self.get(["repos", &reference.repo, "commits"], &[("at", &at), ("limit", &limit)]).await
    }

    async fn started(&self, repo: &str, branch: Option<&str>) -> Result<Vec<Started>> {
        let query: Vec<(&str, &str)> = branch.map(|branch| ("branch", branch)).into_iter().collect();
        self.get(["repos", repo, "started"], &query).await
    }

    async fn commit(&self, reference: &Reference) -> Result<Inspected> {
        self.get(["repos", &reference.repo, "commits", &at(reference)], &[]).await
    }

    async fn start_commit(&self, repo: &str, branch: &str) -> Result<Started> {
        let request = self.link.request(Method::POST, ["repos", repo, "started"], &[]);
        self.link.post(request, &json!({"branch": branch})).await
    }

    async fn finish_commit(&self, repo: &str, id: &str) -> Result<CommitInfo> {
        self.link.json(self.link.request(Method::POST, ["repos", repo, "started", id, "finish"], &[])).await
    }

    async fn drop_started(&self, repo: &str, id: &str) -> Result<Option<Dropped>> {
        match self.link.json(self.link.request(Method::DELETE, ["repos", repo, "started", id], &[])).await {
            Ok(dropped) => Ok(Some(dropped)),
            Err(Error::Remote { code: "E0549", .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn revert(&self, repo: &str, branch: &str, to: &str) -> Result<Undone> {
        let request = self.link.request(Method::POST, ["repos", repo, "branches", branch, "revert"], &[]);
        self.link.post(request, &json!({"to": to})).await
    }

    async fn drop_head(&self, reference: &Reference) -> Result<Undone> {
        let request = self.link.request(Method::DELETE, ["repos", &reference.repo, "commits", &at(reference)], &[]);
        self.link.json(request).await
    }

    async fn squash(&self, commits: &str) -> Result<Squashed> {
        let first: Reference = commits.split_once("..").map_or(commits, |(first, _)| first).parse()?;
        let request = self.link.request(Method::POST, ["repos", &first.repo, "squash"], &[]);
        self.link.post(request, &json!({"commits": commits})).await
    }

    async fn retain(&self, repo: &str, retention: Retention) -> Result<Kept> {
        self.link.post(self.link.request(Method::PUT, ["repos", repo, "retention"], &[]), &retention).await
    }

    async fn files(&self, reference: &Reference, recursive: bool) -> Result<Files> {
        let (at, path) = (at(reference), reference.path.as_deref().unwrap_or("/"));
        let query = [("at", at.as_str()), ("path", path), ("recursive", word(recursive))];
        self.get(["repos", &reference.repo, "files"], &query).await
    }

    async fn glob(&self, reference: &Reference, pattern: &str) -> Result<Files> {
        self.get(["repos", &reference.repo, "glob"], &[("at", &at(reference)), ("pattern", pattern)]).await
    }

    async fn file(&self, reference: &Reference) -> Result<FileInfo> {
        let at = at(reference);
        let mut query = vec![("at", at.as_str())];
        query.extend(reference.path.as_deref().map(|path| ("path", path)));
        self.get(["repos", &reference.repo, "file"], &query).await
    }

    async fn content(&self, reference: &Reference, range: Option<ByteRange>) -> Result<Content> {
        let range = range.map(|range| match range {
            ByteRange::From(first, None) => format!("bytes={first}-"),
            ByteRange::From(first, Some(last)) => format!("bytes={first}-{last}"),
            ByteRange::Last(count) => format!("bytes=-{count}"),
        });
        let answer = self.bytes_of(reference, &[], range.as_deref()).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let length = number(header("content-length"));
        let (range, size) = match header("content-range").and_then(|text| text.strip_prefix("bytes ")) {
            // `bytes 0-9/100`
            Some(text) => {
                let (range, size) = text.split_once('/').unwrap_or((text, ""));
                let (first, last) = range.split_once('-').unwrap_or((range, ""));
                number(Some(first)).zip(number(Some(last))).map(|(first, last)| first..last + 1).zip(number(Some(size)))
            }
            None => length.map(|length| (0..length, length)),
        }
        .ok_or_else(|| self.link.foreign("it does not say how long a file is".into()))?;
        let sha256 = header("etag").unwrap_or_default().trim_matches('"').to_owned();
        let link = self.link.clone();
        let bytes = stream::try_unfold((answer, link), |(mut answer, link)| async move {
            let next = answer.chunk().await.map_err(|error| link.broken(&error))?;
            Ok(next.map(|bytes| (bytes, (answer, link))))
        });
        let path = reference.path.clone().unwrap_or_default();
        Ok(Content { path, sha256, size, range, bytes: bytes.boxed() })
    }

    async fn converted(&self, reference: &Reference, format: TextFormat) -> Result<Bytes> {
        let answer = self.bytes_of(reference, &[("format", format.name())], None).await?;
        answer.bytes().await.map_err(|error| self.link.broken(&error))
    }

    async fn put<'a>(&'a self, to: &Reference) -> Result<Box<dyn Putting + 'a>> {
        let request = self.link.request(Method::POST, ["repos", &to.repo, "puts"], &[]);
        let opened: Opened = self.link.post(request, &json!({"to": to.to_string()})).await?;
        Ok(Box::new(RemotePutting::new(&self.link, opened)))
    }

    async fn delete_files(&self, deletion: &Deletion) -> Result<Changes> {
        let references = deletion.references()?;
        let repo = references.first().map(|first| first.repo.as_str()).unwrap_or_default();
        self.link.post(self.link.request(Method::POST, ["repos", repo, "delete"], &[]), deletion).await
    }

    async fn copy_file(&self, from: &Reference, to: &Reference, into: bool, how: PutMode) -> Result<Changes> {
        let append = how == PutMode::Append;
        let body = json!({"from": from.to_string(), "to": to.to_string(), "into": into, "append": append});
        self.link.post(self.link.request(Method::POST, ["repos", &to.repo, "copy"], &[]), &body).await
    }

    async fn move_file(&self, from: &Reference, to: &str) -> Result<Changes> {
        let body = json!({"from": from.to_string(), "to": to});
        self.link.post(self.link.request(Method::POST, ["repos", &from.repo, "move"], &[]), &body).await
    }

    async fn diff(&self, new: &Reference, old: Option<&Reference>) -> Result<Differences> {
        let (new, old) = (new.to_string(), old.map(ToString::to_string));
        let repo = new.split('@').next().unwrap_or_default();
        let mut query = vec![("new", new.as_str())];
        query.extend(old.as_deref().map(|old| ("old", old)));
        self.get(["repos", repo, "diff"], &query).await
    }

    async fn marker(&self, reference: &Reference) -> Result<MarkerInfo> {
        self.get(["repos", &reference.repo, "marker"], &[("at", &at(reference))]).await
    }

    async fn dead_letters(&self, reference: &Reference, limit: usize) -> Result<Vec<DeadLetters>> {
        let (at, limit) = (at(reference), limit.to_string());
        self.get(["deadletters", &reference.repo], &[("at", at.as_str()), ("limit", limit.as_str())]).await
    }

    async fn sql(&self, query: &Query) -> Result<Rows> {
        let request = self.link.request(Method::POST, ["sql"], &[("format", "stream")]);
        let body = serde_json::to_vec(query).map_err(|error| self.link.foreign(error.to_string()))?;
        let answer = self.link.send(request.header("content-type", "application/json").body(body)).await?;
        rows::read(self.link.clone(), answer).await
    }

    async fn compact(&self, branch: &Reference, target: ByteSize) -> Result<Compacted> {
        let here = ["repos", &branch.repo, "branches", &branch.target, "compact"];
        self.link.post(self.link.long(here, &[]), &json!({"target": target.0})).await
    }

    async fn publish(&self, branch: &Reference, rebuild: bool) -> Result<Tables> {
        let here = ["repos", &branch.repo, "branches", &branch.target, "publish"];
        self.link.json(self.link.long(here, &[("rebuild", word(rebuild))])).await
    }

    async fn collect(&self, repo: &str, how: Collect) -> Result<Collected> {
        let Collect { min_age_ms, dry_run } = how;
        let asked = json!({"repo": repo, "min_age_ms": min_age_ms, "dry_run": dry_run});
        self.link.post(self.link.long(["gc"], &[]), &asked).await
    }

    async fn check(&self, check: &Check) -> Result<Report> {
        self.link.post(self.link.long(["fsck"], &[]), check).await
    }
}
