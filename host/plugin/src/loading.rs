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
}

/// What a thread that may block has found.
enum Found {
    Plugin(Box<Plugin>),
    /// No code, for the component of this digest.
    Nothing(String),
}

impl Loading {
    /// The plugin, none of which has run; what is not kept is compiled by `compiler`.
    pub(super) async fn load(self, compiler: &Compiler) -> Result<Plugin, Error> {
        let digest = match self.clone().apart(Self::kept).await? {
            Found::Plugin(plugin) => return Ok(*plugin),
            Found::Nothing(digest) => digest,
        };
        let code = compiler.compile(&self.engine, (&self.name, &self.path), &self.wasm).await?;
        self.apart(move |loading| {
            let component = loading.cache.keep(&loading.engine, &loading.path, &digest, &code)?;
            loading.link(&component, digest)
        })
        .await
    }

    fn kept(self) -> Result<Found, Error> {
        component::check_header(&self.path, &self.wasm)?;
        let digest = component::digest(&self.wasm);
        match self.cache.kept(&self.engine, &self.path, &digest) {
            Some(component) => Ok(Found::Plugin(Box::new(self.link(&component, digest)?))),
            None => Ok(Found::Nothing(digest)),
        }
    }

    fn link(&self, component: &Component, digest: String) -> Result<Plugin, Error> {
        Plugin::link((&self.engine, component), &self.reserved, &self.name, &self.path, (&self.wasm, digest))
    }

    async fn apart<T: Send + 'static>(
        self,
        work: impl FnOnce(Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = tokio::task::spawn_blocking(move || work(self)).await;
        done.map_err(|error| Error::Runtime { reason: error.to_string() })?
    }
}
