//! The plugins directory: what is there, what is new, and what was asked for by name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use wasmtime::Engine;

use super::{Error, Plugin, cache::Cache, component, engine};

/// The plugins of one directory. Clones share compiled code.
#[derive(Clone)]
pub struct Plugins {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    dir: PathBuf,
    cache: Cache,
    loaded: Mutex<BTreeMap<String, Arc<Plugin>>>,
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

/// A `.wasm` file of the directory, usable or not.
#[derive(Debug)]
pub struct Listed {
    /// The file's name without `.wasm`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// `sha256:…` of its content; empty if it cannot be read.
    pub digest: String,
    /// The plugin, or why it is none.
    pub plugin: Result<Arc<Plugin>, Error>,
}

impl Plugins {
    /// The plugins in `dir`; compiled code is kept in `cache`. Says in the log what was added or replaced since the last
    /// start.
    ///
    /// # Errors
    /// If the directory cannot be read, or the runtime cannot start.
    pub fn open(dir: &Path, cache: &Path) -> Result<Self, Error> {
        let inner = Inner {
            engine: engine::start()?,
            dir: dir.to_path_buf(),
            cache: Cache::new(cache),
            loaded: Mutex::default(),
        };
        let plugins = Self { inner: Arc::new(inner) };
        plugins.notice()?;
        Ok(plugins)
    }

    /// Every `.wasm` file of the directory, sorted by name; broken ones with their error.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for (name, path) in self.files()? {
            let size = fs::metadata(&path).map_or(0, |file| file.len());
            let (digest, plugin) = match component::read(&path) {
                Ok(wasm) => (component::digest(&wasm), self.load(&name, path.clone(), wasm).await),
                Err(error) => (String::new(), Err(error)),
            };
            listed.push(Listed { name, path, size, digest, plugin });
        }
        Ok(listed)
    }

    /// The plugin `name`, or the one pinned as `name@sha256:…`.
    ///
    /// # Errors
    /// If there is none, it is no plugin, or not the pinned one.
    pub async fn get(&self, name: &str) -> Result<Arc<Plugin>, Error> {
        let (name, pinned) = name.split_once('@').map_or((name, None), |(name, pinned)| (name, Some(pinned)));
        let files = self.files()?;
        let Some(path) = files.get(name) else {
            let near =
                files.keys().map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
            let near = near.filter(|(score, _)| *score > 0.7).map(|(_, known)| known.clone());
            return Err(Error::NotFound { name: name.to_owned(), dir: self.inner.dir.clone(), near });
        };
        let wasm = component::read(path)?;
        let found = component::digest(&wasm);
        if let Some(pinned) = pinned.filter(|pinned| *pinned != found) {
            return Err(Error::DigestMismatch { plugin: name.to_owned(), found, pinned: pinned.to_owned() });
        }
        self.load(name, path.clone(), wasm).await
    }

    async fn load(&self, name: &str, path: PathBuf, wasm: Vec<u8>) -> Result<Arc<Plugin>, Error> {
        let digest = component::digest(&wasm);
        let lock = || self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = lock().get(name).filter(|plugin| plugin.digest() == digest) {
            return Ok(Arc::clone(plugin));
        }
        let (inner, owned) = (Arc::clone(&self.inner), name.to_owned());
        let compile = move || Plugin::load(&inner.engine, &inner.cache, &owned, &path, &wasm);
        let compiled = tokio::task::spawn_blocking(compile).await;
        let plugin = Arc::new(compiled.map_err(|error| Error::Runtime { reason: error.to_string() })??);
        lock().insert(name.to_owned(), Arc::clone(&plugin));
        Ok(plugin)
    }

    fn files(&self) -> Result<BTreeMap<String, PathBuf>, Error> {
        let failed = |source| Error::Directory { path: self.inner.dir.clone(), source };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.inner.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "wasm")
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            {
                files.insert(name.to_owned(), path.clone());
            }
        }
        Ok(files)
    }

    /// Logs what changed since the last start.
    fn notice(&self) -> Result<(), Error> {
        let before = self.inner.cache.index();
        let mut now = BTreeMap::new();
        for (name, path) in self.files()? {
            // One file that cannot be read is its own users' trouble.
            let Ok(wasm) = component::read(&path) else { continue };
            let digest = component::digest(&wasm);
            match before.get(&name) {
                Some(known) if *known == digest => {}
                Some(_) => tracing::info!(plugin = name, digest, "plugin was replaced since the last start"),
                None => tracing::info!(plugin = name, digest, "plugin is new"),
            }
            now.insert(name, digest);
        }
        if now != before {
            self.inner.cache.set_index(&now);
        }
        Ok(())
    }
}
