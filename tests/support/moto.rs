//! A bucket service on a loopback port: PyPI's `moto` server.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::venv;

/// Starts the server in a thread of its own, says where it listens, and ends with its standard input: it cannot outlive us.
const PROGRAM: &str = r"
import sys, urllib.request
import moto.settings
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
for bucket in sys.argv[2:]:
    urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}/{bucket}', method='PUT')).read()
if sys.argv[1] == 'strict':
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
print(port, flush=True)
sys.stdin.read()
";

/// Whom a server lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Whoever signs, with whatever key.
    Open,
    /// Nobody: it knows no key.
    Strict,
}

/// A running server.
#[derive(Debug)]
pub struct Moto {
    server: Child,
    port: u16,
}

impl Moto {
    /// Starts a server that has `buckets`. `None` where it cannot be installed.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(door: Door, buckets: &[&str]) -> Result<Option<Self>> {
        let Some(python) = venv::python(&["moto[server]==5.2.5"])? else { return Ok(None) };
        let mut server = Command::new(python)
            .args(["-c", PROGRAM, if door == Door::Strict { "strict" } else { "open" }])
            .args(buckets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().context("standard output")?).read_line(&mut line)?;
        ensure!(!line.is_empty(), "moto did not start");
        Ok(Some(Self { server, port: line.trim().parse()? }))
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What a process needs to know to use it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "very-secret-0123456789".to_owned()),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
