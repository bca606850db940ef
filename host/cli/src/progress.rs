//! What `spout run` shows while pipelines run: a line on a terminal, plain lines in a file, JSON for programs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use spout_base::clock::Instant;
use spout_data::Counts;
use spout_pipeline::Update;
use spout_plugin::Metric;

use super::{
    fates::{besides, closing},
    print::{Printer, count, grouped, local_time, short, size},
};
use crate::telemetry;

/// How long nothing may be said in plain lines while something happens.
const SILENCE: Duration = Duration::from_secs(10);

/// The time that a rate is about: over less, one batch more or less would make it jump.
const WINDOW: Duration = Duration::from_millis(500);

/// Commits that have a line of their own within [`TOGETHER`]; more are told in one.
const LINES: u32 = 10;
const TOGETHER: Duration = Duration::from_secs(1);

/// Shows updates as they come.
#[derive(Debug)]
pub(super) struct Progress {
    bars: Option<MultiProgress>,
    pipelines: BTreeMap<String, Shown>,
}

/// What was last said of one pipeline.
#[derive(Debug)]
struct Shown {
    bar: Option<ProgressBar>,
    /// When the rate was looked at last, and how many rows there were then.
    since: Instant,
    rows: u64,
    rate: f64,
    counts: Counts,
    bytes: u64,
    lag: Option<u64>,
    last_commit: String,
    commits: Commits,
    /// When something was last said in a plain line, and whether something happened since.
    said: Instant,
    changed: bool,
}

/// Commits that were told lately, and those that were not.
#[derive(Debug)]
struct Commits {
    since: Instant,
    told: u32,
    left: u64,
    rows: u64,
}

impl Commits {
    /// Whether a commit of so many `rows` has a line of its own.
    fn tells(&mut self, rows: u64, now: Instant) -> bool {
        if self.left == 0 && now.duration_since(self.since) >= TOGETHER {
            (self.since, self.told) = (now, 0);
        }
        let tells = self.left == 0 && self.told < LINES;
        if tells {
            self.told += 1;
        } else {
            (self.left, self.rows) = (self.left + 1, self.rows + rows);
        }
        tells
    }

    /// The line of those that had none, if there are any and it is time, or `over`.
    fn rest(&mut self, now: Instant, over: bool) -> Option<String> {
        if self.left == 0 || !over && now.duration_since(self.since) < TOGETHER {
            return None;
        }
        let line = format!("{}, {}", count(self.left, "more commit"), count(self.rows, "row"));
        *self = Self { since: now, told: LINES, left: 0, rows: 0 };
        Some(line)
    }
}

impl Progress {
    /// With a live line for each pipeline if `live`, or else with plain lines.
    pub(super) fn new(live: bool) -> Self {
        let bars = live.then(MultiProgress::new);
        if let Some(bars) = bars.clone() {
            // Log lines would be written into the live ones.
            telemetry::around(move |write| bars.suspend(write));
        }
        Self { bars, pipelines: BTreeMap::new() }
    }

    /// Shows one update, which came at `now`.
    pub(super) fn show(&mut self, update: &Update, now: Instant, printer: &mut Printer) -> Result<()> {
        if printer.json() {
            return printer.value(update);
        }
        let over = matches!(update, Update::Stopped { .. } | Update::Failed { .. });
        self.tell_rest(now, over.then_some(update.pipeline()), printer)?;
        let shown = self.of(update.pipeline(), now);
        match update {
            Update::Progress { counts, bytes, lag, .. } => {
                (shown.counts, shown.bytes, shown.lag, shown.changed) = (counts.clone(), *bytes, *lag, true);
                return self.tick(now, printer);
            }
            Update::Committed { commit, counts, .. } => {
                shown.last_commit = short(commit);
                if !shown.commits.tells(counts.rows, now) {
                    return Ok(());
                }
            }
            Update::Stopped { .. } | Update::Failed { .. } => {
                shown.bar.iter().for_each(ProgressBar::finish_and_clear);
                self.pipelines.remove(update.pipeline());
            }
            _ => {}
        }
        if let Some(shown) = self.pipelines.get_mut(update.pipeline()) {
            (shown.said, shown.changed) = (now, false);
        }
        lines(update).into_iter().try_for_each(|line| self.say(line, printer))
    }

    /// Brings every pipeline's line up to `now`, also where nothing new came: a rate that stays would be a lie.
    pub(super) fn tick(&mut self, now: Instant, printer: &mut Printer) -> Result<()> {
        let mut plain = Vec::new();
        for (pipeline, shown) in &mut self.pipelines {
            shown.measure(now);
            match &shown.bar {
                Some(bar) => bar.set_message(shown.line(pipeline)),
                None if shown.changed && now.duration_since(shown.said) >= SILENCE => {
                    (shown.said, shown.changed) = (now, false);
                    plain.push(shown.line(pipeline));
                }
                None => {}
            }
        }
        if printer.json() {
            return Ok(());
        }
        self.tell_rest(now, None, printer)?;
        plain.into_iter().try_for_each(|line| self.say(line, printer))
    }

    /// Tells of commits that had no line of their own, where it is time, or the pipeline is `over`.
    fn tell_rest(&mut self, now: Instant, over: Option<&str>, printer: &mut Printer) -> Result<()> {
        let mut lines = Vec::new();
        for (pipeline, shown) in &mut self.pipelines {
            let line = shown.commits.rest(now, over == Some(pipeline));
            lines.extend(line.map(|line| format!("{pipeline}: {line}, the last one {}", shown.last_commit)));
        }
        lines.into_iter().try_for_each(|line| self.say(line, printer))
    }

    /// Does what writes beside the live lines.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn say(&self, line: String, printer: &mut Printer) -> Result<()> {
        self.aside(|| printer.line(line))
    }

    fn of(&mut self, pipeline: &str, now: Instant) -> &mut Shown {
        let bars = &self.bars;
        self.pipelines.entry(pipeline.to_owned()).or_insert_with(|| {
            let bar = bars.as_ref().map(|bars| {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(ProgressStyle::default_spinner().tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            Shown::new(bar, now)
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.bars.is_some() {
            telemetry::around(|write| write());
        }
    }
}

impl Shown {
    fn new(bar: Option<ProgressBar>, now: Instant) -> Self {
        Self {
            bar,
            since: now,
            rows: 0,
            rate: 0.0,
            counts: Counts::default(),
            bytes: 0,
            lag: None,
            last_commit: "none yet".into(),
            commits: Commits { since: now, told: 0, left: 0, rows: 0 },
            said: now,
            changed: false,
        }
    }

    /// Looks at the rate again if enough time has passed.
    fn measure(&mut self, now: Instant) {
        let passed = now.duration_since(self.since);
        if passed >= WINDOW {
            self.rate = self.counts.rows.saturating_sub(self.rows) as f64 / passed.as_secs_f64();
            (self.rows, self.since) = (self.counts.rows, now);
        }
    }

    fn line(&self, pipeline: &str) -> String {
        let mut parts = vec![count(self.counts.rows, "row")];
        parts.extend(besides(&self.counts));
        parts.push(format!("{} rows/s", grouped(self.rate as u64)));
        parts.push(format!("{} read", size(self.bytes)));
        parts.push(self.lag.map_or_else(|| "lag unknown".to_owned(), |lag| format!("lag {}", grouped(lag))));
        format!("{pipeline}: {} · last commit {}", parts.join(" · "), self.last_commit)
    }
}

/// What is said of an update; nothing for those that only move the live line, and for errors, which are reported whole or logged.
fn lines(update: &Update) -> Vec<String> {
    vec![match update {
        Update::Progress { .. }
        | Update::Metrics { last: false, .. }
        | Update::Retrying { .. }
        | Update::Failed { .. } => return Vec::new(),
        Update::Started { pipeline, head, took_over, partitions } => {
            let partitions = count(*partitions as u64, "partition");
            let start = match head {
                Some(head) => format!("{pipeline}: continues after commit {}, {partitions}", short(head)),
                None => format!("{pipeline}: starts on an empty branch"),
            };
            let takeover = took_over.as_ref().map(|before| {
                let seen = local_time(before.last_seen_ms);
                format!(
                    "{pipeline}: took the branch over from {}, which was last seen at {seen}; if it still runs, it is fenced and stops at its next commit",
                    before.from
                )
            });
            return takeover.into_iter().chain([start]).collect();
        }
        Update::Listening { pipeline, address } => format!("{pipeline}: listens on {address}"),
        Update::Committed { pipeline, commit, counts, reason, took_ms, .. } => {
            let mut became = vec![count(counts.rows, "row")];
            became.extend(besides(counts));
            format!("{pipeline}: commit {}, {}, cut by {reason}, {took_ms} ms", short(commit), became.join(", "))
        }
        Update::Metrics { pipeline, plugins, .. } => {
            let line = |(plugin, values): (&String, &BTreeMap<String, Metric>)| {
                let values: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
                format!("{pipeline}: plugin {plugin}: {}", values.join(", "))
            };
            return plugins.iter().map(line).collect();
        }
        Update::Waiting { pipeline, advice } => {
            format!("{pipeline}: has nothing to read for now, and runs until its source ends; {advice}")
        }
        Update::Paused { pipeline } => {
            format!("{pipeline}: paused, everything read is committed; `spout pipeline resume {pipeline}` has it go on")
        }
        Update::Stopped { pipeline, counts, commits, reasons } => return closing(pipeline, counts, *commits, reasons),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use spout_pipeline::TookOver;

    fn rows(rows: u64) -> Update {
        let counts = Counts { rows, ..Counts::default() };
        Update::Progress { pipeline: "p".into(), counts, bytes: 1, lag: Some(3) }
    }

    #[test]
    fn updates_read_as_sentences() {
        let check = |update: Update, expected: &[&str]| assert_eq!(lines(&update), expected);
        let pipeline = || "p".to_owned();
        check(
            Update::Started { pipeline: pipeline(), head: None, took_over: None, partitions: 0 },
            &["p: starts on an empty branch"],
        );
        let mut counts = Counts { messages: 1203, rows: 1200, dead_letters: 2, ..Counts::default() };
        counts.come_late("w", 1);
        check(
            Update::Committed {
                pipeline: pipeline(),
                commit: "0123456789abcdef".into(),
                sequence: 4,
                counts,
                reason: "rows".into(),
                took_ms: 7,
            },
            &["p: commit 0123456789ab, 1,200 rows, 2 dead letters, 1 late row, cut by rows, 7 ms"],
        );
        check(
            Update::Retrying { pipeline: pipeline(), error: "gone".into(), code: "E0301".into(), after_ms: 1500 },
            &[],
        );
        check(rows(1), &[]);
        check(Update::Failed { pipeline: pipeline(), error: "gone".into(), code: "E0301".into() }, &[]);
    }

    #[test]
    fn a_takeover_is_told_before_anything_else() {
        let took_over = Some(TookOver { from: "process 7 on a".into(), last_seen_ms: 0 });
        let said = lines(&Update::Started { pipeline: "p".into(), head: None, took_over, partitions: 0 });
        assert!(said[0].starts_with("p: took the branch over from process 7 on a, which was last seen at 1970"));
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn the_rate_is_of_the_last_moments_also_when_nothing_comes() {
        let mut printer = Printer::new(false);
        let mut progress = Progress::new(false);
        let start = spout_base::clock::now();
        let mut at = |ms: u64, update: Option<Update>| {
            let now = start + Duration::from_millis(ms);
            match update {
                Some(update) => progress.show(&update, now, &mut printer).unwrap(),
                None => progress.tick(now, &mut printer).unwrap(),
            }
            progress.pipelines["p"].rate
        };
        at(0, Some(rows(0)));
        assert_eq!(at(1000, Some(rows(1000))), 1000.0);
        assert_eq!(at(1100, Some(rows(1010))), 1000.0, "too soon to say");
        assert_eq!(at(2000, Some(rows(1500))), 500.0);
        assert_eq!(at(3000, None), 0.0, "nothing came for a second");
    }

    #[test]
    fn commits_that_come_fast_are_told_together() {
        let start = spout_base::clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut commits = Commits { since: start, told: 0, left: 0, rows: 0 };
        let told = (0..100).filter(|ms| commits.tells(2, at(*ms))).count();
        assert_eq!((told, commits.rest(at(500), false)), (10, None));
        assert_eq!(commits.rest(at(1000), false).as_deref(), Some("90 more commits, 180 rows"));
        assert!(!commits.tells(2, at(1500)), "they still come fast");
        assert_eq!(commits.rest(at(1600), true).as_deref(), Some("1 more commit, 2 rows"));
        assert!(commits.tells(2, at(2600)));
    }

    #[test]
    fn every_pipeline_has_its_line_and_its_plain_line() {
        let mut shown = Shown::new(None, spout_base::clock::now());
        shown.counts = Counts { rows: 2, dead_letters: 1, ..Counts::default() };
        (shown.bytes, shown.lag) = (2048, Some(1000));
        assert_eq!(
            shown.line("p"),
            "p: 2 rows · 1 dead letter · 0 rows/s · 2.0 KiB read · lag 1,000 · last commit none yet"
        );
    }
}
