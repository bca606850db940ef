//! A door with TLS in front of an HTTP server, for `localhost`, which lets in only who proves who he is.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;
use tempfile::TempDir;

use crate::{daemon::Daemon, tls, venv};

/// How to prove it.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// `Authorization: Bearer` and this.
    Bearer(&'a str),
    /// A signature after AWS's version 4, which PyPI's `botocore` makes again: service, region, the id of the key, and the key.
    Signature([&'a str; 4]),
    /// The same with a session token, which is signed too.
    Session([&'a str; 5]),
}

/// An open door.
#[derive(Debug)]
pub struct Door {
    daemon: Daemon,
    certificate: TempDir,
}

impl Door {
    /// Opens it in front of `server`. `None` where what it needs cannot be installed.
    ///
    /// # Errors
    /// If it does not start, or there is no `openssl`.
    pub fn open(server: &str, proof: Proof<'_>) -> Result<Option<Self>> {
        let (python, words) = match proof {
            Proof::Bearer(token) => (PathBuf::from("python3"), vec!["bearer", token]),
            Proof::Signature(_) | Proof::Session(_) => {
                let Some(python) = venv::python(&["moto[server]==5.2.5"])? else { return Ok(None) };
                let parts = match &proof {
                    Proof::Session(parts) => &parts[..],
                    Proof::Signature(parts) => parts,
                    Proof::Bearer(_) => &[],
                };
                (python, [&["sigv4"], parts].concat())
            }
        };
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let certificate = tempfile::tempdir()?;
        tls::own_certificate(certificate.path())?;
        let (server, dir) = (server.to_owned(), certificate.path().to_owned());
        let daemon = Daemon::start(move |port| {
            let mut command = Command::new(&python);
            command.args(["-c", include_str!("door.py"), &port.to_string(), &server]);
            command.arg(dir.join("chain.pem")).arg(dir.join("key.pem")).args(&words);
            command
        })?;
        Ok(Some(Self { daemon, certificate }))
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.daemon.address()
    }

    /// Its certificate, in PEM.
    ///
    /// # Errors
    /// If it is gone.
    pub fn certificate(&self) -> Result<String> {
        Ok(fs::read_to_string(self.certificate.path().join("chain.pem"))?)
    }
}
