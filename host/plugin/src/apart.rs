//! An instance whose calls run apart: each on a task that may block its thread on files, so that reading a file needs no switch
//! of threads, and a read that hangs stalls nobody else.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use spout_base::owner;
use tokio::{
    runtime::RuntimeFlavor,
    task::{JoinHandle, block_in_place},
};

use super::{
    Error,
    files::Threads,
    instance::{Instance, lost},
    leash::{GRACE, Leash, Overrun},
    steps::Steps,
    task::Task,
};

/// Beyond the limits that are enforced inside a call: only a thread that hangs takes so long.
const SPARE: Duration = Duration::from_millis(50);

/// The same at a stop, which has no time for it.
const SPARE_AT_STOP: Duration = Duration::from_millis(300);

/// What has an instance to call.
pub(super) trait Live: Sized + Send + 'static {
    /// The instance.
    fn instance(&self) -> &Instance;

    /// Opens it for `topic`.
    fn open(task: &Task, topic: &str) -> impl Future<Output = Result<Self, Error>> + Send;
}

/// Keeps an instance from call to call; after a crash the next call opens a new one.
#[derive(Debug)]
pub(super) struct Apart<L> {
    pub(super) task: Task,
    topic: String,
    live: Option<L>,
}

impl<L: Live> Apart<L> {
    pub(super) fn new(task: Task, topic: &str) -> Self {
        Self { task, topic: topic.to_owned(), live: None }
    }

    /// Makes `call`, which may wait so long on top of its time.
    pub(super) async fn make<T, F>(
        &mut self,
        name: &'static str,
        wait: Duration,
        call: impl FnOnce(L) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = (L, Result<T, Error>)> + Send,
    {
        let live = self.live.take().filter(|live| !live.instance().spoilt());
        let (task, topic) = (self.task.clone(), self.topic.clone());
        let work = async move {
            let live = match live {
                Some(live) => live,
                None => L::open(&task, &topic).await?,
            };
            Ok(call(live).await)
        };
        let limit = self.task.limits.call.0 + wait;
        let (work, mut steps) = Steps::of(limit + GRACE, work);
        let mut running = Running(owner::spawn(blocking(work, self.task.threads())));
        let turns = self.task.quotas.turns(self.task.limits.processors());
        let leash = Leash::around(SPARE_AT_STOP, &self.task.draining, &turns);
        let done = tokio::select! {
            biased;
            done = leash.hold(&mut running.0) => done,
            () = steps.overdue(SPARE) => Err(Overrun::Limit),
        };
        let answer = match done {
            Ok(Ok(done)) => done.and_then(|(live, answer)| {
                self.live = Some(live).filter(|_| !answer.as_ref().is_err_and(Error::is_crash));
                answer
            }),
            // A panic there is a bug; it goes on here, where the pipeline's task is watched.
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Closed),
            },
            Err(Overrun::Limit) => Err(lost(&self.task, Error::TimedOut { at: self.task.at(name), limit })),
            Err(Overrun::Stop) => Err(Error::Interrupted { at: self.task.at(name) }),
        };
        if answer.as_ref().is_err_and(Error::is_slow) {
            let last = steps.last();
            let (limit, took) = (last.limit.saturating_sub(GRACE), last.begun.elapsed());
            tracing::debug!(
                pipeline = self.task.pipeline,
                call = name,
                limit_ms = limit.as_millis(),
                took_ms = took.as_millis(),
                "a call is over by its limit"
            );
        }
        answer
    }
}

/// A task that ends with whoever waits for it.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `work`, whose steps may block their thread: what else the thread has to do goes to another one. So many may as the plugin has
/// `threads`; a step that hangs keeps its turn, and the others take theirs from what is left.
async fn blocking<F: Future>(work: F, threads: Threads) -> F::Output {
    let mut work = Box::pin(work);
    let many = tokio::runtime::Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    let mut asked = pin!(None);
    poll_fn(|cx| {
        let turn = match threads.turn_now() {
            Some(turn) => turn,
            None => {
                if asked.is_none() {
                    asked.set(Some(threads.turn()));
                }
                match asked.as_mut().as_pin_mut().map(|asked| asked.poll(cx)) {
                    Some(Poll::Ready(turn)) => turn,
                    _ => return Poll::Pending,
                }
            }
        };
        asked.set(None);
        let polled = if many { block_in_place(|| work.as_mut().poll(cx)) } else { work.as_mut().poll(cx) };
        drop(turn);
        polled
    })
    .await
}
