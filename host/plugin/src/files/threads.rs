//! Threads of a plugin's own: whatever waits for a disk or the system on behalf of its instances waits on one of these, so many at a
//! time. A file that hangs, on a mount whose server is gone or plays tricks, holds threads of this plugin, and of nobody else.
//!
//! Each is a runtime with a single thread for what blocks: `wasmtime-wasi` starts such work in whichever runtime it is polled in. A
//! thread whose work was given up is not free before that work has come back, which its runtime notices, because it does one thing
//! after the other. Threads that hang outlast the pipeline: it finds them again, and has no more of them, when it is started anew.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, spawn_blocking},
};

/// How long a thread is kept that has nothing to do.
const IDLE: Duration = Duration::from_secs(1);

/// What waits calls hardly anything.
const STACK: usize = 512 << 10;

/// A plugin in a pipeline, and how many threads it may have.
type Name = (String, String, usize);

/// Those that are in use, or hang.
static ALL: LazyLock<Mutex<HashMap<Name, Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// The threads of one plugin in one pipeline. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Name,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Lane>>,
    closing: OnceLock<Option<Lane>>,
    told: AtomicBool,
}

/// A right to block one thread, whichever it is, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    _threads: Threads,
}

/// A runtime with one thread, which ends with what that does now.
#[derive(Debug)]
struct Lane(Option<Runtime>);

/// A lane that is in use.
#[derive(Debug)]
struct Thread {
    lane: Lane,
    turn: Option<Turn>,
    threads: Threads,
    /// Nothing of what it was asked to do is under way.
    done: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Threads {
    /// Those of `plugin` in `pipeline`, of which there are `most`.
    pub(crate) fn of(pipeline: &str, plugin: &str, most: usize) -> Self {
        let name = (pipeline.to_owned(), plugin.to_owned(), most);
        let mut all = locked(&ALL);
        if let Some(known) = all.get(&name).and_then(Weak::upgrade) {
            return Self(known);
        }
        all.retain(|_, threads| threads.strong_count() > 0);
        let shared = Arc::new(Shared {
            name: name.clone(),
            free: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
            closing: OnceLock::new(),
            told: AtomicBool::new(false),
        });
        all.insert(name, Arc::downgrade(&shared));
        Self(shared)
    }

    /// What `call` comes to, whose blocking work is done by one of these threads. It waits for a free one.
    pub(crate) async fn run<F: Future>(&self, call: F) -> F::Output {
        let turn = self.turn().await;
        let idle = locked(&self.0.idle).pop();
        let mut thread =
            Thread { lane: idle.unwrap_or_else(Lane::new), turn: Some(turn), threads: self.clone(), done: true };
        let mut call = pin!(call);
        let answer = poll_fn(|cx| {
            thread.done = false;
            thread.lane.within(|| call.as_mut().poll(cx))
        })
        .await;
        thread.done = true;
        answer
    }

    /// What `work` comes to, which blocks.
    ///
    /// # Errors
    /// It panicked.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        self.run(async { spawn_blocking(work).await }).await
    }

    /// A right to block a thread that is none of these, as one of them.
    pub(crate) async fn turn(&self) -> Turn {
        let permit = match Arc::clone(&self.0.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.tell();
                match Arc::clone(&self.0.free).acquire_owned().await {
                    Ok(permit) => permit,
                    // Nobody closes it.
                    Err(_) => std::future::pending().await,
                }
            }
        };
        Turn { _permit: permit, _threads: self.clone() }
    }

    /// The same, if there is one at once.
    pub(crate) fn turn_now(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(Turn { _permit: permit, _threads: self.clone() })
    }

    /// Drops what has files open, which can block too, on a thread that does nothing else.
    pub(crate) fn close(&self, what: impl Send + 'static) {
        let lane = self.0.closing.get_or_init(|| Some(Lane::new())).as_ref();
        // It keeps these threads, so that it is not dropped before.
        let threads = self.clone();
        match lane.and_then(|lane| lane.0.as_ref()) {
            Some(runtime) => drop(runtime.spawn_blocking(move || drop((what, threads)))),
            None => drop(what),
        }
    }

    fn tell(&self) {
        if !self.0.told.swap(true, Relaxed) {
            let (pipeline, plugin, threads) = &self.0.name;
            tracing::warn!(
                pipeline,
                plugin,
                threads,
                "every thread that the plugin may have waits for a file; the next call waits for one of them (limits.threads)"
            );
        }
    }
}

impl Lane {
    fn new() -> Self {
        let mut lane = Builder::new_current_thread();
        lane.max_blocking_threads(1).thread_keep_alive(IDLE).thread_stack_size(STACK).thread_name("spout-files");
        Self(lane.build().ok())
    }

    /// Polls what may start something that blocks.
    fn within<T>(&self, poll: impl FnOnce() -> T) -> T {
        let _within = self.0.as_ref().map(Runtime::enter);
        poll()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let lane = mem::replace(&mut self.lane, Lane(None));
        let (turn, threads) = (self.turn.take(), self.threads.clone());
        let handle = lane.0.as_ref().map(|runtime| runtime.handle().clone());
        let back = move || {
            locked(&threads.0.idle).push(lane);
            drop(turn);
        };
        match handle {
            // It comes after what is still under way.
            Some(handle) if !self.done => drop(handle.spawn_blocking(back)),
            Some(_) => back(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        pin::Pin,
    };

    use futures::FutureExt as _;

    use super::*;

    /// A pipe, which keeps whoever opens it waiting until somebody writes.
    fn pipe(dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    type Opening = Pin<Box<dyn Future<Output = bool> + Send>>;

    /// Opens it, and has begun to.
    fn opening(threads: &Threads, path: &Path) -> Opening {
        let (threads, path) = (threads.clone(), path.to_owned());
        let mut opening: Opening =
            Box::pin(async move { threads.block(move || fs::File::open(path).is_ok()).await.unwrap() });
        assert!(opening.as_mut().now_or_never().is_none());
        opening
    }

    #[tokio::test]
    async fn what_hangs_costs_the_threads_of_its_plugin_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = pipe(&dir);
        let threads = Threads::of("pipeline", "hangs", 2);
        let hanging = [opening(&threads, &path), opening(&threads, &path)];
        let third = opening(&threads, &path);
        assert!(threads.turn_now().is_none());
        // Whoever waited gives up; the threads still hang, also for the same pipeline that was started anew.
        drop(third);
        drop(hanging);
        drop(threads);
        let threads = Threads::of("pipeline", "hangs", 2);
        assert!(threads.turn_now().is_none(), "a thread that hangs is given away");
        // Others have their own.
        let other = Threads::of("pipeline", "other", 1);
        assert_eq!(other.block(|| 1).await.unwrap(), 1);
        drop(other.turn_now().expect("it is free again"));
        // Once they come back, they are used again.
        let writer = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(path).unwrap());
        let both = [threads.turn().await, threads.turn().await];
        drop((both, writer.await.unwrap()));
        assert_eq!(threads.block(|| 2).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_closed_keeps_nobody() {
        struct Stuck(PathBuf);
        impl Drop for Stuck {
            fn drop(&mut self) {
                drop(fs::File::open(&self.0));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = pipe(&dir);
        let threads = Threads::of("pipeline", "closes", 1);
        threads.close(Stuck(path.clone()));
        assert_eq!(threads.block(|| 1).await.unwrap(), 1);
        drop(threads);
        // Only for the test to leave nothing behind.
        drop(fs::OpenOptions::new().write(true).open(path).unwrap());
    }
}
