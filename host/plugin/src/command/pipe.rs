//! What a command writes on its way to whoever reads it: bounded, in order, and broken once nobody wants it.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::Notify,
};

/// Bytes that may wait in one pipe.
const ROOM: usize = 1 << 20;

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    /// Somebody may wait until there is room.
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    parts: VecDeque<Bytes>,
    held: usize,
    /// All writers are gone.
    closed: bool,
    /// The reader is gone.
    refused: bool,
    reader: Option<Waker>,
}

/// A new pipe.
pub(super) fn pipe() -> (Writer, Output) {
    let pipe = Arc::<Pipe>::default();
    (Writer(Arc::new(WritingEnd(Arc::clone(&pipe)))), Output(pipe))
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that may write; with the last of them the pipe is closed.
#[derive(Clone, Debug)]
pub(super) struct Writer(pub(super) Arc<WritingEnd>);

#[derive(Debug)]
pub(super) struct WritingEnd(Arc<Pipe>);

impl Writer {
    /// How many bytes may be written now.
    ///
    /// # Errors
    /// Nobody reads.
    pub(super) fn room(&self) -> io::Result<usize> {
        let state = self.0.0.state();
        if state.refused { Err(broken()) } else { Ok(ROOM.saturating_sub(state.held)) }
    }

    /// Adds `bytes`.
    ///
    /// # Errors
    /// Nobody reads.
    pub(super) fn write(&self, bytes: Bytes) -> io::Result<()> {
        let mut state = self.0.0.state();
        if state.refused {
            return Err(broken());
        }
        state.held += bytes.len();
        state.parts.push_back(bytes);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    /// Waits until something may be written, or nobody reads.
    pub(super) async fn ready(&self) {
        loop {
            let taken = self.0.0.taken.notified();
            if self.room().map_or(true, |room| room > 0) {
                return;
            }
            taken.await;
        }
    }
}

impl Drop for WritingEnd {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

/// What was written between an open and a close of the output. Dropping it breaks the pipe.
#[derive(Debug)]
pub struct Output(Arc<Pipe>);

impl AsyncRead for Output {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        let Some(part) = state.parts.front_mut() else {
            if state.closed {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let count = part.len().min(into.remaining());
        into.put_slice(&part[..count]);
        part.advance(count);
        let used_up = part.is_empty();
        state.held -= count;
        if used_up {
            state.parts.pop_front();
        }
        drop(state);
        self.0.taken.notify_waiters();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.refused, state.held) = (true, 0);
        state.parts.clear();
        drop(state);
        self.0.taken.notify_waiters();
    }
}

/// As the system says it, so that guests know it by its number.
pub(super) fn broken() -> io::Error {
    rustix::io::Errno::PIPE.into()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_its_last_writer_and_holds_so_much() {
        let (writer, mut output) = pipe();
        let other = writer.clone();
        writer.write(Bytes::from(vec![7; ROOM])).unwrap();
        assert_eq!(other.room().unwrap(), 0);
        let waiting = tokio::spawn(async move {
            other.ready().await;
            other.write(Bytes::from_static(b"end")).unwrap();
        });
        drop(writer);
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).await.unwrap();
        waiting.await.unwrap();
        assert_eq!((bytes.len(), &bytes[ROOM..]), (ROOM + 3, &b"end"[..]));
    }

    #[tokio::test]
    async fn it_breaks_when_nobody_reads() {
        let (writer, output) = pipe();
        writer.write(Bytes::from(vec![7; ROOM])).unwrap();
        let other = writer.clone();
        let waiting = tokio::spawn(async move { other.ready().await });
        drop(output);
        waiting.await.unwrap();
        for error in [writer.room().unwrap_err(), writer.write(Bytes::new()).unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
