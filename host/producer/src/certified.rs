//! The certificate that a port of a spec shows to those who connect, and its key: both, or no TLS.

use std::path::{Path, PathBuf};

use spout_wire::Identity;

use crate::Error;

/// Who the port is, if it speaks TLS; relative paths start at `base`.
///
/// # Errors
/// A file that cannot be used.
pub(crate) fn identity(cert: Option<&Path>, key: Option<&Path>, base: &Path) -> Result<Option<Identity>, Error> {
    let files = cert.zip(key);
    Ok(files.map(|(chain, key)| Identity::read(&base.join(chain), &base.join(key))).transpose()?)
}

/// What is wrong where one of them is missing: the key, and what to do.
pub(crate) fn half(cert: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<(&'static str, String)> {
    match (cert, key) {
        (Some(_), None) => Some(("cert", "`cert` without `key` is no TLS; add the `key` of the certificate".into())),
        (None, Some(_)) => Some(("key", "`key` without `cert` is no TLS; add the `cert` that it is the key of".into())),
        _ => None,
    }
}
