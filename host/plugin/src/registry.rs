//! The plugins directory: what is there, what is new, and what was asked for by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use spout_base::clock;
use wasmtime::Engine;

use super::{
    Compiler, Error, Plugin, PluginRef, TooMuch,
    cache::{Cache, Change},
    component, engine,
    loading::Loading,
    reserved::Reserved,
    shelf::Shelf,
    unchanged::{Identity, Unchanged},
};

/// The plugins of one directory. Clones share compiled code.
#[derive(Clone)]
pub struct Plugins {
    inner: Arc<Inner>,
    /// What the directory does not have.
    shelf: Option<Arc<dyn Shelf>>,
    /// Digests of plugins that are named without one.
    pins: Arc<BTreeMap<String, String>>,
    compiler: Compiler,
}

struct Inner {
    engine: Engine,
    dir: PathBuf,
    cache: Arc<Cache>,
    reserved: Arc<Reserved>,
    loaded: Mutex<BTreeMap<String, Arc<Plugin>>>,
    /// Those whose files need not be read again.
    unchanged: Unchanged,
    /// What keeps two who need the same plugin from compiling it twice, by its digest.
    turns: Mutex<BTreeMap<String, Weak<Turn>>>,
    /// What took too much to compile, by its digest: it is not tried again.
    given_up: Mutex<BTreeMap<String, TooMuch>>,
}

/// Whoever has it loads a plugin.
type Turn = tokio::sync::Mutex<()>;

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

/// What tells one version of a plugin from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// When its file was written, and its size.
    File(SystemTime, u64),
    /// Its digest, where there is no file.
    Kept(String),
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
            cache: Arc::new(Cache::new(cache)),
            reserved: Arc::new(Reserved::new(reserved)),
            loaded: Mutex::default(),
            unchanged: Unchanged::default(),
            turns: Mutex::default(),
            given_up: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), shelf: None, pins: Arc::default(), compiler: Compiler::default() })
    }

    /// The same, compiled by `compiler`.
    #[must_use]
    pub fn compiled_by(self, compiler: Compiler) -> Self {
        Self { compiler, ..self }
    }

    /// The same with those of `shelf` where the directory has no file of a name or a digest.
    #[must_use]
    pub fn with_shelf(self, shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// The same where the plugins of these names are those of these digests, if no other is asked for.
    #[must_use]
    pub fn pinned(&self, digests: &BTreeMap<String, String>) -> Self {
        Self { pins: Arc::new(digests.clone()), ..self.clone() }
    }

    /// What `wasm` is as a plugin, compiled, without running any of it. It is not remembered.
    ///
    /// # Errors
    /// Why it is none.
    pub fn examine<'a>(
        &'a self,
        name: &'a str,
        place: &'a Path,
        wasm: Vec<u8>,
    ) -> BoxFuture<'a, Result<Plugin, Error>> {
        Box::pin(async move {
            let digest = component::digest(&wasm);
            self.compile(name, place.to_owned(), (wasm, digest)).await
        })
    }

    /// Every `.wasm` file of the directory, sorted by name; broken ones with their error.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list<'a>(&'a self) -> BoxFuture<'a, Result<Vec<Listed>, Error>> {
        Box::pin(async move {
            let mut listed = Vec::new();
            for (name, path) in self.files()? {
                let size = fs::metadata(&path).map_or(0, |file| file.len());
                let (digest, plugin) = match component::read(&path) {
                    Ok(wasm) => {
                        let digest = component::digest(&wasm);
                        (digest.clone(), self.load(&name, path.clone(), (wasm, digest)).await)
                    }
                    Err(error) => (String::new(), Err(error)),
                };
                listed.push(Listed { name, path, size, digest, plugin });
            }
            Ok(listed)
        })
    }

    /// What tells one version of a plugin from another without reading it. `None` if there is no such plugin.
    #[must_use]
    pub fn stamp(&self, name: &str) -> Option<Stamp> {
        match fs::metadata(self.inner.dir.join(format!("{name}.wasm"))) {
            Ok(file) => Some(Stamp::File(file.modified().ok()?, file.len())),
            Err(_) => self.shelf.as_ref()?.newest(name).map(Stamp::Kept),
        }
    }

    /// The plugin that `reference` names. Says in the log if it is new, or another one than at the start before.
    ///
    /// # Errors
    /// There is no such file, it is not a plugin, or not the pinned one.
    pub fn get<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Arc<Plugin>, Error>> {
        Box::pin(async move {
            let PluginRef { plugin: name, digest: pinned, .. } = PluginRef::parse(reference);
            let pinned = pinned.or_else(|| self.pins.get(name).map(String::as_str));
            let files = self.files()?;
            let mut found = None;
            if let Some(path) = files.get(name) {
                let wanted = |digest: &str| pinned.is_none_or(|pinned| pinned == digest);
                if let Some(plugin) = self.inner.unchanged.get(name, path).filter(|plugin| wanted(plugin.digest())) {
                    return Ok(plugin);
                }
                let identity = Identity::settled(path);
                let wasm = component::read(path)?;
                let digest = component::digest(&wasm);
                if wanted(&digest) {
                    let plugin = self.of_file(name, path, (wasm, digest)).await?;
                    self.inner.unchanged.put(name, identity, &plugin);
                    return Ok(plugin);
                }
                found = Some(digest);
            }
            if let Some(plugin) = self.of_shelf(name, pinned).await? {
                return Ok(plugin);
            }
            Err(match (found, pinned) {
                (Some(found), Some(pinned)) => {
                    Error::DigestMismatch { plugin: name.to_owned(), found, pinned: pinned.to_owned() }
                }
                _ => self.not_found(name, files.into_keys()),
            })
        })
    }

    /// Loads those that are named, all at once, so that each is there when it is asked for. What cannot be loaded is said then.
    pub async fn prepare(&self, references: impl IntoIterator<Item = &str>) {
        let each: BTreeSet<&str> = references.into_iter().collect();
        if each.len() > 1 {
            drop(futures::future::join_all(each.into_iter().map(|reference| self.get(reference))).await);
        }
    }

    async fn of_file(&self, name: &str, path: &Path, (wasm, digest): (Vec<u8>, String)) -> Result<Arc<Plugin>, Error> {
        let plugin = self.load(name, path.to_owned(), (wasm, digest.clone())).await?;
        match self.inner.cache.change(&self.inner.dir, name, &digest) {
            Some(Change::Replaced) => {
                tracing::info!(plugin = name, digest, "plugin was replaced since the last start");
            }
            Some(Change::New) => tracing::info!(plugin = name, digest, "plugin is new"),
            None => {}
        }
        Ok(plugin)
    }

    /// The version of this digest, or the newest one, if it is kept.
    async fn of_shelf(&self, name: &str, pinned: Option<&str>) -> Result<Option<Arc<Plugin>>, Error> {
        let Some(shelf) = &self.shelf else { return Ok(None) };
        let Some(digest) = pinned.map(str::to_owned).or_else(|| shelf.newest(name)) else { return Ok(None) };
        let path = PathBuf::from(shelf.place(name, &digest));
        let broken = |reason| Error::Broken { path: path.clone(), reason };
        let Some(wasm) = shelf.read(name, &digest).await.map_err(broken)? else { return Ok(None) };
        if component::digest(&wasm) != digest {
            return Err(broken("it is not what its digest says".into()));
        }
        self.load(name, path, (wasm, digest)).await.map(Some)
    }

    fn not_found(&self, name: &str, files: impl Iterator<Item = String>) -> Error {
        let known: Vec<String> = files.chain(self.shelf.iter().flat_map(|shelf| shelf.names())).collect();
        let near = known.iter().map(|known| (strsim::jaro_winkler(known, name), known));
        let near = near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.7);
        let (near, dir) = (near.map(|(_, known)| known.clone()), self.inner.dir.clone());
        let project = Some(dir.join(name)).filter(|project| is_project(project));
        Error::NotFound { name: name.to_owned(), dir, project, near }
    }

    async fn load(&self, name: &str, path: PathBuf, (wasm, digest): (Vec<u8>, String)) -> Result<Arc<Plugin>, Error> {
        let lock = || self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = || lock().get(name).filter(|plugin| plugin.digest() == digest).map(Arc::clone);
        if let Some(plugin) = loaded() {
            return Ok(plugin);
        }
        let turn = self.inner.turn(&digest);
        let _mine = turn.lock().await;
        if let Some(plugin) = loaded() {
            return Ok(plugin);
        }
        let given_up = || self.inner.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(much) = given_up().get(&digest).cloned() {
            return Err(Error::CompileLimit { plugin: name.to_owned(), path, much });
        }
        let plugin = self.compile(name, path, (wasm, digest.clone())).await;
        if let Err(Error::CompileLimit { much, .. }) = &plugin {
            given_up().insert(digest, much.clone());
        }
        let plugin = Arc::new(plugin?);
        lock().insert(name.to_owned(), Arc::clone(&plugin));
        Ok(plugin)
    }

    async fn compile(&self, name: &str, path: PathBuf, (wasm, digest): (Vec<u8>, String)) -> Result<Plugin, Error> {
        let (inner, size) = (&self.inner, wasm.len() as f64 / 1e6);
        let loading = Loading {
            engine: inner.engine.clone(),
            cache: Arc::clone(&inner.cache),
            reserved: Arc::clone(&inner.reserved),
            name: name.to_owned(),
            path,
            wasm: Arc::new(wasm),
            digest,
        };
        let begun = clock::now();
        let say = |times| {
            if times == 0 {
                tracing::info!("compiling plugin `{name}` ({size:.1} MB); this happens once, the result is cached");
            } else {
                tracing::info!("still compiling plugin `{name}` after {} s", begun.elapsed().as_secs());
            }
        };
        patiently(Box::pin(loading.load(&self.compiler)), (PATIENCE, AGAIN), say).await
    }

    fn files(&self) -> Result<BTreeMap<String, PathBuf>, Error> {
        let failed = |source| Error::Directory { path: self.inner.dir.clone(), source };
        let mut files = BTreeMap::new();
        let entries = match fs::read_dir(&self.inner.dir) {
            // A store that keeps plugins needs no directory of them.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.shelf.is_some() => return Ok(files),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
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

impl Inner {
    /// The turn of those who load the plugin of this digest.
    fn turn(&self, digest: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.insert(digest.to_owned(), Arc::downgrade(&turn));
        turn
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
