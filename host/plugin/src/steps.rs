//! The steps of a call that is made [apart](super::apart), as they are watched from outside: to instantiate, to open, the call itself.
//! Each has its own time, also where a thread hangs that its own deadline is looked at by.

use std::{
    future::{Future, pending},
    time::Duration,
};

use spout_base::clock::{self, Instant};
use tokio::{sync::watch, time::sleep_until};

tokio::task_local! {
    /// Who watches what is done in this task, if anybody does.
    static WATCHED: watch::Sender<Doing>;
}

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing {
    /// When the last step began, and the time that it had.
    pub(super) begun: Instant,
    pub(super) limit: Duration,
    /// When it was over: from there on the next one has to begin.
    over: Option<Instant>,
}

/// One step, while it is taken.
#[derive(Debug)]
pub(super) struct Step;

/// What watches the steps of a task.
#[derive(Debug)]
pub(super) struct Steps {
    doing: watch::Receiver<Doing>,
    /// How long it may take until the next step begins.
    between: Duration,
}

impl Step {
    /// Begins one that has `limit`.
    pub(super) fn begin(limit: Duration) -> Self {
        let doing = Doing { begun: clock::now(), limit, over: None };
        // Most tasks are watched by nobody.
        let _unwatched = WATCHED.try_with(|watched| watched.send_replace(doing));
        Self
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _unwatched = WATCHED.try_with(|watched| watched.send_modify(|doing| doing.over = Some(clock::now())));
    }
}

impl Steps {
    /// `work`, whose steps are watched, and what watches them. The next one has to begin within `between`.
    pub(super) fn of<F: Future>(between: Duration, work: F) -> (impl Future<Output = F::Output>, Self) {
        let now = clock::now();
        let (watched, doing) = watch::channel(Doing { begun: now, limit: between, over: Some(now) });
        (WATCHED.scope(watched, work), Self { doing, between })
    }

    /// The last step.
    pub(super) fn last(&self) -> Doing {
        *self.doing.borrow()
    }

    /// Ends when a step has taken so much longer than it may; never, if all of them are over before.
    pub(super) async fn overdue(&mut self, spare: Duration) {
        loop {
            let doing = *self.doing.borrow_and_update();
            let due = doing.over.map_or(doing.begun + doing.limit, |over| over + self.between);
            tokio::select! {
                changed = self.doing.changed() => if changed.is_err() { return pending().await },
                () = sleep_until(due + spare) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_step_has_its_own_time_and_so_has_what_lies_between() {
        const LONG: Duration = Duration::from_secs(1);
        let spare = Duration::from_millis(50);
        // Three steps: none is late, although all of them together take longer than one may.
        let slow = async {
            for _ in 0..3 {
                let _step = Step::begin(LONG);
                tokio::time::sleep(LONG.mul_f64(0.4)).await;
            }
        };
        let (slow, mut steps) = Steps::of(LONG, slow);
        tokio::select! {
            () = slow => {}
            () = steps.overdue(spare) => panic!("none of them took too long"),
        }
        // The second one hangs, and what comes before a step is limited too.
        let limit = LONG / 20;
        for begins in [true, false] {
            let begun = clock::now();
            let hangs = async {
                drop(Step::begin(limit));
                let _step = begins.then(|| Step::begin(limit));
                pending::<()>().await;
            };
            let (hangs, mut steps) = Steps::of(limit, hangs);
            tokio::select! {
                () = hangs => {}
                () = steps.overdue(spare) => {}
            }
            assert!(begun.elapsed() >= limit + spare && steps.last().limit == limit);
        }
    }
}
