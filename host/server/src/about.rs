//! The route of what a plugin says about itself: what it offers, which settings that takes, and what it asks for.

use std::{path::Path, sync::Arc};

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spout_api::{PluginAbout, PluginOffer};
use spout_keeper::Error as KeeperError;
use spout_plugin::{LimitsSpec, Offer, Plugin};

use crate::{
    Access, Service,
    answer::{Answer, Failure, Json},
    endpoint::Endpoint,
    request::{Asked, Names},
};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/plugins/{plugin}/about",
            "What a plugin that the store keeps says about itself; it is run for that, with nothing granted.",
            about,
        )
        .needs(Some(Access::Plugin))
        .asks::<Version>()
        .gives::<PluginAbout>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Version {
    /// `sha256:…` of the version; without it, the one that the name stands for, or the last one.
    #[serde(default)]
    digest: Option<String>,
}

async fn about(
    State(service): State<Arc<Service>>,
    Names(name): Names<String>,
    Asked(asked): Asked<Version>,
) -> Answer<Json<PluginAbout>> {
    // It is closed by nobody.
    let _permit = service.taking_in.acquire().await.ok();
    let plugin = service.kept(&name, asked.digest).await?;
    let offers = plugin.offers(&LimitsSpec::default()).await.map_err(|error| Failure::of_what_was_sent(&error))?;
    Ok(Json(PluginAbout {
        digest: plugin.digest().to_owned(),
        size: plugin.size(),
        worlds: plugin.worlds().iter().map(ToString::to_string).collect(),
        offers: offers.iter().map(|offer| offered(&plugin, offer)).collect(),
        manifest: plugin.manifest().map(fields),
        name,
    }))
}

impl Service {
    /// The version of a plugin that the store keeps: the one of this digest, or else the one that the name stands for, or the last one.
    pub(crate) async fn kept(&self, name: &str, digest: Option<String>) -> Answer<Plugin> {
        let kept = self.shelf.get(name).await?;
        let unknown = || KeeperError::NoPlugin { name: name.to_owned() };
        let wanted = digest.or(kept.newest);
        let version = match &wanted {
            Some(digest) => kept.versions.iter().find(|version| version.digest == *digest),
            None => kept.versions.last(),
        };
        let digest = version.map(|version| version.digest.clone()).ok_or_else(unknown)?;
        let wasm = self.shelf.bytes(name, &digest).await?.ok_or_else(unknown)?;
        let plugin = self.plugins.examine(name, Path::new(&format!("{name}.wasm")), wasm).await;
        plugin.map_err(|error| Failure::of_what_was_sent(&error))
    }
}

fn offered(plugin: &Plugin, offer: &Offer) -> PluginOffer {
    let needs = plugin.manifest().map(|manifest| manifest.needs(&offer.interface, &offer.name, None));
    PluginOffer {
        interface: offer.interface.clone(),
        name: offer.name.clone(),
        summary: offer.summary.clone(),
        asks: needs.as_ref().map(fields).unwrap_or_default(),
        settings: serde_json::from_str(&offer.settings_schema)
            .unwrap_or_else(|_| Value::from(offer.settings_schema.as_str())),
    }
}

/// The fields of a JSON object.
fn fields(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}
