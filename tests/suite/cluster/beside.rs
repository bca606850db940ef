//! What a test does while processes are in trouble.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Result;

/// A thread of the test, until it is asked to end.
pub(super) struct Beside<T> {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<T>>,
}

impl<T: Send + 'static> Beside<T> {
    pub(super) fn start(does: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        Self { over, thread: thread::spawn(move || does(&seen)) }
    }

    pub(super) fn end(self) -> Result<T> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow::anyhow!("a thread of the test panicked"))?
    }
}
