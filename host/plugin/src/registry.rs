//! The plugins directory: what is there, what is new, and what was asked for by name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use spout_base::clock;
use wasmtime::Engine;

use super::{
    Error, Plugin, PluginRef,
    cache::{Cache, Change},
    component, engine,
    reserved::Reserved,
};

/// The plugins of one directory. Clones share compiled code.
#[derive(Clone)]
pub struct Plugins {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    dir: PathBuf,
    cache: Cache,
    reserved: Arc<Reserved>,
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
    /// The plugin, or why it is not one.
    pub plugin: Result<Arc<Plugin>, Error>,
}

/// How long a plugin may compile before the log says that it does, and how often the log repeats it.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(10);

impl Plugins {
    /// The plugins in `dir`; compiled code is kept in `cache`, if there is such a directory. Neither is looked at before the
    /// first plugin is asked for.
    ///
    /// # Errors
    /// If the runtime cannot start.
    pub fn open(dir: &Path, cache: Option<&Path>) -> Result<Self, Error> {
        Self::open_beside(dir, cache, &[])
    }

    /// As [`Plugins::open`], beside other directories of the host, each with what it is called: no guest may be granted any
    /// of them, nor the plugins directory, nor the one of compiled code.
    ///
    /// # Errors
    /// As for [`Plugins::open`].
    pub fn open_beside(dir: &Path, cache: Option<&Path>, others: &[(&'static str, PathBuf)]) -> Result<Self, Error> {
        let mut reserved = others.to_vec();
        reserved.push(("the plugins directory", dir.to_path_buf()));
        reserved.extend(cache.map(|cache| ("the directory of compiled plugins", cache.to_path_buf())));
        let inner = Inner {
            engine: engine::start()?,
            dir: dir.to_path_buf(),
            cache: Cache::new(cache),
            reserved: Arc::new(Reserved::new(reserved)),
            loaded: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
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

    /// What tells one version of a plugin's file from another without reading it: when it was written, and its size. `None` if
    /// there is no such file.
    #[must_use]
    pub fn stamp(&self, name: &str) -> Option<(SystemTime, u64)> {
        let file = fs::metadata(self.inner.dir.join(format!("{name}.wasm"))).ok()?;
        Some((file.modified().ok()?, file.len()))
    }

    /// The plugin that `reference` names. Says in the log if it is new, or another one than at the start before.
    ///
    /// # Errors
    /// There is no such file, it is not a plugin, or not the pinned one.
    pub async fn get(&self, reference: &str) -> Result<Arc<Plugin>, Error> {
        let PluginRef { plugin: name, digest: pinned, .. } = PluginRef::parse(reference);
        let files = self.files()?;
        let Some(path) = files.get(name) else {
            let near =
                files.keys().map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
            let near = near.filter(|(score, _)| *score > 0.7).map(|(_, known)| known.clone());
            let (name, dir) = (name.to_owned(), self.inner.dir.clone());
            let project = Some(dir.join(&name)).filter(|project| is_project(project));
            return Err(Error::NotFound { name, dir, project, near });
        };
        let wasm = component::read(path)?;
        let found = component::digest(&wasm);
        if let Some(pinned) = pinned.filter(|pinned| *pinned != found) {
            return Err(Error::DigestMismatch { plugin: name.to_owned(), found, pinned: pinned.to_owned() });
        }
        let plugin = self.load(name, path.clone(), wasm).await?;
        match self.inner.cache.change(&self.inner.dir, name, &found) {
            Some(Change::Replaced) => {
                tracing::info!(plugin = name, digest = found, "plugin was replaced since the last start");
            }
            Some(Change::New) => tracing::info!(plugin = name, digest = found, "plugin is new"),
            None => {}
        }
        Ok(plugin)
    }

    async fn load(&self, name: &str, path: PathBuf, wasm: Vec<u8>) -> Result<Arc<Plugin>, Error> {
        let digest = component::digest(&wasm);
        let lock = || self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = lock().get(name).filter(|plugin| plugin.digest() == digest) {
            return Ok(Arc::clone(plugin));
        }
        let (inner, owned, size) = (Arc::clone(&self.inner), name.to_owned(), wasm.len() as f64 / 1e6);
        let compile = move || Plugin::load(&inner.engine, &inner.cache, &inner.reserved, &owned, &path, &wasm);
        let begun = clock::now();
        let say = |times| {
            if times == 0 {
                tracing::info!("compiling plugin `{name}` ({size:.1} MB); this happens once, the result is cached");
            } else {
                tracing::info!("still compiling plugin `{name}` after {} s", begun.elapsed().as_secs());
            }
        };
        let compiled = patiently(tokio::task::spawn_blocking(compile), (PATIENCE, AGAIN), say).await;
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
}

/// What `work` comes to. Until then, `say` is called after the first of the two times and whenever the second has passed again,
/// with how often it was called before.
async fn patiently<T>(
    mut work: impl Future<Output = T> + Unpin,
    (first, again): (Duration, Duration),
    mut say: impl FnMut(u32),
) -> T {
    let mut times = 0;
    loop {
        let wait = if times == 0 { first } else { again };
        match tokio::time::timeout(wait, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                say(times);
                times += 1;
            }
        }
    }
}

/// Whether `dir` holds what a plugin is built from.
fn is_project(dir: &Path) -> bool {
    ["Cargo.toml", "pyproject.toml", "spout.json"].iter().any(|file| dir.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_long_says_so_and_what_is_quick_does_not() {
        const SHORT: Duration = Duration::from_millis(1);
        let ready = std::future::ready(7);
        assert_eq!(patiently(ready, (Duration::ZERO, SHORT), |_| panic!("it was ready")).await, 7);
        let (done, work) = tokio::sync::oneshot::channel();
        let (mut done, mut said) = (Some(done), Vec::new());
        let say = |times| {
            said.push(times);
            if let Some(done) = done.take_if(|_| times == 2) {
                done.send(8).unwrap();
            }
        };
        assert_eq!(patiently(work, (SHORT, SHORT), say).await.unwrap(), 8);
        assert_eq!(said, [0, 1, 2]);
    }
}
