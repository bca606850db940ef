//! The content of an entry, holes and all.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::{
    sparse::{Holes, Next},
    stream::Archives,
};

/// Reads it. Where the stream is cut off, [`Archives::broken`] says so.
#[derive(Debug)]
pub struct Content<'a, R>(pub(super) &'a mut Archives<R>);

impl<R: AsyncRead + Unpin + Send> AsyncRead for Content<'_, R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let archives = &mut *self.get_mut().0;
        let stored = match archives.holes.as_mut().map(Holes::next) {
            None => archives.left,
            Some(Next::Stored(most)) => most,
            Some(Next::Over) => 0,
            Some(Next::Zeros(zeros)) => {
                let count = into.remaining().min(usize::try_from(zeros).unwrap_or(usize::MAX));
                into.initialize_unfilled_to(count).fill(0);
                into.advance(count);
                archives.advance(count);
                return Poll::Ready(Ok(()));
            }
        };
        if stored == 0 || into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let there = match ready!(Pin::new(&mut archives.from).poll_fill_buf(cx)) {
            Ok(there) => there,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if there.is_empty() {
            archives.cut = true;
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let count = there.len().min(into.remaining()).min(usize::try_from(stored).unwrap_or(usize::MAX));
        into.put_slice(&there[..count]);
        Pin::new(&mut archives.from).consume(count);
        archives.left -= count as u64;
        archives.at += count as u64;
        archives.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<R> Archives<R> {
    fn advance(&mut self, count: usize) {
        if let Some(holes) = &mut self.holes {
            holes.advance(count as u64);
        }
    }
}
