//! Bodies of requests, which may be too long, too slow, or cut off.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use spout_base::clock;
use tokio::time::{Sleep, sleep, timeout, timeout_at};
use tokio_util::io::StreamReader;

use crate::{Error, answer::Answer};

/// A body that stops coming for so long is given up.
const IDLE: Duration = Duration::from_secs(30);
/// One that is held in memory has to have come after so long.
const WHOLE: Duration = Duration::from_secs(120);
/// So long, and so much, is read of a body that is not wanted any more.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// A body as it comes, and why it did not come to its end.
pub(crate) struct Parts {
    body: BodyDataStream,
    left: u64,
    limit: u64,
    idle: Pin<Box<Sleep>>,
    why: Why,
}

/// What ended a body too early.
#[derive(Clone, Debug, Default)]
pub(crate) struct Why(Arc<Mutex<Option<Error>>>);

impl Why {
    /// What ended it, where that is not simply that the client has gone.
    pub(crate) fn taken(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) -> io::Error {
        let text = error.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other(text)
    }
}

/// The bytes of `body`, at most `limit`, and where it is said why they ended.
pub(crate) fn parts(body: Body, limit: u64) -> (Parts, Why) {
    let why = Why::default();
    let idle = Box::pin(sleep(IDLE));
    (Parts { body: body.into_data_stream(), left: limit, limit, idle, why: why.clone() }, why)
}

/// The same to be read from.
pub(crate) fn reader(body: Body, limit: u64) -> (StreamReader<Parts, Bytes>, Why) {
    let (parts, why) = parts(body, limit);
    (StreamReader::new(parts), why)
}

/// All of `body`.
pub(crate) async fn whole(body: Body, limit: u64) -> Answer<Vec<u8>> {
    let (mut parts, why) = parts(body, limit);
    let mut all = Vec::new();
    let end = clock::now() + WHOLE;
    loop {
        let next = timeout_at(end, parts.try_next()).await;
        match next.unwrap_or_else(|_| Err(parts.why.set(Error::Slow { seconds: WHOLE.as_secs() }))) {
            Ok(Some(part)) => all.extend_from_slice(&part),
            Ok(None) => return Ok(all),
            Err(error) => {
                parts.linger().await;
                let cut = || Error::Request { why: format!("its body broke off: {error}") };
                return Err(why.taken().unwrap_or_else(cut).into());
            }
        }
    }
}

impl Parts {
    /// Reads on for a while, so that a client that is still sending gets to see the answer instead of a closed connection.
    pub(crate) async fn linger(mut self) {
        let rest = async {
            let mut left = LINGER_BYTES;
            while let Some(Ok(part)) = self.body.next().await {
                left = left.saturating_sub(part.len());
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever still sends after that is cut off.
        drop(timeout(LINGER, rest).await);
    }
}

impl Stream for Parts {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self.body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(part))) => {
                self.idle = Box::pin(sleep(IDLE));
                match self.left.checked_sub(part.len() as u64) {
                    Some(left) => self.left = left,
                    None => return Poll::Ready(Some(Err(self.why.set(Error::TooLarge { limit: self.limit })))),
                }
                Poll::Ready(Some(Ok(part)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.idle.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(self.why.set(Error::Slow { seconds: IDLE.as_secs() })))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
