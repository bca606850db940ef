//! Connections that the host makes: to endpoints of the spec, with TLS where it says so, and to what `net` grants.

use std::{
    fmt,
    io::{self, Read, Write},
    time::Duration,
};

use super::{PATIENCE, hosted};
use crate::Error;

/// A connection that the host has made. With TLS the host shakes hands, and this has the plain bytes.
///
/// ```no_run
/// use std::io::Write;
/// use spout_guest::net::{Connection, PATIENCE};
///
/// # fn main() -> spout_guest::Result<()> {
/// let mut broker = Connection::open("b1.kafka.example.com:9093", PATIENCE)?;
/// broker.write_all(b"hello")?;
/// # Ok(())
/// # }
/// ```
///
/// Its errors become [`crate::Error`]s with codes of their own: `net.denied`, `net.invalid` and `net.tls` are fatal, all others are worth
/// another try.
pub struct Connection {
    pub(crate) inner: hosted::Connection,
    pub(crate) write_timeout: Duration,
    read_timeout: Duration,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer())
            .field("secure", &self.is_secure())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects within `within` to `host:port`, or to the endpoint of this name, with TLS if the spec gives the endpoint TLS.
    ///
    /// # Errors
    /// `PermissionDenied` if the spec does not grant it, `TimedOut` if nobody answers, `InvalidData` if the peer cannot prove who it is.
    pub fn open(to: &str, within: Duration) -> io::Result<Self> {
        hosted::Connection::open(to, false, within).map(Self::of)
    }

    /// As [`Connection::open`], and in the clear until [`Connection::start_tls`]: for protocols that ask for TLS first.
    ///
    /// # Errors
    /// As for [`Connection::open`].
    pub fn open_plain(to: &str, within: Duration) -> io::Result<Self> {
        hosted::Connection::open(to, true, within).map(Self::of)
    }

    fn of(inner: hosted::Connection) -> Self {
        Self { inner, write_timeout: PATIENCE, read_timeout: PATIENCE }
    }

    /// Goes on with TLS, as the endpoint says. Read all that the peer has sent in the clear before, and nothing more: put no
    /// buffered reader around the connection until then.
    ///
    /// # Errors
    /// `PermissionDenied` if the endpoint has no TLS, `InvalidData` if the peer cannot prove who it is.
    pub fn start_tls(&mut self, within: Duration) -> io::Result<()> {
        self.inner.start_tls(within)
    }

    /// Whether it goes through TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.inner.is_secure()
    }

    /// How long a read waits for the first byte; zero to get `WouldBlock` at once.
    pub fn set_read_timeout(&mut self, time: Duration) {
        self.read_timeout = time;
    }

    /// How long a write waits until the peer takes something; zero to get `WouldBlock` at once.
    pub fn set_write_timeout(&mut self, time: Duration) {
        self.write_timeout = time;
    }

    /// What there is, at most `most` bytes and at most a mebibyte; nothing at the end. Copies less than [`Read`].
    ///
    /// # Errors
    /// As for a read.
    pub fn receive(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.inner.receive(most, self.read_timeout)
    }

    /// Sends no more; the peer reads the end. Reading goes on.
    ///
    /// # Errors
    /// If it is not connected any more.
    pub fn finish(&mut self) -> io::Result<()> {
        self.inner.finish(self.write_timeout)
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> String {
        self.inner.peer()
    }

    /// Waits until one of these can be read or has ended: their indices, none if `within` is over.
    #[must_use]
    pub fn wait_any(connections: &[&Self], within: Duration) -> Vec<usize> {
        let all: Vec<&hosted::Connection> = connections.iter().map(|connection| &connection.inner).collect();
        hosted::Connection::wait_any(&all, within)
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let bytes = self.inner.receive(into.len(), self.read_timeout)?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() { Ok(0) } else { self.inner.send(bytes, self.write_timeout) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What went wrong, as the kind of an error that the host told of and that becomes one of this crate.
pub(crate) fn failed(kind: io::ErrorKind, cause: &str, message: String) -> io::Error {
    let code = format!("net.{cause}");
    let error = match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::fatal(&code, message)
        }
        _ => Error::retriable(&code, message),
    };
    io::Error::new(kind, error)
}
