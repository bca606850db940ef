//! An answer that does not end, line by line.

use bytes::{Buf as _, Bytes, BytesMut};
use reqwest::Response;
use spout_api::{Error, Result};

use crate::link::Link;

/// Lines on their way.
pub(crate) struct Lines {
    link: Link,
    answer: Response,
    buffer: BytesMut,
    longest: usize,
}

impl Lines {
    /// Those of `answer`, each of which has at most so many bytes.
    pub(crate) fn of(link: &Link, answer: Response, longest: usize) -> Self {
        Self { link: link.clone(), answer, buffer: BytesMut::new(), longest }
    }

    /// The next line that says something; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                // Without anything, it only says that the server is still there.
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            if self.buffer.len() > self.longest {
                return Err(self.link.foreign("a line of its answer does not end".into()));
            }
            match self.answer.chunk().await.map_err(|error| self.link.broken(&error))? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// What came is none of ours.
    pub(crate) fn foreign(&self, error: &serde_json::Error) -> Error {
        self.link.foreign(error.to_string())
    }
}
