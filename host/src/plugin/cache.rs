//! Compiled code by content hash, in a directory that only the host writes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use super::Error;
use crate::clock;

/// Where compiled code is kept.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The component of `wasm`, from the cache if it was compiled before. Nothing about the cache is ever an error:
    /// what cannot be read is compiled, what cannot be kept is compiled again next time.
    pub(super) fn component(
        &self,
        engine: &Engine,
        path: &Path,
        wasm: &[u8],
        digest: &str,
    ) -> Result<Component, Error> {
        let kept = self.dir.join(format!("{}.cwasm", key(engine, digest)));
        if kept.exists() {
            // SAFETY: the directory belongs to the host and is readable by its user alone; files get there only by the
            // rename below, whole, under a name that covers the source and this engine's settings.
            match unsafe { Component::deserialize_file(engine, &kept) } {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(file = %kept.display(), %error, "compiled code cannot be used; compiling again")
                }
            }
        }
        let compile =
            |error: wasmtime::Error| Error::Compile { path: path.to_path_buf(), reason: format!("{error:#}") };
        let code = engine.precompile_component(wasm).map_err(compile)?;
        if let Err(error) = self.keep(&kept, &code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code cannot be kept; it is compiled again at the next start");
        }
        // SAFETY: these bytes come from `precompile_component` of this engine, just now.
        unsafe { Component::deserialize(engine, &code) }.map_err(compile)
    }

    fn keep(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        self.create()?;
        let staged = self.dir.join(format!(".{}", clock::nonce()));
        fs::write(&staged, code)?;
        fs::rename(&staged, path)
    }

    fn create(&self) -> io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir)
    }

    /// What was found at the last start, by plugin name.
    pub(super) fn index(&self) -> std::collections::BTreeMap<String, String> {
        fs::read(self.index_path()).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Keeps what was found at this start.
    pub(super) fn set_index(&self, index: &std::collections::BTreeMap<String, String>) {
        let kept = serde_json::to_vec_pretty(index)
            .map_err(io::Error::other)
            .and_then(|text| self.keep(&self.index_path(), &text));
        if let Err(error) = kept {
            tracing::debug!(%error, "the list of plugins cannot be kept");
        }
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("plugins.json")
    }
}

/// Source digest and everything of the engine that compiled code depends on.
fn key(engine: &Engine, digest: &str) -> String {
    use std::hash::{Hash as _, Hasher};

    struct Hashing(Sha256);

    impl Hasher for Hashing {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    let mut hashing = Hashing(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hashing);
    hashing.0.update(digest.as_bytes());
    hashing.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
