//! What a request says: names in its path, its query, its JSON.

use axum::{
    RequestPartsExt as _,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use spout_api::{Error as ApiError, Reference};

use crate::{
    Error,
    answer::{Answer, Failure},
    body,
};

/// JSON of requests is at most this long: the marker of a spout, a mebibyte, in base64, and something around it.
const MAX_JSON: u64 = 2 << 20;

/// A reference to the repo that the caller was let into.
pub(crate) fn within(repo: &str, text: &str) -> Answer<Reference> {
    let reference: Reference = text.parse().map_err(ApiError::from)?;
    if reference.repo == repo {
        Ok(reference)
    } else {
        Err(Error::Request { why: format!("`{text}` names the repo {} instead of {repo}", reference.repo) }.into())
    }
}

/// The names in the path of a request.
#[derive(Debug)]
pub(crate) struct Names<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match parts.extract::<Path<T>>().await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(error) => Err(Error::Request { why: error.body_text() }.into()),
        }
    }
}

/// The query of a request.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(Error::Request { why: error.body_text() }.into()),
        }
    }
}

/// The JSON that a request sends.
#[derive(Debug)]
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let text = body::whole(request.into_body(), MAX_JSON).await?;
        if !text.trim_ascii_start().starts_with(b"{") {
            // Serde would take the fields of a list in order.
            return Err(Error::Request { why: "its JSON is no object".into() }.into());
        }
        let read = serde_json::from_slice(&text);
        read.map(Self).map_err(|error| Error::Request { why: format!("its JSON is wrong: {error}") }.into())
    }
}
