//! Routes of branches and tags.

use std::sync::Arc;

use axum::extract::State;
use spout_api::{Api as _, Branch, BranchInfo, BranchMade, Deleted, NewBranch, NewTag, Tables, Tag, TagMade, at_path};

use crate::{
    Access, Service,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Names, Sent},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let admin = Some(Access::Admin);
    vec![
        Endpoint::get("/v1/repos/{repo}/branches", "The branches of a repo.", branches).gives::<Vec<Branch>>(),
        Endpoint::post("/v1/repos/{repo}/branches", "Creates or moves a branch.", create_branch)
            .takes::<NewBranch>()
            .gives::<BranchMade>(),
        Endpoint::get("/v1/repos/{repo}/branches/{branch}", "Everything about a branch.", branch).gives::<BranchInfo>(),
        Endpoint::get("/v1/repos/{repo}/branches/{branch}/tables", "The Delta tables of a branch.", tables)
            .gives::<Tables>(),
        Endpoint::delete("/v1/repos/{repo}/branches/{branch}", "Deletes a branch.", delete_branch)
            .needs(admin)
            .gives::<Deleted>(),
        Endpoint::get("/v1/repos/{repo}/tags", "The tags of a repo.", tags).gives::<Vec<Tag>>(),
        Endpoint::post("/v1/repos/{repo}/tags", "Creates or moves a tag.", create_tag)
            .takes::<NewTag>()
            .gives::<TagMade>(),
        Endpoint::delete("/v1/repos/{repo}/tags/{tag}", "Deletes a tag.", delete_tag).needs(admin).gives::<Deleted>(),
    ]
}

async fn branches(caller: Caller, Names(repo): Names<String>) -> Answer<Json<Vec<Branch>>> {
    Ok(Json(caller.local.branches(&repo).await?))
}

async fn branch(caller: Caller, Names((repo, branch)): Names<(String, String)>) -> Answer<Json<BranchInfo>> {
    Ok(Json(caller.local.branch(&at_path(&repo, &branch, None)?).await?))
}

async fn tables(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names((repo, branch)): Names<(String, String)>,
) -> Answer<Json<Tables>> {
    Ok(Json(shown(&service, caller.local.tables(&at_path(&repo, &branch, None)?).await?)))
}

/// Where they are in the store is all that a caller learns.
pub(crate) fn shown(service: &Service, Tables { mut tables, failures }: Tables) -> Tables {
    tables.iter_mut().for_each(|table| table.root = service.veil.text(&table.root));
    Tables { tables, failures: failures.into_iter().map(|problem| service.veil.cover(problem)).collect() }
}

async fn create_branch(
    caller: Caller,
    Names(repo): Names<String>,
    Sent(new): Sent<NewBranch>,
) -> Answer<Json<BranchMade>> {
    Ok(Json(caller.local.create_branch(&repo, &new).await?))
}

async fn delete_branch(caller: Caller, Names((repo, branch)): Names<(String, String)>) -> Answer<Json<Deleted>> {
    Ok(Json(caller.local.delete_branch(&repo, &branch).await?))
}

async fn tags(caller: Caller, Names(repo): Names<String>) -> Answer<Json<Vec<Tag>>> {
    Ok(Json(caller.local.tags(&repo).await?))
}

async fn create_tag(caller: Caller, Names(repo): Names<String>, Sent(new): Sent<NewTag>) -> Answer<Json<TagMade>> {
    Ok(Json(caller.local.create_tag(&repo, &new).await?))
}

async fn delete_tag(caller: Caller, Names((repo, tag)): Names<(String, String)>) -> Answer<Json<Deleted>> {
    Ok(Json(caller.local.delete_tag(&repo, &tag).await?))
}
