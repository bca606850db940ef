//! Files sent while they are read, into a commit that waits on the server.

use std::{io, mem};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::Method;
use spout_api::{
    Body, Changes, CommitInfo, Error, Opened, Put, PutMode, Putting, Result, Split, Started, Table, Untar, unreadable,
};
use tokio::io::AsyncReadExt as _;

use crate::{
    link::Link,
    remote::{how, segments},
};

/// Bytes that are sent at once.
const PART: usize = 64 << 10;

pub(crate) struct RemotePutting<'a> {
    link: &'a Link,
    opened: Opened,
    put: Vec<Put>,
}

impl<'a> RemotePutting<'a> {
    pub(crate) fn new(link: &'a Link, opened: Opened) -> Self {
        Self { link, opened, put: Vec::new() }
    }
}

impl RemotePutting<'_> {
    /// Sends `body` while it is read to a route of the commit, and takes in what was put by it; how many bytes were sent.
    async fn send(&mut self, (route, path): (&str, &str), query: &[(&str, &str)], mut body: Body<'_>) -> Result<u64> {
        let started = &self.opened.started;
        let (mut sender, receiver) = mpsc::channel::<io::Result<Bytes>>(1);
        let frames = receiver.map(|part| part.map(Frame::data));
        let below = (path != "/").then(|| segments(path));
        let here = ["repos", &started.repo, route, &started.commit].into_iter().chain(below.into_iter().flatten());
        let request = self.link.request(Method::PUT, here, query);
        let request = request.body(reqwest::Body::wrap(StreamBody::new(frames)));
        let read = async move {
            let mut size = 0;
            let mut part = BytesMut::with_capacity(PART);
            loop {
                match body.read_buf(&mut part).await {
                    Ok(0) => return Ok(size),
                    Ok(count) => size += count as u64,
                    Err(source) => {
                        let cut = io::Error::new(source.kind(), "the input broke off");
                        // Where nobody takes it any more, the answer says why.
                        drop(sender.send(Err(cut)).await);
                        return Err(source);
                    }
                }
                let full = mem::replace(&mut part, BytesMut::with_capacity(PART)).freeze();
                if sender.send(Ok(full)).await.is_err() {
                    return Ok(size);
                }
            }
        };
        let (answer, size) = tokio::join!(self.link.json::<Changes>(request), read);
        let size = size.map_err(|source| unreadable(path, source))?;
        self.put.extend(answer?.put);
        Ok(size)
    }
}

#[async_trait]
impl Putting for RemotePutting<'_> {
    async fn file(&mut self, path: &str, mode: PutMode, body: Body<'_>) -> Result<u64> {
        self.send(("files", path), &[("append", how(mode))], body).await
    }

    async fn table(&mut self, path: &str, mode: PutMode, table: Table<'_>) -> Result<()> {
        let query = [("append", how(mode)), ("table", table.format.extension()), ("name", table.name)];
        let file = tokio::fs::File::from_std(table.file);
        self.send(("files", path), &query, Box::new(file)).await.map(drop)
    }

    async fn archive(&mut self, to: Untar<'_>, body: Body<'_>) -> Result<()> {
        let query = [("append", how(to.how)), ("origin", to.origin)];
        self.send(("tar", to.below), &query, body).await.map(drop)
    }

    async fn split(&mut self, below: &str, mode: PutMode, split: Split, body: Body<'_>) -> Result<()> {
        let [header, datums, bytes] =
            [split.header_records, split.target_file_datums, split.target_file_bytes].map(|number| number.to_string());
        let query = [
            ("append", how(mode)),
            ("by", split.by.name()),
            ("header_records", &header),
            ("target_file_datums", &datums),
            ("target_file_bytes", &bytes),
        ];
        self.send(("split", below), &query, body).await.map(drop)
    }

    async fn finish(self: Box<Self>) -> Result<Changes> {
        let Opened { started, fresh } = self.opened;
        if fresh {
            let here = ["repos", &started.repo, "puts", &started.commit, "finish"];
            let closed = self.link.json::<CommitInfo>(self.link.request(Method::POST, here, &[])).await;
            if let Err(error @ Error::Remote { .. }) = closed {
                // Where there was no answer, it may have been made.
                forget(self.link, &started).await;
                return Err(error);
            }
            closed?;
        }
        let (repo, branch, commit) = (started.repo, started.branch, started.commit);
        Ok(Changes { repo, branch, commit, finished: fresh, put: self.put, deleted: Vec::new() })
    }

    async fn abandon(self: Box<Self>) {
        if self.opened.fresh {
            forget(self.link, &self.opened.started).await;
        }
    }
}

/// Where this fails too, the commit stays among the started ones.
async fn forget(link: &Link, started: &Started) {
    let here = ["repos", &started.repo, "started", &started.commit];
    drop(link.send(link.request(Method::DELETE, here, &[])).await);
}
