//! Who does the parts: the members that there are, as they come and go.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use spout_pipeline::{Fleet, Lost, Member, Task};
use spout_repo::Store;

use super::{
    error::Error,
    fsck,
    part::Share,
    words::{Ask, Told, VERSION, frame, unframe},
};

/// Parts that a member has at once: one that it does, and one that is on its way to it.
const BESIDE: usize = 2;
/// How often a part may be lost, each time with a member. It may be what ends them.
const TRIES: usize = 3;
/// So many parts may be lost with a member that is still there, before it gets no more.
const TROUBLES: usize = 3;

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Parts that are done, and all.
    pub done: usize,
    /// All of them.
    pub parts: usize,
    /// Bytes of those that are done.
    pub bytes: u64,
    /// Bytes of all.
    pub all: u64,
    /// Processes that share the work, this one among them.
    pub members: usize,
}

/// A fleet that shares the work of one command.
pub struct Team<'a> {
    pub(super) fleet: &'a dyn Fleet,
    pub(super) store: &'a Store,
    /// Bytes and runs of bytes of a part that reads.
    pub(super) most_read: (u64, usize),
    pub(super) shown: Box<dyn Fn(Standing) + Send + Sync + 'a>,
}

impl fmt::Debug for Team<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

/// A part that a member had, and what came of that.
type Had = (usize, String, Result<Told, Lost>);

/// The parts of one command, and who has which.
struct Parts<'a> {
    waiting: VecDeque<usize>,
    had: FuturesUnordered<BoxFuture<'a, Had>>,
    /// How many parts each member has.
    busy: BTreeMap<String, usize>,
    /// How many were lost with it.
    troubles: BTreeMap<String, usize>,
    /// With which members each part was lost.
    lost: BTreeMap<usize, Vec<String>>,
}

impl<'a> Team<'a> {
    /// The members of `fleet`, for work on `store`; `shown` gets to know how far it is.
    pub fn new(fleet: &'a dyn Fleet, store: &'a Store, shown: impl Fn(Standing) + Send + Sync + 'a) -> Self {
        Self { fleet, store, most_read: fsck::MOST, shown: Box::new(shown) }
    }

    /// Has all of `parts` done; what came of each, in their order.
    ///
    /// # Errors
    /// Those of the work, and [`Error::Lost`].
    pub(super) async fn share<P: Share>(&self, what: &'static str, parts: &[P]) -> Result<Vec<P::Done>, Error> {
        let mut members = self.fleet.members();
        let mut all: Vec<Option<P::Done>> = parts.iter().map(|_| None).collect();
        let mut standing = Standing {
            done: 0,
            parts: parts.len(),
            bytes: 0,
            all: parts.iter().fold(0, |sum, part| sum.saturating_add(part.size())),
            members: 0,
        };
        let mut open = Parts {
            waiting: (0..parts.len()).collect(),
            had: FuturesUnordered::new(),
            busy: BTreeMap::new(),
            troubles: BTreeMap::new(),
            lost: BTreeMap::new(),
        };
        while standing.done < parts.len() {
            let there = members.borrow_and_update().clone();
            standing.members = there.iter().filter(|member| !member.leaves).count();
            (self.shown)(standing);
            while let Some((part, member)) = open.next(&there) {
                let Some(share) = parts.get(part) else { continue };
                open.had.push(self.given(what, part, share, member));
            }
            if open.had.is_empty() {
                return Err(nobody(what));
            }
            let (part, member, told) = tokio::select! {
                Some(had) = open.had.next() => had,
                Ok(()) = members.changed() => continue,
                else => return Err(nobody(what)),
            };
            open.back(&member);
            let Some((share, slot)) = parts.get(part).zip(all.get_mut(part)) else { continue };
            let told = match told {
                Ok(told) => told,
                Err(lost) => {
                    open.again(what, part, lost)?;
                    continue;
                }
            };
            *slot = Some(self.settled(what, share, &member, told).await?);
            standing.done += 1;
            standing.bytes = standing.bytes.saturating_add(share.size());
        }
        (self.shown)(standing);
        Ok(all.into_iter().flatten().collect())
    }

    /// A part that is with a member.
    fn given<P: Share>(&self, what: &'static str, part: usize, share: &P, member: String) -> BoxFuture<'static, Had> {
        let lost = |reason: String| Lost { member: member.clone(), reason };
        let said = match frame(&Ask { version: VERSION, part: share.said() }) {
            Ok(said) => said,
            Err(why) => return std::future::ready((part, member.clone(), Err(lost(why)))).boxed(),
        };
        tracing::debug!(part, "a part of {what} is with {member}");
        let mut job = self.fleet.start(what, vec![Task { member: member.clone(), what: said }], Vec::new());
        async move {
            let told = match job.said.next().await {
                Some(Ok(said)) => {
                    // It has nothing more to say; a job that is dropped before its end is one that was given up.
                    while let Some(Ok(_)) = job.said.next().await {}
                    Ok(unframe(&said.what).unwrap_or_else(Told::Failed))
                }
                Some(Err(lost)) => Err(lost),
                None => Err(Lost { member: member.clone(), reason: "it ended without a word".to_owned() }),
            };
            (part, member, told)
        }
        .boxed()
    }

    /// What came of a part. One that a member could not do, or that it did wrong, is done here, where an error is the command's own.
    async fn settled<P: Share>(
        &self,
        what: &'static str,
        share: &P,
        member: &str,
        told: Told,
    ) -> Result<P::Done, Error> {
        let why = match told {
            Told::Failed(why) => why,
            told => match share.done(told, self.store).await {
                Ok(done) => return Ok(done),
                Err(why) => why,
            },
        };
        tracing::warn!(member, "a part of {what} is done again by this process: {why}");
        Ok(share.here(self.store).await?)
    }
}

impl Parts<'_> {
    /// The next part, and who gets it: the one that has the fewest, as far as it may have another. One with which a part was lost gets it
    /// again only where all others have lost it too.
    fn next(&mut self, there: &[Member]) -> Option<(usize, String)> {
        let troubled = |id: &str| self.troubles.get(id).is_some_and(|troubles| *troubles >= TROUBLES);
        let fit: Vec<&str> = there
            .iter()
            .filter(|member| !member.leaves && !troubled(&member.id))
            .map(|member| member.id.as_str())
            .collect();
        let busy = |id: &&str| self.busy.get(*id).copied().unwrap_or(0);
        let free: Vec<&str> = fit.iter().copied().filter(|id| busy(id) < BESIDE).collect();
        if free.is_empty() {
            return None;
        }
        let gets = |part: &usize| {
            let has_lost = |id: &&str| self.lost.get(part).is_some_and(|lost| lost.iter().any(|one| one == id));
            let all = fit.iter().all(has_lost);
            free.iter().copied().filter(|id| all || !has_lost(id)).min_by_key(busy)
        };
        let (at, member) = self.waiting.iter().enumerate().find_map(|(at, part)| Some((at, gets(part)?.to_owned())))?;
        let part = self.waiting.remove(at)?;
        *self.busy.entry(member.clone()).or_default() += 1;
        Some((part, member))
    }

    /// A member has a part less.
    fn back(&mut self, member: &str) {
        if let Some(busy) = self.busy.get_mut(member) {
            *busy = busy.saturating_sub(1);
        }
    }

    /// A part was lost, and another member is to get it before all others.
    fn again(&mut self, what: &'static str, part: usize, lost: Lost) -> Result<(), Error> {
        let Lost { member, reason } = lost;
        *self.troubles.entry(member.clone()).or_default() += 1;
        let lost = self.lost.entry(part).or_default();
        lost.push(member.clone());
        if lost.len() >= TRIES {
            return Err(Error::Lost { what, tries: lost.len(), member, reason });
        }
        tracing::warn!(member, "a part of {what} is given to another process: {reason}");
        self.waiting.push_front(part);
        Ok(())
    }
}

/// Nobody is there that could do a part, not even this process.
fn nobody(what: &'static str) -> Error {
    Error::Lost { what, tries: 0, member: "this process".to_owned(), reason: "the fleet is over".to_owned() }
}
