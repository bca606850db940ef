//! A worker's share of the work of commands: it joins those that call for help, and leaves when they are over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use spout_base::{
    clock::{self, Instant},
    error::{Coded as _, Kind, chain},
    owner,
};
use spout_cluster::{Error, Followed, Station};
use spout_repo::{Presence, Store};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::calling::PATIENCE;

/// How soon a worker looks again who calls: in a directory, and in a bucket, where a look costs something.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_FAR: Duration = Duration::from_secs(3);
/// Commands that a worker helps at once.
const MOST: usize = 16;
/// From one try to join a command to the next.
const REST: Duration = Duration::from_secs(1);

/// The fleet of a command, by the id of its station. No pipeline is called so.
pub(super) fn fleet_of(id: &str) -> String {
    format!("command/{id}")
}

/// A command that is helped.
struct Helped {
    /// It calls no more.
    gone: CancellationToken,
    task: JoinHandle<()>,
}

/// The commands that a worker helps.
pub(super) struct Helping {
    station: Arc<Station>,
    calls: Presence,
    every: Duration,
    looked: Option<Instant>,
    helped: BTreeMap<String, Helped>,
    /// This process helps nobody any more.
    stop: CancellationToken,
}

impl Helping {
    /// Helps those that call in `store`.
    pub(super) fn new(store: &Store, station: &Arc<Station>) -> Self {
        let every = if Store::local(store.url()).is_some() { LOOK } else { LOOK_FAR };
        let (calls, stop) = (store.calls(None, PATIENCE), CancellationToken::new());
        Self { station: Arc::clone(station), calls, every, looked: None, helped: BTreeMap::new(), stop }
    }

    /// Joins those that call now, where it is time to look.
    pub(super) async fn look(&mut self) {
        if self.stop.is_cancelled() || self.looked.is_some_and(|looked| looked.elapsed() < self.every) {
            return;
        }
        self.looked = Some(clock::now());
        let calls = match self.calls.others().await {
            Ok(calls) => calls,
            Err(error) => {
                tracing::warn!(code = error.code(), error = chain(&error), "cannot see who calls for help");
                return;
            }
        };
        let calling = |id: &String| calls.iter().any(|call| call.id == *id);
        self.helped.retain(|id, helped| {
            if !calling(id) {
                helped.gone.cancel();
            }
            calling(id) || !helped.task.is_finished()
        });
        for call in &calls {
            let Some(leader) = call.leader.clone() else { continue };
            if self.helped.contains_key(&call.id) || self.helped.len() >= MOST {
                continue;
            }
            let what: Vec<&str> = call.runs.iter().map(String::as_str).collect();
            tracing::info!(command = what.join(", "), process = %call.process, "helping a command");
            let (gone, station, stop) = (CancellationToken::new(), Arc::clone(&self.station), self.stop.clone());
            let over = gone.clone();
            let task = owner::spawn(async move { help(&station, &leader.id, &leader.address, &over, &stop).await });
            self.helped.insert(call.id.clone(), Helped { gone, task });
        }
    }

    /// Helps nobody from now on; what it does just now, it ends.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether it helps nobody any more.
    pub(super) fn is_over(&self) -> bool {
        self.helped.values().all(|helped| helped.task.is_finished())
    }
}

/// Is a member of a command's fleet until it is over, or `gone`.
async fn help(station: &Station, id: &str, address: &str, gone: &CancellationToken, stop: &CancellationToken) {
    let fleet = fleet_of(id);
    while !gone.is_cancelled() && !stop.is_cancelled() {
        match station.follow(address, &fleet, stop).await {
            Ok(Followed::Left | Followed::Dismissed) | Err(Error::Refused { leads: false, .. }) => return,
            // It may join again.
            Ok(Followed::Expelled { .. } | Followed::Silent { .. }) => {}
            Err(error) if error.kind() == Kind::Spec => {
                tracing::warn!(code = error.code(), error = chain(&error), "a command cannot be helped");
                return;
            }
            Err(error) => tracing::debug!("{}", chain(&error)),
        }
        tokio::select! {
            () = sleep(REST) => {}
            () = gone.cancelled() => {}
            () = stop.cancelled() => {}
        }
    }
}
