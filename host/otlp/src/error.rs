//! What can be wrong with the variables.

use spout_base::error::{Coded, Kind};

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable that cannot be used as it is.
    #[error("cannot use the environment variable {name}: {why}")]
    Setting {
        /// Its name. Its value may be a secret.
        name: String,
        /// Why not, and what to do.
        why: String,
    },
    /// The system gives no HTTP client.
    #[error("cannot create an HTTP client for OpenTelemetry: {why}")]
    Client {
        /// Why not.
        why: String,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "E0930",
            Self::Client { .. } => "E0931",
        }
    }
}
