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
        if self.sound(&kept) {
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
        if let Err(error) = self.keep_code(&kept, &code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code cannot be kept; it is compiled again at the next start");
        }
        // SAFETY: these bytes come from `precompile_component` of this engine, just now.
        unsafe { Component::deserialize(engine, &code) }.map_err(compile)
    }

    /// Whether kept code is what was written: machine code with a flipped bit must not run.
    fn sound(&self, kept: &Path) -> bool {
        let (Ok(code), Ok(sum)) = (fs::read(kept), fs::read_to_string(sum_path(kept))) else { return false };
        let sound = sum == super::component::digest(&code);
        if !sound {
            tracing::warn!(file = %kept.display(), "compiled code is damaged; compiling again");
        }
        sound
    }

    /// Code first, its sum last: what has no sum is not there.
    fn keep_code(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        self.keep(path, code)?;
        self.keep(&sum_path(path), super::component::digest(code).as_bytes())
    }

    fn keep(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.create()?;
        let staged = self.dir.join(format!(".{}", clock::nonce()));
        let written = fs::write(&staged, content).and_then(|()| fs::rename(&staged, path));
        if written.is_err() {
            // A disk that is full should not fill up with pieces.
            drop(fs::remove_file(&staged));
        }
        written
    }

    fn create(&self) -> io::Result<()> {
        if self.dir.is_dir() {
            return private(&self.dir);
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

fn sum_path(code: &Path) -> PathBuf {
    code.with_extension("sum")
}

/// Takes away the right of others to write into `dir`: what lies there is run.
#[cfg(unix)]
fn private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(dir)?.permissions().mode();
    match mode & 0o022 {
        0 => Ok(()),
        _ => fs::set_permissions(dir, fs::Permissions::from_mode(mode & 0o700)),
    }
}

#[cfg(not(unix))]
fn private(_: &Path) -> io::Result<()> {
    Ok(())
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
