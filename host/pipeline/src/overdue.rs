//! What a pipeline that is to stop still waits for: a plugin that hangs must not keep it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Error;

/// How long one call may take once the order to stop is there. What stops us may kill us ten seconds after it has asked.
pub(super) const GRACE: Duration = Duration::from_secs(4);

/// What `work` gives, which is done by `doing` for `pipeline`, unless it is not done a while after `stop`: it is dropped then.
pub(super) async fn unless_overdue<T>(
    pipeline: &str,
    doing: &'static str,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let done = unless_later(stop, GRACE, work).await;
    done.ok_or_else(|| Error::Overdue { pipeline: pipeline.to_owned(), doing, grace: GRACE })
}

async fn unless_later<T>(stop: &CancellationToken, grace: Duration, work: impl Future<Output = T>) -> Option<T> {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = overdue => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_left_a_while_after_the_order_to_stop() {
        let stop = CancellationToken::new();
        let grace = Duration::from_millis(1);
        let hangs = unless_later(&stop, grace, pending::<()>());
        let asked = async {
            tokio::task::yield_now().await;
            stop.cancel();
        };
        let ((), left) = tokio::join!(asked, hangs);
        assert_eq!(left, None);
        assert_eq!(unless_later(&stop, grace, ready(1)).await, Some(1), "what is done counts, whenever it is");
    }
}
