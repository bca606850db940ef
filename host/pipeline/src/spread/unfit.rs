//! Members that get no tasks of a pipeline for a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use spout_base::clock::{self, Instant};

use super::Member;

/// Members that cannot do the tasks of a pipeline, or do not reach each other. Clones share it: runs come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfit(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Until when nobody asks them.
    resting: BTreeMap<String, Instant>,
    /// Of which two, in order, it was said that one does not reach the other; and when that was last.
    apart: BTreeMap<(String, String), Instant>,
}

impl Unfit {
    /// How long nobody asks them.
    const REST: Duration = Duration::from_secs(60);
    /// How long it is known that two did not reach each other.
    const MEMORY: Duration = Duration::from_secs(600);

    /// One cannot do the tasks.
    pub(super) fn add(&self, member: &str) {
        self.state().resting.insert(member.to_owned(), clock::now() + Self::REST);
    }

    /// `member` says that it does not reach `other`. The first time one of them may just have died. If it is so again, one of them rests,
    /// which is in the answer: the one that more of the others do not reach; not the `leader`, if there is a choice.
    pub(super) fn apart(&self, member: &str, other: &str, leader: &str) -> Option<String> {
        let mut state = self.state();
        let now = clock::now();
        state.apart.retain(|_, said| now < *said + Self::MEMORY);
        let pair = if member < other { (member, other) } else { (other, member) };
        let again = state.apart.insert((pair.0.to_owned(), pair.1.to_owned()), now).is_some();
        if !again {
            return None;
        }
        let unreached = |one: &str| {
            let pairs = state.apart.keys().filter(|(first, second)| first == one || second == one);
            (one != leader, pairs.count())
        };
        let rests = if unreached(other) > unreached(member) { other } else { member }.to_owned();
        state.resting.insert(rests.clone(), now + Self::REST);
        Some(rests)
    }

    /// Those of `members` that are not among them; all, if that is nobody.
    pub(super) fn without(&self, members: Vec<Member>) -> Vec<Member> {
        let now = clock::now();
        let mut state = self.state();
        state.resting.retain(|_, until| now < *until);
        let (unfit, fit): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|one| state.resting.contains_key(&one.id));
        if fit.is_empty() { unfit } else { fit }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is under the lock is sound at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: &[&str]) -> Vec<Member> {
        ids.iter().map(|id| Member { id: (*id).to_owned(), ..Member::default() }).collect()
    }

    #[test]
    fn of_two_that_do_not_reach_each_other_one_rests() {
        let all = || members(&["a", "b", "c"]);
        let unfit = Unfit::default();
        assert_eq!(unfit.apart("b", "c", "a"), None, "the other may have died");
        assert_eq!(unfit.without(all()), all());
        assert_eq!(unfit.apart("c", "b", "a").as_deref(), Some("c"), "whoever of them says it");
        assert_eq!(unfit.without(all()), members(&["a", "b"]));
        let unfit = Unfit::default();
        assert_eq!(unfit.apart("a", "b", "a"), None);
        assert_eq!(unfit.apart("a", "b", "a").as_deref(), Some("b"), "the leader goes on");
        assert_eq!(unfit.without(members(&["b"])), members(&["b"]), "nobody else is there");
    }

    #[test]
    fn who_is_reached_by_nobody_rests_and_not_those_who_say_so() {
        let unfit = Unfit::default();
        assert_eq!(unfit.apart("b", "d", "a"), None);
        assert_eq!(unfit.apart("c", "d", "a"), None);
        assert_eq!(unfit.apart("b", "d", "a").as_deref(), Some("d"));
    }
}
