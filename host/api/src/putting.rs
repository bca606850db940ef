//! Files on their way into a branch or a started commit.

use std::{
    collections::BTreeMap,
    io::{self, Cursor},
};

use async_trait::async_trait;
use spout_repo::{Edit, Error as RepoError, OpenCommit, PutMode, Reference, Store, Tree};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{
    Changes, Error, Put, Result, Split, Table, Target, Untar, join,
    split::{self, Cutter},
    table,
    untar::untar,
};

/// A file up to this size is put whole, so that it can live in the commit itself; a larger one is streamed.
const WHOLE: u64 = 256 << 10;

/// The bytes of a file, as they come.
pub type Body<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;

/// Several files that become visible together. Dropping it leaves nothing that can be seen.
#[async_trait]
pub trait Putting: Send {
    /// Puts a file; how many bytes it had.
    async fn file(&mut self, path: &str, how: PutMode, body: Body<'_>) -> Result<u64>;
    /// Puts the rows of a file as a table.
    async fn table(&mut self, path: &str, how: PutMode, table: Table<'_>) -> Result<()>;
    /// Puts the files of a tar archive.
    async fn archive(&mut self, to: Untar<'_>, body: Body<'_>) -> Result<()>;
    /// Puts the files that `body` is cut into below a directory: they take the place of those that were cut before, or follow them.
    async fn split(&mut self, below: &str, how: PutMode, split: Split, body: Body<'_>) -> Result<()>;
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
    /// The number that the next file gets which is cut below a directory.
    next: BTreeMap<String, u64>,
}

pub(crate) async fn open(store: &Store, to: &Reference) -> Result<LocalPutting> {
    let target = Target::of(store, to).await?;
    let open = target.open();
    Ok(LocalPutting { target, open, put: Vec::new(), next: BTreeMap::new() })
}

impl LocalPutting {
    /// The files of the branch.
    async fn tree(&self) -> Result<Tree> {
        let Target { repo, branch, .. } = &self.target;
        match repo.resolve(&Reference::head(repo.name(), branch)).await {
            Ok(head) => Ok(repo.tree(&head).await?),
            Err(RepoError::UnknownBranch { .. } | RepoError::UnknownCommit { .. }) => Ok(Tree::default()),
            Err(other) => Err(other.into()),
        }
    }

    /// The files that an earlier split has put below a directory, by the branch and the started commit.
    async fn cut_before(&self, below: &str) -> Result<Vec<String>> {
        let tree = self.tree().await?;
        let (put, deleted) = self.target.pending().await?;
        let there = tree.below(below).map(|file| &file.path).filter(|path| !deleted.contains(path));
        let all = there.chain(put.iter().map(|file| &file.path));
        Ok(all.filter(|path| split::number(path, below).is_some()).cloned().collect())
    }

    /// The number that the first file of a split gets.
    async fn first_number(&mut self, below: &str, how: PutMode) -> Result<u64> {
        if let Some(next) = self.next.get(below) {
            return Ok(*next);
        }
        let before = self.cut_before(below).await?;
        if how == PutMode::Overwrite {
            before.iter().try_for_each(|path| self.open.delete_file(path))?;
            return Ok(0);
        }
        let last = before.iter().filter_map(|path| split::number(path, below)).max();
        Ok(last.map_or(0, |last| last.saturating_add(1)))
    }
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

    async fn table(&mut self, path: &str, how: PutMode, table: Table<'_>) -> Result<()> {
        let known = match how {
            PutMode::Overwrite => None,
            // The columns of the table that is about to grow.
            PutMode::Append => {
                let tree = self.tree().await?;
                tree.get(path).and_then(|file| file.pieces.last()).and_then(|piece| tree.schema(piece)).cloned()
            }
        };
        self.put.push(table::put(&mut self.open, path, how, table, known).await?);
        Ok(())
    }

    async fn archive(&mut self, to: Untar<'_>, body: Body<'_>) -> Result<()> {
        untar(self, to, body).await
    }

    async fn split(&mut self, below: &str, how: PutMode, split: Split, body: Body<'_>) -> Result<()> {
        let first = self.first_number(below, how).await?;
        let mut number = first;
        let mut cutter = Cutter::new(body, split, below);
        cutter.header().await?;
        let mut size = 0;
        while let Some(part) = cutter.next().await? {
            let path = join(below, &split::name(number));
            let how = if part.first { PutMode::Overwrite } else { PutMode::Append };
            size = if part.first { 0 } else { size } + part.bytes.len() as u64;
            if !part.bytes.is_empty() {
                self.open.put_file(&path, how, part.bytes.into()).await?;
            }
            if part.last {
                self.put.push(Put { path, size, rows: None });
                number += 1;
            }
        }
        if number == first {
            return Err(Error::NoFiles { origin: format!("the input for {below}"), what: "records" });
        }
        self.next.insert(below.to_owned(), number);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Changes> {
        let mut edit = Edit::new("put file");
        edit.rows = self.put.iter().filter_map(|put| put.rows).sum();
        self.target.finish(self.open, edit, self.put, Vec::new()).await
    }

    async fn abandon(self: Box<Self>) {}
}
