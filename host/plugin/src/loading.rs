//! From the bytes of a component to a plugin: its code as it was kept, or as the compiler makes it, and what it is linked to.

use std::{path::PathBuf, sync::Arc};

use wasmtime::{Engine, component::Component};

use super::{Compiler, Error, Plugin, cache::Cache, component, reserved::Reserved};

/// One plugin that is being loaded.
#[derive(Clone)]
pub(super) struct Loading {
    pub(super) engine: Engine,
    pub(super) cache: Arc<Cache>,
    pub(super) reserved: Arc<Reserved>,
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) wasm: Arc<Vec<u8>>,
    /// That of these bytes.
    pub(super) digest: String,
}

/// What a thread that may block has found.
enum Found {
    Plugin(Box<Plugin>),
    /// No code is kept.
    Nothing,
}

impl Loading {
    /// The plugin, none of which has run; what is not kept is compiled by `compiler`.
    pub(super) async fn load(self, compiler: &Compiler) -> Result<Plugin, Error> {
        if let Found::Plugin(plugin) = self.clone().apart(Self::kept).await? {
            return Ok(*plugin);
        }
        let code = compiler.compile(&self.engine, (&self.name, &self.path), &self.wasm).await?;
        self.apart(move |loading| {
            let component = loading.cache.keep(&loading.engine, &loading.path, &loading.digest, &code)?;
            loading.link(&component)
        })
        .await
    }

    fn kept(self) -> Result<Found, Error> {
        component::check_header(&self.path, &self.wasm)?;
        match self.cache.kept(&self.engine, &self.path, &self.digest) {
            Some(component) => Ok(Found::Plugin(Box::new(self.link(&component)?))),
            None => Ok(Found::Nothing),
        }
    }

    fn link(&self, component: &Component) -> Result<Plugin, Error> {
        let bytes = (self.wasm.as_slice(), self.digest.clone());
        Plugin::link((&self.engine, component), &self.reserved, &self.name, &self.path, bytes)
    }

    async fn apart<T: Send + 'static>(
        self,
        work: impl FnOnce(Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = tokio::task::spawn_blocking(move || work(self)).await;
        done.map_err(|error| Error::Runtime { reason: error.to_string() })?
    }
}
