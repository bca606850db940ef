//! Runs a spout, and again after it has ended or failed, as far as that makes sense.

use std::{sync::Arc, time::Duration};

use spout_plugin::Backoff;
use tokio_util::sync::CancellationToken;

use super::{Again, Failed, OnExit, Spout, commits::Commits};
use crate::Error;

/// Crashes in a row, without a commit in between, after which a spout is given up.
const CRASHES: u32 = 3;

/// Runs `spout` until it has ended or `drained` says so, and tells `commits` how that was.
pub(super) async fn supervise(spout: Arc<dyn Spout>, commits: Commits, on_exit: OnExit, drained: CancellationToken) {
    let how = run(spout.as_ref(), &commits, on_exit, &drained).await;
    commits.end(how);
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
                    error = said(&why),
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
                tracing::warn!(error = said(&why), ?pause, "the spout failed; running it again from its marker");
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

/// An error with its causes.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
