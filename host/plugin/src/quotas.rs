//! What all instances of one plugin in one pipeline have together: a plugin gets no more by being opened more often.
//!
//! Each instance holds [`Share`]s, which it gives back when it is dropped. What is too much for all together says nothing about the
//! messages of whoever asked last, so it is no crash that those are blamed for: it ends the pipeline.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Semaphore;

use super::{
    files::{Disk, Threads},
    log::Log,
    net::{Denials, Traffic},
    secrets::Masks,
    turns::Turns,
    usage::{Taken, Usage},
};

/// The accounts of one plugin in one pipeline. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Arc<Accounts>);

#[derive(Debug, Default)]
struct Accounts {
    instances: AtomicU64,
    memory: AtomicU64,
    files: AtomicU64,
    sockets: AtomicU64,
    disk: Arc<Disk>,
    log: OnceLock<Log>,
    masks: Masks,
    denials: Denials,
    turns: OnceLock<Arc<Semaphore>>,
    threads: OnceLock<Threads>,
    traffic: OnceLock<Traffic>,
    taken: Taken,
}

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Instances,
    /// Bytes of linear memories and tables.
    Memory,
    /// Descriptors of files and directories.
    Files,
    /// Descriptors of sockets.
    Sockets,
}

/// What one instance has of it.
#[derive(Debug)]
pub(super) struct Share {
    quotas: Quotas,
    of: Of,
    mine: u64,
}

/// The shares of one instance.
#[derive(Debug)]
pub(super) struct Shares {
    /// Counts it.
    _instance: Share,
    pub(super) memory: Share,
    pub(super) files: Share,
    pub(super) sockets: Share,
    pub(super) disk: Arc<Disk>,
}

impl Quotas {
    /// The shares of an instance that has nothing yet.
    pub(super) fn shares(&self) -> Shares {
        let share = |of| Share { quotas: self.clone(), of, mine: 0 };
        let mut instance = share(Of::Instances);
        instance.set(1, u64::MAX);
        let (memory, files, sockets) = (share(Of::Memory), share(Of::Files), share(Of::Sockets));
        Shares { _instance: instance, memory, files, sockets, disk: Arc::clone(&self.0.disk) }
    }

    /// The way into the log that all take.
    pub(super) fn log(&self, new: impl FnOnce() -> Log) -> Log {
        self.0.log.get_or_init(new).clone()
    }

    /// What is taken out of what they say.
    pub(super) fn masks(&self) -> &Masks {
        &self.0.masks
    }

    /// What was logged of what they were kept from.
    pub(super) fn denials(&self) -> &Denials {
        &self.0.denials
    }

    /// The turns of an instance, where all instances together have so many processors.
    pub(super) fn turns(&self, processors: usize) -> Turns {
        Turns::new(Arc::clone(self.0.turns.get_or_init(|| Arc::new(Semaphore::new(processors)))))
    }

    /// What waits for files on their behalf.
    pub(super) fn threads(&self, new: impl FnOnce() -> Threads) -> Threads {
        self.0.threads.get_or_init(new).clone()
    }

    /// What their connections may carry.
    pub(super) fn traffic(&self, new: impl FnOnce() -> Traffic) -> Traffic {
        self.0.traffic.get_or_init(new).clone()
    }

    /// What all use now, and have used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.taken.usage(self.all(Of::Instances), self.all(Of::Memory))
    }

    /// Where that is counted.
    pub(super) fn taken(&self) -> &Taken {
        &self.0.taken
    }

    /// How much of it all have together.
    pub(super) fn all(&self, of: Of) -> u64 {
        self.account(of).load(Relaxed)
    }

    fn account(&self, of: Of) -> &AtomicU64 {
        match of {
            Of::Instances => &self.0.instances,
            Of::Memory => &self.0.memory,
            Of::Files => &self.0.files,
            Of::Sockets => &self.0.sockets,
        }
    }
}

impl Share {
    /// How much it is.
    pub(super) fn mine(&self) -> u64 {
        self.mine
    }

    /// Another one of the same, which has nothing.
    pub(super) fn none(&self) -> Self {
        Self { quotas: self.quotas.clone(), of: self.of, mine: 0 }
    }

    /// Has `wanted` from here on, unless that is more than before and all together would have more than `most`.
    pub(super) fn set(&mut self, wanted: u64, most: u64) -> bool {
        let mine = self.mine;
        let taken = self.quotas.account(self.of).fetch_update(Relaxed, Relaxed, |all| {
            let next = all.saturating_sub(mine).saturating_add(wanted);
            (wanted <= mine || next <= most).then_some(next)
        });
        if taken.is_ok() {
            self.mine = wanted;
        }
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0, u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_what_one_would_have_and_give_it_back() {
        let quotas = Quotas::default();
        let (mut one, mut other) = (quotas.shares(), quotas.shares());
        assert_eq!(quotas.all(Of::Instances), 2);
        assert!(one.memory.set(70, 100) && other.memory.set(30, 100));
        assert!(!other.memory.set(31, 100), "more than there is");
        assert_eq!((other.memory.mine(), quotas.all(Of::Memory)), (30, 100));
        // Less is always possible, also where the quota was lowered.
        assert!(one.memory.set(60, 50));
        assert!(one.files.set(5, 5) && !other.files.set(1, 5));
        drop(one);
        assert_eq!([Of::Instances, Of::Memory, Of::Files].map(|of| quotas.all(of)), [1, 30, 0]);
        assert!(other.memory.set(100, 100));
    }
}
