//! How many commits of a branch are read as one: a pure function of what they hold and when they were made, so that a run has
//! the same commits whatever is killed, and however late somebody looks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{ByteSize, Period};

use super::cron::Cron;

/// When the commits that wait are read as one, as in `{commits: 10, time: 1h}`: at the first that is reached. Commits with
/// nothing to read do not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// When so many wait, as in `10`.
    #[serde(default)]
    pub commits: Option<u64>,
    /// When they have so many rows, as in `100000`; `mode: rows` only.
    #[serde(default)]
    pub rows: Option<u64>,
    /// When what they put is so large, as in `64MiB`.
    #[serde(default)]
    pub size: Option<ByteSize>,
    /// So long after the first of them was made, as in `1h`.
    #[serde(default)]
    pub time: Option<Period>,
    /// At the next such minute after the first of them was made, as in `0 * * * *`, in UTC.
    #[serde(default)]
    pub cron: Option<Cron>,
}

/// What counts of a commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Its number.
    pub(super) number: u64,
    /// When it was made.
    pub(super) at_ms: i64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// The commits that wait to be read as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Number of the last one.
    pub(super) last: u64,
    commits: u64,
    rows: u64,
    bytes: u64,
    /// When they are read at the latest.
    pub(super) due_ms: Option<i64>,
}

impl Trigger {
    /// What is wrong with it, if anything is; `rows` if rows are read.
    pub(super) fn problem(&self, rows: bool) -> Option<String> {
        let zero = [self.commits, self.rows, self.size.map(|size| size.0)].contains(&Some(0));
        if *self == Self::default() {
            Some("name at least one of commits, rows, size, time and cron; without `trigger`, each commit is read by itself".into())
        } else if zero || self.time.is_some_and(|time| time.0.is_zero()) {
            Some("nothing is reached at 0; leave it out, and each commit is read by itself".into())
        } else if self.rows.is_some() && !rows {
            Some(
                "`rows` counts rows of tables, which `mode: rows` reads; use `commits`, `size`, `time` or `cron`"
                    .into(),
            )
        } else {
            None
        }
    }

    /// When commits are read at the latest, the first of which was made at `at_ms`.
    fn due_ms(&self, at_ms: i64) -> Option<i64> {
        let time = self.time.map(|time| at_ms.saturating_add(i64::try_from(time.0.as_millis()).unwrap_or(i64::MAX)));
        let cron = self.cron.as_ref().and_then(|cron| cron.after(at_ms));
        time.into_iter().chain(cron).min()
    }
}

impl Waiting {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.commits == 0
    }

    /// Adds the next commit; the number of the last one that is read now, if that is reached.
    pub(super) fn add(&mut self, trigger: &Trigger, next: Counted) -> Option<u64> {
        if self.due_ms.is_some_and(|due| next.at_ms > due) {
            return Some(self.last);
        }
        if self.is_empty() {
            self.due_ms = trigger.due_ms(next.at_ms);
        }
        self.last = next.number;
        self.commits += 1;
        self.rows = self.rows.saturating_add(next.rows);
        self.bytes = self.bytes.saturating_add(next.bytes);
        let reached = |wanted: Option<u64>, there| wanted.is_some_and(|wanted| there >= wanted);
        let enough = reached(trigger.commits, self.commits)
            || reached(trigger.rows, self.rows)
            || reached(trigger.size.map(|size| size.0), self.bytes);
        enough.then_some(self.last)
    }

    /// Whether they are read at `now_ms`, where no other commit came.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.due_ms.is_some_and(|due| now_ms >= due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: i64 = 60_000;

    /// The runs of commits that were made at these minutes, each with 10 rows and 100 bytes, and whether what is left waits at
    /// minute `now`.
    fn check(trigger: &Trigger, made: &[i64], now: i64, expected: &[&[i64]], waits: bool) {
        let (mut runs, mut run, mut waiting) = (Vec::new(), Vec::new(), Waiting::default());
        for (&minute, number) in made.iter().zip(1..) {
            let next = Counted { number, at_ms: minute * MINUTE, rows: 10, bytes: 100 };
            let mut last = waiting.add(trigger, next);
            if last == Some(number - 1) {
                runs.push(std::mem::take(&mut run));
                waiting = Waiting::default();
                last = waiting.add(trigger, next);
            }
            run.push(minute);
            if last == Some(number) {
                runs.push(std::mem::take(&mut run));
                waiting = Waiting::default();
            }
        }
        if waiting.is_due(now * MINUTE) {
            runs.push(std::mem::take(&mut run));
        }
        assert_eq!((runs, !run.is_empty()), (expected.iter().map(|run| run.to_vec()).collect(), waits), "{trigger:?}");
    }

    #[test]
    fn the_first_that_is_reached_ends_a_run_whenever_somebody_looks() {
        let none = Trigger::default();
        let commits = Trigger { commits: Some(2), ..none.clone() };
        check(&commits, &[1, 2, 3, 4, 5], 999, &[&[1, 2], &[3, 4]], true);
        check(&Trigger { rows: Some(25), ..none.clone() }, &[1, 2, 3, 4], 999, &[&[1, 2, 3]], true);
        check(&Trigger { size: Some(ByteSize(200)), ..none.clone() }, &[1, 2, 3], 999, &[&[1, 2]], true);
        let time = Trigger { time: Some(Period(Duration::from_secs(600))), ..none.clone() };
        check(&time, &[1, 5, 11, 12, 30], 31, &[&[1, 5, 11], &[12]], true);
        check(&time, &[1, 5, 11, 12, 30], 40, &[&[1, 5, 11], &[12], &[30]], false);
        let cron = Trigger { cron: Some("0 * * * *".parse().unwrap()), ..none };
        check(&cron, &[1, 59, 60, 61, 119, 150], 179, &[&[1, 59, 60], &[61, 119]], true);
        check(&cron, &[1, 59, 60, 61, 119, 150], 180, &[&[1, 59, 60], &[61, 119], &[150]], false);
        let both = Trigger { commits: Some(3), ..time };
        check(&both, &[1, 2, 3, 4, 20, 21], 30, &[&[1, 2, 3], &[4], &[20, 21]], false);
    }

    #[test]
    fn what_is_never_or_always_reached_is_refused() {
        let check = |text: &str, rows: bool, part: Option<&str>| {
            let trigger: Trigger = serde_json::from_str(text).unwrap();
            let problem = trigger.problem(rows);
            assert_eq!(problem.is_some(), part.is_some(), "{text}: {problem:?}");
            assert!(problem.unwrap_or_default().contains(part.unwrap_or_default()), "{text}");
        };
        check("{}", true, Some("at least one"));
        check(r#"{"commits": 0}"#, true, Some("reached at 0"));
        check(r#"{"time": "0s", "rows": 5}"#, true, Some("reached at 0"));
        check(r#"{"rows": 5}"#, false, Some("mode: rows"));
        check(r#"{"rows": 5, "cron": "@hourly"}"#, true, None);
    }
}
