//! The route that gives a directory as one tar archive, file after file, while they are read.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use bytes::Bytes;
use futures::stream;
use spout_api::{Api as _, Content, Error as ApiError, FileLine, Inspected, Local, Reference, at_path};
use spout_base::error::chain;

use crate::{answer::Answer, endpoint::Endpoint, guard::Caller, request::Names};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/repos/{repo}/tar/{at}", "All files of a commit as a tar archive.", all)
            .gives_bytes("application/x-tar"),
        Endpoint::get("/v1/repos/{repo}/tar/{at}/{*path}", "The files below a directory as a tar archive.", below)
            .gives_bytes("application/x-tar"),
    ]
}

async fn all(caller: Caller, Names((repo, at)): Names<(String, String)>) -> Answer<Response> {
    archive(caller.local, &at_path(&repo, &at, None)?).await
}

async fn below(caller: Caller, Names((repo, at, path)): Names<(String, String, String)>) -> Answer<Response> {
    archive(caller.local, &at_path(&repo, &at, Some(&path))?).await
}

/// An archive on its way.
struct Packing {
    local: Arc<Local>,
    /// The commit, by its id.
    commit: Reference,
    mtime: u64,
    files: VecDeque<FileLine>,
    /// The file that is being sent.
    content: Option<Content>,
    ended: bool,
}

async fn archive(local: Arc<Local>, reference: &Reference) -> Answer<Response> {
    let found = local.files(reference, true).await?;
    let commit = Reference::head(&found.repo, &found.commit);
    let at_ms = match local.commit(&commit).await? {
        Inspected::Commit(commit) => commit.at_ms,
        Inspected::Pending(pending) => pending.started.at_ms,
    };
    let mtime = u64::try_from(at_ms / 1000).unwrap_or_default();
    let packing = Packing { local, commit, mtime, files: found.files.into(), content: None, ended: false };
    let bytes = stream::try_unfold(packing, |mut packing| async move {
        let next =
            packing.next().await.inspect_err(|error| tracing::warn!(error = chain(error), "an archive was cut off"))?;
        Ok::<_, ApiError>(next.map(|bytes| (bytes, packing)))
    });
    let mut response = Response::new(Body::from_stream(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

impl Packing {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        if let Some(content) = &mut self.content {
            if let Some(bytes) = content.next().await? {
                return Ok(Some(bytes));
            }
            let padding = spout_archive::padding(content.size);
            self.content = None;
            if padding > 0 {
                return Ok(Some(vec![0; padding].into()));
            }
        }
        match self.files.pop_front() {
            Some(file) => {
                let one = Reference { path: Some(file.path.clone()), ..self.commit.clone() };
                let content = self.local.content(&one, None).await?;
                let head = spout_archive::head(file.path.trim_start_matches('/'), content.size, self.mtime);
                self.content = Some(content);
                Ok(Some(head.into()))
            }
            None if self.ended => Ok(None),
            None => {
                self.ended = true;
                Ok(Some(spout_archive::end().into()))
            }
        }
    }
}
