//! Connections of the operating system in the place of the host's, for tests of plugin logic outside the sandbox, or those of a network
//! in memory, where there is one. There is no TLS of the former.

use std::{cell::RefCell, io, net::Shutdown, time::Duration};

use super::{connection::failed, sys, tcp::split};
use crate::testing::network;

pub(crate) struct Connection(Link);

enum Link {
    Socket(sys::Stream),
    Memory(RefCell<network::Connection>),
}

/// Bytes of one answer.
const MOST: usize = 1 << 20;

impl Connection {
    pub(super) fn open(to: &str, plain: bool, within: Duration) -> io::Result<Self> {
        if let Some(opened) = network::Connection::open(to, plain) {
            return opened.map(|opened| Self(Link::Memory(RefCell::new(opened)))).map_err(told);
        }
        let (host, port) = split(to)?;
        sys::Stream::connect(host, port, within).map(|socket| Self(Link::Socket(socket))).map_err(told)
    }

    pub(super) fn start_tls(&mut self, _: Duration) -> io::Result<()> {
        let secured = match &mut self.0 {
            Link::Memory(memory) => memory.get_mut().start_tls(),
            Link::Socket(_) => false,
        };
        if secured {
            return Ok(());
        }
        let message = "there is no TLS outside the sandbox, but for a peer that is `secure`".to_owned();
        Err(failed(io::ErrorKind::PermissionDenied, "denied", message))
    }

    pub(super) fn is_secure(&self) -> bool {
        match &self.0 {
            Link::Socket(_) => false,
            Link::Memory(memory) => memory.borrow().is_secure(),
        }
    }

    pub(super) fn receive(&mut self, most: usize, within: Duration) -> io::Result<Vec<u8>> {
        match &mut self.0 {
            Link::Memory(memory) => memory.get_mut().receive(most.min(MOST), within).map_err(told),
            Link::Socket(socket) => {
                let mut bytes = vec![0; most.min(MOST)];
                let count = socket.read(&mut bytes, within).map_err(told)?;
                bytes.truncate(count);
                Ok(bytes)
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8], within: Duration) -> io::Result<usize> {
        match &mut self.0 {
            Link::Memory(memory) => memory.get_mut().send(bytes).map_err(told),
            Link::Socket(socket) => socket.write(bytes, within).map_err(told),
        }
    }

    pub(super) fn finish(&mut self, _: Duration) -> io::Result<()> {
        match &mut self.0 {
            Link::Memory(_) => Ok(()),
            Link::Socket(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    pub(super) fn peer(&self) -> String {
        match &self.0 {
            Link::Memory(memory) => memory.borrow().peer(),
            Link::Socket(socket) => socket.peer_addr().map(|address| address.to_string()).unwrap_or_default(),
        }
    }

    fn readable(&self) -> bool {
        match &self.0 {
            Link::Memory(memory) => memory.borrow_mut().readable(),
            Link::Socket(socket) => socket.readable(),
        }
    }

    pub(super) fn wait_any(connections: &[&Self], within: Duration) -> Vec<usize> {
        let until = crate::now() + within;
        loop {
            let readable = (0..).zip(connections).filter(|(_, connection)| connection.readable());
            let found: Vec<usize> = readable.map(|(at, _)| at).collect();
            if !found.is_empty() || crate::now() >= until {
                return found;
            }
            crate::pause(Duration::from_millis(1));
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
