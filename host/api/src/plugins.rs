//! Plugins that a store keeps by digest: what can be asked of whoever keeps them, and the answers.

use std::fmt::Debug;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Result;

/// What can be asked about the plugins of a store, or of a server that has one.
///
/// Every function fails as those of [`Api`](crate::Api) do.
#[async_trait]
pub trait Plugins: Debug + Send + Sync {
    /// All that are kept, by name.
    async fn plugins(&self) -> Result<Vec<KeptPlugin>>;
    /// Keeps a version of a plugin, which its name stands for from now on. What is no plugin is refused.
    async fn put_plugin(&self, name: &str, wasm: Vec<u8>) -> Result<PluginPut>;
    /// Removes all versions of a plugin that no pipeline uses.
    async fn delete_plugin(&self, name: &str) -> Result<KeptPlugin>;
}

/// A plugin of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptPlugin {
    /// Its name.
    pub name: String,
    /// What the name stands for without a digest, where somebody has put it here.
    pub newest: Option<String>,
    /// All that is kept.
    pub versions: Vec<PluginVersion>,
}

/// A version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginVersion {
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many.
    pub size: u64,
}

/// A plugin that was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginPut {
    /// Its name.
    pub name: String,
    /// `sha256:…` of its bytes: `NAME@sha256:…` in a spec is this version, whatever is put later.
    pub digest: String,
    /// How many bytes it has.
    pub size: u64,
    /// What it can be used as: `handler`, `decoder`.
    pub worlds: Vec<String>,
}

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginAbout {
    /// Its name.
    pub name: String,
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many bytes it has.
    pub size: u64,
    /// What it can be used as: `handler`, `decoder`.
    pub worlds: Vec<String>,
    /// What it offers.
    pub offers: Vec<PluginOffer>,
    /// Its name and version as a package, and what it asks for, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Map<String, Value>>,
}

/// One thing that a plugin offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginOffer {
    /// What it is used as: `decoder`, `handler`, `partition-consumer`.
    pub interface: String,
    /// Which of several.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// What a spec has to grant if it uses this.
    pub asks: Map<String, Value>,
    /// JSON Schema of its settings; a text if it is no JSON.
    pub settings: Value,
}
