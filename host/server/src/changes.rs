//! Routes that put, delete, copy and move files.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Changes, Deletion, Error as ApiError, PutMode, at_path};

use crate::{
    Error, Service,
    answer::{Answer, Failure, Json},
    body,
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names, Sent, within},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::put(
            "/v1/repos/{repo}/files/{at}/{*path}",
            "Puts a file, in a commit of its own or a started one.",
            put,
        )
        .asks::<How>()
        .takes_bytes("application/octet-stream")
        .gives::<Changes>(),
        Endpoint::delete("/v1/repos/{repo}/files/{at}/{*path}", "Deletes a file, or a directory.", delete_one)
            .asks::<Deeply>()
            .gives::<Changes>(),
        Endpoint::post("/v1/repos/{repo}/delete", "Deletes files in one commit.", delete)
            .takes::<Deletion>()
            .gives::<Changes>(),
        Endpoint::post("/v1/repos/{repo}/copy", "Copies a file or directory.", copy)
            .takes::<Copying>()
            .gives::<Changes>(),
        Endpoint::post("/v1/repos/{repo}/move", "Gives a file or directory another path.", relocate)
            .takes::<Moving>()
            .gives::<Changes>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct How {
    /// Whether the bytes are added behind those that are there, instead of taking their place.
    #[serde(default)]
    append: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Deeply {
    /// Whether a directory is deleted with everything below it.
    #[serde(default)]
    recursive: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Copying {
    /// As in `repo@branch~2:/path`, of any repo.
    from: String,
    /// As in `repo@branch:/path`.
    to: String,
    /// Whether `to` is a directory to copy into.
    #[serde(default)]
    into: bool,
    /// Whether files are put behind those that are there.
    #[serde(default)]
    append: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Moving {
    /// As in `repo@branch:/path`.
    from: String,
    /// The new path; one that ends with a slash is a directory to move into.
    to: String,
}

fn how(append: bool) -> PutMode {
    if append { PutMode::Append } else { PutMode::Overwrite }
}

async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names((repo, at, path)): Names<(String, String, String)>,
    Asked(asked): Asked<How>,
    headers: HeaderMap,
    request: Request,
) -> Answer<Json<Changes>> {
    let limit = service.max_body;
    let (mut reader, why) = body::reader(request.into_body(), limit);
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let put = async {
        if length.is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { limit }.into());
        }
        let to = at_path(&repo, &at, Some(&path))?;
        let mut putting = caller.local.put(&to).await?;
        let path = to.path.as_deref().unwrap_or_default();
        if let Err(error) = putting.file(path, how(asked.append), Box::new(&mut reader)).await {
            return Err(why.taken().map_or_else(|| Failure::from(error), Failure::from));
        }
        Ok(putting.finish().await?)
    };
    let put = put.await;
    if put.is_err() {
        reader.into_inner().linger().await;
    }
    put.map(Json)
}

async fn delete_one(
    caller: Caller,
    Names((repo, at, path)): Names<(String, String, String)>,
    Asked(asked): Asked<Deeply>,
) -> Answer<Json<Changes>> {
    let file = at_path(&repo, &at, Some(&path))?.to_string();
    let deletion = Deletion { files: vec![file], recursive: asked.recursive };
    Ok(Json(caller.local.delete_files(&deletion).await?))
}

async fn delete(caller: Caller, Names(repo): Names<String>, Sent(deletion): Sent<Deletion>) -> Answer<Json<Changes>> {
    // All others have to be of the same branch.
    deletion.files.first().map(|file| within(&repo, file)).transpose()?;
    Ok(Json(caller.local.delete_files(&deletion).await?))
}

async fn copy(caller: Caller, Names(repo): Names<String>, Sent(copying): Sent<Copying>) -> Answer<Json<Changes>> {
    let from = copying.from.parse().map_err(ApiError::from)?;
    let to = within(&repo, &copying.to)?;
    Ok(Json(caller.local.copy_file(&from, &to, copying.into, how(copying.append)).await?))
}

async fn relocate(caller: Caller, Names(repo): Names<String>, Sent(moving): Sent<Moving>) -> Answer<Json<Changes>> {
    let from = within(&repo, &moving.from)?;
    Ok(Json(caller.local.move_file(&from, &moving.to).await?))
}
