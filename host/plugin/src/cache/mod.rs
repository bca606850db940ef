//! Compiled plugins, kept for the next start: native code that runs outside the sandbox, and only if this installation wrote it.
//!
//! A [`Cache`] has a component whose code lies in the [`vault`] of this user because it was compiled before, and keeps the code of one
//! that was compiled just now.
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

    /// The component of this digest, if its code is kept.
    pub(super) fn kept(&self, engine: &Engine, path: &Path, digest: &str) -> Option<Component> {
        take(self.vault()?, &Entry::new(engine, digest), engine, path)
    }

    /// The component of this digest, whose code was made a moment ago by [`Compiler`](super::compile::Compiler).
    pub(super) fn keep(&self, engine: &Engine, path: &Path, digest: &str, code: &[u8]) -> Result<Component, Error> {
        // SAFETY: these bytes come from `precompile_component` under the settings of this engine, in this process or in a child of it
        // that runs the same binary and has handed them over by a pipe; nothing else was between.
        let component = unsafe { Component::deserialize(engine, code) }
            .map_err(|error| Error::Compile { path: path.to_path_buf(), reason: format!("{error:#}") })?;
        if let Some(vault) = self.vault()
            && let Err(reason) = vault.keep(&Entry::new(engine, digest), code)
        {
            tracing::warn!(dir = %vault.dir().display(), %reason, "cannot cache compiled code; the next start compiles it again");
        }
        Ok(component)
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
