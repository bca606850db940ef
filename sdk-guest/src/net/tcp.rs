//! Connections and listeners that wait only for so long.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use super::{PATIENCE, sys};

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream {
    inner: sys::Stream,
    read_timeout: Duration,
    write_timeout: Duration,
}

impl TcpStream {
    /// Connects to `host:port`; the host is a name, an address, or an IPv6 address in brackets. Of the addresses of a name, one
    /// is tried after the other.
    ///
    /// # Errors
    /// As the system says; `PermissionDenied` if the spec does not grant it, `TimedOut` if nobody answers for [`PATIENCE`].
    pub fn connect(address: &str) -> io::Result<Self> {
        Self::connect_within(address, PATIENCE)
    }

    /// As [`TcpStream::connect`], within `time`.
    ///
    /// # Errors
    /// As for [`TcpStream::connect`].
    pub fn connect_within(address: &str, time: Duration) -> io::Result<Self> {
        let (host, port) = split(address)?;
        Ok(Self::of(sys::Stream::connect(host, port, time)?))
    }

    fn of(inner: sys::Stream) -> Self {
        Self { inner, read_timeout: PATIENCE, write_timeout: PATIENCE }
    }

    /// How long a read waits for the first byte; zero to get `WouldBlock` at once.
    pub fn set_read_timeout(&mut self, time: Duration) {
        self.read_timeout = time;
    }

    /// How long a write waits until the peer takes something; zero to get `WouldBlock` at once.
    pub fn set_write_timeout(&mut self, time: Duration) {
        self.write_timeout = time;
    }

    /// Ends reading, writing, or both. What was written before still arrives.
    ///
    /// # Errors
    /// If it is not connected any more.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// If it is not connected any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }
}

impl Read for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() { Ok(0) } else { self.inner.read(into, self.read_timeout) }
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() { Ok(0) } else { self.inner.write(bytes, self.write_timeout) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A port that others connect to.
#[derive(Debug)]
pub struct TcpListener {
    inner: sys::Listener,
}

impl TcpListener {
    /// Listens at `address`, as in `127.0.0.1:8000`. `listen: [8000]` in the spec grants the port on loopback, and
    /// `listen: ["0.0.0.0:8000"]` on every address.
    ///
    /// # Errors
    /// `PermissionDenied` if the spec does not grant it, `AddrInUse` if someone else listens there.
    pub fn bind(address: &str) -> io::Result<Self> {
        let address = address.parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{address}` is not an address with a port, like 127.0.0.1:8000"),
            )
        })?;
        Ok(Self { inner: sys::Listener::bind(address)? })
    }

    /// The next connection; none if nobody connects within `time`.
    ///
    /// # Errors
    /// If this instance has as many sockets as it may have, or the system has.
    pub fn accept_within(&self, time: Duration) -> io::Result<Option<TcpStream>> {
        match self.inner.accept(time) {
            Ok(stream) => Ok(Some(TcpStream::of(stream))),
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// `host:port` in its parts, without the brackets of an IPv6 address.
pub(super) fn split(address: &str) -> io::Result<(&str, u16)> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let parts = parts.map(|(host, port)| match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => (inner, port),
        None => (host, port),
    });
    let wrong = || format!("`{address}` is not a host and a port, like broker:9092");
    parts.filter(|(host, _)| !host.is_empty()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, wrong()))
}
