//! Connections of the operating system in the place of the host's, for tests of plugin logic outside the sandbox. There is no TLS.

use std::{
    io,
    net::Shutdown,
    time::{Duration, Instant},
};

use super::{connection::failed, sys, tcp::split};

pub(crate) struct Connection(sys::Stream);

/// Bytes of one answer.
const MOST: usize = 1 << 20;

impl Connection {
    pub(super) fn open(to: &str, _: bool, within: Duration) -> io::Result<Self> {
        let (host, port) = split(to)?;
        sys::Stream::connect(host, port, within).map(Self).map_err(told)
    }

    #[expect(clippy::unused_self, reason = "as in the sandbox")]
    pub(super) fn start_tls(&mut self, _: Duration) -> io::Result<()> {
        let message = "there is no TLS outside the sandbox".to_owned();
        Err(failed(io::ErrorKind::PermissionDenied, "denied", message))
    }

    #[expect(clippy::unused_self, reason = "as in the sandbox")]
    pub(super) fn is_secure(&self) -> bool {
        false
    }

    pub(super) fn receive(&mut self, most: usize, within: Duration) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most.min(MOST)];
        let count = self.0.read(&mut bytes, within).map_err(told)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    pub(crate) fn send(&mut self, bytes: &[u8], within: Duration) -> io::Result<usize> {
        self.0.write(bytes, within).map_err(told)
    }

    pub(super) fn finish(&mut self, _: Duration) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    pub(super) fn peer(&self) -> String {
        self.0.peer_addr().map(|address| address.to_string()).unwrap_or_default()
    }

    pub(super) fn wait_any(connections: &[&Self], within: Duration) -> Vec<usize> {
        let until = Instant::now() + within;
        loop {
            let readable = (0..).zip(connections).filter(|(_, connection)| connection.0.readable());
            let found: Vec<usize> = readable.map(|(at, _)| at).collect();
            if !found.is_empty() || Instant::now() >= until {
                return found;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn told(error: io::Error) -> io::Error {
    let cause = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed-out",
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::NotFound => "unresolvable",
        _ => "closed",
    };
    failed(error.kind(), cause, error.to_string())
}
