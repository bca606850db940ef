//! Routes about messages that were set aside, and of those that give them to a pipeline once more.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, DeadLetters, Pipelines as _, PipelinesChanged, at_path};

use crate::{
    Access, Error, Service,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names, Sent},
};

/// Reasons that are told of at most.
const MOST: usize = 1000;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/deadletters/{repo}", "How many messages were set aside, by reason.", list)
            .asks::<Which>()
            .gives::<Vec<DeadLetters>>(),
        Endpoint::post(
            "/v1/pipelines/{name}/deadletters/replay",
            "Makes a pipeline that gives the dead letters of one to its spec once more, into a repo of its own.",
            replay,
        )
        .needs(Some(Access::Run))
        .takes::<Replay>()
        .gives::<PipelinesChanged>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The commit: a branch, an id, a tag, `master~2`; those before it count too.
    #[serde(default = "master")]
    at: String,
    /// The most reasons, up to 1,000: the commonest are told.
    #[serde(default = "most")]
    limit: usize,
}

fn master() -> String {
    spout_repo::MASTER.to_owned()
}

fn most() -> usize {
    MOST
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replay {
    /// The name of the pipeline and repo of the replay; that of the pipeline with `-replayed` behind it where nothing is said.
    #[serde(default)]
    to: Option<String>,
}

async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(repo): Names<String>,
    Asked(Which { at, limit }): Asked<Which>,
) -> Answer<Json<Vec<DeadLetters>>> {
    let _turn = service.queries.acquire().await;
    Ok(Json(caller.local.dead_letters(&at_path(&repo, &at, None)?, limit.min(MOST)).await?))
}

async fn replay(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
    Sent(Replay { to }): Sent<Replay>,
) -> Answer<Json<PipelinesChanged>> {
    caller.knows(&name)?;
    let replay = service.managed.replay(&name, to.as_deref()).await?;
    for spout_keeper::Sent { name: pipeline, reads } in service.managed.sent(std::slice::from_ref(&replay))? {
        caller.may(Access::Run, Some(&pipeline))?;
        if let Some((key, repo)) = reads.into_iter().find(|(_, repo)| !caller.sees(repo)) {
            return Err(Error::Unseen { pipeline, key, repo }.into());
        }
    }
    Ok(Json(service.managed.create_pipelines(&[replay]).await?))
}
