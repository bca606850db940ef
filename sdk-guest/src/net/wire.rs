//! A connection for protocols in frames: what has come is kept until a whole frame is there, and everything ends at a deadline.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::Connection;
use crate::{
    Backoff, Error,
    secret::{Form, Secret},
};

/// Bytes read at once.
const READ: usize = 256 << 10;

/// A connection with a buffer of what has come and was not used.
///
/// ```no_run
/// use std::time::{Duration, Instant};
/// use spout_guest::net::Wire;
///
/// # fn main() -> spout_guest::Result<()> {
/// let until = Instant::now() + Duration::from_secs(5);
/// let mut wire = Wire::connect("broker:4222", until)?;
/// wire.send(b"PING\r\n", until)?;
/// let line = wire.receive(until, |got| {
///     let end = got.iter().position(|byte| *byte == b'\n');
///     Ok::<_, spout_guest::Error>(end.map(|end| got.split_to(end + 1)))
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Wire {
    connection: Connection,
    got: BytesMut,
}

impl Wire {
    /// Connects to `host:port`, or to the endpoint of this name, with TLS if the spec gives the endpoint TLS.
    ///
    /// # Errors
    /// As for [`Connection::open`].
    pub fn connect(to: &str, until: Instant) -> io::Result<Self> {
        Ok(Self { connection: Connection::open(to, left(until)?)?, got: BytesMut::new() })
    }

    /// As [`Wire::connect`], and in the clear until [`Wire::start_tls`].
    ///
    /// # Errors
    /// As for [`Connection::open_plain`].
    pub fn connect_plain(to: &str, until: Instant) -> io::Result<Self> {
        Ok(Self { connection: Connection::open_plain(to, left(until)?)?, got: BytesMut::new() })
    }

    /// Goes on with TLS. What came in the clear and was not used would be taken for what comes by TLS, so it is refused.
    ///
    /// # Errors
    /// As for [`Connection::start_tls`].
    pub fn start_tls(&mut self, until: Instant) -> io::Result<()> {
        if !self.got.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server sent more before TLS than it may"));
        }
        self.connection.start_tls(left(until)?)
    }

    /// Has the host write a secret.
    ///
    /// # Errors
    /// As for [`Secret::send_as`].
    pub fn send_secret(&mut self, secret: &Secret, form: Form<'_>, until: Instant) -> Result<(), Error> {
        self.connection.set_write_timeout(left(until)?);
        secret.send_as(&mut self.connection, form)
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, or as the system says.
    pub fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.connection.set_write_timeout(left(until)?);
            let count = self.connection.write(bytes)?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until `parse` finds something in what has come. It takes what it uses from the front of the buffer, and answers `None`
    /// while there is not enough; it has to refuse frames that are too long, since the buffer grows as long as it asks for more.
    ///
    /// # Errors
    /// Those of `parse`; `TimedOut` at the deadline, `UnexpectedEof` if the peer closes, or as the system says.
    pub fn receive<T, E: From<io::Error>>(
        &mut self,
        until: Instant,
        mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        loop {
            if let Some(found) = parse(&mut self.got)? {
                return Ok(found);
            }
            self.connection.set_read_timeout(left(until)?);
            let came = self.connection.receive(READ)?;
            if came.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection").into());
            }
            self.got.extend_from_slice(&came);
        }
    }
}

/// The time that is left, of which there is some.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(crate::now());
    if left.is_zero() {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer in time"))
    } else {
        Ok(left)
    }
}

/// What a failed connection is to the host: what no retry mends, a missing grant, an address that is none or a peer that cannot prove who it is, is said as such;
/// anything else is `NAME.io` and retried after the next wait of `backoff`.
#[must_use]
pub fn trouble(name: &str, address: &str, error: &io::Error, backoff: &mut Backoff) -> Error {
    let message = format!("{address}: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::fatal(&format!("{name}.denied"), message),
        io::ErrorKind::InvalidData => Error::fatal(&format!("{name}.tls"), message),
        io::ErrorKind::InvalidInput => Error::invalid_config(message),
        _ => Error::Retriable { code: format!("{name}.io"), message, after: Some(backoff.delay()) },
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn line(got: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        Ok(got.iter().position(|byte| *byte == b'\n').map(|end| got.split_to(end + 1)))
    }

    #[test]
    fn frames_come_in_pieces_and_nothing_waits_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for piece in ["one\ntw", "o", "\nthree"] {
                stream.write_all(piece.as_bytes()).unwrap();
                stream.flush().unwrap();
            }
            stream
        });
        let soon = || Instant::now() + Duration::from_secs(20);
        let mut wire = Wire::connect(&address, soon()).unwrap();
        assert_eq!(wire.receive(soon(), line).unwrap(), "one\n");
        assert_eq!(wire.receive(soon(), line).unwrap(), "two\n");
        let late = wire.receive(Instant::now() + Duration::from_millis(30), line).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(server.join().unwrap());
        let closed = wire.receive(soon(), line).unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_server_that_never_stops_is_left_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(&[0; 1 << 16]).is_ok() {}
        });
        let (begun, until) = (Instant::now(), Instant::now() + Duration::from_millis(30));
        let mut wire = Wire::connect(&address, Instant::now() + Duration::from_secs(20)).unwrap();
        let error: io::Result<()> = wire.receive(until, |got| {
            got.clear();
            // Who is not stopped stops here.
            if begun.elapsed() < Duration::from_secs(20) { Ok(None) } else { Err(io::ErrorKind::Other.into()) }
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn trouble_that_stays_is_not_retried() {
        let told = |kind: io::ErrorKind| trouble("x", "a:1", &kind.into(), &mut Backoff::default());
        assert!(matches!(told(io::ErrorKind::PermissionDenied), Error::Fatal { code, .. } if code == "x.denied"));
        assert!(matches!(told(io::ErrorKind::InvalidInput), Error::InvalidConfig { .. }));
        assert!(
            matches!(told(io::ErrorKind::TimedOut), Error::Retriable { code, after: Some(_), .. } if code == "x.io")
        );
    }
}
