//! Other servers of the same store: what one of them runs, this one leaves alone until that one is gone.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use spout_base::{
    error::{Coded as _, chain},
    panicked::caught,
};
use spout_repo::{Beat, Presence, Process, Store};
use spout_spec::Loaded;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Error, group::Group};

/// How often a server says what it runs.
const BEAT: Duration = Duration::from_secs(3);
/// One that is silent for so long is gone, wherever it runs.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one that began at the same time has to leave a pipeline to this one.
const YIELD: Duration = Duration::from_secs(1);

/// A keeper among those of other servers.
#[derive(Debug)]
pub(super) struct Peers {
    presence: Arc<Mutex<Presence>>,
    /// Those that were there at the last look.
    others: Vec<Beat>,
    _beating: DropGuard,
}

impl Peers {
    /// Nobody else is known before the first [look](Self::look).
    pub(super) fn new(store: &Store) -> Self {
        let presence = Arc::new(Mutex::new(store.presence(PATIENCE)));
        let stop = CancellationToken::new();
        let telling = Arc::clone(&presence);
        let say = move || {
            let presence = Arc::clone(&telling);
            async move {
                let mut presence = presence.lock().await;
                let runs = presence.own().runs.clone();
                presence.say(runs).await
            }
        };
        tokio::spawn(beat(BEAT, say, stop.clone()));
        Self { presence, others: Vec::new(), _beating: stop.drop_guard() }
    }

    /// Finds out who is there, unless this server has nothing to run that others could.
    pub(super) async fn look(&mut self) -> Result<(), Error> {
        self.others = self.presence.lock().await.others().await?;
        Ok(())
    }

    /// Who else runs one of these pipelines, if this server does not say that it runs them itself.
    pub(super) async fn holder(&self, group: &Group) -> Option<Process> {
        let presence = self.presence.lock().await;
        let ours = group.iter().any(|name| presence.own().runs.contains(name));
        let holds = |beat: &&Beat| group.iter().any(|name| beat.runs.contains(name));
        if ours { None } else { self.others.iter().find(holds).map(|beat| beat.process.clone()) }
    }

    /// Says that this server runs these pipelines; who runs one of them instead.
    pub(super) async fn take(&mut self, group: &Group) -> Result<Option<Process>, Error> {
        let names = group.iter().cloned().collect();
        let holder = self.presence.lock().await.claim(&names, YIELD).await?;
        self.look().await?;
        Ok(holder.map(|beat| beat.process))
    }

    /// Says that this server does not run these pipelines any more.
    pub(super) async fn leave(&mut self, group: &Group) -> Result<(), Error> {
        let mut own = self.presence.lock().await.own().runs.clone();
        let before = own.len();
        own.retain(|name| !group.contains(name));
        if own.len() < before { self.say(own).await } else { Ok(()) }
    }

    async fn say(&self, runs: BTreeSet<String>) -> Result<(), Error> {
        Ok(self.presence.lock().await.say(runs).await?)
    }
}

/// The servers of a store, for a process of a cluster, which is none of them.
#[derive(Debug)]
pub struct Servers {
    presence: Presence,
    there: Vec<Beat>,
}

impl Servers {
    /// None is known before the first [look](Self::look).
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self { presence: store.presence(PATIENCE), there: Vec::new() }
    }

    /// Finds out who is there.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn look(&mut self) -> Result<(), Error> {
        self.there = self.presence.others().await?;
        Ok(())
    }

    /// Which of them runs this pipeline.
    #[must_use]
    pub fn running(&self, pipeline: &str) -> Option<&Process> {
        self.there.iter().find(|beat| beat.runs.contains(pipeline)).map(|beat| &beat.process)
    }
}

/// The process of a cluster that leads one of these pipelines, unless it has said that it is over.
pub(super) async fn leader(store: &Store, specs: &[Loaded]) -> Result<Option<Process>, Error> {
    for Loaded { spec, .. } in specs {
        let repo = match store.repo(&spec.pipeline.name).await {
            Ok(repo) => repo,
            Err(spout_repo::Error::UnknownRepo { .. }) => continue,
            Err(other) => return Err(other.into()),
        };
        let (_, holder) = repo.holder(&spec.commit.branch).await?;
        if let Some(holder) = holder.filter(|holder| holder.leader.is_some() && holder.may_write()) {
            return Ok(Some(holder.process));
        }
    }
    Ok(None)
}

/// Says again and again what is run, also while a pipeline takes long to stop.
async fn beat<F>(every: Duration, mut say: impl FnMut() -> F, stop: CancellationToken)
where
    F: Future<Output = Result<(), spout_repo::Error>>,
{
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        match caught(say()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                code = error.code(),
                error = chain(&error),
                "other servers cannot be told what this one runs, and may take it over"
            ),
            // Silence would have others take over what still runs here: the next beat is tried all the same.
            Err(panic) => {
                tracing::error!(%panic, "a bug: telling other servers what this one runs panicked; please report it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beat_that_panics_is_not_the_last_one() {
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let mut beats = 0;
        let say = move || {
            beats += 1;
            let (said, beat) = (said.clone(), beats);
            async move {
                assert_ne!(beat, 1, "the first");
                said.send(beat).unwrap();
                Ok(())
            }
        };
        let stop = CancellationToken::new();
        let beating = tokio::spawn(beat(Duration::from_millis(1), say, stop.clone()));
        let next = tokio::time::timeout(Duration::from_secs(20), heard.recv());
        assert_eq!(next.await.unwrap(), Some(2));
        stop.cancel();
        beating.await.unwrap();
    }
}
