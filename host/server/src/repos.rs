//! Routes of repos.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Deleted, NewRepo, Repo, RepoInfo, RepoMade};

use crate::{
    Access,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names, Sent},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let admin = Some(Access::Admin);
    vec![
        Endpoint::get("/v1/repos", "The repos.", list).gives::<Vec<Repo>>(),
        Endpoint::post("/v1/repos", "Creates a repo.", create).needs(admin).takes::<NewRepo>().gives::<RepoMade>(),
        Endpoint::get("/v1/repos/{repo}", "Everything about a repo.", inspect).gives::<RepoInfo>(),
        Endpoint::delete("/v1/repos/{repo}", "Deletes a repo with its whole history.", delete)
            .needs(admin)
            .asks::<Force>()
            .gives::<Deleted>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Force {
    /// Whether a repo that holds commits is deleted.
    #[serde(default)]
    force: bool,
}

async fn list(caller: Caller) -> Answer<Json<Vec<Repo>>> {
    Ok(Json(caller.local.repos().await?))
}

async fn inspect(caller: Caller, Names(repo): Names<String>) -> Answer<Json<RepoInfo>> {
    Ok(Json(caller.local.repo(&repo).await?))
}

async fn create(caller: Caller, Sent(new): Sent<NewRepo>) -> Answer<Json<RepoMade>> {
    caller.may(Access::Admin, Some(&new.name))?;
    Ok(Json(caller.local.create_repo(&new).await?))
}

async fn delete(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<Force>) -> Answer<Json<Deleted>> {
    Ok(Json(caller.local.delete_repo(&repo, asked.force).await?))
}
