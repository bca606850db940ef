//! No message of a member is larger than it may be. The engine's client takes any length that a message announces, and sets memory
//! aside for it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::MESSAGE;

/// What stands before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Follows the messages of a body from part to part.
#[derive(Debug, Default)]
struct Lengths {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    came: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Lengths {
    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// The length of a message that is too long.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), usize> {
        while bytes.has_remaining() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes.advance(skipped);
            for (place, byte) in self.head.iter_mut().skip(self.came).zip(bytes) {
                *place = *byte;
            }
            let of_head = (HEAD - self.came).min(bytes.len());
            self.came += of_head;
            bytes.advance(of_head);
            if self.came == HEAD {
                let [_, length @ ..] = self.head;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.came = 0;
                if self.left > MESSAGE {
                    return Err(self.left);
                }
            }
        }
        Ok(())
    }
}

/// The body of an answer.
#[derive(Debug)]
struct Bounded {
    body: Body,
    lengths: Lengths,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
            && let Err(length) = self.lengths.take(bytes)
        {
            let why = format!("it announces a message of {length} bytes; {MESSAGE} are the most");
            return Poll::Ready(Some(Err(Status::out_of_range(why))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `answer`, which ends with an error where a message is too large.
pub(super) fn bounded(answer: http::Response<Body>) -> http::Response<Body> {
    answer.map(|body| Body::new(Bounded { body, lengths: Lengths::default() }))
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let head = u32::try_from(length).unwrap().to_be_bytes();
        [&[0], &head[..], &vec![1; length.min(1000)]].concat()
    }

    #[test]
    fn lengths_are_found_however_the_bytes_come() {
        let good = [message(0), message(7), message(1000), message(3)].concat();
        let bad = [good.clone(), message(MESSAGE + 1)].concat();
        for part in [1, 2, 3, 4, 5, 6, 13, 100, 10_000] {
            let run = |bytes: &[u8]| {
                let mut lengths = Lengths::default();
                bytes.chunks(part).try_for_each(|part| lengths.take(part)).map(|()| lengths)
            };
            let lengths = run(&good).unwrap();
            assert_eq!((lengths.came, lengths.left), (0, 0), "in parts of {part}");
            assert_eq!(run(&bad).map(drop), Err(MESSAGE + 1), "in parts of {part}");
        }
    }

    #[tokio::test]
    async fn a_body_ends_at_a_message_that_is_too_large() {
        let parts = [message(5), message(MESSAGE + 1), message(5)];
        let parts = stream::iter(parts).map(|part| Ok::<_, Status>(Frame::data(Bytes::from(part))));
        let answer = bounded(http::Response::new(Body::new(StreamBody::new(parts))));
        let mut body = answer.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), tonic::Code::OutOfRange);
    }
}
