//! Threads that help to encode one file: in the whole process no more than there are processors besides one.
//!
//! Without that, each of many pipelines would have as many threads as there are columns, and whoever has more of them gets more of
//! the machine.

use std::{
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    vec,
};

/// How many may still help.
static FREE: LazyLock<AtomicUsize> =
    LazyLock::new(|| AtomicUsize::new(available_parallelism().map_or(0, |all| all.get() - 1)));

/// Threads that may help; they are free for others afterwards.
#[derive(Debug)]
pub(super) struct Help(usize);

impl Help {
    /// Nobody.
    pub(super) fn none() -> Self {
        Self(0)
    }

    /// As many as are free, for so many `parts` of work.
    pub(super) fn of(parts: usize) -> Self {
        let wanted = parts.saturating_sub(1);
        let mut got = 0;
        let take = |free: usize| {
            got = wanted.min(free);
            Some(free - got)
        };
        match FREE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Self(got),
            Err(_) => Self::none(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0
    }
}

impl Drop for Help {
    fn drop(&mut self) {
        if self.0 > 0 {
            FREE.fetch_add(self.0, Ordering::Relaxed);
        }
    }
}

/// Parts of work that each belong to whoever takes them first.
pub(super) struct Work<T>(Mutex<vec::IntoIter<T>>);

impl<T> Work<T> {
    pub(super) fn new(parts: Vec<T>) -> Self {
        Self(Mutex::new(parts.into_iter()))
    }

    /// Does parts until none is left, or one fails.
    pub(super) fn all<E>(&self, mut each: impl FnMut(T) -> Result<(), E>) -> Result<(), E> {
        while let Some(part) = self.next() {
            each(part)?;
        }
        Ok(())
    }

    fn next(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_help_than_there_are_processors() {
        let all = available_parallelism().unwrap().get();
        let many: Vec<Help> = (0..4).map(|_| Help::of(all)).collect();
        // Other tests may have some of them now.
        assert!(many.iter().map(Help::count).sum::<usize>() < all);
        assert_eq!((Help::of(1).count(), Help::of(0).count()), (0, 0));
        drop(many);
    }

    #[test]
    fn each_part_is_done_once_and_a_failure_ends_the_work() {
        let (work, mut done) = (Work::new(vec![1, 2, 3, 4]), Vec::new());
        let mut each = |part: i32| {
            done.push(part);
            if part == 3 { Err("three") } else { Ok(()) }
        };
        assert_eq!(work.all(&mut each), Err("three"));
        assert_eq!(work.all(&mut each), Ok(()));
        assert_eq!(done, [1, 2, 3, 4]);
    }
}
