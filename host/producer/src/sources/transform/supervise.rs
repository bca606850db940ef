//! Runs a spout, and again after it has ended or failed, as far as that makes sense.

use std::{sync::Arc, time::Duration};

use spout_base::{error::chain, panicked::caught};
use spout_plugin::Backoff;
use tokio_util::sync::CancellationToken;

use super::{Again, Failed, OnExit, Spout, commits::Commits};
use crate::Error;

/// Crashes in a row, without a commit in between, after which a spout is given up.
const CRASHES: u32 = 3;

/// Runs `spout` until it has ended or `drained` says so, and tells `commits` how that was.
pub(super) async fn supervise(spout: Arc<dyn Spout>, commits: Commits, on_exit: OnExit, drained: CancellationToken) {
    let how = Box::pin(caught(run(spout.as_ref(), &commits, on_exit, &drained))).await;
    commits.end(how.unwrap_or_else(|what| Err(Error::Panicked { doing: "the task that runs the spout", what })));
}

async fn run(spout: &dyn Spout, commits: &Commits, on_exit: OnExit, drained: &CancellationToken) -> Result<(), Error> {
    let (mut backoff, mut crashes) = (Backoff::default(), 0);
    loop {
        let before = commits.count();
        let over = spout.run(commits, drained).await;
        // Where it goes on is what all of its commits have left.
        commits.settled().await;
        if commits.count() > before {
            (backoff, crashes) = (Backoff::default(), 0);
        }
        let pause = match over {
            Ok(()) if on_exit == OnExit::End || drained.is_cancelled() => return Ok(()),
            Ok(()) => backoff.delay(),
            Err(Failed { why, .. }) if drained.is_cancelled() => {
                tracing::warn!(
                    error = chain(&why),
                    "the spout did not end by itself before the stop; what it had not finished is left to the next run"
                );
                return Ok(());
            }
            Err(Failed { why, again }) => {
                crashes += u32::from(again == Again::Crashed);
                let pause = match again {
                    Again::Never => return Err(why),
                    Again::Crashed if crashes >= CRASHES => return Err(why),
                    Again::Crashed | Again::Later(None) => backoff.delay(),
                    Again::Later(Some(pause)) => pause,
                };
                tracing::warn!(error = chain(&why), ?pause, "the spout failed; running it again from its marker");
                pause
            }
        };
        if paused(pause, drained).await {
            return Ok(());
        }
    }
}

/// Whether the order to stop came before `pause` was over.
async fn paused(pause: Duration, drained: &CancellationToken) -> bool {
    tokio::time::timeout(pause, drained.cancelled()).await.is_ok()
}
