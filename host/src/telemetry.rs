//! Where log lines go: standard error, as text or as JSON, filtered by `SPOUT_LOG`.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging for this process; a second call changes nothing.
pub fn start(json: bool, verbose: bool) {
    let default = if verbose { "info,spout_host=debug" } else { "warn,spout_host=info" };
    let filter = EnvFilter::try_from_env("SPOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = if json { lines.json().try_init() } else { lines.compact().try_init() };
    drop(started);
}
