//! Who leads: a process follows the leader that the newest claim names, and replaces one that is silent.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use spout_base::{
    clock,
    error::{Coded as _, Kind, chain},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{error::Error, follow::Followed, roster::Leading, settings::Pace, station::Station};

/// From one look at a leader that does not answer to the next, in beats.
const LOOKS: u32 = 2;
/// Pauses after trouble, doubled from the first to the last.
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// The claim that fences all before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Each claim has a greater one than those before it.
    pub epoch: u64,
    /// Where its leader is reached; none if it leads no fleet.
    pub address: Option<String>,
    /// The id of its leader's station; none where the claim does not say.
    pub id: Option<String>,
}

/// How leading ended.
#[derive(Debug)]
pub enum Ended {
    /// There is a newer claim.
    Fenced,
    /// It was asked to.
    Stopped,
    /// It is over for good, as a bounded pipeline is.
    Over,
    /// Something is wrong, which may be better later.
    Failed(String),
}

/// A branch that one process of a fleet writes at a time.
#[async_trait]
pub trait Branch: Send + Sync {
    /// The newest claim, if there is one whose leader did not give it up.
    ///
    /// # Errors
    /// Why the store does not say.
    async fn newest(&self) -> Result<Option<Claimed>, String>;

    /// Claims the branch and leads, until `stop`, a newer claim, or the end. Drops `fleet` with that.
    async fn lead(&self, fleet: Leading, stop: &CancellationToken) -> Ended;
}

/// How a process ended its part in a fleet.
#[derive(Debug)]
pub enum Attended {
    /// It was asked to, and has given back what it had.
    Stopped,
    /// The pipeline is over.
    Over,
}

/// Takes part in `fleet`, as leader or member, whichever the newest claim of `branch` makes it, until `stop`.
///
/// # Errors
/// If its leader refuses it for good, without the token; such a process must not replace the leader either. One of another version waits
/// until the leader is one of its own, or gone: that is how a fleet is changed to another version, process by process.
pub async fn attend(
    station: &Station,
    fleet: &str,
    branch: &dyn Branch,
    stop: &CancellationToken,
) -> Result<Attended, Error> {
    Box::pin(Attending { posts: station, pace: station.pace(), fleet, branch, stop, pause: Duration::ZERO }.run()).await
}

/// What a station is to this, so that it can be tried without ports.
#[async_trait]
pub(crate) trait Posts: Send + Sync {
    /// The id of this process.
    fn own(&self) -> &str;
    /// Where it is reached.
    fn address(&self) -> String;
    /// Leads.
    fn lead(&self, fleet: &str) -> Result<Leading, Error>;
    /// Follows.
    async fn follow(&self, leader: &str, fleet: &str, leave: &CancellationToken) -> Result<Followed, Error>;
}

#[async_trait]
impl Posts for Station {
    fn own(&self) -> &str {
        self.id()
    }

    fn address(&self) -> String {
        Self::address(self)
    }

    fn lead(&self, fleet: &str) -> Result<Leading, Error> {
        Self::lead(self, fleet)
    }

    async fn follow(&self, leader: &str, fleet: &str, leave: &CancellationToken) -> Result<Followed, Error> {
        Self::follow(self, leader, fleet, leave).await
    }
}

pub(crate) struct Attending<'a> {
    pub(crate) posts: &'a dyn Posts,
    pub(crate) pace: Pace,
    pub(crate) fleet: &'a str,
    pub(crate) branch: &'a dyn Branch,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) pause: Duration,
}

impl fmt::Debug for Attending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attending").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

/// What came of a leader.
enum Outcome {
    /// It is to be replaced, unless there is a newer claim by now.
    Replace,
    /// Look again who leads.
    Again,
    Stopped,
}

impl Attending<'_> {
    pub(crate) async fn run(mut self) -> Result<Attended, Error> {
        // A process that was fenced follows whoever did that; it does not fence back because that one is slow to answer.
        let mut fenced = false;
        while !self.stop.is_cancelled() {
            let newest = match self.branch.newest().await {
                Ok(newest) => newest,
                Err(why) => {
                    tracing::warn!(fleet = self.fleet, "cannot see who leads: {why}");
                    self.rest().await;
                    continue;
                }
            };
            let others = newest.as_ref().filter(|claim| !self.is_own(claim));
            if let Some((claim, leader)) = others.and_then(|claim| Some((claim, claim.address.as_deref()?))) {
                match self.follow(leader, fenced).await? {
                    Outcome::Stopped => break,
                    Outcome::Again => continue,
                    Outcome::Replace if self.is_newest(claim).await => {
                        tracing::warn!(fleet = self.fleet, leader, "the leader is silent and is replaced");
                    }
                    Outcome::Replace => continue,
                }
            } else if fenced && others.is_some() {
                // Fenced by a run outside the fleet: it has the branch for as long as it wants it, but to ask costs little.
                self.rest().await;
                fenced = false;
                continue;
            }
            let leading = match self.posts.lead(self.fleet) {
                Ok(leading) => leading,
                Err(error) => {
                    tracing::warn!(fleet = self.fleet, "cannot lead: {}", chain(&error));
                    self.rest().await;
                    continue;
                }
            };
            tracing::info!(fleet = self.fleet, "leading");
            let since = clock::now();
            let ended = Box::pin(self.branch.lead(leading, self.stop)).await;
            fenced = matches!(ended, Ended::Fenced);
            match ended {
                Ended::Stopped => break,
                Ended::Over => return Ok(Attended::Over),
                Ended::Fenced => {
                    tracing::warn!(fleet = self.fleet, "a newer claim has fenced this process: it follows")
                }
                Ended::Failed(why) => {
                    tracing::warn!(fleet = self.fleet, "leading failed: {why}");
                    if since.elapsed() > LAST_PAUSE {
                        self.pause = Duration::ZERO;
                    }
                    self.rest().await;
                }
            }
        }
        Ok(Attended::Stopped)
    }

    /// Follows `leader` until it is silent, or does not answer, for as long as patience lasts.
    async fn follow(&mut self, leader: &str, fenced: bool) -> Result<Outcome, Error> {
        // Whoever has just fenced this process gets the time of a start, in which it may not listen yet.
        let patience = self.pace.patience() + if fenced { self.pace.answer } else { Duration::ZERO };
        let mut until: Instant = clock::now() + patience;
        loop {
            if self.stop.is_cancelled() {
                return Ok(Outcome::Stopped);
            }
            let followed = self.posts.follow(leader, self.fleet, self.stop).await;
            if followed.is_ok() {
                self.pause = Duration::ZERO;
            }
            match followed {
                Ok(Followed::Left) => return Ok(Outcome::Stopped),
                // It said so itself: nothing to wait for but the others, which want to lead as much.
                Ok(Followed::Dismissed) => {
                    self.sleep(self.pace.jitter.mul_f64(rand::random())).await;
                    until = clock::now();
                }
                // Patience is over already; but a process that itself was stopped finds everybody silent, so ask once more.
                Ok(Followed::Silent { .. }) => until = clock::now(),
                Ok(Followed::Expelled { .. }) => until = clock::now() + patience,
                // A leader that refuses is there, and nobody replaces it. What is wrong may pass, or it may be fenced.
                Err(error @ (Error::Version { .. } | Error::Refused { leads: true, .. })) => {
                    tracing::warn!(fleet = self.fleet, "{}", chain(&error));
                    self.rest().await;
                    return Ok(Outcome::Again);
                }
                Err(error) if error.kind() == Kind::Spec => return Err(error),
                Err(error) => {
                    tracing::debug!(fleet = self.fleet, "{}", chain(&error));
                    if clock::now() >= until {
                        return Ok(if self.stop.is_cancelled() { Outcome::Stopped } else { Outcome::Replace });
                    }
                }
            }
            self.sleep(self.pace.beat / LOOKS).await;
        }
    }

    /// Whether `claim` is this process's, or that of one that was here before: where this one listens, no other does.
    fn is_own(&self, claim: &Claimed) -> bool {
        claim.id.as_deref() == Some(self.posts.own()) || claim.address == Some(self.posts.address())
    }

    /// Whether `claim` is still the newest; if the store does not say, it may not be.
    async fn is_newest(&self, claim: &Claimed) -> bool {
        self.branch.newest().await.is_ok_and(|newest| newest.is_some_and(|newest| newest.epoch == claim.epoch))
    }

    async fn rest(&mut self) {
        self.pause = (self.pause * 2).clamp(self.pace.beat / LOOKS, LAST_PAUSE);
        self.sleep(clock::jittered(self.pause)).await;
    }

    async fn sleep(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
