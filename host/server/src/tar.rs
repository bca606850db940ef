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

use crate::{answer::Answer, endpoint::Endpoint, guard::Caller, request::Names};

/// Archives are made of blocks of this size.
const BLOCK: usize = 512;
/// Names in a header are at most this long; longer ones are in a PAX record before it.
const NAME: usize = 100;
/// Sizes from here on do not fit into the digits of a header.
const LARGE: u64 = 0o77_777_777_777;

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
        let next = packing.next().await.inspect_err(|error| tracing::warn!(%error, "an archive was cut off"))?;
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
            let padding = padding(content.size);
            self.content = None;
            if padding > 0 {
                return Ok(Some(vec![0; padding].into()));
            }
        }
        match self.files.pop_front() {
            Some(file) => {
                let one = Reference { path: Some(file.path.clone()), ..self.commit.clone() };
                let content = self.local.content(&one, None).await?;
                let heads = heads(file.path.trim_start_matches('/'), content.size, self.mtime);
                self.content = Some(content);
                Ok(Some(heads.into()))
            }
            None if self.ended => Ok(None),
            None => {
                self.ended = true;
                Ok(Some(vec![0; 2 * BLOCK].into()))
            }
        }
    }
}

/// Zeros behind so many bytes, up to the end of a block.
fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 { 0 } else { BLOCK - over }
}

/// The header of a file, behind a PAX record of what it cannot hold.
fn heads(path: &str, size: u64, mtime: u64) -> Vec<u8> {
    let mut records = String::new();
    if path.len() > NAME || !path.is_ascii() {
        records += &record("path", path);
    }
    if size > LARGE {
        records += &record("size", &size.to_string());
    }
    let mut heads = Vec::new();
    if !records.is_empty() {
        heads.extend(head("pax", records.len() as u64, mtime, b'x'));
        heads.extend(records.as_bytes());
        heads.resize(heads.len() + padding(records.len() as u64), 0);
    }
    heads.extend(head(path, size.min(LARGE), mtime, b'0'));
    heads
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

fn head(path: &str, size: u64, mtime: u64, kind: u8) -> Vec<u8> {
    let mut head = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path.as_bytes()[..path.len().min(NAME)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", mtime.min(LARGE)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        assert_eq!(record("path", "a"), "9 path=a\n");
        for length in [80, 90, 91, 92, 93, 94, 990, 991, 992] {
            let text = record("path", &"x".repeat(length));
            assert_eq!(text.split(' ').next().unwrap(), text.len().to_string());
        }
    }

    #[test]
    fn headers_are_whole_blocks() {
        for (path, size) in [("a", 1), (&*"long/".repeat(60), 0), ("größe", LARGE + 1)] {
            let heads = heads(path, size, 1);
            assert_eq!(heads.len() % BLOCK, 0, "{path}");
        }
        assert_eq!((padding(0), padding(1), padding(512), padding(513)), (0, 511, 0, 511));
    }
}
