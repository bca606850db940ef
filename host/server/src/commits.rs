//! Routes of commits, finished and started.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, CommitInfo, Dropped, Error as ApiError, Inspected, MarkerInfo, Opened, Started, at_path};

use crate::{
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names, Sent, within},
};

/// Commits that are listed at most, where a request does not say.
const LISTED: usize = 1000;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/repos/{repo}/commits", "A commit and those before it, newest first.", list)
            .asks::<Line>()
            .gives::<Vec<CommitInfo>>(),
        Endpoint::get("/v1/repos/{repo}/commits/{at}", "Everything about a commit.", inspect).gives::<Inspected>(),
        Endpoint::get("/v1/repos/{repo}/marker", "The marker of a commit.", marker).asks::<At>().gives::<MarkerInfo>(),
        Endpoint::get("/v1/repos/{repo}/started", "Commits that were started and not finished.", started)
            .asks::<OfBranch>()
            .gives::<Vec<Started>>(),
        Endpoint::post("/v1/repos/{repo}/started", "Starts a commit to a branch.", start)
            .takes::<NewCommit>()
            .gives::<Started>(),
        Endpoint::post("/v1/repos/{repo}/started/{id}/finish", "Makes a started commit visible.", finish)
            .gives::<CommitInfo>(),
        Endpoint::delete("/v1/repos/{repo}/started/{id}", "Forgets a started commit.", forget).gives::<Dropped>(),
        Endpoint::post("/v1/repos/{repo}/puts", "Opens a branch or a started commit for several puts.", open)
            .takes::<Open>()
            .gives::<Opened>(),
        Endpoint::post("/v1/repos/{repo}/puts/{id}/finish", "Makes several puts visible in one commit.", close)
            .gives::<CommitInfo>(),
    ]
}

fn master() -> String {
    spout_repo::MASTER.to_owned()
}

#[derive(Debug, Deserialize, JsonSchema)]
struct At {
    /// The commit: a branch, a tag, an id, `master~2`.
    #[serde(default = "master")]
    at: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Line {
    /// The newest of them: a branch, a tag, an id, `master~2`.
    #[serde(default = "master")]
    at: String,
    /// How many at most.
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OfBranch {
    /// The branch they will go to; without it, all.
    #[serde(default)]
    branch: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewCommit {
    /// The branch it will go to.
    #[serde(default = "master")]
    branch: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Open {
    /// A branch, or the id of a started commit; or either with its repo, as in `repo@master`.
    #[serde(default = "master")]
    to: String,
}

async fn list(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<Line>) -> Answer<Json<Vec<CommitInfo>>> {
    let reference = at_path(&repo, &asked.at, None)?;
    Ok(Json(caller.local.commits(&reference, asked.limit.unwrap_or(LISTED)).await?))
}

async fn inspect(caller: Caller, Names((repo, at)): Names<(String, String)>) -> Answer<Json<Inspected>> {
    Ok(Json(caller.local.commit(&at_path(&repo, &at, None)?).await?))
}

async fn marker(caller: Caller, Names(repo): Names<String>, Asked(asked): Asked<At>) -> Answer<Json<MarkerInfo>> {
    Ok(Json(caller.local.marker(&at_path(&repo, &asked.at, None)?).await?))
}

async fn started(
    caller: Caller,
    Names(repo): Names<String>,
    Asked(asked): Asked<OfBranch>,
) -> Answer<Json<Vec<Started>>> {
    Ok(Json(caller.local.started(&repo, asked.branch.as_deref()).await?))
}

async fn start(caller: Caller, Names(repo): Names<String>, Sent(new): Sent<NewCommit>) -> Answer<Json<Started>> {
    Ok(Json(caller.local.start_commit(&repo, &new.branch).await?))
}

async fn finish(caller: Caller, Names((repo, id)): Names<(String, String)>) -> Answer<Json<CommitInfo>> {
    Ok(Json(caller.local.finish_commit(&repo, &id).await?))
}

async fn forget(caller: Caller, Names((repo, id)): Names<(String, String)>) -> Answer<Json<Dropped>> {
    let dropped = caller.local.drop_started(&repo, &id).await?;
    let unknown = || ApiError::Repo(spout_repo::Error::UnknownStarted { repo, id });
    Ok(Json(dropped.ok_or_else(unknown)?))
}

async fn open(caller: Caller, Names(repo): Names<String>, Sent(open): Sent<Open>) -> Answer<Json<Opened>> {
    let to = if open.to.contains('@') { within(&repo, &open.to)? } else { at_path(&repo, &open.to, None)? };
    Ok(Json(caller.local.open(&to).await?))
}

async fn close(caller: Caller, Names((repo, id)): Names<(String, String)>) -> Answer<Json<CommitInfo>> {
    Ok(Json(caller.local.close(&repo, &id).await?))
}
