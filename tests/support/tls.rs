//! A certificate for tests.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::daemon::Daemon;

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

const RELAY: &str = include_str!("tls_relay.py");

/// A port of loopback that talks TLS with `chain.pem` and `key.pem` of `dir`, and leads to port `to` in the clear.
///
/// # Errors
/// If it does not start.
pub fn relay(dir: &Path, port: u16, to: u16) -> Result<Daemon> {
    let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
    // The port stands in what others were told before.
    Daemon::start_at(port, move |port| {
        let mut command = Command::new("python3");
        command.args(["-c", RELAY, &port.to_string(), &to.to_string()]).arg(&chain).arg(&key);
        command
    })
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
