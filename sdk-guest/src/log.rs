//! Writes lines to the host's log, which adds pipeline and plugin and limits the rate.

#[cfg(target_arch = "wasm32")]
use crate::wit::base::spout::plugin::log;

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the plugin author.
    Debug,
    /// For the operator, in normal operation.
    Info,
    /// For the operator, when something needs a look.
    Warn,
    /// For the operator, when something failed.
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        let at = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(at, message, &[]);
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::logged(level, message);
}

/// `info!("{} files", n)`
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Info, &format!($($text)*)) };
}

/// `warn!("{} is gone", name)`
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Warn, &format!($($text)*)) };
}
