//! Routes that look after the store.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, ByteSize, Check, Collect, Collected, Compacted, Report, Tables, at_path};

use crate::{
    Access, Error, Service,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    refs,
    request::{Asked, Names, Sent},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let admin = Some(Access::Admin);
    vec![
        Endpoint::post(
            "/v1/repos/{repo}/branches/{branch}/compact",
            "Makes few large Parquet files of many small ones, as a commit.",
            compact,
        )
        .takes::<Compact>()
        .gives::<Compacted>(),
        Endpoint::post(
            "/v1/repos/{repo}/branches/{branch}/publish",
            "Brings the Delta tables of a branch up to date.",
            publish,
        )
        .asks::<Rebuild>()
        .gives::<Tables>(),
        Endpoint::post("/v1/gc", "Removes what nothing leads to any more from a repo.", collect)
            .needs(admin)
            .takes::<CollectIn>()
            .gives::<Collected>(),
        Endpoint::post("/v1/fsck", "Reads everything a repo holds, or all do, and names what is wrong.", check)
            .needs(admin)
            .takes::<Check>()
            .gives::<Report>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Compact {
    /// Bytes that a file is to have; larger ones than half of it are left alone.
    target: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    /// Whether the logs are compared with the commits, and what differs is written again.
    #[serde(default)]
    rebuild: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct CollectIn {
    /// Its name.
    repo: String,
    #[serde(flatten)]
    how: Collect,
}

async fn compact(
    caller: Caller,
    Names((repo, branch)): Names<(String, String)>,
    Sent(Compact { target }): Sent<Compact>,
) -> Answer<Json<Compacted>> {
    Ok(Json(caller.local.compact(&at_path(&repo, &branch, None)?, ByteSize(target)).await?))
}

async fn publish(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names((repo, branch)): Names<(String, String)>,
    Asked(Rebuild { rebuild }): Asked<Rebuild>,
) -> Answer<Json<Tables>> {
    Ok(Json(refs::shown(&service, caller.local.publish(&at_path(&repo, &branch, None)?, rebuild).await?)))
}

async fn collect(caller: Caller, Sent(CollectIn { repo, how }): Sent<CollectIn>) -> Answer<Json<Collected>> {
    caller.tends(&repo)?;
    Ok(Json(caller.local.collect(&repo, how).await?))
}

async fn check(State(service): State<Arc<Service>>, caller: Caller, Sent(wanted): Sent<Check>) -> Answer<Json<Report>> {
    if let Some(repo) = &wanted.repo {
        caller.tends(repo)?;
    }
    let running = service.board.statuses().all().into_values().filter(|status| status.state.is_at_work());
    let running: Vec<String> = running.map(|status| status.name).collect();
    if wanted.repair && !running.is_empty() {
        return Err(Error::AtWork { pipelines: running.join(", ") }.into());
    }
    let Some(_) = &wanted.repo else { return Ok(Json(every(&service, &caller, &wanted).await?)) };
    Ok(Json(shown(&service, caller.local.check(&wanted).await?)))
}

/// Checks every repo that the caller may look after.
async fn every(service: &Service, caller: &Caller, wanted: &Check) -> Answer<Report> {
    let mut all = Report::default();
    for repo in caller.local.store().names().await.map_err(spout_api::Error::from)? {
        if caller.tends(&repo).is_ok() {
            all = all.with(caller.local.check(&Check { repo: Some(repo), ..wanted.clone() }).await?);
        }
    }
    Ok(shown(service, all))
}

/// Where the store is on the disk of this machine is not shown.
fn shown(service: &Service, mut report: Report) -> Report {
    for finding in &mut report.findings {
        for text in [&mut finding.object, &mut finding.what, &mut finding.affects] {
            *text = service.veil.text(text);
        }
    }
    report
}
