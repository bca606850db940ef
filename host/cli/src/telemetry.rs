//! Where log lines go: standard error, as text or as JSON, filtered by `SPOUT_LOG`.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
};

use spout_base::terminal;
use tracing_subscriber::{EnvFilter, fmt};

/// How much is logged where `SPOUT_LOG` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// What went wrong: for commands that answer and end.
    Quiet,
    /// What happens: for commands that keep running.
    Normal,
    /// What the host does and why.
    Verbose,
}

/// Starts logging for this process; a second call changes nothing.
pub fn start(json: bool, volume: Volume) {
    let default = match volume {
        Volume::Quiet => "warn",
        Volume::Normal => "warn,spout=info",
        Volume::Verbose => "info,spout=debug",
    };
    let filter = EnvFilter::try_from_env("SPOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours = io::stderr().is_terminal();
    let written = if json {
        Written::Json
    } else if colours {
        Written::Coloured
    } else {
        Written::Plain
    };
    let lines = fmt().with_env_filter(filter).with_writer(move || Lines(written)).with_ansi(colours).with_target(false);
    let started = if json { lines.json().try_init() } else { lines.compact().try_init() };
    drop(started);
}

type Around = Box<dyn Fn(&mut dyn FnMut()) + Send>;

static AROUND: Mutex<Option<Around>> = Mutex::new(None);

/// From now on each log line is written by calling what `around` is given: whoever draws on the terminal makes room first.
pub fn around(around: impl Fn(&mut dyn FnMut()) + Send + 'static) {
    *AROUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(around));
}

/// How log lines are written.
#[derive(Clone, Copy, Debug)]
enum Written {
    Json,
    Plain,
    Coloured,
}

impl Written {
    /// The line with nothing in it that misleads a terminal.
    fn safe(self, line: &str) -> String {
        match self {
            Self::Json => terminal::json(line).into_owned(),
            Self::Plain => terminal::text(line).into_owned(),
            // Colours begin with an escape; one that comes from outside was spelled out when the line was made.
            Self::Coloured => line.split('\u{1b}').map(terminal::text).collect::<Vec<_>>().join("\u{1b}"),
        }
    }
}

/// Standard error, one line at a time.
struct Lines(Written);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = self.0.safe(&String::from_utf8_lossy(bytes));
        let mut written = Ok(bytes.len());
        let mut write = || written = io::stderr().write_all(line.as_bytes()).map(|()| bytes.len());
        match AROUND.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(around) => around(&mut write),
            None => write(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_misleads_no_terminal() {
        let line = "\u{1b}[33m WARN\u{1b}[0m a\rb \u{202e}c\u{9b}2J\n";
        assert_eq!(Written::Coloured.safe(line), "\u{1b}[33m WARN\u{1b}[0m a\\rb \\u{202e}c\\u{9b}2J\n");
        assert_eq!(Written::Plain.safe("a\u{1b}[2J\n"), "a\\u{1b}[2J\n");
        assert_eq!(Written::Json.safe("{\"a\":\"\u{202e}\"}\n"), "{\"a\":\"\\u202e\"}\n");
    }
}
