//! The pipeline that a task works for, so that whatever is logged there names it: however deep it is, and whoever spawned it.

use std::{future::Future, sync::Arc};

use tokio::task::{self, JoinHandle};

tokio::task_local! {
    static PIPELINE: Arc<str>;
}

/// The pipeline that this task works for, if it works for one.
#[must_use]
pub fn pipeline() -> Option<Arc<str>> {
    PIPELINE.try_with(Arc::clone).ok()
}

/// What `work` comes to, which is work for `pipeline`.
pub async fn work_for<F: Future>(pipeline: &str, work: F) -> F::Output {
    PIPELINE.scope(pipeline.into(), work).await
}

/// `work` for the pipeline that this task works for, wherever it is done.
pub fn of_same<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let pipeline = pipeline();
    async move {
        match pipeline {
            Some(pipeline) => PIPELINE.scope(pipeline, work).await,
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
