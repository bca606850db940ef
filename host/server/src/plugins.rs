//! Routes of the plugins that the store keeps, for those whose token has a `plugin` scope.

use std::{path::Path, sync::Arc};

use axum::extract::{Request, State};
use spout_api::{KeptPlugin, PluginPut};
use spout_plugin::Plugin;

use crate::{
    Access, Service,
    answer::{Answer, Failure, Json},
    body,
    endpoint::Endpoint,
    guard::Caller,
    request::Names,
};

/// The largest plugin that is taken; larger ones would not be loaded.
const LARGEST: u64 = 64 << 20;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let plugin = Some(Access::Plugin);
    vec![
        Endpoint::get("/v1/plugins", "The plugins that the store keeps.", list)
            .needs(plugin)
            .gives::<Vec<KeptPlugin>>(),
        Endpoint::get("/v1/plugins/{plugin}", "A plugin that the store keeps.", inspect)
            .needs(plugin)
            .gives::<KeptPlugin>(),
        Endpoint::put(
            "/v1/plugins/{plugin}",
            "Puts a version of a plugin, which its name stands for from now on.",
            put,
        )
        .needs(plugin)
        .takes_bytes("application/octet-stream")
        .gives::<PluginPut>(),
        Endpoint::delete("/v1/plugins/{plugin}", "Removes all versions of a plugin that no pipeline uses.", delete)
            .needs(plugin)
            .gives::<KeptPlugin>(),
    ]
}

async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Json<Vec<KeptPlugin>>> {
    let all = service.shelf.list().await?;
    Ok(Json(all.into_iter().filter(|kept| caller.may(Access::Plugin, Some(&kept.name)).is_ok()).collect()))
}

async fn inspect(State(service): State<Arc<Service>>, Names(name): Names<String>) -> Answer<Json<KeptPlugin>> {
    Ok(Json(service.shelf.get(&name).await?))
}

async fn put(
    State(service): State<Arc<Service>>,
    Names(name): Names<String>,
    request: Request,
) -> Answer<Json<PluginPut>> {
    // It is closed by nobody.
    let _permit = service.taking_in.acquire().await.ok();
    let wasm = body::whole(request.into_body(), LARGEST.min(service.max_body)).await?;
    let about = service.plugins.examine(&name, Path::new(&format!("{name}.wasm")), wasm.clone()).await;
    let about: Plugin = about.map_err(|error| Failure::of_what_was_sent(&error))?;
    service.shelf.put(&name, about.digest(), &wasm).await?;
    let worlds = about.worlds().iter().map(ToString::to_string).collect();
    Ok(Json(PluginPut { name, digest: about.digest().to_owned(), size: about.size(), worlds }))
}

async fn delete(State(service): State<Arc<Service>>, Names(name): Names<String>) -> Answer<Json<KeptPlugin>> {
    service.managed.unused(&name).await?;
    Ok(Json(service.shelf.delete(&name).await?))
}
