//! A certificate for tests.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Makes `chain.pem` and `key.pem` in `dir`, for `localhost`.
///
/// # Errors
/// If there is no `openssl`.
pub fn certificate(dir: &Path) -> Result<()> {
    make(dir, &[])
}

/// The same for a server that is trusted by this certificate: an authority is no server.
///
/// # Errors
/// As for [`certificate`].
pub fn own_certificate(dir: &Path) -> Result<()> {
    make(dir, &["-addext", "basicConstraints=critical,CA:FALSE"])
}

fn make(dir: &Path, more: &[&str]) -> Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "chain.pem"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(more)
        .current_dir(dir)
        .output()
        .context("start openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
