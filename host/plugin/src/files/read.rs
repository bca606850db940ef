//! A stream out of a file.

use bytes::Bytes;
use futures::FutureExt as _;
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamResult};

use super::threads::Threads;

/// What is read where nobody has said how much.
const USUAL: usize = 4096;

/// Reads when it is waited for, on one of the plugin's threads; without them, on the one that calls.
pub(super) struct Reader {
    stream: DynInputStream,
    threads: Option<Threads>,
    /// How much was asked for and not there.
    wanted: usize,
    /// What was read and not taken.
    got: Option<StreamResult<Bytes>>,
}

impl Reader {
    pub(super) fn new(stream: DynInputStream, threads: Option<Threads>) -> Self {
        Self { stream, threads, wanted: USUAL, got: None }
    }

    /// Reads up to `size` bytes, unless some are there. Whoever gives up waiting misses none of them.
    async fn fill(&mut self, size: usize) {
        if self.got.is_none() {
            self.got = Some(match &self.threads {
                Some(threads) => threads.run(self.stream.blocking_read(size)).await,
                None => self.stream.blocking_read(size).await,
            });
        }
    }

    fn take(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.got.take() {
            None => Ok(Bytes::new()),
            Some(Err(error)) => Err(error),
            Some(Ok(mut bytes)) => {
                let taken = bytes.split_to(size.min(bytes.len()));
                if !bytes.is_empty() {
                    self.got = Some(Ok(bytes));
                }
                Ok(taken)
            }
        }
    }
}

#[async_trait::async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        if self.threads.is_none() {
            // It may block here, so it is over at once.
            self.fill(size).now_or_never().unwrap_or_default();
        }
        self.wanted = size;
        self.take(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 {
            self.fill(size).await;
        }
        self.take(size)
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        self.fill(self.wanted).await;
    }
}
