//! Has running pipelines commit what they have read.

use std::sync::Arc;

use tokio::sync::broadcast;

/// Orders that a pipeline may be behind.
const BEHIND: usize = 64;

/// Has running pipelines commit at once what they have read. Clones reach the same pipelines.
#[derive(Clone, Debug)]
pub struct Committer(broadcast::Sender<Option<Arc<str>>>);

/// The orders that a group of pipelines gets.
#[derive(Debug)]
pub struct Orders {
    of: broadcast::Receiver<Option<Arc<str>>>,
    group: Vec<String>,
}

impl Default for Committer {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }
}

impl Committer {
    /// Every pipeline.
    pub fn all(&self) {
        // None may be running.
        drop(self.0.send(None));
    }

    /// This pipeline, and those that are linked with it.
    pub fn one(&self, pipeline: &str) {
        drop(self.0.send(Some(pipeline.into())));
    }

    /// The orders that pipelines get from now on.
    pub(super) fn orders(&self, group: &[String]) -> Orders {
        Orders { of: self.0.subscribe(), group: group.to_vec() }
    }
}

impl Orders {
    /// Returns at the next order; never where there can be none any more.
    pub async fn next(&mut self) {
        loop {
            match self.of.recv().await {
                Ok(Some(one)) if !self.group.iter().any(|name| **name == *one) => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_order_reaches_those_whom_it_is_for() {
        let committer = Committer::default();
        let mut orders = ["a", "b"].map(|name| committer.orders(&[name.to_owned()]));
        let mut heard = || orders.each_mut().map(|orders| orders.next().now_or_never().is_some());
        committer.one("b");
        assert_eq!(heard(), [false, true]);
        assert_eq!(heard(), [false, false]);
        committer.all();
        assert_eq!(heard(), [true, true]);
    }
}
