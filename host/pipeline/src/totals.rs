//! What a pipeline has done since it was started, over all its tries, for whoever is told at the end.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use spout_data::{Counts, DeadLetter, PartitionId, UnknownKeys};

/// What is said of keys that are not told apart.
const OTHERS: &str = "(others: too long, or too many)";

/// Pairs of stage and code that are told apart. Plugins choose their codes.
const MOST: usize = 100;

/// Why messages could not be processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `decode`, or the id of the handler.
    pub stage: String,
    /// Stable and dotted, such as `json.syntax`.
    pub code: String,
    /// How many messages or rows.
    pub count: u64,
    /// What was wrong with the first of them.
    pub first: String,
    /// Where that was.
    pub partition: PartitionId,
    /// The source's name for the partition, such as a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Its offset.
    pub offset: u64,
}

/// Reasons by stage and code.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons {
    by_stage: BTreeMap<String, BTreeMap<String, Reason>>,
    /// How many pairs there are.
    pairs: usize,
}

impl Reasons {
    /// Counts a message that could not be processed; `label` is the source's name for its partition.
    pub(super) fn count(&mut self, letter: &DeadLetter, label: impl FnOnce() -> String) {
        let DeadLetter { stage, code, reason, partition, offset, .. } = letter;
        // Of millions of letters most are known: they must not cost a copy of their words.
        if let Some(known) = self.by_stage.get_mut(stage).and_then(|codes| codes.get_mut(code)) {
            known.count += 1;
            return;
        }
        self.add(Reason {
            stage: stage.clone(),
            code: code.clone(),
            count: 1,
            first: reason.clone(),
            partition: *partition,
            label: label(),
            offset: *offset,
        });
    }

    fn add(&mut self, more: Reason) {
        let known = self.by_stage.get_mut(&more.stage).and_then(|codes| codes.get_mut(&more.code));
        match known {
            Some(reason) => reason.count += more.count,
            None if self.pairs < MOST => {
                self.pairs += 1;
                self.by_stage.entry(more.stage.clone()).or_default().insert(more.code.clone(), more);
            }
            None => {}
        }
    }

    /// Adds those of a later commit.
    fn append(&mut self, more: Self) {
        more.by_stage.into_values().flat_map(BTreeMap::into_values).for_each(|reason| self.add(reason));
    }

    /// Adds those of another process.
    pub(super) fn extend(&mut self, more: Vec<Reason>) {
        more.into_iter().for_each(|reason| self.add(reason));
    }

    /// The commonest first.
    pub(super) fn sorted(&self) -> Vec<Reason> {
        let mut all: Vec<Reason> = self.by_stage.values().flat_map(BTreeMap::values).cloned().collect();
        all.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        all
    }
}

/// What a pipeline has done since it was started.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Epoch of its newest claim, where others share its work.
    pub(super) epoch: Option<u64>,
    /// Commits.
    pub(super) commits: u64,
    /// What became of the messages in them.
    pub(super) counts: Counts,
    /// Why some of them could not be processed.
    pub(super) reasons: Reasons,
    /// Unknown keys that were warned of.
    warned: BTreeSet<String>,
}

impl Totals {
    /// Adds a commit.
    pub(super) fn commit(&mut self, counts: &Counts, reasons: Reasons) {
        self.commits += 1;
        self.counts.add(counts);
        self.reasons.append(reasons);
    }

    /// The keys that nobody was warned of before, and a word for those that have no name here.
    pub(super) fn new_keys(&mut self, keys: &UnknownKeys) -> Vec<String> {
        let others = (keys.others > 0 && self.warned.insert(OTHERS.to_owned())).then(|| OTHERS.to_owned());
        let room = UnknownKeys::MOST.saturating_sub(self.warned.len());
        let new: Vec<String> =
            keys.names.keys().filter(|name| !self.warned.contains(*name)).take(room).cloned().collect();
        self.warned.extend(new.iter().cloned());
        new.into_iter().chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(code: &str, offset: u64) -> DeadLetter {
        DeadLetter {
            partition: 0.into(),
            offset,
            timestamp_ms: None,
            file: None,
            key: None,
            headers: Vec::new(),
            value: Default::default(),
            null: false,
            holds: spout_data::Holds::Message,
            stage: "decode".into(),
            code: code.into(),
            reason: format!("{code} at {offset}"),
        }
    }

    #[test]
    fn the_first_of_each_code_is_shown_and_the_commonest_code_first() {
        let mut first = Reasons::default();
        first.count(&letter("a", 1), || "f".into());
        let mut second = Reasons::default();
        [letter("b", 2), letter("a", 3), letter("b", 4)].iter().for_each(|letter| second.count(letter, || "f".into()));
        let mut totals = Totals::default();
        totals.commit(&Counts { messages: 2, dead_letters: 1, ..Counts::default() }, first);
        totals.commit(&Counts { messages: 5, dead_letters: 3, ..Counts::default() }, second);
        let shown: Vec<(String, u64, String)> =
            totals.reasons.sorted().into_iter().map(|reason| (reason.code, reason.count, reason.first)).collect();
        assert_eq!(shown, [("a".into(), 2, "a at 1".into()), ("b".into(), 2, "b at 2".into())]);
        assert_eq!((totals.commits, totals.counts.messages, totals.counts.dead_letters), (2, 7, 4));
    }

    #[test]
    fn a_plugin_cannot_make_the_list_of_reasons_long() {
        let mut reasons = Reasons::default();
        (0..1000).for_each(|number| reasons.count(&letter(&number.to_string(), number), String::new));
        assert_eq!(reasons.sorted().len(), MOST);
    }

    #[test]
    fn each_unknown_key_is_warned_of_once() {
        let mut totals = Totals::default();
        let mut keys = UnknownKeys::default();
        keys.count("colour", 3);
        assert_eq!(totals.new_keys(&keys), ["colour"]);
        keys.count("size", 1);
        assert_eq!(totals.new_keys(&keys), ["size"]);
        assert!(totals.new_keys(&keys).is_empty());
        keys.count("(others)", 1);
        assert_eq!(totals.new_keys(&keys), [OTHERS]);
        assert!(totals.new_keys(&keys).is_empty());
    }
}
