//! A server, and the connection to it if there is one.

use std::{fmt::Display, io, time::Instant};

use bytes::BytesMut;
use spout_guest::{
    Error, Result,
    net::{Broken, Server, Wire},
    secret::{Form, Secret},
};

/// A server and the connection to it, with what a protocol knows of that.
#[derive(Debug)]
pub struct Link<S> {
    server: Server,
    open: Option<(Wire, S)>,
    connections: u64,
}

impl<S> Link<S> {
    /// No connection yet; codes of errors begin with `name`.
    #[must_use]
    pub fn new(name: &'static str, address: impl Into<String>) -> Self {
        Self { server: Server::new(name, address), open: None, connections: 0 }
    }

    /// Where the server is.
    #[must_use]
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// Which connection this is, if there is one: what one brought is not acknowledged on another.
    #[must_use]
    pub fn connection(&self) -> Option<u64> {
        self.open.as_ref().map(|_| self.connections)
    }

    /// What is known of the connection.
    #[must_use]
    pub fn known(&self) -> Option<&S> {
        self.open.as_ref().map(|(_, state)| state)
    }

    /// The same, to be changed.
    pub fn state(&mut self) -> Option<&mut S> {
        self.open.as_mut().map(|(_, state)| state)
    }

    /// Connects anew.
    ///
    /// # Errors
    /// As [`Server::failed`] says it.
    pub fn connect(&mut self, state: S, until: Instant) -> Result<()> {
        self.open = None;
        let wire = Wire::connect(self.server.address(), until).map_err(|error| self.server.failed(&error))?;
        self.connections += 1;
        self.open = Some((wire, state));
        Ok(())
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Sends all of this; afterwards there is a connection only if it went well.
    ///
    /// # Errors
    /// There is no connection, or it fails.
    pub fn send(&mut self, bytes: &[u8], until: Instant) -> Result<()> {
        let Some((wire, _)) = &mut self.open else { return Err(self.ended()) };
        wire.send(bytes, until).map_err(|error| self.failed(&error))
    }

    /// Has the host write a secret.
    ///
    /// # Errors
    /// There is no connection, or the secret cannot be written.
    pub fn send_secret(&mut self, secret: &Secret, until: Instant) -> Result<()> {
        let Some((wire, _)) = &mut self.open else { return Err(self.ended()) };
        wire.send_secret(secret, Form::Raw, until)
    }

    /// What `parse` finds in what comes; `None` if it finds nothing until then. After a failure there is no connection.
    ///
    /// # Errors
    /// There is no connection, it fails, or what comes is wrong.
    pub fn receive<T, W>(
        &mut self,
        until: Instant,
        mut parse: impl FnMut(&mut BytesMut, &mut S) -> std::result::Result<Option<T>, W>,
    ) -> std::result::Result<Option<T>, Broken<W>> {
        let Some((wire, state)) = &mut self.open else { return Err(Broken::Io(io::ErrorKind::NotConnected.into())) };
        match wire.receive(until, |got| parse(got, state).map_err(Broken::Wrong)) {
            Ok(found) => Ok(Some(found)),
            Err(Broken::Io(error)) if is_late(&error) => Ok(None),
            Err(broken) => {
                self.open = None;
                Err(broken)
            }
        }
    }

    /// It went well: the next trouble is waited out from the shortest wait on.
    pub fn well(&mut self) {
        self.server.well();
    }

    /// The connection failed.
    pub fn failed(&mut self, error: &io::Error) -> Error {
        self.open = None;
        if error.kind() == io::ErrorKind::NotConnected { self.ended() } else { self.server.failed(error) }
    }

    /// The connection has ended.
    pub fn ended(&mut self) -> Error {
        self.again("io", "the connection has ended")
    }

    /// Trouble that passes.
    pub fn again(&mut self, code: &str, what: &str) -> Error {
        self.server.again(code, what)
    }

    /// The same, after which there is no connection.
    pub fn broken(&mut self, code: &str, what: &str) -> Error {
        self.open = None;
        self.server.again(code, what)
    }

    /// What no wait mends.
    #[must_use]
    pub fn fatal(&self, code: &str, what: &str) -> Error {
        self.server.fatal(code, what)
    }

    /// A message is larger than the setting `maxMessage` says.
    #[must_use]
    pub fn too_large(&self, bytes: impl Display, most: usize) -> Error {
        let what =
            format!("a message has {bytes} bytes, more than the {most} it may have; raise the setting `maxMessage`");
        self.fatal("large", &what)
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}
