//! Bodies that become files, taken while they come.

use std::{io, sync::Arc};

use axum::{
    extract::{FromRequest, Request},
    http::header::CONTENT_LENGTH,
};
use bytes::Bytes;
use spout_api::Body;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::StreamReader;

use crate::{
    Error, Service,
    answer::{Answer, Failure},
    body::{self, Parts, Why},
};

/// The body of a request, which says how large it may be.
pub(crate) struct Incoming {
    reader: StreamReader<Parts, Bytes>,
    why: Why,
    /// Bytes that it may have.
    pub(crate) limit: u64,
}

impl FromRequest<Arc<Service>> for Incoming {
    type Rejection = Failure;

    async fn from_request(request: Request, service: &Arc<Service>) -> Result<Self, Failure> {
        let limit = service.max_body;
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let (reader, why) = body::reader(request.into_body(), limit);
        let incoming = Self { reader, why, limit };
        if length.is_some_and(|length| length > limit) {
            return incoming.ended(Err(Error::TooLarge { limit }.into())).await;
        }
        Ok(incoming)
    }
}

impl Incoming {
    /// The bytes as they come.
    pub(crate) fn bytes(&mut self) -> Body<'_> {
        Box::new(&mut self.reader)
    }

    /// All of them, in a file without a name.
    pub(crate) async fn spooled(&mut self) -> io::Result<std::fs::File> {
        // Its own error says where on this machine it was to be.
        let file = tempfile::tempfile().map_err(|error| io::Error::from(error.kind()))?;
        let mut file = tokio::fs::File::from_std(file);
        tokio::io::copy(&mut self.reader, &mut file).await?;
        file.flush().await?;
        file.rewind().await?;
        Ok(file.into_std().await)
    }

    /// What came of it. Where that is an error, what was wrong with the body counts, and the client gets to see it.
    pub(crate) async fn ended<T>(self, result: Answer<T>) -> Answer<T> {
        match result {
            Ok(done) => Ok(done),
            Err(failure) => {
                self.reader.into_inner().linger().await;
                Err(self.why.taken().map_or(failure, Failure::from))
            }
        }
    }
}
