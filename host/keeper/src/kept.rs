//! The verbs on the plugins that a store keeps, for whoever may change them.

use std::path::Path;

use async_trait::async_trait;
use spout_api::{KeptPlugin, PluginPut, Plugins as KeptPlugins, Problem, Result};
use spout_plugin::Plugins;
use spout_repo::Store;

use super::{Managed, PluginShelf};

/// The plugins that a store keeps.
#[derive(Debug)]
pub struct Kept {
    shelf: PluginShelf,
    managed: Managed,
    /// What finds out whether something is a plugin.
    plugins: Plugins,
}

impl Kept {
    /// Those of `store`; `plugins` compiles what is put.
    #[must_use]
    pub fn new(store: &Store, plugins: Plugins) -> Self {
        Self { shelf: PluginShelf::new(store), managed: Managed::new(store.clone(), &[]), plugins }
    }
}

#[async_trait]
impl KeptPlugins for Kept {
    async fn plugins(&self) -> Result<Vec<KeptPlugin>> {
        Ok(self.shelf.list().await?)
    }

    async fn put_plugin(&self, name: &str, wasm: Vec<u8>) -> Result<PluginPut> {
        let about = self.plugins.examine(name, Path::new(&format!("{name}.wasm")), wasm.clone()).await;
        let about = about.map_err(|error| Problem::of(&error).into_error())?;
        self.shelf.put(name, about.digest(), &wasm).await?;
        let worlds = about.worlds().iter().map(ToString::to_string).collect();
        Ok(PluginPut { name: name.to_owned(), digest: about.digest().to_owned(), size: about.size(), worlds })
    }

    async fn delete_plugin(&self, name: &str) -> Result<KeptPlugin> {
        self.managed.unused(name).await?;
        Ok(self.shelf.delete(name).await?)
    }
}
