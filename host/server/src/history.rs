//! Routes that change the history of a branch, or how much of it is kept.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Kept, Retention, Squashed, Undone, at_path};

use crate::{
    Access,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Names, Sent, within},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let admin = Some(Access::Admin);
    vec![
        Endpoint::post("/v1/repos/{repo}/branches/{branch}/revert", "Makes a branch what it was at a commit.", revert)
            .takes::<Back>()
            .gives::<Undone>(),
        Endpoint::delete(
            "/v1/repos/{repo}/commits/{at}",
            "Takes back the head of a branch by a new commit.",
            drop_head,
        )
        .gives::<Undone>(),
        Endpoint::post("/v1/repos/{repo}/squash", "Merges commits into the one after them.", squash)
            .needs(admin)
            .takes::<Squashing>()
            .gives::<Squashed>(),
        Endpoint::put("/v1/repos/{repo}/retention", "Sets how much history a repo keeps.", retain)
            .needs(admin)
            .takes::<Retention>()
            .gives::<Kept>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Back {
    /// The commit: `~2` of this branch, an id, a tag, a moment in braces.
    to: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Squashing {
    /// A commit as in `repo@master~3`, or `repo@older..newer`.
    commits: String,
}

async fn revert(
    caller: Caller,
    Names((repo, branch)): Names<(String, String)>,
    Sent(back): Sent<Back>,
) -> Answer<Json<Undone>> {
    Ok(Json(caller.local.revert(&repo, &branch, &back.to).await?))
}

async fn drop_head(caller: Caller, Names((repo, at)): Names<(String, String)>) -> Answer<Json<Undone>> {
    Ok(Json(caller.local.drop_head(&at_path(&repo, &at, None)?).await?))
}

async fn squash(caller: Caller, Names(repo): Names<String>, Sent(asked): Sent<Squashing>) -> Answer<Json<Squashed>> {
    // What follows the first is of the same repo, or refused.
    let first = asked.commits.split("..").next().unwrap_or_default();
    within(&repo, first)?;
    Ok(Json(caller.local.squash(&asked.commits).await?))
}

async fn retain(caller: Caller, Names(repo): Names<String>, Sent(retention): Sent<Retention>) -> Answer<Json<Kept>> {
    Ok(Json(caller.local.retain(&repo, retention).await?))
}
