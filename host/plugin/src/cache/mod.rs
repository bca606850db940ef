//! Compiled plugins, kept for the next start: native code that runs outside the sandbox, and only if this installation wrote it.
//!
//! A [`Cache`] compiles a component, or takes it from the [`vault`] of this user if it was compiled before.
//!
//! **Invariant**: no byte that is run was read twice: what was authenticated in memory is what is loaded.

mod user;
mod vault;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use wasmtime::{Engine, component::Component};

pub use self::user::user_cache;
use self::vault::{Entry, Vault};
use super::Error;

/// File with the digests that plugins had when they were last loaded.
const SEEN: &str = "plugins.json";

/// Where compiled code is kept, if anywhere. Nothing about it is ever an error: what cannot be trusted is compiled again, and so is,
/// at the next start, what cannot be kept.
#[derive(Debug)]
pub(super) struct Cache {
    dir: Option<PathBuf>,
    vault: OnceLock<Option<Vault>>,
}

/// What plugins of one directory were when they were last loaded: their digests by name.
type Seen = BTreeMap<PathBuf, BTreeMap<String, String>>;

/// What became of a plugin since it was last loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Replaced,
}

impl Cache {
    /// A cache in `dir`, which is looked at when the first plugin is loaded.
    pub(super) fn new(dir: Option<&Path>) -> Self {
        Self { dir: dir.map(Path::to_path_buf), vault: OnceLock::new() }
    }

    /// The component of `wasm`, whose digest is `digest`.
    pub(super) fn component(
        &self,
        engine: &Engine,
        path: &Path,
        wasm: &[u8],
        digest: &str,
    ) -> Result<Component, Error> {
        let kept = self.vault().map(|vault| (vault, Entry::new(engine, digest)));
        if let Some((vault, entry)) = &kept
            && let Some(component) = take(vault, entry, engine, path)
        {
            return Ok(component);
        }
        let compile =
            |error: wasmtime::Error| Error::Compile { path: path.to_path_buf(), reason: format!("{error:#}") };
        let code = engine.precompile_component(wasm).map_err(compile)?;
        if let Some((vault, entry)) = &kept
            && let Err(reason) = vault.keep(entry, &code)
        {
            tracing::warn!(dir = %vault.dir().display(), %reason, "cannot cache compiled code; the next start compiles it again");
        }
        // SAFETY: these bytes come from `precompile_component` of this engine, just now.
        unsafe { Component::deserialize(engine, &code) }.map_err(compile)
    }

    /// Whether the plugin `name` of the directory `of` is another one than at the start before; remembers it.
    pub(super) fn change(&self, of: &Path, name: &str, digest: &str) -> Option<Change> {
        let vault = self.vault()?;
        let of = of.canonicalize().unwrap_or_else(|_| of.to_path_buf());
        let read = vault.read(SEEN).ok().flatten();
        let mut seen: Seen = read.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let plugins = seen.entry(of).or_default();
        let change = match plugins.insert(name.to_owned(), digest.to_owned()) {
            Some(known) if known == digest => return None,
            Some(_) => Change::Replaced,
            None => Change::New,
        };
        seen.retain(|dir, _| dir.is_dir());
        let text = serde_json::to_vec_pretty(&seen).unwrap_or_default();
        if let Err(reason) = vault.write(SEEN, &[&text]) {
            tracing::debug!(%reason, "cannot store the list of known plugins");
        }
        Some(change)
    }

    /// The vault, opened when it is first needed; that it cannot be used is said once.
    fn vault(&self) -> Option<&Vault> {
        let open = || {
            let Some(dir) = &self.dir else {
                tracing::warn!(
                    "this user has no home directory, so compiled plugins are not cached and every start recompiles them; set `SPOUT_CACHE` to a directory of your own"
                );
                return None;
            };
            let refused = |reason| {
                tracing::warn!(dir = %dir.display(), %reason, "compiled plugins are not cached, and every start recompiles them; fix or delete the directory, or set `SPOUT_CACHE` to another one");
            };
            Vault::open(dir).map_err(refused).ok()
        };
        self.vault.get_or_init(open).as_ref()
    }
}

/// The compiled code of `entry`, if it is there and ours.
fn take(vault: &Vault, entry: &Entry, engine: &Engine, path: &Path) -> Option<Component> {
    let code = match vault.take(entry) {
        Ok(code) => code?,
        Err(reason) => {
            let (plugin, file) = (path.display(), vault.dir().join(entry.name()));
            tracing::warn!(%plugin, file = %file.display(), %reason, "rejected the cached code; compiling the plugin again");
            return None;
        }
    };
    // SAFETY: these very bytes carry the seal of this installation's key, which was set on what `precompile_component` gave
    // for this plugin under this engine's version and settings; nothing else writes that seal.
    match unsafe { Component::deserialize(engine, &code) } {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(plugin = %path.display(), %error, "cannot load the cached code; compiling the plugin again");
            None
        }
    }
}

#[cfg(test)]
mod tests;
