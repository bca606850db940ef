//! Who leads, without ports: claims are a list, and who answers is a set.

use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::{
    Attended, Branch, Claimed, Ended,
    attend::{Attending, Posts},
};

/// A store and a network.
#[derive(Default)]
struct World {
    claims: Mutex<Vec<String>>,
    /// Addresses at which a leader answers.
    answers: Mutex<Vec<String>>,
    changed: Notify,
}

impl World {
    fn claim(&self, who: &str) {
        self.claims.lock().unwrap().push(who.to_owned());
        self.changed.notify_waiters();
    }

    fn answer(&self, who: &str, answers: bool) {
        let mut all = self.answers.lock().unwrap();
        all.retain(|other| other != who);
        if answers {
            all.push(who.to_owned());
        }
        drop(all);
        self.changed.notify_waiters();
    }

    fn answers(&self, who: &str) -> bool {
        self.answers.lock().unwrap().iter().any(|other| other == who)
    }

    fn newest(&self) -> Option<Claimed> {
        let claims = self.claims.lock().unwrap();
        let who = claims.last()?.clone();
        // Not every claim says whose it is.
        let id = Some(who.clone()).filter(|_| claims.len().is_multiple_of(2));
        Some(Claimed { epoch: claims.len() as u64, address: Some(who), id })
    }

    async fn until(&self, is: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is(self) {
                return;
            }
            changed.await;
        }
    }
}

/// A process: leads as long as its claim is the newest.
struct Process {
    world: Arc<World>,
    own: String,
    station: Station,
    did: mpsc::UnboundedSender<String>,
    /// What leaders say to it that take it in under no circumstances.
    refused: Option<fn(String) -> Error>,
}

#[async_trait]
impl Posts for Process {
    fn own(&self) -> &str {
        &self.own
    }

    fn address(&self) -> String {
        self.own.clone()
    }

    fn lead(&self, fleet: &str) -> Result<Leading, Error> {
        self.station.lead(fleet)
    }

    async fn follow(&self, leader: &str, fleet: &str, leave: &CancellationToken) -> Result<Followed, Error> {
        if !self.world.answers(leader) {
            tokio::task::yield_now().await;
            return Err(Error::Unreachable { leader: format!("{leader} {fleet}"), why: "silent".to_owned() });
        }
        if let Some(refused) = self.refused {
            self.did.send(format!("{} is refused by {leader}", self.own)).unwrap();
            return Err(refused(leader.to_owned()));
        }
        self.did.send(format!("{} follows {leader}", self.own)).unwrap();
        tokio::select! {
            () = leave.cancelled() => Ok(Followed::Left),
            () = self.world.until(|world| !world.answers(leader)) => Ok(Followed::Silent { why: "silent".to_owned() }),
        }
    }
}

#[async_trait]
impl Branch for Process {
    async fn newest(&self) -> Result<Option<Claimed>, String> {
        Ok(self.world.newest())
    }

    async fn lead(&self, _fleet: Leading, stop: &CancellationToken) -> Ended {
        self.world.claim(&self.own);
        self.world.answer(&self.own, true);
        self.did.send(format!("{} leads", self.own)).unwrap();
        let fenced =
            self.world.until(|world| world.newest().is_some_and(|newest| newest.address.as_ref() != Some(&self.own)));
        tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            () = fenced => {
                self.world.answer(&self.own, false);
                Ended::Fenced
            }
        }
    }
}

struct Attendance {
    world: Arc<World>,
    did: mpsc::UnboundedReceiver<String>,
    teller: mpsc::UnboundedSender<String>,
    stop: CancellationToken,
}

impl Attendance {
    fn new() -> Self {
        let (teller, did) = mpsc::unbounded_channel();
        Self { world: Arc::default(), did, teller, stop: CancellationToken::new() }
    }

    async fn process(&self, own: &str, refused: Option<fn(String) -> Error>) -> JoinHandle<Result<Attended, Error>> {
        let station = Station::open(settings(), Arc::new(Doing::default())).await.unwrap();
        let did = self.teller.clone();
        let process = Arc::new(Process { world: Arc::clone(&self.world), own: own.to_owned(), station, did, refused });
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let (posts, branch, pause) = (&*process, &*process, Duration::ZERO);
            let (leader, answer) = (Duration::from_millis(300), Duration::from_millis(100));
            let pace = Pace { leader, answer, ..pace() };
            Attending { posts, pace, fleet: FLEET, branch, stop: &stop, pause }.run().await
        })
    }

    async fn next(&mut self) -> String {
        soon(self.did.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn the_first_leads_and_the_second_follows_and_replaces_it() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let second = all.process("b", None).await;
    assert_eq!(all.next().await, "b follows a");
    // Killed: it answers nobody and its claim stays.
    first.abort();
    all.world.answer("a", false);
    assert_eq!(all.next().await, "b leads");
    assert_eq!(*all.world.claims.lock().unwrap(), ["a", "b"]);
    all.stop.cancel();
    assert!(matches!(soon(second).await.unwrap(), Ok(Attended::Stopped)));
}

#[tokio::test]
async fn a_leader_that_comes_back_follows_the_new_one() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let second = all.process("b", None).await;
    assert_eq!(all.next().await, "b follows a");
    // Paused: nobody hears of it, but it is still there, and wakes up to a newer claim.
    all.world.answer("a", false);
    let mut next = [all.next().await, all.next().await];
    next.sort();
    assert_eq!(next, ["a follows b", "b leads"]);
    assert_eq!(*all.world.claims.lock().unwrap(), ["a", "b"], "it did not claim again");
    all.stop.cancel();
    soon(first).await.unwrap().unwrap();
    soon(second).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_follower_that_was_paused_disturbs_nobody() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let second = all.process("b", None).await;
    assert_eq!(all.next().await, "b follows a");
    // To it, its leader was silent; by the time it looks, the leader answers.
    all.world.answer("a", false);
    all.world.answer("a", true);
    // Whether it noticed at all or not: another process that is there now still finds the first one leading.
    let third = all.process("c", None).await;
    let mut next = all.next().await;
    if next == "b follows a" {
        next = all.next().await;
    }
    assert_eq!(next, "c follows a");
    assert_eq!(*all.world.claims.lock().unwrap(), ["a"]);
    all.stop.cancel();
    for process in [first, second, third] {
        soon(process).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_process_that_is_started_again_leads_at_once() {
    let mut all = Attendance::new();
    for _ in 0..3 {
        let process = all.process("a", None).await;
        assert_eq!(all.next().await, "a leads");
        process.abort();
        all.world.answer("a", false);
    }
    assert_eq!(*all.world.claims.lock().unwrap(), ["a", "a", "a"]);
}

#[tokio::test]
async fn a_leader_that_was_replaced_already_is_not_replaced_again() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let second = all.process("b", None).await;
    assert_eq!(all.next().await, "b follows a");
    // With the claim of another process the first one is fenced, and answers nobody.
    all.world.answer("x", true);
    all.world.claim("x");
    let mut next = [all.next().await, all.next().await];
    next.sort();
    assert_eq!(next, ["a follows x", "b follows x"]);
    assert_eq!(*all.world.claims.lock().unwrap(), ["a", "x"]);
    all.stop.cancel();
    soon(first).await.unwrap().unwrap();
    soon(second).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_is_refused_for_good_replaces_nobody() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let second = all.process("b", Some(|leader| Error::Stranger { leader })).await;
    assert!(matches!(soon(second).await.unwrap(), Err(Error::Stranger { .. })));
    assert_eq!(*all.world.claims.lock().unwrap(), ["a"]);
    all.stop.cancel();
    soon(first).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_of_another_version_waits_until_the_leader_is_gone() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let version =
        |leader| Error::Version { leader, version: "2".to_owned(), why: "the fleet has version 1".to_owned() };
    let second = all.process("b", Some(version)).await;
    for _ in 0..2 {
        assert_eq!(all.next().await, "b is refused by a");
    }
    assert_eq!(*all.world.claims.lock().unwrap(), ["a"]);
    first.abort();
    all.world.answer("a", false);
    loop {
        let did = all.next().await;
        if did != "b is refused by a" {
            assert_eq!(did, "b leads");
            break;
        }
    }
    all.stop.cancel();
    soon(second).await.unwrap().unwrap();
}

#[tokio::test]
async fn of_many_that_see_a_leader_fall_silent_one_replaces_it() {
    let mut all = Attendance::new();
    let first = all.process("a", None).await;
    assert_eq!(all.next().await, "a leads");
    let mut others = Vec::new();
    for own in ["b", "c", "d"] {
        others.push(all.process(own, None).await);
        assert_eq!(all.next().await, format!("{own} follows a"));
    }
    first.abort();
    all.world.answer("a", false);
    // More than one may claim before it sees the other; each claim fences those before it, and those follow.
    soon(async {
        let mut following = std::collections::BTreeMap::new();
        loop {
            let did = all.did.recv().await.unwrap();
            let (who, what) = did.split_once(' ').unwrap();
            following.insert(who.to_owned(), what.to_owned());
            let leader = all.world.newest().unwrap().address.unwrap();
            let settled = following.iter().filter(|(_, what)| **what == format!("follows {leader}")).count();
            if leader != "a" && settled == 2 && following.get(&leader).is_some_and(|what| what == "leads") {
                return;
            }
        }
    })
    .await;
    all.stop.cancel();
    for process in others {
        soon(process).await.unwrap().unwrap();
    }
}
