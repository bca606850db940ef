//! Publishing beside the commits: notified that the branch moved, never waited for by a commit.

use std::time::Duration;

use spout_base::{
    clock,
    error::{Coded, chain},
    owner,
    panicked::{Panicked, caught},
};
use spout_repo::{Differences, Publication, Publisher, Repo};
use spout_spec::Publish;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{Error, build::Parts};

/// Commits come first: while they come faster than they are published, publishing rests so many times as long as it works.
const REST: u32 = 3;

/// What the task does.
const DOING: &str = "the task that publishes tables";

/// What a pipeline that stops allows its tables to come up to date.
const PATIENCE: Duration = Duration::from_secs(30);

/// A task that says whether it has panicked.
type Caught = JoinHandle<Result<(), Panicked>>;

/// The task that publishes the tables of a branch. It may be left at any time: another one goes on where it stopped.
#[derive(Debug)]
pub(super) struct Publishing {
    pipeline: String,
    task: Option<(watch::Sender<()>, Caught)>,
}

impl Publishing {
    /// Starts the task, if the spec wants it; `known` was warned of.
    pub(super) fn start(parts: &Parts, repo: &Repo, known: &Differences) -> Self {
        let pipeline = parts.name.clone();
        let task = (parts.spec.commit.publish == Publish::Delta).then(|| {
            let (moved, told) = watch::channel(());
            let publisher = Publisher::new(repo, &parts.spec.commit.branch).after_warning(&known.left_out);
            (moved, owner::spawn(caught(follow(pipeline.clone(), publisher, told))))
        });
        Self { pipeline, task }
    }

    /// Tells that there is a new commit. Several while one is published count as one.
    pub(super) fn moved(&self) {
        if let Some((moved, _)) = &self.task {
            moved.send_replace(());
        }
    }

    /// Why the task is over although more may come; never, as long as it is not.
    pub(super) async fn failed(&mut self) -> Error {
        let ended = match &mut self.task {
            Some((_, task)) => task.await,
            None => std::future::pending().await,
        };
        self.task = None;
        let pipeline = self.pipeline.clone();
        match ended {
            Ok(Err(what)) => Error::Panicked { pipeline, doing: DOING, what },
            Ok(Ok(())) | Err(_) => Error::Task { pipeline },
        }
    }

    /// Waits until all commits so far are published, but not forever.
    ///
    /// # Errors
    /// The task panicked.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        let Some((moved, task)) = self.task.take() else { return Ok(()) };
        drop(moved);
        let abort = task.abort_handle();
        match timeout(PATIENCE, task).await {
            Ok(Ok(Err(what))) => {
                return Err(Error::Panicked { pipeline: self.pipeline.clone(), doing: DOING, what });
            }
            Ok(Ok(Ok(())) | Err(_)) => {}
            Err(_) => {
                abort.abort();
                let pipeline = &self.pipeline;
                tracing::warn!(
                    pipeline,
                    "the Delta tables are not up to date yet; the next run or `spout publish` continues"
                );
            }
        }
        Ok(())
    }
}

async fn follow(pipeline: String, mut publisher: Publisher, mut told: watch::Receiver<()>) {
    // What a run before this one left to do.
    told.mark_changed();
    while told.changed().await.is_ok() {
        loop {
            let begun = clock::now();
            match publisher.publish_some().await {
                Ok(publication) => {
                    log_publication(&pipeline, &publication);
                    if !publication.behind {
                        break;
                    }
                }
                Err(error) => {
                    let (code, error) = (error.code(), chain(&error));
                    tracing::warn!(
                        pipeline,
                        code,
                        error,
                        "cannot publish the Delta tables; retrying at the next commit"
                    );
                    break;
                }
            }
            let rest = clock::now().duration_since(begun) * REST;
            // A pipeline that stops makes no more commits.
            drop(timeout(rest, async { while told.changed().await.is_ok() {} }).await);
        }
    }
}

fn log_publication(pipeline: &str, publication: &Publication) {
    for (table, error) in &publication.failures {
        let (code, error) = (error.code(), chain(error));
        tracing::warn!(pipeline, table, code, error, "the Delta table stays as it was");
    }
    for table in publication.tables.iter().filter(|table| table.written > 0) {
        tracing::debug!(pipeline, table = table.table, version = table.version, "the Delta table is up to date");
    }
}
