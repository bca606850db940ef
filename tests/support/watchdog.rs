//! Kills what does not do in minutes what a test waits for, so that the wait ends and the test says what it was for.

use std::{
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// Far longer than anything takes that one waits for, on a machine that others use too.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// The same for `just soak`.
const LONGEST_OF_SOAK: Duration = Duration::from_secs(3600);

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(500);

/// Until when a process has to have done what is waited for, if something is.
type Until = Mutex<Option<Instant>>;

/// Watches a child process of this one, which nobody has waited for yet.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Until>);

impl Watchdog {
    /// Watches the process `id` as long as this is kept.
    pub(crate) fn of(id: u32) -> Self {
        let until = Arc::<Until>::default();
        let watched = Arc::downgrade(&until);
        thread::spawn(move || watch(id, &watched));
        Self(until)
    }

    /// What `wait` waits for has to come in time.
    pub(crate) fn during<T>(&self, wait: impl FnOnce() -> T) -> T {
        let longest = if std::env::var_os("SPOUT_KILLS").is_some() { LONGEST_OF_SOAK } else { LONGEST };
        self.set(Some(Instant::now() + longest));
        let answer = wait();
        self.set(None);
        answer
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

fn watch(id: u32, until: &Weak<Until>) {
    loop {
        thread::sleep(PAUSE);
        let Some(until) = until.upgrade() else { return };
        // It is held meanwhile: whoever waits for the end of the process comes behind, so that the id is still its own.
        let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| Instant::now() > until) {
            eprintln!("what is waited for does not come: process {id} is killed");
            drop(Command::new("kill").args(["-9", &id.to_string()]).status());
            *until = None;
        }
    }
}
