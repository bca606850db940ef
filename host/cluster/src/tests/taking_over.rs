//! Stations that take part in a fleet by themselves: claims are a list, everything else is as it will be.

use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::*;
use crate::{Attended, Branch, Claimed, Ended, attend};

/// A store with one branch, and what its leaders do.
struct Store {
    claims: Mutex<Vec<(String, String)>>,
    changed: watch::Sender<u64>,
    /// Each leader with the ids of its members, once it has run a job over them.
    ran: mpsc::UnboundedSender<(String, Vec<String>)>,
    /// As many members as a leader waits for.
    wanted: AtomicUsize,
}

struct Of(Arc<Store>, Arc<Station>);

#[async_trait]
impl Branch for Of {
    async fn newest(&self) -> Result<Option<Claimed>, String> {
        let claims = self.0.claims.lock().unwrap();
        let epoch = claims.len() as u64;
        Ok(claims.last().map(|(id, address)| Claimed { epoch, address: Some(address.clone()), id: Some(id.clone()) }))
    }

    async fn lead(&self, fleet: Leading, stop: &CancellationToken) -> Ended {
        let Self(store, station) = self;
        let mine = {
            let mut claims = store.claims.lock().unwrap();
            claims.push((station.id().to_owned(), station.address()));
            claims.len() as u64
        };
        store.changed.send_replace(mine);
        let mut newest = store.changed.subscribe();
        let run = async {
            let mut known = fleet.members();
            loop {
                let ids: Vec<String> = known.borrow_and_update().iter().map(|member| member.id.clone()).collect();
                if ids.len() == store.wanted.load(Ordering::SeqCst) {
                    let tasks: Vec<_> = ids.iter().map(|id| (id.clone(), "say 3 8")).collect();
                    if all(start(&fleet, &tasks)).await.is_ok_and(|said| said.len() == 3 * ids.len()) {
                        store.ran.send((station.id().to_owned(), ids)).unwrap();
                    }
                }
                known.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = run => Ended::Over,
            () = stop.cancelled() => Ended::Stopped,
            _ = newest.wait_for(|newest| *newest > mine) => Ended::Fenced,
        }
    }
}

#[tokio::test]
async fn when_a_leader_goes_another_one_leads_all_that_are_left() {
    let (ran, mut runs) = mpsc::unbounded_channel();
    let wanted = AtomicUsize::new(3);
    let store = Arc::new(Store { claims: Mutex::default(), changed: watch::Sender::default(), ran, wanted });
    let stop = CancellationToken::new();
    let mut attending = std::collections::BTreeMap::new();
    for _ in 0..3 {
        let site = Site::open(settings()).await.unwrap();
        let (store, station, stop) = (Arc::clone(&store), Arc::clone(&site.station), stop.clone());
        let attends = tokio::spawn(async move {
            let branch = Of(store, Arc::clone(&station));
            attend(&station, FLEET, &branch, &stop).await
        });
        attending.insert(site.id(), (site, attends));
    }
    for left in [2, 1] {
        let (leader, members) = soon(runs.recv()).await.unwrap();
        assert_eq!(members.len(), left + 1);
        store.wanted.store(left, Ordering::SeqCst);
        let (site, attends) = attending.remove(&leader).unwrap();
        attends.abort();
        drop(attends.await);
        drop(site);
    }
    let (last, members) = soon(runs.recv()).await.unwrap();
    assert_eq!(members, std::slice::from_ref(&last));
    stop.cancel();
    let (_, attends) = attending.remove(&last).unwrap();
    assert!(matches!(soon(attends).await.unwrap(), Ok(Attended::Stopped)));
}

#[tokio::test]
async fn a_member_that_stops_leaves() {
    let (ran, mut runs) = mpsc::unbounded_channel();
    let wanted = AtomicUsize::new(2);
    let store = Arc::new(Store { claims: Mutex::default(), changed: watch::Sender::default(), ran, wanted });
    let mut attending = std::collections::BTreeMap::new();
    for _ in 0..2 {
        let (site, stop) = (Site::open(settings()).await.unwrap(), CancellationToken::new());
        let (store, station, token) = (Arc::clone(&store), Arc::clone(&site.station), stop.clone());
        let attends = tokio::spawn(async move {
            let branch = Of(store, Arc::clone(&station));
            attend(&station, FLEET, &branch, &token).await
        });
        attending.insert(site.id(), (site, stop, attends));
    }
    let (leader, _) = soon(runs.recv()).await.unwrap();
    store.wanted.store(1, Ordering::SeqCst);
    let member = attending.keys().find(|id| **id != leader).unwrap().clone();
    let (_site, stop, attends) = attending.remove(&member).unwrap();
    stop.cancel();
    assert!(matches!(soon(attends).await.unwrap(), Ok(Attended::Stopped)));
    assert_eq!(soon(runs.recv()).await.unwrap(), (leader.clone(), vec![leader]));
}
