//! Where log lines go: standard error, as text or as JSON, filtered by `SPOUT_LOG`.

use std::io::IsTerminal as _;

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
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let started = if json { lines.json().try_init() } else { lines.compact().try_init() };
    drop(started);
}
