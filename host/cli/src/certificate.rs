//! The certificate of a process that others reach.

use std::path::{Path, PathBuf};

use clap::Args;

/// Who this process is to those who reach it over TLS.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Certificate {
    /// Certificate chain of this process in PEM; with --key, it answers over TLS, which it has to where other machines reach it.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Key of the certificate in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Certificate {
    /// The files of its chain and its key.
    pub(super) fn files(&self) -> Option<(&Path, &Path)> {
        self.cert.as_deref().zip(self.key.as_deref())
    }
}
