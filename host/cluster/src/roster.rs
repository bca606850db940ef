//! The leader's side of a fleet: who is a member, and jobs over them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use datafusion::execution::SessionStateBuilder;
use spout_pipeline::{Fleet, Job, Lost, Member, Task};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::{self, Peer, Plans};

/// How long it may take until a member counts as lost of which a query was lost.
const NOTICED: Duration = Duration::from_secs(1);
/// Members of a fleet at most.
const MOST: usize = 1024;

/// Those that share the work of what this process leads. The last one that is dropped lets all members go.
#[derive(Clone)]
pub struct Leading {
    roster: Arc<Roster>,
    _guard: Arc<Guard>,
}

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leading").field("fleet", &self.roster.fleet).finish_non_exhaustive()
    }
}

impl Leading {
    pub(crate) fn new(roster: Arc<Roster>) -> Self {
        let guard = Arc::new(Guard(Arc::clone(&roster)));
        Self { roster, _guard: guard }
    }
}

impl Fleet for Leading {
    fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.roster.members.subscribe()
    }

    fn start(&self, name: &str, tasks: Vec<Task>, gathers: Vec<Task>) -> Job {
        engine::start(name, tasks, gathers, &self.roster.peers())
    }
}

impl Leading {
    /// A session whose plans the members that there are now share.
    #[must_use]
    pub fn distributed(&self, session: SessionStateBuilder, plans: &Plans) -> SessionStateBuilder {
        engine::distributed(session, plans, &self.roster.peers())
    }

    /// The member of the first `members` that is gone, and why, where one is; a query of theirs that has failed may be the first to notice.
    pub async fn lost(&self, members: &[Member]) -> Option<Lost> {
        let mut there = self.members();
        let gone =
            |there: &[Member]| members.iter().find(|had| !there.iter().any(|member| member.id == had.id)).cloned();
        let gone = tokio::time::timeout(NOTICED, there.wait_for(|there| gone(there).is_some())).await;
        let there = gone.ok()?.ok()?.clone();
        let member = members.iter().find(|had| !there.iter().any(|member| member.id == had.id))?;
        Some(Lost { member: member.id.clone(), reason: "it is no member of the fleet any more".to_owned() })
    }
}

struct Guard(Arc<Roster>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.over.cancel();
    }
}

/// The members of a fleet.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) fleet: String,
    /// It is led no longer.
    pub(crate) over: CancellationToken,
    members: watch::Sender<Vec<Member>>,
    by_id: Mutex<BTreeMap<String, (Member, Arc<Peer>)>>,
}

impl Roster {
    /// With the leader as its first member.
    pub(crate) fn new(fleet: String, own: Member, peer: Arc<Peer>) -> Self {
        let by_id = BTreeMap::from([(own.id.clone(), (own.clone(), peer))]);
        let members = watch::Sender::new(vec![own]);
        Self { fleet, over: CancellationToken::new(), members, by_id: Mutex::new(by_id) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, (Member, Arc<Peer>)>) -> T) -> T {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut by_id);
        let members: Vec<Member> = by_id.values().map(|(member, _)| member.clone()).collect();
        // Under the lock, or an older list could replace a newer one.
        self.members.send_if_modified(|known| {
            let differs = *known != members;
            *known = members;
            differs
        });
        changed
    }

    fn peers(&self) -> BTreeMap<String, Arc<Peer>> {
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.iter().map(|(id, (_, peer))| (id.clone(), Arc::clone(peer))).collect()
    }

    /// Takes a member in. One of the same id is replaced: it has lost its connection before this side has.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn add(&self, member: Member, peer: Arc<Peer>) -> Result<(), String> {
        let before = self.change(|by_id| {
            let own = by_id.get(&member.id).is_some_and(|(_, peer)| peer.is_here());
            if own {
                return Err("the leader has this id itself".to_owned());
            }
            if by_id.len() >= MOST && !by_id.contains_key(&member.id) {
                return Err(format!("the fleet has {MOST} members, which are the most"));
            }
            Ok(by_id.insert(member.id.clone(), (member, peer)))
        })?;
        if let Some((_, before)) = before {
            before.lose("it joined again");
        }
        Ok(())
    }

    /// `peer` gives its partitions back.
    pub(crate) fn leaves(&self, peer: &Arc<Peer>) {
        self.change(|by_id| {
            if let Some((member, now)) = by_id.get_mut(&peer.id)
                && Arc::ptr_eq(now, peer)
            {
                member.leaves = true;
            }
        });
    }

    /// `peer` is a member no longer.
    pub(crate) fn remove(&self, peer: &Arc<Peer>, why: &str) {
        peer.lose(why);
        self.change(|by_id| {
            if by_id.get(&peer.id).is_some_and(|(_, now)| Arc::ptr_eq(now, peer)) {
                by_id.remove(&peer.id);
            }
        });
    }
}
