//! A stream into a file, as far as there is room for it.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use rustix::io::Errno;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::{
    disk::{Room, Writing},
    imports::away,
    threads::Threads,
};

/// What is written, against the quota of the disk.
pub(super) struct Count {
    pub(super) writing: Arc<Writing>,
    /// Where the next bytes go; nothing for the end.
    pub(super) offset: Option<u64>,
    pub(super) room: Arc<Room>,
}

/// Writes on one of the plugin's threads; without them, on the one that calls.
pub(super) struct Writer {
    state: State,
    count: Option<Count>,
    threads: Option<Threads>,
    /// What came of a write that nobody waited for.
    failed: Option<StreamError>,
}

enum State {
    Idle(DynOutputStream),
    /// Bytes are on their way, also where nobody waits for them.
    Busy(BoxFuture<'static, (DynOutputStream, StreamResult<()>)>),
    Closed,
}

impl Count {
    fn add(&mut self, bytes: &Bytes) -> StreamResult<()> {
        let size = bytes.len() as u64;
        if !self.writing.may_write(self.offset, size, &self.room) {
            return Err(StreamError::LastOperationFailed(std::io::Error::from(Errno::NOSPC).into()));
        }
        self.offset = self.offset.map(|offset| offset.saturating_add(size));
        Ok(())
    }
}

impl Writer {
    pub(super) fn new(stream: DynOutputStream, count: Option<Count>, threads: Option<Threads>) -> Self {
        Self { state: State::Idle(stream), count, threads, failed: None }
    }

    fn failure(&mut self) -> StreamResult<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn settle(&mut self, stream: DynOutputStream, written: StreamResult<()>) {
        self.state = State::Idle(stream);
        self.failed = written.err();
    }
}

#[async_trait::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.failure()?;
        if !matches!(self.state, State::Idle(_)) {
            return Err(StreamError::trap("write not permitted: check_write not called first"));
        }
        if let Some(count) = &mut self.count {
            count.add(&bytes)?;
        }
        let State::Idle(mut stream) = std::mem::replace(&mut self.state, State::Closed) else { return Ok(()) };
        let threads = self.threads.clone();
        let mut writing = async move {
            let written = away(threads, stream.blocking_write_and_flush(bytes)).await;
            (stream, written)
        }
        .boxed();
        // It begins here. Where it may block, it ends here, too.
        match writing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready((stream, written)) => self.settle(stream, written),
            Poll::Pending => self.state = State::Busy(writing),
        }
        Ok(())
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_ready().await?;
        self.write(bytes)?;
        self.ready().await;
        self.failure()
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.failure()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.failure()?;
        match &mut self.state {
            State::Idle(stream) => stream.check_write(),
            State::Busy(_) => Ok(0),
            State::Closed => Err(StreamError::Closed),
        }
    }

    async fn cancel(&mut self) {
        self.ready().await;
        self.state = State::Closed;
    }
}

#[async_trait::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let State::Busy(writing) = &mut self.state {
            let (stream, written) = writing.await;
            self.settle(stream, written);
        }
    }
}
