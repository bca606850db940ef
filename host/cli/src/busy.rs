//! A line on the terminal that says that something is still going on, while a command works for long.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncRead, ReadBuf};

use super::print::{Printer, size};

/// Shown on standard error, and only where a person looks at it; gone when dropped.
#[derive(Debug)]
pub(super) struct Busy(Option<ProgressBar>);

impl Busy {
    pub(super) fn new(printer: &Printer) -> Self {
        Self((!printer.json()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::default_spinner().tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        }))
    }

    /// Says what is being done now.
    pub(super) fn say(&self, what: impl Into<String>) {
        if let Some(bar) = &self.0 {
            bar.set_message(what.into());
        }
    }

    /// Says nothing from now on: an answer follows.
    #[cfg(feature = "cluster")]
    pub(super) fn end(&self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }

    /// `reader`, with the bytes that were read of it shown.
    pub(super) fn reading<R>(&self, what: &str, reader: R) -> Reading<'_, R> {
        Reading { busy: self, what: what.to_owned(), bytes: 0, reader }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// A reader that says how far it is.
#[derive(Debug)]
pub(super) struct Reading<'a, R> {
    busy: &'a Busy,
    what: String,
    bytes: u64,
    reader: R,
}

impl<R: AsyncRead + Unpin> AsyncRead for Reading<'_, R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buf);
        self.bytes += (buf.filled().len() - before) as u64;
        if self.bytes > 0 {
            self.busy.say(format!("{}: {}", self.what, size(self.bytes)));
        }
        polled
    }
}
