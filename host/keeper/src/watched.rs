//! What is to run of a store, as it changes.

use std::time::Duration;

use spout_repo::{Follower, MASTER, Store};

use super::{Error, Specs, wanted::Wanted};

/// How soon to look again at what another process may have changed.
const LOOK: Duration = Duration::from_millis(500);

/// What is to run of a store.
#[derive(Debug)]
pub struct Watched {
    store: Store,
    specs: Option<(Specs, Follower)>,
    seen: Option<u64>,
}

impl Watched {
    /// Of `store`, at which nobody has looked yet.
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone(), specs: None, seen: None }
    }

    /// Where changes are made, once somebody has created a pipeline.
    pub(super) fn specs(&self) -> Option<&Specs> {
        self.specs.as_ref().map(|(specs, _)| specs)
    }

    /// All pipelines, once they are others than at the last look; none, if they are not.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn look(&mut self) -> Result<Option<Vec<Wanted>>, Error> {
        if self.specs.is_none() {
            let specs = Specs::existing(&self.store).await?;
            self.specs = specs.map(|specs| (specs.clone(), specs.repo().follow(MASTER)));
        }
        let Some((specs, follower)) = &mut self.specs else { return Ok(None) };
        let Some(head) = follower.refresh().await? else { return Ok(None) };
        if self.seen == Some(head.header.sequence) {
            return Ok(None);
        }
        let repo = specs.repo();
        let wanted = Wanted::all(repo, &repo.tree(head).await?).await?;
        self.seen = Some(head.header.sequence);
        Ok(Some(wanted))
    }

    /// Waits until it is time to look again. The future may be dropped.
    pub async fn rest(&mut self) {
        match &mut self.specs {
            Some((_, follower)) => follower.wait(LOOK).await,
            None => tokio::time::sleep(LOOK).await,
        }
    }
}
