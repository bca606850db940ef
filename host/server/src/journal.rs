//! What pipelines have said lately: so much of it as fits, for whoever asks, and what they say now.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use spout_api::LogLine;
use spout_base::clock;
use spout_pipeline::Update;
use tokio::sync::broadcast;

use crate::veil::Veil;

/// So many lines, and bytes of them, are kept of each pipeline.
const LINES: usize = 1000;
const BYTES: usize = 256 << 10;
/// Longer lines are cut.
const LONGEST: usize = 8 << 10;
/// So many pipelines are known; further ones take the place of those that come first by name.
const PIPELINES: usize = 4096;
/// Lines that a slow listener may be behind. Whoever speaks waits for nobody.
const BEHIND: usize = 1024;

/// A line of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) pipeline: Arc<str>,
    pub(crate) line: LogLine,
}

/// What pipelines have said.
#[derive(Debug)]
pub(crate) struct Journal {
    recent: Mutex<BTreeMap<Arc<str>, Recent>>,
    now: broadcast::Sender<Spoken>,
    veil: Veil,
}

#[derive(Debug, Default)]
struct Recent {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Journal {
    /// Takes down what may be told.
    pub(crate) fn new(veil: Veil) -> Self {
        Self { recent: Mutex::default(), now: broadcast::channel(BEHIND).0, veil }
    }

    /// Takes down a line.
    pub(crate) fn write(&self, pipeline: &str, level: &str, text: &str) {
        let text = self.veil.text(text);
        let text: String =
            if text.len() > LONGEST { text.chars().take(LONGEST / 4).chain(['…']).collect() } else { text };
        let line = LogLine { at_ms: clock::wall_ms(), level: level.to_owned(), text };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let pipeline: Arc<str> = pipeline.into();
        recent.entry(Arc::clone(&pipeline)).or_default().take(line.clone());
        if recent.len() > PIPELINES {
            recent.pop_first();
        }
        // Nobody may be listening.
        drop(self.now.send(Spoken { pipeline, line }));
    }

    /// Takes down what a pipeline does, as far as that is another thing than before.
    pub(crate) fn note(&self, update: &Update) {
        let text = match update {
            Update::Started { head: Some(head), .. } => format!("running, from commit {head}"),
            Update::Started { head: None, .. } => "running, from the beginning".to_owned(),
            Update::Listening { address, .. } => format!("listening at {address}"),
            Update::Committed { commit, counts, reason, .. } => {
                format!("committed {commit}: {} rows ({reason})", counts.rows)
            }
            Update::Retrying { error, code, after_ms, .. } => format!("retrying after {after_ms} ms: [{code}] {error}"),
            Update::Paused { .. } => "paused".to_owned(),
            Update::Stopped { commits, .. } => format!("stopped after {commits} commits"),
            Update::Failed { error, code, .. } => format!("failed: [{code}] {error}"),
            Update::Progress { .. } | Update::Metrics { .. } | Update::Waiting { .. } => return,
        };
        self.write(update.pipeline(), "state", &text);
    }

    /// The last lines of a pipeline, oldest first, and what all say from then on.
    pub(crate) fn listen(&self, pipeline: &str, most: usize) -> (Vec<LogLine>, broadcast::Receiver<Spoken>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = recent.get(pipeline).map(|recent| &recent.lines);
        let last =
            lines.map_or_else(Vec::new, |lines| lines.iter().skip(lines.len().saturating_sub(most)).cloned().collect());
        (last, self.now.subscribe())
    }
}

impl Recent {
    fn take(&mut self, line: LogLine) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(gone) = self.lines.pop_front() else { return };
            self.bytes -= gone.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_no_more_of_them_than_fit() {
        let journal = Journal::new(Veil::default());
        for number in 0..LINES + 5 {
            journal.write("a", "info", &number.to_string());
        }
        journal.write("b", "info", &"ä".repeat(LONGEST));
        let (lines, mut now) = journal.listen("a", 3);
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["1002", "1003", "1004"]);
        assert_eq!(journal.listen("a", usize::MAX).0.len(), LINES);
        assert!(journal.listen("b", 1).0[0].text.len() <= LONGEST, "a long line is cut");
        journal.write("a", "warn", "more");
        assert_eq!(now.try_recv().unwrap().line.text, "more", "what is said after the last line that was given");
        for _ in 0..100 {
            journal.write("c", "info", &"x".repeat(LONGEST));
        }
        let bytes: usize = journal.listen("c", usize::MAX).0.iter().map(|line| line.text.len()).sum();
        assert!((BYTES - LONGEST..=BYTES).contains(&bytes), "{bytes}");
        // A listener who reads nothing keeps nobody from speaking, and is told what it has missed.
        for _ in 0..BEHIND + 1 {
            journal.write("a", "info", "x");
        }
        assert!(matches!(now.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }
}
