//! Files on their way into a branch or a started commit.

use std::io::{self, Cursor};

use async_trait::async_trait;
use spout_repo::{Edit, OpenCommit, PutMode, Reference, Store};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{Changes, Error, Put, Result, Target};

/// A file up to this size is put whole, so that it can live in the commit itself; a larger one is streamed.
const WHOLE: u64 = 256 << 10;

/// The bytes of a file, as they come.
pub type Body<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;

/// Several files that become visible together. Dropping it leaves nothing that can be seen.
#[async_trait]
pub trait Putting: Send {
    /// Puts a file; how many bytes it had.
    async fn file(&mut self, path: &str, how: PutMode, body: Body<'_>) -> Result<u64>;
    /// Makes all of them visible, or a part of the started commit.
    async fn finish(self: Box<Self>) -> Result<Changes>;
    /// Leaves them out.
    async fn abandon(self: Box<Self>);
}

/// The bytes for `path` could not be read to their end.
#[must_use]
pub fn unreadable(path: &str, source: io::Error) -> Error {
    Error::Repo(spout_repo::Error::Input { object: path.to_owned(), source })
}

#[derive(Debug)]
pub(crate) struct LocalPutting {
    target: Target,
    open: OpenCommit,
    put: Vec<Put>,
}

pub(crate) async fn open(store: &Store, to: &Reference) -> Result<LocalPutting> {
    let target = Target::of(store, to).await?;
    let open = target.open();
    Ok(LocalPutting { target, open, put: Vec::new() })
}

#[async_trait]
impl Putting for LocalPutting {
    async fn file(&mut self, path: &str, how: PutMode, mut body: Body<'_>) -> Result<u64> {
        let mut first = Vec::new();
        let read = (&mut body).take(WHOLE + 1).read_to_end(&mut first).await;
        read.map_err(|source| unreadable(path, source))?;
        let mut size = first.len() as u64;
        if size <= WHOLE {
            self.open.put_file(path, how, first.into()).await?;
        } else {
            size = self.open.put_stream(path, how, Cursor::new(first).chain(body)).await?;
        }
        self.put.push(Put { path: path.to_owned(), size, rows: None });
        Ok(size)
    }

    async fn finish(self: Box<Self>) -> Result<Changes> {
        self.target.finish(self.open, Edit::new("put file"), self.put, Vec::new()).await
    }

    async fn abandon(self: Box<Self>) {}
}
