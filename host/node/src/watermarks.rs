//! How far each source has come in event time, and how far all are.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use spout_data::Period;

use super::{Source, SourceEvent, time::nanoseconds};

/// How far each source has come in event time; all times are nanoseconds since 1970.
///
/// The watermark of a source is the newest time seen minus the lateness. Whether a row is late depends on the rows before it
/// in its own source and on nothing else, so that neither batches nor the interleaving of sources can change it; only a source
/// that was idle, or appears later, can find that the others have gone on without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    lateness: i64,
    #[serde(with = "pairs")]
    sources: BTreeMap<Source, Mark>,
    reached: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    newest: Option<i64>,
    idle: bool,
    ended: bool,
}

impl Watermarks {
    /// No source yet; rows may be out of order by `lateness`.
    #[must_use]
    pub fn new(lateness: Period) -> Self {
        Self { lateness: nanoseconds(lateness), ..Self::default() }
    }

    /// From now on rows may be out of order by `lateness`.
    pub fn set_lateness(&mut self, lateness: Period) {
        self.lateness = Self::new(lateness).lateness;
    }

    /// Takes an event of a source: nobody runs ahead of one that was opened until it has had rows, and one that has had
    /// nothing for `idle_after`, or has ended, holds nobody up.
    pub fn on_event(&mut self, event: SourceEvent, idle_after: Option<Duration>) {
        match event {
            SourceEvent::Opened(source) => {
                let mark = self.sources.entry(source).or_default();
                (mark.idle, mark.ended) = (false, false);
            }
            SourceEvent::Idle(source, quiet) if idle_after.is_some_and(|after| quiet >= after) => {
                self.sources.entry(source).or_default().idle = true;
            }
            SourceEvent::Ended(source) => self.sources.entry(source).or_default().ended = true,
            SourceEvent::Idle(..) | SourceEvent::Cut => {}
        }
    }

    /// Takes the times of some of the rows of one source, in order, where the others are elsewhere. For each row the newest time among
    /// all rows before it in its batch is in `before`, and `newest` is the newest of the batch; [`i64::MIN`] where there is none. The
    /// answer is that of [`Watermarks::passed`] for the rows that are here, had it got all of them.
    pub fn passed_among(&mut self, source: Source, before: &[i64], newest: i64) -> Vec<i64> {
        let behind = |newest: i64| newest.saturating_sub(self.lateness);
        let mark = self.sources.entry(source).or_default();
        mark.idle = false;
        let known = |newest: i64| (newest > i64::MIN).then_some(newest);
        let (own, reached) = (mark.newest, self.reached.unwrap_or(i64::MIN));
        let passed = |&before: &i64| own.max(known(before)).map_or(i64::MIN, behind).max(reached);
        let each = before.iter().map(passed).collect();
        mark.newest = own.max(known(newest));
        each
    }

    /// The newest time of all sources.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.sources.values().filter_map(|mark| mark.newest).max()
    }

    /// Takes the times of rows of one source, in order. For each row the watermark that the rows before it make, or
    /// [`i64::MIN`] if they make none: what ended there or earlier can no longer count the row.
    pub fn passed(&mut self, source: Source, times: &[i64]) -> Vec<i64> {
        let lateness = self.lateness;
        let mark = self.sources.entry(source).or_default();
        mark.idle = false;
        let behind = |newest: i64| newest.saturating_sub(lateness);
        let own = mark.newest.map_or(i64::MIN, behind);
        let (mut newest, mut passed) = (mark.newest, own.max(self.reached.unwrap_or(i64::MIN)));
        let each = times.iter().map(|&time| {
            let before = passed;
            if newest.is_none_or(|newest| newest < time) {
                newest = Some(time);
                passed = passed.max(behind(time));
            }
            before
        });
        let each = each.collect();
        mark.newest = newest;
        each
    }

    /// The time that all sources which count have passed; it never goes back. `None` while one of them has said nothing.
    pub fn advance(&mut self) -> Option<i64> {
        let counting = self.sources.values().filter(|mark| !mark.idle && !mark.ended);
        let all: Option<Vec<i64>> =
            counting.map(|mark| mark.newest.map(|newest| newest.saturating_sub(self.lateness))).collect();
        if let Some(lowest) = all.and_then(|all| all.into_iter().min()) {
            self.reached = self.reached.max(Some(lowest));
        }
        self.reached
    }
}

/// Sources as keys: JSON has text keys only.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use spout_data::PartitionId;

    use super::{Mark, Source};

    pub(super) fn serialize<S: Serializer>(sources: &BTreeMap<Source, Mark>, to: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<(Option<PartitionId>, &Mark)> = sources
            .iter()
            .map(|(source, mark)| match source {
                Source::Partition(partition) => (Some(*partition), mark),
                Source::Merged => (None, mark),
            })
            .collect();
        pairs.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Source, Mark>, D::Error> {
        let pairs: Vec<(Option<PartitionId>, Mark)> = Vec::deserialize(from)?;
        Ok(pairs.into_iter().map(|(id, mark)| (id.map_or(Source::Merged, Source::Partition), mark)).collect())
    }
}

#[cfg(test)]
mod tests {
    use spout_data::PartitionId;

    use super::*;

    const A: Source = Source::Partition(PartitionId::numbered(0));
    const B: Source = Source::Partition(PartitionId::numbered(1));

    fn marks(lateness: u64) -> Watermarks {
        Watermarks::new(Period(Duration::from_nanos(lateness)))
    }

    /// For each row whether the time that `until` gives for it is not after the watermark that the rows before it make.
    fn late(marks: &mut Watermarks, source: Source, times: &[i64], until: fn(i64) -> i64) -> Vec<bool> {
        let passed = marks.passed(source, times);
        times.iter().zip(passed).map(|(&time, passed)| until(time) <= passed).collect()
    }

    #[test]
    fn the_slowest_source_that_counts_says_how_far_all_are() {
        let mut marks = marks(2);
        marks.on_event(SourceEvent::Opened(A), None);
        marks.on_event(SourceEvent::Opened(B), None);
        marks.passed(A, &[10]);
        assert_eq!(marks.advance(), None, "B has said nothing");
        marks.passed(B, &[5]);
        assert_eq!(marks.advance(), Some(3));
        marks.on_event(SourceEvent::Idle(B, Duration::from_secs(1)), Some(Duration::from_secs(2)));
        assert_eq!(marks.advance(), Some(3), "it has not been idle for long enough");
        marks.on_event(SourceEvent::Idle(B, Duration::from_secs(2)), Some(Duration::from_secs(2)));
        assert_eq!(marks.advance(), Some(8));
        assert_eq!(late(&mut marks, B, &[6, 9], |time| time), [true, false], "the others have gone on without it");
        assert_eq!(marks.advance(), Some(8), "it never goes back");
        marks.on_event(SourceEvent::Ended(B), None);
        marks.passed(A, &[20]);
        assert_eq!(marks.advance(), Some(18));
    }

    #[test]
    fn late_is_what_comes_after_its_own_source_has_passed_it() {
        let times = [0, 7, 2, 12, 9];
        let until: fn(i64) -> i64 = |time| (time.div_euclid(5) + 1) * 5;
        for cut in 0..=times.len() {
            let mut marks = marks(0);
            marks.on_event(SourceEvent::Opened(B), None);
            let mut found = late(&mut marks, A, &times[..cut], until);
            marks.advance();
            found.extend(late(&mut marks, A, &times[cut..], until));
            assert_eq!(found, [false, false, true, false, true], "cut at {cut}");
        }
    }

    #[test]
    fn rows_that_are_elsewhere_count_as_if_they_were_here() {
        let batches: [(Source, &[i64]); 5] =
            [(A, &[3, 9, 4, 12, 1]), (B, &[2]), (A, &[]), (B, &[20, 6, 7]), (A, &[11, 10, 30, 5])];
        let (mut all, mut even, mut odd) = (marks(2), marks(2), marks(2));
        for (source, times) in batches {
            let mut newest = i64::MIN;
            let mut before = Vec::new();
            for time in times {
                before.push(newest);
                newest = newest.max(*time);
            }
            let passed = all.passed(source, times);
            for (marks, rest) in [(&mut even, 0), (&mut odd, 1)] {
                let own = |rows: &[i64]| -> Vec<i64> {
                    rows.iter().zip(times).filter(|(_, time)| **time % 2 == rest).map(|(row, _)| *row).collect()
                };
                assert_eq!(marks.passed_among(source, &own(&before), newest), own(&passed));
                assert_eq!(marks.newest(), all.newest());
            }
            let reached = all.advance();
            assert_eq!((even.advance(), odd.advance()), (reached, reached));
        }
        assert_eq!((even, odd), (all.clone(), all));
    }

    #[test]
    fn state_goes_through_json() {
        let mut before = marks(1);
        before.passed(A, &[4]);
        before.passed(Source::Merged, &[9]);
        before.advance();
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Watermarks>(&text).unwrap(), before);
    }
}
