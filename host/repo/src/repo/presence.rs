//! Who runs pipelines of a store: each server says so in an object of its own, which it writes anew every few seconds. Commands that
//! want others to share their work say so in the same way.
//!
//! What is said here keeps two servers from taking a branch from each other again and again. Nothing relies on it: that only one
//! writes a branch is up to the branch.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use spout_base::clock::{self, Instant};

use super::store::Store;
use crate::{
    error::Error,
    log::{Leader, Process},
    object::{Objects, Step},
};

/// Where servers say so.
const SERVERS: &str = "servers";
/// Where commands do.
const CALLS: &str = "calls";

/// What a server says, or a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Tells it from all others; of two that ask for the same at the same time, the one with the lesser id gets it.
    pub id: String,
    /// Where it runs.
    pub process: Process,
    /// How often it has said something.
    pub count: u64,
    /// The pipelines that it runs; what a command does.
    pub runs: BTreeSet<String>,
    /// Where a command is reached by those who share its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
}

/// A server among the others of its store.
#[derive(Debug)]
pub struct Presence {
    objects: Objects,
    /// The directory that they are in.
    among: &'static str,
    own: Beat,
    /// Servers that were seen: what each said last, and when that was new.
    seen: BTreeMap<String, (u64, Instant)>,
    /// One that has said nothing new for so long is gone.
    patience: Duration,
}

impl Store {
    /// A server of this store, which nobody knows of yet. Others that are silent for `patience` count as gone.
    #[must_use]
    pub fn presence(&self, patience: Duration) -> Presence {
        self.among(SERVERS, None, patience)
    }

    /// A command that wants others to share its work, as `leader`, or one that looks for such commands. Nobody knows of it yet; others
    /// that are silent for `patience` count as gone.
    #[must_use]
    pub fn calls(&self, leader: Option<Leader>, patience: Duration) -> Presence {
        self.among(CALLS, leader, patience)
    }

    fn among(&self, among: &'static str, leader: Option<Leader>, patience: Duration) -> Presence {
        let own = Beat { id: clock::nonce(), process: Process::own(), count: 0, runs: BTreeSet::new(), leader };
        Presence { objects: self.objects().clone(), among, own, seen: BTreeMap::new(), patience }
    }
}

impl Presence {
    fn place(&self, id: &str) -> Path {
        Path::from(format!("{}/{id}.json", self.among))
    }

    /// What it says.
    #[must_use]
    pub fn own(&self) -> &Beat {
        &self.own
    }

    /// Says that it is there and runs these pipelines; one that runs none is not there.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn say(&mut self, runs: BTreeSet<String>) -> Result<(), Error> {
        if runs.is_empty() && self.own.count == 0 {
            return Ok(());
        }
        let path = self.place(&self.own.id);
        self.own.runs = runs;
        if self.own.runs.is_empty() {
            self.own.count = 0;
            return self.objects.delete(Step::Delete, &path).await;
        }
        self.own.count += 1;
        let text = serde_json::to_vec(&self.own).map_err(|source| Error::encode("JSON", source))?;
        self.objects.overwrite(Step::Hint, &path, text.into()).await
    }

    /// Says that it runs these pipelines too, unless another does; what that one said.
    ///
    /// Only who speaks first and then finds that nobody else has spoken may run them: of two, the one that spoke last finds the
    /// other. Both may find each other; then the greater id leaves, and the lesser one waits for that as long as `patience` says. It
    /// leaves too if the other does not: that one had looked before, and runs them.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub async fn claim(&mut self, names: &BTreeSet<String>, patience: Duration) -> Result<Option<Beat>, Error> {
        self.say(self.own.runs.union(names).cloned().collect()).await?;
        let asked = clock::now();
        loop {
            let others = self.others().await?;
            let Some(other) = others.into_iter().find(|beat| !beat.runs.is_disjoint(names)) else { return Ok(None) };
            if other.id < self.own.id || asked.elapsed() > patience {
                self.say(self.own.runs.difference(names).cloned().collect()).await?;
                return Ok(Some(other));
            }
            tokio::time::sleep(patience / 20).await;
        }
    }

    /// The others that are there, as far as that can be seen from here. What is left of those that are gone is removed.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn others(&mut self) -> Result<Vec<Beat>, Error> {
        let mut living = Vec::new();
        for (path, _) in self.objects.list(&Path::from(self.among)).await? {
            let Some(bytes) = self.objects.find(&path).await? else { continue };
            let Ok(beat) = serde_json::from_slice::<Beat>(&bytes) else { continue };
            if beat.id == self.own.id {
                continue;
            }
            let before = self.seen.get(&beat.id).copied().filter(|(count, _)| *count == beat.count);
            let silent = before.is_some_and(|(_, since)| since.elapsed() > self.patience);
            if before.is_none() {
                self.seen.insert(beat.id.clone(), (beat.count, clock::now()));
            }
            if silent || beat.process.is_gone() {
                self.seen.remove(&beat.id);
                self.objects.delete(Step::Delete, &path).await?;
            } else {
                living.push(beat);
            }
        }
        Ok(living)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(store: &Store, patience: Duration) -> Presence {
        let mut other = store.presence(patience);
        other.own.process.host = "elsewhere".into();
        other
    }

    #[tokio::test]
    async fn who_runs_something_keeps_it_from_one_that_looked_too_early() {
        let store = Store::open("memory://").await.unwrap();
        let names = BTreeSet::from(["a".to_owned()]);
        let server = || elsewhere(&store, Duration::from_secs(3600));
        let patience = Duration::from_millis(20);
        let (mut lesser, mut greater) = (server(), server());
        if lesser.own.id > greater.own.id {
            (lesser, greater) = (greater, lesser);
        }
        assert_eq!(lesser.claim(&names, patience).await.unwrap(), None);
        assert_eq!(greater.claim(&names, patience).await.unwrap().unwrap().id, lesser.own.id);
        lesser.say(BTreeSet::new()).await.unwrap();
        assert_eq!(greater.claim(&names, patience).await.unwrap(), None);
        assert_eq!(lesser.claim(&names, patience).await.unwrap().unwrap().id, greater.own.id, "it was there first");
        assert!(lesser.own.runs.is_empty());
        // Of two that speak before either looks, one gets it.
        greater.say(BTreeSet::new()).await.unwrap();
        let (one, other) =
            tokio::join!(lesser.claim(&names, Duration::from_secs(60)), greater.claim(&names, Duration::from_secs(60)));
        assert_eq!([one.unwrap(), other.unwrap()].iter().filter(|holder| holder.is_none()).count(), 1);
    }

    #[tokio::test]
    async fn those_who_speak_are_there_and_the_silent_are_gone() {
        const LONG: Duration = Duration::from_secs(3600);
        let store = Store::open("memory://").await.unwrap();
        let runs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (mut one, mut two) = (elsewhere(&store, LONG), elsewhere(&store, LONG));
        one.say(runs(&[])).await.unwrap();
        assert!(two.others().await.unwrap().is_empty(), "who runs nothing is not there");
        one.say(runs(&["a", "b"])).await.unwrap();
        let others = two.others().await.unwrap();
        assert_eq!((others.len(), &others[0].runs), (1, &runs(&["a", "b"])));
        assert!(one.others().await.unwrap().is_empty(), "nobody is another to itself");
        // To one without patience, what is said anew counts, and what it has heard already does not.
        let mut hasty = elsewhere(&store, Duration::ZERO);
        assert_eq!(hasty.others().await.unwrap().len(), 1, "it has heard nothing of it before");
        one.say(runs(&["a"])).await.unwrap();
        assert_eq!(hasty.others().await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(hasty.others().await.unwrap().is_empty());
        assert!(two.others().await.unwrap().is_empty(), "what was left of it is removed");
        one.say(runs(&["a"])).await.unwrap();
        assert_eq!(two.others().await.unwrap().len(), 1, "it has only been slow");
        one.say(runs(&[])).await.unwrap();
        assert!(two.others().await.unwrap().is_empty(), "it has left");
        // A process of this machine that is gone is known to be at once.
        let mut dead = store.presence(LONG);
        dead.own.process.id = u32::MAX;
        dead.say(runs(&["c"])).await.unwrap();
        if std::path::Path::new("/proc/self").exists() {
            assert!(two.others().await.unwrap().is_empty());
        }
    }
}
