//! Sockets of the operating system, for tests of plugin logic outside the sandbox.

use std::{
    io::{self, Read as _, Write as _},
    net::{self, Shutdown, SocketAddr, ToSocketAddrs as _},
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(super) struct Stream(net::TcpStream);

impl Stream {
    pub(super) fn connect(host: &str, port: u16, time: Duration) -> io::Result<Self> {
        let until = Instant::now() + time;
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
        for address in (host, port).to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match net::TcpStream::connect_timeout(&address, left) {
                Ok(stream) => return Ok(Self(stream)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn read(&mut self, into: &mut [u8], time: Duration) -> io::Result<usize> {
        self.0.set_nonblocking(time.is_zero())?;
        if !time.is_zero() {
            self.0.set_read_timeout(Some(time))?;
        }
        self.0.read(into).map_err(|error| late(error, time))
    }

    pub(super) fn write(&mut self, bytes: &[u8], time: Duration) -> io::Result<usize> {
        self.0.set_nonblocking(time.is_zero())?;
        if !time.is_zero() {
            self.0.set_write_timeout(Some(time))?;
        }
        self.0.write(bytes).map_err(|error| late(error, time))
    }

    /// Whether a read would not wait.
    pub(super) fn readable(&self) -> bool {
        let looked = self.0.set_nonblocking(true).and_then(|()| self.0.peek(&mut [0]));
        !looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    pub(super) fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

/// Linux says `WouldBlock` when a time-out is over.
fn late(error: io::Error, time: Duration) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock && !time.is_zero() { io::ErrorKind::TimedOut.into() } else { error }
}

#[derive(Debug)]
pub(super) struct Listener(net::TcpListener);

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    pub(super) fn accept(&self, time: Duration) -> io::Result<Stream> {
        let until = Instant::now() + time;
        loop {
            match self.0.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                accepted => return accepted.map(|(stream, _)| Stream(stream)),
            }
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
