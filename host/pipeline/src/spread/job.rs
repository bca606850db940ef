//! One job of a leader: its tasks until they have cut, and what they leave.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use spout_base::owner;
use spout_data::Upstream;
use tokio::task::JoinHandle;

use super::{
    Job, Lost, Said,
    words::{Files, Order, Word, unframe},
};
use crate::Error;

/// The job that fills the open commit.
#[derive(Debug)]
pub(super) struct Running {
    job: Job,
    /// The member that does each task.
    members: Vec<String>,
    /// Tasks that have not cut yet.
    pub(super) left: BTreeSet<usize>,
    ordered: bool,
    pub(super) tables: Vec<Upstream>,
    /// Files of tasks that were faster than others were to cut.
    pub(super) files: BTreeMap<usize, Files>,
}

/// What a job leaves to a commit.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The files of its tasks, once all are durable.
    pub(crate) files: JoinHandle<Result<Vec<Files>, Error>>,
    /// The commits of tables that rows were looked up in.
    pub(crate) tables: Vec<Upstream>,
}

impl Running {
    /// A job that has begun, whose tasks are done by `members`.
    pub(super) fn new(job: Job, members: Vec<String>) -> Self {
        let left = (0..members.len()).collect();
        Self { job, members, left, ordered: false, tables: Vec::new(), files: BTreeMap::new() }
    }

    /// The member that does a task.
    pub(super) fn member(&self, task: usize) -> String {
        self.members.get(task).cloned().unwrap_or_default()
    }

    /// Orders the cut, once.
    pub(super) fn cut(&mut self) {
        if !std::mem::replace(&mut self.ordered, true) {
            self.order(&Order::Cut);
        }
    }

    /// Whether the cut is ordered.
    pub(super) fn is_cut(&self) -> bool {
        self.ordered
    }

    /// Orders something of all tasks.
    pub(super) fn order(&self, order: &Order) {
        let order = serde_json::to_vec(order).unwrap_or_default();
        // Where it is gone, that shows in what it says.
        drop(self.job.orders.send(order.into()));
    }

    /// What is left of it once it has cut: its files.
    pub(super) fn end(self, pipeline: String) -> Ended {
        let Self { mut job, members, tables, mut files, .. } = self;
        let files = owner::spawn(async move {
            let _orders = job.orders;
            while files.len() < members.len()
                && let Some(said) = job.said.next().await
            {
                let gone =
                    |member: String, reason: String| Error::Member { pipeline: pipeline.clone(), member, reason };
                let Said { task, what } = said.map_err(|lost| gone(lost.member, lost.reason))?;
                let member = members.get(task).cloned().unwrap_or_default();
                match unframe::<Word>(&what).map_err(|reason| gone(member.clone(), reason))?.0 {
                    Word::Files(own) => drop(files.insert(task, *own)),
                    Word::Failed { code, kind, text } => {
                        return Err(Error::Remote { pipeline, member, code, kind: kind.into(), text });
                    }
                    _ => return Err(gone(member, "it said more than it was asked".into())),
                }
            }
            match (0..members.len()).find(|task| !files.contains_key(task)) {
                None => Ok(files.into_values().collect()),
                Some(task) => {
                    let member = members.get(task).cloned().unwrap_or_default();
                    Err(Error::Member { pipeline, member, reason: "it ended without its files".into() })
                }
            }
        });
        Ended { files, tables }
    }
}

/// The next words of the job that runs.
pub(super) async fn said(job: &mut Option<Running>) -> Option<Result<Said, Lost>> {
    match job {
        Some(running) => running.job.said.next().await,
        None => std::future::pending().await,
    }
}

/// The files of a job, once all are durable; a panic goes on here.
pub(crate) async fn files_of(files: JoinHandle<Result<Vec<Files>, Error>>) -> Result<Vec<Files>, Error> {
    match files.await {
        Ok(files) => files,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // It goes with the runtime.
            Err(_) => std::future::pending().await,
        },
    }
}
