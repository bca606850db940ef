//! Routes that change which pipelines the store has, for those whose token has a `run` scope.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Markers as _, PipelineLine, Pipelines as _, PipelinesChanged, SeekTo, SkipPast, Sought, SpecText};

use crate::{
    Access, Error, Service,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names, Sent},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let run = Some(Access::Run);
    vec![
        Endpoint::get("/v1/specs", "The pipelines that the store has by name.", list).gives::<Vec<PipelineLine>>(),
        Endpoint::post("/v1/pipelines", "Creates pipelines in the store; all of them or none.", create)
            .needs(run)
            .takes::<New>()
            .gives::<PipelinesChanged>(),
        Endpoint::put("/v1/pipelines", "Gives pipelines of the store another spec; all of them or none.", update)
            .needs(run)
            .takes::<Other>()
            .gives::<PipelinesChanged>(),
        Endpoint::post("/v1/pipelines/{name}/start", "Has a pipeline of the store run again.", start)
            .needs(run)
            .gives::<PipelinesChanged>(),
        Endpoint::post("/v1/pipelines/{name}/stop", "Has a pipeline commit what it has read, and stop.", stop)
            .needs(run)
            .gives::<PipelinesChanged>(),
        Endpoint::post("/v1/pipelines/{name}/restart", "Has a pipeline stop and start again.", restart)
            .needs(run)
            .gives::<PipelinesChanged>(),
        Endpoint::post("/v1/pipelines/{name}/flush", "Has a running pipeline commit what it has read now.", flush)
            .needs(run)
            .gives::<PipelinesChanged>(),
        Endpoint::post("/v1/pipelines/{name}/seek", "Makes a pipeline go on somewhere else, by a commit.", seek)
            .needs(run)
            .asks::<Output>()
            .takes::<SeekTo>()
            .gives::<Sought>(),
        Endpoint::post("/v1/pipelines/{name}/skip", "Makes a pipeline pass over messages, by a commit.", skip)
            .needs(run)
            .asks::<Output>()
            .takes::<SkipPast>()
            .gives::<Sought>(),
        Endpoint::delete("/v1/pipelines/{name}", "Removes a pipeline from the store; its repo stays.", delete)
            .needs(run)
            .gives::<PipelinesChanged>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New {
    /// Their specs. Relative paths in them start where the server says.
    specs: Vec<SpecText>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Other {
    /// Their specs. Relative paths in them start where the server says.
    specs: Vec<SpecText>,
    /// Whether they begin anew, from the first message of their sources.
    #[serde(default)]
    reprocess: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Output {
    /// The branch that it writes; that of its spec where nothing is said.
    branch: Option<String>,
}

async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Json<Vec<PipelineLine>>> {
    let all = service.managed.pipelines().await?;
    Ok(Json(all.into_iter().filter(|line| caller.sees(&line.name)).collect()))
}

async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Sent(new): Sent<New>,
) -> Answer<Json<PipelinesChanged>> {
    let specs = allowed(&service, &caller, new.specs)?;
    Ok(Json(service.managed.create_pipelines(&specs).await?))
}

async fn update(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Sent(other): Sent<Other>,
) -> Answer<Json<PipelinesChanged>> {
    let specs = allowed(&service, &caller, other.specs)?;
    Ok(Json(service.managed.update_pipelines(&specs, other.reprocess).await?))
}

/// Specs of pipelines that the caller may run, which read nothing that the caller may not see.
fn allowed(service: &Service, caller: &Caller, specs: Vec<SpecText>) -> Answer<Vec<SpecText>> {
    if specs.is_empty() {
        return Err(Error::Request { why: "`specs` has none".into() }.into());
    }
    let specs: Vec<SpecText> = specs.into_iter().map(|spec| SpecText { base: service.base.clone(), ..spec }).collect();
    for spout_keeper::Sent { name: pipeline, reads } in service.managed.sent(&specs)? {
        caller.may(Access::Run, Some(&pipeline))?;
        if let Some((key, repo)) = reads.into_iter().find(|(_, repo)| !caller.sees(repo)) {
            return Err(Error::Unseen { pipeline, key, repo }.into());
        }
    }
    Ok(specs)
}

async fn start(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<PipelinesChanged>> {
    caller.knows(&name)?;
    Ok(Json(service.managed.set_running(&name, true).await?))
}

async fn stop(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<PipelinesChanged>> {
    caller.knows(&name)?;
    Ok(Json(service.managed.set_running(&name, false).await?))
}

async fn restart(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<PipelinesChanged>> {
    caller.knows(&name)?;
    Ok(Json(service.managed.restart_pipeline(&name).await?))
}

async fn flush(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<PipelinesChanged>> {
    caller.knows(&name)?;
    let running = service.board.statuses().one(&name).filter(|status| status.state.is_at_work());
    if running.is_none() {
        return Err(Error::NoPipeline { name }.into());
    }
    service.committer.one(&name);
    Ok(Json(PipelinesChanged { pipelines: vec![name], done: "commits what it has read".into(), commit: None }))
}

async fn seek(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
    Asked(Output { branch }): Asked<Output>,
    Sent(mut wanted): Sent<SeekTo>,
) -> Answer<Json<Sought>> {
    caller.knows(&name)?;
    if let Some(spec) = wanted.spec.take() {
        wanted.spec = allowed(&service, &caller, vec![spec])?.pop();
    }
    let output = branch.map_or_else(|| name.clone(), |branch| format!("{name}@{branch}"));
    Ok(Json(service.seeker.seek(&output, &wanted).await?))
}

async fn skip(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
    Asked(Output { branch }): Asked<Output>,
    Sent(mut wanted): Sent<SkipPast>,
) -> Answer<Json<Sought>> {
    caller.knows(&name)?;
    if let Some(spec) = wanted.spec.take() {
        wanted.spec = allowed(&service, &caller, vec![spec])?.pop();
    }
    let output = branch.map_or_else(|| name.clone(), |branch| format!("{name}@{branch}"));
    Ok(Json(service.seeker.skip(&output, &wanted).await?))
}

async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<PipelinesChanged>> {
    caller.knows(&name)?;
    Ok(Json(service.managed.delete_pipeline(&name).await?))
}
