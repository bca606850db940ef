//! Routes of files: lists, and their bytes.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, ByteRange, Content, Differences, Error as ApiError, FileInfo, Files, TextFormat, at_path};
use spout_base::error::chain;

use crate::{
    Error,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/repos/{repo}/files", "The files of a commit, or of a directory of it.", list)
            .asks::<Below>()
            .gives::<Files>(),
        Endpoint::get("/v1/repos/{repo}/glob", "The files of a commit whose paths fit a pattern.", glob)
            .asks::<Pattern>()
            .gives::<Files>(),
        Endpoint::get("/v1/repos/{repo}/file", "Everything about a file or directory.", inspect)
            .asks::<One>()
            .gives::<FileInfo>(),
        Endpoint::get("/v1/repos/{repo}/diff", "The files that differ between two commits.", diff)
            .asks::<Two>()
            .gives::<Differences>(),
        Endpoint::get("/v1/repos/{repo}/files/{at}", "Says that a file has to be named.", no_content),
        Endpoint::get("/v1/repos/{repo}/files/{at}/{*path}", "The bytes of a file, or a range of them.", content)
            .asks::<As>()
            .gives_bytes("application/octet-stream"),
    ]
}

fn master() -> String {
    spout_repo::MASTER.to_owned()
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Below {
    /// The commit: a branch, a tag, an id, `master~2`.
    #[serde(default = "master")]
    at: String,
    /// The directory; without it, the root.
    #[serde(default)]
    path: Option<String>,
    /// Whether every file below is listed, instead of directories.
    #[serde(default)]
    recursive: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Pattern {
    /// The commit: a branch, a tag, an id, `master~2`.
    #[serde(default = "master")]
    at: String,
    /// As in `events/*.parquet`.
    pattern: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct One {
    /// The commit: a branch, a tag, an id, `master~2`.
    #[serde(default = "master")]
    at: String,
    /// The file or directory.
    #[serde(default)]
    path: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Two {
    /// The new commit, as in `repo@master:/path`.
    new: String,
    /// The old one; without it, the one before the new one.
    #[serde(default)]
    old: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct As {
    /// A table is sent as this.
    #[serde(default)]
    format: Option<TextFormat>,
}

async fn list(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<Below>) -> Answer<Json<Files>> {
    let reference = at_path(&repo, &asked.at, asked.path.as_deref())?;
    Ok(Json(caller.local.files(&reference, asked.recursive).await?))
}

async fn glob(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<Pattern>) -> Answer<Json<Files>> {
    Ok(Json(caller.local.glob(&at_path(&repo, &asked.at, None)?, &asked.pattern).await?))
}

async fn inspect(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<One>) -> Answer<Json<FileInfo>> {
    Ok(Json(caller.local.file(&at_path(&repo, &asked.at, asked.path.as_deref())?).await?))
}

async fn diff(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<Two>) -> Answer<Json<Differences>> {
    let new: spout_api::Reference = asked.new.parse().map_err(ApiError::from)?;
    let old = asked.old.map(|old| old.parse()).transpose().map_err(ApiError::from)?;
    if new.repo != repo {
        return Err(Error::Request { why: format!("`new` names the repo {} instead of {repo}", new.repo) }.into());
    }
    Ok(Json(caller.local.diff(&new, old.as_ref()).await?))
}

async fn no_content(caller: Caller, Names((repo, at)): Names<(String, String)>) -> Answer<Response> {
    // It says which files there are to name.
    sent(caller.local.content(&at_path(&repo, &at, None)?, None).await?, false).await
}

async fn content(
    caller: Caller,
    Names((repo, at, path)): Names<(String, String, String)>,
    Asked(asked): Asked<As>,
    headers: HeaderMap,
) -> Answer<Response> {
    let reference = at_path(&repo, &at, Some(&path))?;
    if let Some(format) = asked.format {
        let media = if format == TextFormat::Csv { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
        return Ok(typed(Body::from(caller.local.converted(&reference, format).await?), media));
    }
    let range = headers.get(RANGE).and_then(|range| read_range(range.to_str().ok()?));
    let info = caller.local.file(&reference).await?;
    let tag = info.sha256.as_ref().map(|sha256| format!("\"{sha256}\""));
    let is = |name: &HeaderName| {
        let sent = headers.get(name).and_then(|value| value.to_str().ok());
        sent.map(|sent| sent == "*" || sent.split(',').any(|one| tag.as_deref() == Some(one.trim())))
    };
    if is(&IF_NONE_MATCH) == Some(true) {
        let mut unchanged = Response::new(Body::empty());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        tag.and_then(|tag| HeaderValue::try_from(tag).ok()).map(|tag| unchanged.headers_mut().insert(ETAG, tag));
        return Ok(unchanged);
    }
    // A part of another version is of no use to one who has the beginning of this one.
    let range = range.filter(|_| is(&IF_RANGE) != Some(false));
    sent(caller.local.content(&reference, range).await?, range.is_some()).await
}

fn typed(body: Body, media: &'static str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    // Whatever somebody has put, no browser is to make a page of it.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer that holds `content`. Its first bytes are read before anything is said, so that what is wrong has a status.
async fn sent(mut content: Content, part: bool) -> Answer<Response> {
    let first: Option<Bytes> = content.next().await?;
    let (range, size) = (content.range.clone(), content.size);
    let sha256 = content.sha256.clone();
    let rest = content.bytes.map(|bytes| {
        bytes.inspect_err(|error| tracing::warn!(error = chain(error), "a file was cut off while it was sent"))
    });
    let body = Body::from_stream(stream::iter(first.map(Ok)).chain(rest));
    let mut response = typed(body, "application/octet-stream");
    if part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let headers = response.headers_mut();
    let mut insert = |name, text: String| HeaderValue::try_from(text).map(|value| headers.insert(name, value)).is_ok();
    insert(CONTENT_LENGTH, (range.end - range.start).to_string());
    insert(ETAG, format!("\"{sha256}\""));
    insert(ACCEPT_RANGES, "bytes".into());
    if part {
        insert(CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    Ok(response)
}

/// The one range that a header asks for. Anything else is not understood, and answered by the whole file.
fn read_range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(ByteRange::Last(last.parse().ok()?)),
        (first, "") => Some(ByteRange::From(first.parse().ok()?, None)),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(ByteRange::From(first, Some(last)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood() {
        let check = |text: &str, expected: Option<ByteRange>| assert_eq!(read_range(text), expected, "{text}");
        check("bytes=0-4", Some(ByteRange::From(0, Some(4))));
        check("bytes=5-", Some(ByteRange::From(5, None)));
        check("bytes=-3", Some(ByteRange::Last(3)));
        for not in ["", "bytes", "bytes=", "bytes=-", "bytes=4-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1"] {
            check(not, None);
        }
    }
}
