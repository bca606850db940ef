//! The requests that verbs on plugins are.

use async_trait::async_trait;
use reqwest::Method;
use spout_api::{KeptPlugin, PluginPut, Plugins, Result};

use crate::Remote;

#[async_trait]
impl Plugins for Remote {
    async fn plugins(&self) -> Result<Vec<KeptPlugin>> {
        self.get(["plugins"], &[]).await
    }

    async fn put_plugin(&self, name: &str, wasm: Vec<u8>) -> Result<PluginPut> {
        let request = self.link.request(Method::PUT, ["plugins", name], &[]);
        self.link.json(request.header("content-type", "application/octet-stream").body(wasm)).await
    }

    async fn delete_plugin(&self, name: &str) -> Result<KeptPlugin> {
        self.link.json(self.link.request(Method::DELETE, ["plugins", name], &[])).await
    }
}
