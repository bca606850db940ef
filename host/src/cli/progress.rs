//! What `spout run` shows while pipelines run: a line on a terminal, plain lines in a file, JSON for programs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::print::{Printer, count, grouped, short, size};
use crate::{clock::Instant, pipeline::Update};

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
    since: Instant,
    /// Rows and messages seen at `since`, for the rate between two updates.
    rows: u64,
    rate: f64,
    last_commit: String,
}

impl Progress {
    /// With a live line for each pipeline if `live`, or else with plain lines.
    pub(super) fn new(live: bool) -> Self {
        Self { bars: live.then(MultiProgress::new), pipelines: BTreeMap::new() }
    }

    /// Shows one update, which came at `now`.
    pub(super) fn show(&mut self, update: &Update, now: Instant, printer: &mut Printer) -> Result<()> {
        if printer.json() {
            return printer.value(update);
        }
        if let Update::Progress { pipeline, bytes, rows, lag, .. } = update {
            self.live(pipeline, *rows, *bytes, *lag, now);
            return Ok(());
        }
        let shown = self.of(name(update), now);
        match update {
            Update::Committed { commit, .. } => shown.last_commit = short(commit),
            Update::Stopped { .. } | Update::Failed { .. } => shown.bar.iter().for_each(ProgressBar::finish_and_clear),
            _ => {}
        }
        let Some(line) = line(update) else { return Ok(()) };
        match &self.bars {
            Some(bars) => bars.suspend(|| printer.line(line)),
            None => printer.line(line),
        }
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
            Shown { bar, since: now, rows: 0, rate: 0.0, last_commit: "none yet".into() }
        })
    }

    fn live(&mut self, pipeline: &str, rows: u64, bytes: u64, lag: Option<u64>, now: Instant) {
        let shown = self.of(pipeline, now);
        let passed = now.duration_since(shown.since).as_secs_f64();
        // Over less than this, one batch more or less would make the rate jump.
        if passed >= 0.5 {
            shown.rate = rows.saturating_sub(shown.rows) as f64 / passed;
            (shown.rows, shown.since) = (rows, now);
        }
        let Some(bar) = &shown.bar else { return };
        let lag = lag.map_or_else(|| "lag unknown".to_owned(), |lag| format!("lag {}", grouped(lag)));
        let rate = grouped(shown.rate as u64);
        bar.set_message(format!(
            "{pipeline}: {} · {rate} rows/s · {} read · {lag} · last commit {}",
            count(rows, "row"),
            size(bytes),
            shown.last_commit
        ));
    }
}

fn name(update: &Update) -> &str {
    match update {
        Update::Started { pipeline, .. }
        | Update::Listening { pipeline, .. }
        | Update::Progress { pipeline, .. }
        | Update::Committed { pipeline, .. }
        | Update::Retrying { pipeline, .. }
        | Update::Stopped { pipeline, .. }
        | Update::Failed { pipeline, .. } => pipeline,
    }
}

/// What is said of an update; `None` for those that only move the live line.
fn line(update: &Update) -> Option<String> {
    Some(match update {
        Update::Progress { .. } => return None,
        Update::Started { pipeline, head, partitions } => {
            let partitions = count(*partitions as u64, "partition");
            match head {
                Some(head) => format!("{pipeline}: goes on after commit {}, {partitions}", short(head)),
                None => format!("{pipeline}: starts on an empty branch"),
            }
        }
        Update::Listening { pipeline, address } => format!("{pipeline}: listens at {address}"),
        Update::Committed { pipeline, commit, rows, dead_letters, reason, took_ms, .. } => {
            let dead = match dead_letters {
                0 => String::new(),
                dead => format!(", {}", count(*dead, "dead letter")),
            };
            format!(
                "{pipeline}: commit {}, {}{dead}, cut by {reason}, {took_ms} ms",
                short(commit),
                count(*rows, "row")
            )
        }
        Update::Retrying { pipeline, error, code, after_ms } => {
            format!("{pipeline}: [{code}] {error}; trying again in {:.1} s", *after_ms as f64 / 1000.0)
        }
        Update::Stopped { pipeline, rows, commits } => {
            format!(
                "{pipeline}: stopped, {} in {}; everything taken is committed",
                count(*rows, "row"),
                count(*commits, "commit")
            )
        }
        Update::Failed { pipeline, error, code } => format!("{pipeline}: failed, [{code}] {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_read_as_sentences() {
        let check = |update: Update, expected: Option<&str>| assert_eq!(line(&update).as_deref(), expected);
        let pipeline = || "p".to_owned();
        check(
            Update::Started { pipeline: pipeline(), head: None, partitions: 0 },
            Some("p: starts on an empty branch"),
        );
        check(
            Update::Committed {
                pipeline: pipeline(),
                commit: "0123456789abcdef".into(),
                sequence: 4,
                rows: 1200,
                dead_letters: 2,
                reason: "rows".into(),
                took_ms: 7,
            },
            Some("p: commit 0123456789ab, 1,200 rows, 2 dead letters, cut by rows, 7 ms"),
        );
        check(
            Update::Retrying { pipeline: pipeline(), error: "gone".into(), code: "E0301".into(), after_ms: 1500 },
            Some("p: [E0301] gone; trying again in 1.5 s"),
        );
        check(Update::Progress { pipeline: pipeline(), messages: 1, bytes: 1, rows: 1, lag: None }, None);
    }

    #[test]
    fn the_rate_is_of_the_last_moments() {
        let mut progress = Progress::new(false);
        let start = crate::clock::now();
        progress.live("p", 0, 0, None, start);
        progress.live("p", 1000, 0, None, start + Duration::from_secs(1));
        assert_eq!(progress.pipelines["p"].rate, 1000.0);
        progress.live("p", 1010, 0, None, start + Duration::from_millis(1100));
        assert_eq!(progress.pipelines["p"].rate, 1000.0, "too soon to say");
        progress.live("p", 1500, 0, None, start + Duration::from_secs(2));
        assert_eq!(progress.pipelines["p"].rate, 500.0);
    }
}
