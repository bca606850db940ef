//! A guest's words in the host's log: rate-limited, escaped, never in the way.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use spout_base::clock::{self, Instant};
use spout_base::terminal::misleads;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::secrets::Masks;

/// Lines longer than this are cut.
const LONGEST: usize = 4096;

/// Fields of one line; further ones are left out.
const FIELDS: usize = 32;

/// A panic's message is cut to about so many bytes.
const WORDS: usize = 500;

/// What any line costs on top of its bytes, or empty lines would be free.
const LINE: u64 = 32;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One instance's way into the log.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pipeline: Arc<str>,
    plugin: Arc<str>,
    budget: Arc<Mutex<Budget>>,
    masks: Masks,
}

#[derive(Debug)]
struct Budget {
    per_second: u64,
    left: u64,
    since: Instant,
    dropped: u64,
}

impl Log {
    pub(super) fn new(pipeline: &str, plugin: &str, bytes_per_second: u64) -> Self {
        let budget = Budget { per_second: bytes_per_second, left: bytes_per_second, since: clock::now(), dropped: 0 };
        let budget = Arc::new(Mutex::new(budget));
        Self { pipeline: pipeline.into(), plugin: plugin.into(), budget, masks: Masks::default() }
    }

    /// The same, without what `masks` are of.
    pub(super) fn hiding(self, masks: Masks) -> Self {
        Self { masks, ..self }
    }

    /// Writes one line, unless this second's bytes are used up.
    pub(super) fn write(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let size = message.len() + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let Some(dropped) = self.allow(size as u64) else { return };
        let (pipeline, plugin) = (&*self.pipeline, &*self.plugin);
        if dropped > 0 {
            tracing::warn!(pipeline, plugin, dropped, "the plugin logs faster than `limits.log`; lines were dropped");
        }
        let fields: String = fields
            .iter()
            .take(FIELDS)
            .map(|(name, value)| {
                format!(" {}={}", clean(&self.masks.hide(name), 64), clean(&self.masks.hide(value), 1024))
            })
            .collect();
        let message = format!("{}{fields}", shown(&self.masks.hide(message)));
        match level {
            Level::Trace => tracing::trace!(pipeline, plugin, "{message}"),
            Level::Debug => tracing::debug!(pipeline, plugin, "{message}"),
            Level::Info => tracing::info!(pipeline, plugin, "{message}"),
            Level::Warn => tracing::warn!(pipeline, plugin, "{message}"),
            Level::Error => tracing::error!(pipeline, plugin, "{message}"),
        }
    }

    /// Whether `size` more bytes may be written; then also how many lines were dropped before.
    fn allow(&self, size: u64) -> Option<u64> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if now.duration_since(budget.since) >= Duration::from_secs(1) {
            (budget.left, budget.since) = (budget.per_second, now);
        }
        match budget.left.checked_sub(size + LINE) {
            Some(left) => {
                budget.left = left;
                Some(std::mem::take(&mut budget.dropped))
            }
            None => {
                budget.dropped += 1;
                None
            }
        }
    }
}

/// A guest's text without control characters, cut to a bearable length.
fn shown(text: &str) -> String {
    clean(text, LONGEST)
}

/// A guest's text without control characters, cut to about `most` bytes.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        if out.len() >= most {
            out.push('…');
            break;
        }
        if misleads(c) && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// What a guest says of its own panic, in several lines: it belongs to the error that follows, and is said with that.
#[derive(Clone, Debug)]
pub(super) struct LastWords {
    log: Log,
    text: Arc<Mutex<Option<String>>>,
}

impl LastWords {
    pub(super) fn new(log: Log) -> Self {
        Self { log, text: Arc::default() }
    }

    /// Whether `line` is part of a panic's message, and was kept.
    fn take(&self, line: &str) -> bool {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *text {
            _ if line.starts_with("thread '") && line.contains("panicked at ") => {
                *text = line.split_once("panicked at ").map(|(_, place)| format!("panicked at {place}"));
            }
            Some(_) if line.starts_with("note: run with `RUST_BACKTRACE") => {}
            Some(text) if text.len() < WORDS => *text = format!("{text} {line}"),
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// The message, for the error of a crash.
    pub(super) fn last(&self) -> Option<String> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(clean(self.log.masks.hide(text.trim()).as_ref(), WORDS))
    }

    /// Logs a message that no crash followed: the guest has caught its panic.
    pub(super) fn say(&self) {
        if let Some(text) = self.last() {
            self.log.write(Level::Warn, &text, &[]);
        }
    }
}

/// Standard output or error of a guest: line by line into the log.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    log: Log,
    level: Level,
    open: Arc<Mutex<Vec<u8>>>,
    words: Option<LastWords>,
}

impl Lines {
    /// Standard output.
    pub(super) fn output(log: Log) -> Self {
        Self { log, level: Level::Info, open: Arc::default(), words: None }
    }

    /// Standard error, which `words` of a panic are taken from.
    pub(super) fn error(log: Log, words: LastWords) -> Self {
        Self { log, level: Level::Warn, open: Arc::default(), words: Some(words) }
    }

    fn take(&self, bytes: &[u8]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LONGEST.saturating_sub(open.len());
            open.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut *open);
                let line = String::from_utf8_lossy(&line);
                let kept = self.words.as_ref().is_some_and(|words| words.take(line.trim_end()));
                if !kept && !line.trim().is_empty() {
                    self.log.write(self.level, line.trim_end(), &[]);
                }
            }
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_cannot_steer_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown("\u{202e}evil"), "\\u{202e}evil");
        assert!(shown(&"x".repeat(100_000)).len() <= LONGEST + 4);
    }

    #[test]
    fn a_panic_is_said_with_the_crash_and_not_before() {
        let log = Log::new("p", "q", 1 << 20);
        let words = LastWords::new(log.clone());
        let lines = Lines::error(log, words.clone());
        lines.take(b"loading\n\nthread '<unnamed>' (1) panicked at src/lib.rs:7:5:\nas ordered\n");
        lines.take(b"note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n");
        assert_eq!(words.last().as_deref(), Some("panicked at src/lib.rs:7:5: as ordered"));
        assert_eq!(words.last(), None);
        lines.take(b"left: 1\n");
        assert_eq!(words.last(), None);
        lines.take(format!("thread 'main' panicked at x:\n{}\n{}\n", "y".repeat(600), "z".repeat(600)).as_bytes());
        assert!(words.last().is_some_and(|text| text.len() < 600 && !text.contains('z')));
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let log = Log::new("p", "q", 100);
        assert_eq!(log.allow(8), Some(0));
        assert_eq!(log.allow(38), None);
        assert_eq!(log.allow(28), Some(1));
        assert_eq!((0..100).filter(|_| log.allow(0).is_some()).count(), 0, "empty lines are not free");
    }
}
