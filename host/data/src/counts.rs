//! What became of messages, and of the rows made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of messages, and of the rows made of them.
///
/// Where a decoder makes one row of each message, and handlers neither make new rows nor hold any back,
/// `messages = rows + dead_letters + dropped + filtered + late + empty`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Messages that were taken from the source; rows, where the source gives rows.
    pub messages: u64,
    /// Rows in the data files.
    pub rows: u64,
    /// Messages and rows that could not be processed and were set aside.
    pub dead_letters: u64,
    /// Messages and rows that could not be processed and were left out, because the spec says so.
    pub dropped: u64,
    /// Messages that hold no row and no fault: header lines, tombstones.
    pub empty: u64,
    /// Rows that a handler left out because that is what it is for, by handler.
    pub filtered: BTreeMap<String, u64>,
    /// Rows that came too late for a handler, by handler.
    pub late: BTreeMap<String, u64>,
    /// Keys of messages that no column is for.
    pub unknown: UnknownKeys,
}

impl Counts {
    /// Adds `more`.
    pub fn add(&mut self, more: &Self) {
        self.messages += more.messages;
        self.rows += more.rows;
        self.dead_letters += more.dead_letters;
        self.dropped += more.dropped;
        self.empty += more.empty;
        for (own, more) in [(&mut self.filtered, &more.filtered), (&mut self.late, &more.late)] {
            for (handler, rows) in more {
                add(own, handler, *rows);
            }
        }
        self.unknown.add(&more.unknown);
    }

    /// Counts `rows` that `handler` left out.
    pub fn filter(&mut self, handler: &str, rows: u64) {
        if rows > 0 {
            add(&mut self.filtered, handler, rows);
        }
    }

    /// Counts `rows` that came too late for `handler`.
    pub fn come_late(&mut self, handler: &str, rows: u64) {
        if rows > 0 {
            add(&mut self.late, handler, rows);
        }
    }

    /// Rows that all handlers together left out.
    #[must_use]
    pub fn filtered_rows(&self) -> u64 {
        self.filtered.values().sum()
    }

    /// Rows that came too late, for whichever handler.
    #[must_use]
    pub fn late_rows(&self) -> u64 {
        self.late.values().sum()
    }

    /// Whether messages came, and not one of them could be processed.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        let failed = self.dead_letters + self.dropped;
        let others = self.rows + self.filtered_rows() + self.late_rows();
        failed > 0 && others == 0 && failed + self.empty >= self.messages
    }
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    match counts.get_mut(name) {
        Some(count) => *count += more,
        None => drop(counts.insert(name.to_owned(), more)),
    }
}

/// Keys of messages that no column is for, and how often each was met. Senders choose them, so both their number and their
/// length are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnknownKeys {
    /// By name; a long one is cut.
    pub names: BTreeMap<String, u64>,
    /// How often others were met that are not among them.
    pub others: u64,
}

impl UnknownKeys {
    /// Names that are told apart.
    pub const MOST: usize = 100;
    /// Bytes of a name.
    const LONGEST: usize = 200;
    /// What decoders call those that they do not tell apart.
    const OTHERS: &str = "(others)";

    /// Whether none was met.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.others == 0
    }

    /// Counts a key that was met `times`.
    pub fn count(&mut self, name: &str, times: u64) {
        let name = name.get(..name.floor_char_boundary(Self::LONGEST)).unwrap_or(name);
        if name != Self::OTHERS && (self.names.len() < Self::MOST || self.names.contains_key(name)) {
            add(&mut self.names, name, times)
        } else {
            self.others += times
        }
    }

    fn add(&mut self, more: &Self) {
        more.names.iter().for_each(|(name, times)| self.count(name, *times));
        self.others += more.others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_up_by_name() {
        let mut sum = Counts { messages: 3, rows: 1, ..Counts::default() };
        sum.filter("f", 2);
        let mut more = Counts { messages: 4, dead_letters: 1, empty: 1, ..Counts::default() };
        more.filter("f", 1);
        more.come_late("w", 1);
        more.come_late("w", 0);
        sum.add(&more);
        assert_eq!((sum.messages, sum.rows, sum.dead_letters, sum.empty), (7, 1, 1, 1));
        assert_eq!((sum.filtered_rows(), sum.late_rows()), (3, 1));
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), sum);
        assert_eq!(serde_json::from_str::<Counts>("{}").unwrap(), Counts::default());
    }

    #[test]
    fn all_failed_means_that_nothing_else_became_of_them() {
        let check = |counts: &Counts, expected: bool| assert_eq!(counts.all_failed(), expected, "{counts:?}");
        let none = Counts::default();
        check(&none, false);
        check(&Counts { messages: 2, dead_letters: 2, ..none.clone() }, true);
        check(&Counts { messages: 3, dead_letters: 1, dropped: 1, empty: 1, ..none.clone() }, true);
        check(&Counts { messages: 2, dead_letters: 1, rows: 1, ..none.clone() }, false);
        check(&Counts { messages: 2, empty: 2, ..none.clone() }, false);
        // A window holds the other one.
        check(&Counts { messages: 2, dead_letters: 1, ..none.clone() }, false);
        let mut filtered = Counts { messages: 2, dead_letters: 2, ..none };
        filtered.filter("f", 1);
        check(&filtered, false);
    }

    #[test]
    fn senders_cannot_make_the_list_of_unknown_keys_long() {
        let mut keys = UnknownKeys::default();
        for number in 0..1000 {
            keys.count(&format!("k{number:04}"), 2);
        }
        keys.count("k0000", 1);
        assert_eq!((keys.names.len(), keys.others, keys.names["k0000"]), (100, 1800, 3));
        let mut both = UnknownKeys::default();
        both.count(&"ä".repeat(1000), 1);
        both.add(&keys);
        assert_eq!((both.names.len(), both.others), (100, 1802));
        assert!(both.names.keys().all(|name| name.len() <= 200));
        both.count("(others)", 3);
        assert_eq!((both.names.len(), both.others), (100, 1805));
    }
}
