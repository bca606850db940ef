//! Connections of the host, as the interface `network` has them.

use std::{io, time::Duration};

use super::connection::failed;
use crate::wit::network::spout::plugin::network as wit;

/// Bytes of one write: what is handed over counts towards `limits.answer`.
const WRITTEN: usize = 1 << 20;

pub(crate) struct Connection(pub(crate) wit::Connection);

impl Connection {
    pub(super) fn open(to: &str, plain: bool, within: Duration) -> io::Result<Self> {
        let begin = if plain { wit::Begin::Plain } else { wit::Begin::AsGranted };
        wit::Connection::open(to, begin, ms(within)).map(Self).map_err(|failure| told(failure, within))
    }

    pub(super) fn start_tls(&mut self, within: Duration) -> io::Result<()> {
        self.0.start_tls(ms(within)).map_err(|failure| told(failure, within))
    }

    pub(super) fn is_secure(&self) -> bool {
        self.0.secure()
    }

    pub(super) fn receive(&mut self, most: usize, within: Duration) -> io::Result<Vec<u8>> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        self.0.read(most, ms(within)).map_err(|failure| told(failure, within))
    }

    pub(crate) fn send(&mut self, bytes: &[u8], within: Duration) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(WRITTEN)];
        self.0.write(bytes, ms(within)).map(|count| count as usize).map_err(|failure| told(failure, within))
    }

    pub(super) fn finish(&mut self, within: Duration) -> io::Result<()> {
        self.0.finish(ms(within)).map_err(|failure| told(failure, within))
    }

    pub(super) fn peer(&self) -> String {
        self.0.peer()
    }

    pub(super) fn wait_any(connections: &[&Self], within: Duration) -> Vec<usize> {
        let all: Vec<&wit::Connection> = connections.iter().map(|connection| &connection.0).collect();
        wit::wait(&all, ms(within)).into_iter().map(|index| index as usize).collect()
    }
}

pub(crate) fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// What the host says, after waiting for `within`.
pub(crate) fn told(failure: wit::Failure, within: Duration) -> io::Error {
    let (kind, cause) = match failure.cause {
        wit::Cause::Denied => (io::ErrorKind::PermissionDenied, "denied"),
        wit::Cause::Invalid => (io::ErrorKind::InvalidInput, "invalid"),
        wit::Cause::Unresolvable => (io::ErrorKind::NotFound, "unresolvable"),
        wit::Cause::Refused => (io::ErrorKind::ConnectionRefused, "refused"),
        wit::Cause::Unreachable => (io::ErrorKind::HostUnreachable, "unreachable"),
        wit::Cause::Closed => (io::ErrorKind::ConnectionReset, "closed"),
        wit::Cause::TimedOut if within.is_zero() => (io::ErrorKind::WouldBlock, "timed-out"),
        wit::Cause::TimedOut => (io::ErrorKind::TimedOut, "timed-out"),
        wit::Cause::Tls => (io::ErrorKind::InvalidData, "tls"),
        wit::Cause::Full => (io::ErrorKind::QuotaExceeded, "full"),
        wit::Cause::Other => (io::ErrorKind::Other, "other"),
    };
    failed(kind, cause, failure.message)
}
