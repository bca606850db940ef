//! What a pipeline needs of the processes that share its work. Who they are and how they are reached, the room above knows.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, watch};

/// A process that takes tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name in the fleet, new with each start of the process.
    pub id: String,
    /// Where others reach it.
    pub address: String,
    /// What its operator says of it, for pipelines that are pinned.
    pub labels: BTreeMap<String, String>,
    /// It takes no new partitions, and gives back those that it has.
    pub leaves: bool,
}

/// The processes that share the work of a pipeline, and what starts tasks on them. A task that is lost is not started again here:
/// what it had taken nobody else knows.
pub trait Fleet: fmt::Debug + Send + Sync {
    /// Those that are there, sorted by id, this process among them; and word of every change.
    fn members(&self) -> watch::Receiver<Vec<Member>>;

    /// Starts `tasks` as one job; `name` is for people. What they say to others goes to `gathers`, which run at the same time as a second
    /// stage, if there are any; their numbers follow those of the others. Dropping [`Job::said`] ends all of them.
    fn start(&self, name: &str, tasks: Vec<Task>, gathers: Vec<Task>) -> Job;
}

/// What one member is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The member's id.
    pub member: String,
    /// The task, as [`Works::work`] gets it.
    pub what: Bytes,
}

/// A job that runs.
pub struct Job {
    /// What its tasks say, each in its own order; over when all tasks are. After an error nothing follows.
    pub said: BoxStream<'static, Result<Said, Lost>>,
    /// Takes orders, each of which goes to every task.
    pub orders: mpsc::UnboundedSender<Bytes>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

/// Words of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which of the job's tasks it is.
    pub task: usize,
    /// What it says.
    pub what: Bytes,
}

/// A job is over before its tasks were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member} is lost: {reason}")]
pub struct Lost {
    /// The member whose task failed or fell silent.
    pub member: String,
    /// How that was noticed.
    pub reason: String,
}

/// What a task says, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// Which of the job's gathers it is for; the leader, if none.
    pub to: Option<usize>,
    /// What it says.
    pub what: Bytes,
}

impl Says {
    /// Says `what` to the leader.
    #[must_use]
    pub fn to_leader(what: Bytes) -> Self {
        Self { to: None, what }
    }
}

/// Does the tasks that a process is given.
pub trait Works: fmt::Debug + Send + Sync {
    /// Does `task` until it is over, or the answer is dropped; `orders` come while it does. An error ends the task, and with it the job.
    fn work(&self, task: Bytes, orders: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Says, String>>;

    /// Does `task` of a second stage in the same way; `from` is what the tasks of the first say to it, each in its own order. It is over
    /// when these are. An error there names, by its address, the member that is not reached.
    fn gather(
        &self,
        task: Bytes,
        orders: BoxStream<'static, Bytes>,
        from: BoxStream<'static, Result<Bytes, Lost>>,
    ) -> BoxStream<'static, Result<Bytes, String>>;
}
