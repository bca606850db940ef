//! Routes that delete, copy and move files.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Changes, Deletion, Error as ApiError, PutMode, at_path};

use crate::{
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names, Sent, within},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
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
