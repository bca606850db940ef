//! A command that has the processes of a store share its work: it leads them for as long as it takes.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use spout_base::error::{Coded as _, chain};
use spout_bulk::{Bulk, Standing, Team};
use spout_cluster::{Error as ClusterError, Leading, Plans, Station};
use spout_pipeline::{Fleet as _, Lost, Member};
use spout_repo::{Leader, Presence, Store};
use tokio::time::{sleep, timeout};

use super::{Joining, helping::fleet_of};
use crate::{
    busy::Busy,
    certificate::Certificate,
    error::Error,
    print::{count, size},
};

/// How often a command says that it is there.
const BEAT: Duration = Duration::from_secs(3);
/// One that is silent for so long is gone, wherever it runs.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a worker may take to find out that it is called, where none was asked for by number; those that come do so together.
const COMING: Duration = Duration::from_secs(5);
const TOGETHER: Duration = Duration::from_millis(500);
/// How long the workers that are wanted may take to join.
const JOINING: Duration = Duration::from_secs(60);

/// `--cluster` of a command over a whole store.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Sharing {
    /// Share the work with the `spout worker` processes of the same store, for as long as the command takes.
    #[arg(long, help_heading = "Cluster")]
    pub(crate) cluster: bool,
    /// Begin once so many workers have joined. Otherwise the command begins at once, and those that are there join while it works.
    #[arg(long, value_name = "N", help_heading = "Cluster", requires = "cluster")]
    workers: Option<usize>,
    #[command(flatten)]
    joining: Joining,
    #[command(flatten)]
    certificate: Certificate,
}

impl Sharing {
    /// Leads whoever shares the work of the command `what`, until `work` is over. Nobody is left waiting then, however it ends.
    pub(crate) async fn lead<T>(
        &self,
        (store, what): (&Store, &str),
        busy: &Busy,
        work: impl AsyncFnOnce(&Leading) -> Result<T>,
    ) -> Result<T> {
        let works = Arc::new(Bulk::alone(store));
        let station =
            Station::open_with(self.joining.settings(&self.certificate, false)?, works, Some(plans(store))).await?;
        let leading = station.lead(&fleet_of(station.id()))?;
        let leader = Leader { id: station.id().to_owned(), address: station.address() };
        let mut called = store.calls(Some(leader), PATIENCE);
        let does = BTreeSet::from([what.to_owned()]);
        called.say(does.clone()).await?;
        let shared = async {
            self.wait(&leading, busy).await?;
            work(&leading).await
        };
        let done = tokio::select! {
            done = shared => done,
            never = beat(&mut called, &does) => match never {},
        };
        if let Err(error) = called.say(BTreeSet::new()).await {
            tracing::warn!(code = error.code(), error = chain(&error), "workers are not told that the command is over");
        }
        done
    }

    /// Those that share work which is cut once, when it begins: as many as are wanted, or whoever comes within a few seconds.
    pub(crate) async fn settled(&self, leading: &Leading, busy: &Busy) -> Vec<Member> {
        let mut members = leading.members();
        if self.workers.is_none() {
            busy.say("waiting for workers");
            let others = async {
                // Nobody ends a fleet but who leads it.
                drop(members.wait_for(|members| members.len() > 1).await);
                while timeout(TOGETHER, members.changed()).await.is_ok() {}
            };
            if timeout(COMING, others).await.is_err() && members.borrow().len() < 2 {
                tracing::warn!("no worker of the cluster has joined; this process does all of it");
            }
        }
        members.borrow().clone()
    }

    /// Until as many have joined as are wanted.
    async fn wait(&self, leading: &Leading, busy: &Busy) -> Result<(), Error> {
        let Some(wanted) = self.workers else { return Ok(()) };
        let mut members = leading.members();
        // This process is a member too.
        let workers = |members: &[Member]| members.len().saturating_sub(1);
        let all = members.wait_for(|members| {
            busy.say(format!("waiting for workers: {} of {wanted}", workers(members)));
            workers(members) >= wanted
        });
        if timeout(JOINING, all).await.is_err() {
            let there = workers(&leading.members().borrow());
            return Err(Error::TooFewWorkers { there, wanted });
        }
        Ok(())
    }
}

/// The plans of queries of `store`.
pub(crate) fn plans(store: &Store) -> Plans {
    Plans {
        codec: spout_bulk::codec(store),
        functions: spout_sql::functions,
        pieces: spout_sql::pieces,
        shares: spout_sql::shares,
        may_run: spout_bulk::may_run,
    }
}

/// That a member was lost with its share of a query.
pub(crate) fn lost(Lost { member, reason }: Lost) -> ClusterError {
    ClusterError::Lost { member, reason }
}

/// Says again and again that the command is there.
async fn beat(called: &mut Presence, does: &BTreeSet<String>) -> Infallible {
    loop {
        sleep(BEAT).await;
        if let Err(error) = called.say(does.clone()).await {
            tracing::warn!(
                code = error.code(),
                error = chain(&error),
                "workers are not told that the command is there"
            );
        }
    }
}

/// The members of `leading` for bulk work on `store`; how far it is, is shown.
pub(crate) fn team<'a>(leading: &'a Leading, store: &'a Store, what: &'a str, busy: &'a Busy) -> Team<'a> {
    Team::new(leading, store, move |Standing { done, parts, bytes, all, members }| {
        let members = count(members as u64, "process");
        busy.say(format!("{what}: {done} of {parts} parts, {} of {}, by {members}", size(bytes), size(all)));
    })
}
