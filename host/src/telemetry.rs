//! Where log lines go: standard error, as text or as JSON, filtered by `SPOUT_LOG`.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
};

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
        Volume::Normal => "warn,spout_host=info",
        Volume::Verbose => "info,spout_host=debug",
    };
    let filter = EnvFilter::try_from_env("SPOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines =
        fmt().with_env_filter(filter).with_writer(|| Lines).with_ansi(io::stderr().is_terminal()).with_target(false);
    let started = if json { lines.json().try_init() } else { lines.compact().try_init() };
    drop(started);
}

type Around = Box<dyn Fn(&mut dyn FnMut()) + Send>;

static AROUND: Mutex<Option<Around>> = Mutex::new(None);

/// From now on each log line is written by calling what `around` is given: whoever draws on the terminal makes room first.
pub fn around(around: impl Fn(&mut dyn FnMut()) + Send + 'static) {
    *AROUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(around));
}

/// Standard error, one line at a time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = Ok(bytes.len());
        let mut write = || written = io::stderr().write_all(bytes).map(|()| bytes.len());
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
