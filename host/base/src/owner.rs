//! The pipeline that a task works for, and the span that it is in, so that whatever is logged there names them: however deep it is,
//! and whoever spawned it.

use std::{cell::Cell, future::Future, sync::Arc};

use tokio::task::{self, JoinHandle};

use super::trace::Context;

tokio::task_local! {
    static WORK: Work;
}

/// What a task works for, and what it does.
struct Work {
    pipeline: Arc<str>,
    doing: Cell<Option<Context>>,
}

/// The pipeline that this task works for, if it works for one.
#[must_use]
pub fn pipeline() -> Option<Arc<str>> {
    WORK.try_with(|work| Arc::clone(&work.pipeline)).ok()
}

/// The span that this task is in.
#[must_use]
pub fn doing() -> Option<Context> {
    WORK.try_with(|work| work.doing.get()).ok().flatten()
}

/// From now on this task is in that span; the one that it was in before.
pub(super) fn does(doing: Option<Context>) -> Option<Context> {
    WORK.try_with(|work| work.doing.replace(doing)).ok().flatten()
}

/// What `work` comes to, which is work for `pipeline`.
pub async fn work_for<F: Future>(pipeline: &str, work: F) -> F::Output {
    WORK.scope(Work { pipeline: pipeline.into(), doing: Cell::new(doing()) }, work).await
}

/// `work` for the pipeline that this task works for, wherever it is done.
pub fn of_same<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let (pipeline, doing) = (pipeline(), doing());
    async move {
        match pipeline {
            Some(pipeline) => WORK.scope(Work { pipeline, doing: Cell::new(doing) }, work).await,
            None => work.await,
        }
    }
}

/// Starts a task that works for the same pipeline.
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    task::spawn(of_same(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Option<String> {
        pipeline().map(|name| name.to_string())
    }

    #[tokio::test]
    async fn what_a_task_spawns_works_for_its_pipeline() {
        assert_eq!(name(), None);
        let deep = work_for("p", async { spawn(async { spawn(async { name() }).await.unwrap() }).await.unwrap() });
        let other = work_for("q", async {
            task::yield_now().await;
            name()
        });
        assert_eq!(tokio::join!(deep, other), (Some("p".into()), Some("q".into())));
        assert_eq!(spawn(async { name() }).await.unwrap(), None);
    }
}
