//! Commits found by name: `repo@branch~2`, an id or the start of one, a tag, a moment; and the line of those before one.

use std::collections::{BTreeMap, VecDeque};

use futures::{StreamExt, TryStreamExt, stream};

use super::{reference::Reference, repository::Repo};
use crate::{
    error::Error,
    log::{Base, Commit, Located, Point, Record, Recorded, Slot, State, by_number, seal},
    object::PARALLEL,
};
use spout_base::near::did_you_mean;

/// Shorter starts of a commit id are not looked up.
const SHORTEST_PREFIX: usize = 4;

impl Repo {
    /// The commit that `reference` names: the head of a branch, a tag, a commit id or the start of one, or one before it.
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], [`Error::UnknownCommit`], [`Error::AmbiguousCommit`], [`Error::Collected`], and those of
    /// reading records.
    pub async fn resolve(&self, reference: &Reference) -> Result<Commit, Error> {
        let (_, commit) = self.known_by(reference).await?;
        self.whole(commit).await
    }

    /// The same as it is recorded, and the state of a branch that leads to it.
    pub(crate) async fn known_by(&self, reference: &Reference) -> Result<(State, Commit<Recorded>), Error> {
        let (state, commit) = self.target(reference).await?;
        let commit = match reference.at_ms {
            Some(at_ms) => self.at_time(reference, &state, commit, at_ms).await?,
            None => commit,
        };
        let commit = self.back(reference, &state, commit).await?;
        Ok((state, commit))
    }

    /// The commit with its whole marker.
    async fn whole(&self, commit: Commit<Recorded>) -> Result<Commit, Error> {
        let marker = match commit.marker_after(None) {
            Some(marker) => marker,
            None => self.state_at(&commit).await?.head.marker().clone(),
        };
        Ok(commit.with(marker))
    }

    /// The same for many of one line, newest first. Each marker comes of the one before it; only where that is not among
    /// them, as behind commits that were squashed, are records read.
    async fn all_whole(&self, commits: Vec<Commit<Recorded>>) -> Result<Vec<Commit>, Error> {
        let mut whole: Vec<Commit> = Vec::with_capacity(commits.len());
        for commit in commits.into_iter().rev() {
            let before = whole.last().filter(|before| commit.parent.as_ref() == Some(&before.header.id));
            let commit = match commit.marker_after(before.map(|before| &before.marker)) {
                Some(marker) => commit.with(marker),
                None => self.whole(commit).await?,
            };
            whole.push(commit);
        }
        whole.reverse();
        Ok(whole)
    }

    /// The commits from `reference` back to the first that is kept, newest first, at most `limit`; without the bytes of
    /// inline files and without those that were squashed.
    ///
    /// # Errors
    /// Those of [`Repo::resolve`].
    pub async fn history(&self, reference: &Reference, limit: usize) -> Result<Vec<Commit>, Error> {
        let commits = self.recorded(reference, limit).await?;
        self.all_whole(commits).await
    }

    /// The same as they are recorded.
    pub(crate) async fn recorded(&self, reference: &Reference, limit: usize) -> Result<Vec<Commit<Recorded>>, Error> {
        let (state, from) = self.known_by(reference).await?;
        let mut line = Line::new(self, &state, from.number);
        let mut commits = vec![from];
        while commits.len() < limit {
            match line.next().await? {
                Some((_, commit)) => commits.push(commit),
                None => break,
            }
        }
        commits.truncate(limit);
        Ok(commits)
    }

    /// All commits of `branch` that are kept, newest first; see [`Repo::history`].
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], and those of reading records.
    pub async fn log(&self, branch: &str) -> Result<Vec<Commit>, Error> {
        let commits = self.recorded_log(branch).await?;
        self.all_whole(commits).await
    }

    /// The same as they are recorded.
    ///
    /// # Errors
    /// As [`Repo::log`].
    pub async fn recorded_log(&self, branch: &str) -> Result<Vec<Commit<Recorded>>, Error> {
        match self.known(branch).await?.head.commit {
            Some(_) => self.recorded(&Reference::head(self.name(), branch), usize::MAX).await,
            None => Ok(Vec::new()),
        }
    }

    /// The state of the branch that knows the target, and the target itself, whatever comes before it left out.
    async fn target(&self, reference: &Reference) -> Result<(State, Commit<Recorded>), Error> {
        let target = &reference.target;
        let unknown = |reason: String| Error::UnknownCommit { reference: reference.to_string(), reason };
        let state = self.state(target).await?;
        if !state.is_new() && !state.deleted {
            let head = state.head.commit.clone();
            let head = head.ok_or_else(|| unknown(format!("branch {target} has no commit yet")))?;
            return Ok((state, head.recorded()));
        }
        if let Some(base) = self.tag(target).await? {
            let commit = base.commit.clone();
            return Ok((State::of_base(&self.objects, &self.layout, base), commit.recorded()));
        }
        self.by_id(target).await
    }

    /// The commit whose id starts with `prefix`, and a branch that leads to it.
    async fn by_id(&self, prefix: &str) -> Result<(State, Commit<Recorded>), Error> {
        let prefix = &prefix.to_ascii_lowercase();
        let branches = self.branch_names().await?;
        let mut found: Vec<(String, Vec<Located>, State)> = Vec::new();
        if prefix.len() >= SHORTEST_PREFIX && prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            for state in self.lines(&branches).await? {
                let mut ids = state.ids.scan(prefix);
                let mut here = Vec::new();
                while let Some(entry) = ids.next().await? {
                    here.push(entry);
                }
                drop(ids);
                for (id, located) in here {
                    match found.iter_mut().find(|(there, ..)| *there == id) {
                        Some((_, places, known_by)) => {
                            // Squashed on one branch, it may still be seen on another.
                            if is_hidden(known_by, located.number) {
                                *known_by = state.clone();
                            }
                            places.push(located);
                        }
                        None => found.push((id, vec![located], state.clone())),
                    }
                }
            }
        }
        match (found.pop(), found.len()) {
            (Some((id, places, state)), 0) => {
                let commit = self.anywhere(&id, &places).await?.ok_or_else(|| self.lost(prefix))?;
                if is_hidden(&state, commit.number) {
                    Err(Error::Collected {
                        repo: self.name().to_owned(),
                        commit: commit.header.id,
                        why: "it was squashed into the commit after it",
                    })
                } else {
                    Ok((state, commit))
                }
            }
            (Some(_), more) => {
                Err(Error::AmbiguousCommit { repo: self.name().to_owned(), prefix: prefix.clone(), count: more + 1 })
            }
            (None, _) => Err(Error::UnknownBranch {
                repo: self.name().to_owned(),
                branch: prefix.clone(),
                nearest: did_you_mean(prefix, branches.iter().map(String::as_str).filter(|name| *name != prefix)),
            }),
        }
    }

    /// The commit `id` from the first place that still has it: a branch that was set to it may have collected the record
    /// that says so, and its own branch keep it all the same.
    async fn anywhere(&self, id: &str, places: &[Located]) -> Result<Option<Commit<Recorded>>, Error> {
        for located in places {
            if let Some(commit) = self.located(located).await? {
                return Ok(Some(commit));
            }
        }
        Ok(self.held(id).await?.map(|base| base.commit.recorded()))
    }

    fn lost(&self, commit: &str) -> Error {
        let why = "its branch keeps only newer commits";
        Error::Collected { repo: self.name().to_owned(), commit: commit.to_owned(), why }
    }

    /// The commit of exactly this id that `branch` leads to, if it does.
    pub(crate) async fn known_commit(&self, branch: &str, id: &str) -> Result<Option<Commit>, Error> {
        let Some(located) = self.state(branch).await?.ids.get(id).await? else { return Ok(None) };
        match self.located(&located).await? {
            Some(commit) => self.whole(commit).await.map(Some),
            None => Ok(None),
        }
    }

    /// The base of a commit whose own record is gone, if a tag or a branch was set to it.
    pub(crate) async fn held(&self, id: &str) -> Result<Option<Base>, Error> {
        if let Some(base) = self.tagged(id).await? {
            return Ok(Some(base));
        }
        for branch in self.branch_names().await? {
            let Some(located) = self.state(&branch).await?.ids.get(id).await? else { continue };
            let path = self.layout.record(&located.slot.branch, located.slot.sequence);
            let Some(bytes) = self.objects.find(&path).await? else { continue };
            match seal::parse(&self.objects.shown(&path), &bytes)? {
                Record::Point(Point { target: Some(target), .. }) if target.commit.header.id == id => {
                    return Ok(Some(*target));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Every line of commits there is: those of branches, and those that only tags hold.
    async fn lines(&self, branches: &[String]) -> Result<Vec<State>, Error> {
        let of_branches = stream::iter(branches.to_vec()).map(|name| async move { self.state(&name).await });
        let mut states: Vec<State> = of_branches.buffered(PARALLEL).try_collect().await?;
        states.sort_by_key(|state| state.deleted);
        for tag in self.tags().await? {
            let base: Option<Base> = self.tag(&tag.name).await?;
            states.extend(base.map(|base| State::of_base(&self.objects, &self.layout, base)));
        }
        Ok(states)
    }

    /// The commit at a place; `None` if it was collected.
    pub(crate) async fn located(&self, located: &Located) -> Result<Option<Commit<Recorded>>, Error> {
        let path = self.layout.record(&located.slot.branch, located.slot.sequence);
        let object = self.objects.shown(&path);
        let found = match self.objects.find(&path).await? {
            Some(bytes) => match seal::parse(&object, &bytes)? {
                Record::Commit(commit) if commit.header.id == located.id => return Ok(Some(commit.light().recorded())),
                Record::Point(Point { target: Some(target), .. }) if target.commit.header.id == located.id => {
                    return Ok(Some(target.commit.recorded()));
                }
                _ => Error::BadRecord { object, reason: "it is not the commit that the index names".to_owned() },
            },
            None => Error::MissingRecord { object },
        };
        // Into a slot that was collected, a writer that slept may have put a record that counts for nothing.
        if self.boundary(&located.slot.branch).await? > located.slot.sequence { Ok(None) } else { Err(found) }
    }

    /// The commit as many visible ones before `commit` as `reference` says.
    async fn back(
        &self,
        reference: &Reference,
        state: &State,
        commit: Commit<Recorded>,
    ) -> Result<Commit<Recorded>, Error> {
        let unknown = |reason: String| Error::UnknownCommit { reference: reference.to_string(), reason };
        if reference.back == 0 {
            return Ok(commit);
        }
        let before = visible_before(state, commit.number);
        let number = nth_before(state, commit.number, reference.back);
        let number =
            number.ok_or_else(|| unknown(format!("only {before} commits come before {}", reference.target)))?;
        match state.ids.get(&by_number(number)).await? {
            Some(located) => self.located(&located).await?.ok_or_else(|| self.lost(&reference.to_string())),
            None => Err(unknown("the index does not know it; run `spout fsck`".to_owned())),
        }
    }

    /// The newest commit that was finished no later than `at_ms`, by the clocks of those who made them.
    async fn at_time(
        &self,
        reference: &Reference,
        state: &State,
        head: Commit<Recorded>,
        at_ms: i64,
    ) -> Result<Commit<Recorded>, Error> {
        if head.header.at_ms <= at_ms {
            return Ok(head);
        }
        let mut line = Line::new(self, state, head.number);
        while let Some((_, commit)) = line.next().await? {
            if commit.header.at_ms <= at_ms {
                return Ok(commit);
            }
        }
        let reason = "all kept commits are newer".to_owned();
        Err(Error::UnknownCommit { reference: reference.to_string(), reason })
    }
}

fn is_hidden(state: &State, number: u64) -> bool {
    state.hidden.iter().any(|&(first, last)| (first..=last).contains(&number))
}

fn visible_before(state: &State, number: u64) -> u64 {
    let hidden = state.hidden.iter().map(|&(first, last)| (last + 1).min(number).saturating_sub(first)).sum::<u64>();
    number.saturating_sub(1 + hidden)
}

/// The number of the visible commit `back` before that of `number`.
fn nth_before(state: &State, number: u64, back: u64) -> Option<u64> {
    let (mut at, mut left) = (number, back);
    for &(first, last) in state.hidden.iter().rev().filter(|(_, last)| *last < number) {
        let between = at - last - 1;
        if left <= between {
            break;
        }
        left -= between;
        at = first;
    }
    at.checked_sub(left).filter(|&number| number > 0)
}

/// The visible commits before a number, newest first, read some at a time.
pub(crate) struct Line<'a> {
    repo: &'a Repo,
    state: &'a State,
    /// Numbers below this one are still to come.
    below: u64,
    read: VecDeque<(Slot, Commit<Recorded>)>,
    /// First sequence that is kept, by branch.
    kept: BTreeMap<String, u64>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(repo: &'a Repo, state: &'a State, below: u64) -> Self {
        Self { repo, state, below, read: VecDeque::new(), kept: BTreeMap::new() }
    }

    /// The next, with the place of the record that has it; `None` behind the first commit that is kept.
    pub(crate) async fn next(&mut self) -> Result<Option<(Slot, Commit<Recorded>)>, Error> {
        if self.read.is_empty() && self.below > 1 {
            let first = self.below.saturating_sub(PARALLEL as u64).max(1);
            let numbers = (first..self.below).rev().filter(|&number| !is_hidden(self.state, number));
            let (repo, state) = (self.repo, self.state);
            let places = stream::iter(numbers).map(|number| async move { state.ids.get(&by_number(number)).await });
            let places: Vec<Option<Located>> = places.buffered(PARALLEL).try_collect().await?;
            let places = self.kept(places).await?;
            let window = stream::iter(places).map(|located| async move {
                let Some(located) = located else { return Ok(None) };
                Ok::<_, Error>(repo.located(&located).await?.map(|commit| (located.slot, commit)))
            });
            let window: Vec<Option<(Slot, Commit<Recorded>)>> = window.buffered(PARALLEL).try_collect().await?;
            let whole = window.iter().all(Option::is_some);
            // Behind the first that is gone, all are.
            self.read.extend(window.into_iter().map_while(|commit| commit));
            self.below = if whole { first } else { 0 };
            if self.read.is_empty() && self.below > 1 {
                return Box::pin(self.next()).await;
            }
        }
        Ok(self.read.pop_front())
    }

    /// The places without those before a boundary: while a collection is under way, or after one that was killed, their
    /// records may still be there and what they need is not.
    async fn kept(&mut self, places: Vec<Option<Located>>) -> Result<Vec<Option<Located>>, Error> {
        for Located { slot, .. } in places.iter().flatten() {
            if !self.kept.contains_key(&slot.branch) {
                self.kept.insert(slot.branch.clone(), self.repo.boundary(&slot.branch).await?);
            }
        }
        let is_kept = |slot: &Slot| self.kept.get(&slot.branch).is_none_or(|first| slot.sequence >= *first);
        Ok(places.into_iter().map(|place| place.filter(|located| is_kept(&located.slot))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::reference::MASTER;
    use crate::repo::store::Store;

    #[tokio::test]
    async fn hidden_commits_do_not_count() {
        let repo = Store::open("memory://").await.unwrap().repo_or_create("r", "").await.unwrap();
        let mut state = repo.state(MASTER).await.unwrap();
        state.hidden = vec![(2, 3), (6, 6)];
        // Visible: 1, 4, 5, 7, 8.
        let check = |number, back, expected| assert_eq!(nth_before(&state, number, back), expected, "{number}~{back}");
        check(8, 1, Some(7));
        check(8, 2, Some(5));
        check(8, 3, Some(4));
        check(8, 4, Some(1));
        check(8, 5, None);
        check(5, 1, Some(4));
        check(5, 2, Some(1));
        check(4, 1, Some(1));
        check(1, 1, None);
        assert_eq!([8, 7, 5, 4, 1].map(|number| visible_before(&state, number)), [4, 3, 2, 1, 0]);
    }
}
