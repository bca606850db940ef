//! What became of messages, and of the rows made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of messages, and of the rows made of them.
///
/// They add up in every commit: `messages + made = rows + dead_letters + dropped + empty + filtered + late + kept`. Where a decoder
/// makes one row of each message, and handlers neither make new rows nor hold any back, `made` and `kept` are 0.
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
    /// Rows that messages held besides one each, less the messages that became something else than rows, such as files; none in
    /// commits of before it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<i64>,
    /// Rows that a handler holds back, or has merged into others, less those that it released or made, by handler.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, i64>,
    /// Keys of messages that no column is for.
    pub unknown: UnknownKeys,
}

impl Counts {
    /// Adds `more`.
    pub fn add(&mut self, more: &Self) {
        self.made = match (self.made, more.made) {
            (Some(own), Some(more)) => Some(own + more),
            (Some(own), None) if more.is_nothing() => Some(own),
            (None, more) if self.is_nothing() => more,
            _ => None,
        };
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
        for (handler, rows) in &more.kept {
            self.keep(handler, *rows);
        }
        self.unknown.add(&more.unknown);
    }

    /// Whether nothing came, and nothing became of anything.
    fn is_nothing(&self) -> bool {
        self.messages == 0 && self.made.is_none() && self.fates() == 0
    }

    /// What became of messages and rows, all together.
    fn fates(&self) -> i64 {
        let fates = [self.rows, self.dead_letters, self.dropped, self.empty, self.filtered_rows(), self.late_rows()];
        fates.into_iter().map(signed).sum::<i64>() + self.kept_rows()
    }

    /// How many messages and rows there are more than are accounted for; less than nothing where too much is. `None` where it was
    /// not counted; where nothing came and nothing became of anything, nothing had to be.
    #[must_use]
    pub fn unaccounted(&self) -> Option<i64> {
        if self.is_nothing() {
            return Some(0);
        }
        Some(signed(self.messages) + self.made? - self.fates())
    }

    /// What `made` is where these counts add up: for those of a run whose messages have just been decoded.
    #[must_use]
    pub fn decoded(self) -> Option<i64> {
        Some(self.fates() - signed(self.messages))
    }

    /// Counts `rows` that `handler` holds back, or has released where it is less than nothing.
    pub fn keep(&mut self, handler: &str, rows: i64) {
        if rows != 0 {
            let kept = self.kept.entry(handler.to_owned()).or_default();
            *kept += rows;
            if *kept == 0 {
                self.kept.remove(handler);
            }
        }
    }

    /// Rows that all handlers together hold back, less those that they released or made.
    #[must_use]
    pub fn kept_rows(&self) -> i64 {
        self.kept.values().sum()
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

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
    fn what_is_not_accounted_for_is_known() {
        // Three messages hold five rows; a window has two of them, a filter left one out.
        let mut counts = Counts { messages: 3, rows: 2, ..Counts::default() };
        counts.keep("w", 2);
        counts.filter("f", 1);
        assert_eq!(counts.unaccounted(), None, "a commit of before it was counted");
        assert_eq!(Counts::default().unaccounted(), Some(0), "an empty commit");
        counts.made = Some(2);
        assert_eq!(counts.unaccounted(), Some(0));
        // It releases them as one.
        let mut released = Counts { rows: 1, made: Some(0), ..Counts::default() };
        released.keep("w", -1);
        assert_eq!(released.unaccounted(), Some(0));
        counts.add(&released);
        assert_eq!((counts.unaccounted(), counts.kept_rows(), counts.rows), (Some(0), 1, 3));
        counts.add(&Counts::default());
        assert_eq!(counts.unaccounted(), Some(0), "nothing changes nothing");
        let lost = Counts { rows: counts.rows - 1, ..counts.clone() };
        assert_eq!(lost.unaccounted(), Some(1));
        counts.add(&Counts { messages: 1, rows: 1, ..Counts::default() });
        assert_eq!(counts.unaccounted(), None, "with one that was not counted");
        let files = Counts { messages: 4, dead_letters: 1, ..Counts::default() };
        assert_eq!(files.decoded(), Some(-3));
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
