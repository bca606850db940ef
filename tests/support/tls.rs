//! Certificates for tests.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{Site, daemon::Daemon};

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

/// Makes in `dir` an authority, `ca.pem`, and what it signed: `server.pem` and `server.key` for `localhost`, `client.pem` and `client.key` for
/// `client`. `other.pem` is an authority that signed nothing.
///
/// # Errors
/// If there is no `openssl`.
pub fn authority(dir: &Path, client: &str) -> Result<()> {
    fs::create_dir_all(dir)?;
    let fresh = |name: &str, subject: &str, more: &[&str]| {
        let (key, to, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={subject}"));
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", &key, "-out", &to];
        openssl(dir, &[&made[..], &["-subj", &subject], more].concat())
    };
    let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
    fresh("ca", "authority", &[])?;
    fresh("other", "authority", &[])?;
    fresh("server", "localhost", &[&by[..], &["-addext", "subjectAltName=DNS:localhost"]].concat())?;
    fresh("client", client, &by)
}

/// Makes in `dir` an authority, `ca.pem`, and `worker.pem` with `worker.key`, which it signed: for a process that others reach at `address`, and
/// that calls others.
///
/// # Errors
/// If there is no `openssl`.
pub fn fleet(dir: &Path, address: Ipv4Addr) -> Result<()> {
    fs::create_dir_all(dir)?;
    let fresh = |name: &str, more: &[&str]| {
        let (key, to, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", &key, "-out", &to];
        openssl(dir, &[&made[..], &["-subj", &subject], more].concat())
    };
    let name = format!("subjectAltName=IP:{address}");
    let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", &name];
    fresh("ca", &[])?;
    fresh("worker", &[&by[..], &["-addext", "extendedKeyUsage=serverAuth,clientAuth"]].concat())
}

/// The grant of the endpoint `broker` at this port of loopback, with what [`authority`] made.
#[must_use]
pub fn endpoint(port: u16, dir: &Path) -> String {
    granted(port, dir, "ca.pem", true, "")
}

fn granted(port: u16, dir: &Path, ca: &str, shows: bool, more: &str) -> String {
    let dir = dir.display();
    let shown = if shows { format!(", cert: {dir}/client.pem, key: {dir}/client.key") } else { String::new() };
    let tls = format!("{{ca: {dir}/{ca}{shown}{more}}}");
    format!("endpoints: {{broker: {{address: \"localhost:{port}\", tls: {tls}}}}}, net: [\"127.0.0.1:{port}\"]")
}

/// Runs `spec` with grants of an endpoint that cannot be: another authority, another name, and no certificate of our own.
///
/// # Errors
/// If one of them is not refused as what it is.
pub fn refused(site: &Site, port: u16, dir: &Path, spec: impl Fn(&str) -> String) -> Result<()> {
    for (grant, part) in [
        (granted(port, dir, "other.pem", true, ""), "net.tls"),
        (granted(port, dir, "ca.pem", true, ", serverName: another.example"), "net.tls"),
        (granted(port, dir, "ca.pem", false, ""), "net.tls"),
    ] {
        site.write("spec.yaml", spec(&grant))?;
        let said = site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &[part])?;
        ensure!(said.contains("localhost"), "it does not say where: {said}");
    }
    Ok(())
}

fn openssl(dir: &Path, args: &[&str]) -> Result<()> {
    let made = Command::new("openssl").args(args).current_dir(dir).output().context("start openssl")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn make(dir: &Path, more: &[&str]) -> Result<()> {
    let own =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "chain.pem", "-days", "2"];
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    openssl(dir, &[&own[..], &name, more].concat())
}
