//! Who runs pipelines of a store: each server says so in an object of its own, which it writes anew every few seconds.
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
    log::Process,
    object::{Objects, Step},
};

/// Where all of them are.
const SERVERS: &str = "servers";

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Tells it from all others; of two that ask for the same at the same time, the one with the lesser id gets it.
    pub id: String,
    /// Where it runs.
    pub process: Process,
    /// How often it has said something.
    pub count: u64,
    /// The pipelines that it runs.
    pub runs: BTreeSet<String>,
}

/// A server among the others of its store.
#[derive(Debug)]
pub struct Presence {
    objects: Objects,
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
        let own = Beat { id: clock::nonce(), process: Process::own(), count: 0, runs: BTreeSet::new() };
        Presence { objects: self.objects().clone(), own, seen: BTreeMap::new(), patience }
    }
}

fn place(id: &str) -> Path {
    Path::from(format!("{SERVERS}/{id}.json"))
}

impl Presence {
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
        let path = place(&self.own.id);
        self.own.runs = runs;
        if self.own.runs.is_empty() {
            self.own.count = 0;
            return self.objects.delete(Step::Delete, &path).await;
        }
        self.own.count += 1;
        let text = serde_json::to_vec(&self.own).map_err(|source| Error::encode("JSON", source))?;
        self.objects.overwrite(Step::Hint, &path, text.into()).await
    }

    /// The others that are there, as far as that can be seen from here. What is left of those that are gone is removed.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn others(&mut self) -> Result<Vec<Beat>, Error> {
        let mut living = Vec::new();
        for (path, _) in self.objects.list(&Path::from(SERVERS)).await? {
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
