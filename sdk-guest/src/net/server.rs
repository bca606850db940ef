//! A server that a plugin talks to, for what has to be said of it: each error with its address, and how long to wait.

use std::io;

use super::trouble;
use crate::{Backoff, Error};

/// A server, by the name that codes begin with and its address. It keeps how long to wait before another try.
///
/// ```
/// use spout_guest::{Error, net::Server};
///
/// let mut server = Server::new("redis", "redis:6379");
/// let error = server.again("unavailable", "it is loading");
/// assert!(matches!(error, Error::Retriable { code, message, .. }
///     if code == "redis.unavailable" && message == "redis:6379: it is loading"));
/// ```
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    address: String,
    backoff: Backoff,
}

/// Why there is no frame of a protocol: the connection, or what came through it.
#[derive(Debug)]
pub enum Broken<W> {
    /// The connection failed.
    Io(io::Error),
    /// What came is none, as a parser says.
    Wrong(W),
}

impl<W> From<io::Error> for Broken<W> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Server {
    /// A server at `address`; codes of errors begin with `name`.
    #[must_use]
    pub fn new(name: &'static str, address: impl Into<String>) -> Self {
        Self { name, address: address.into(), backoff: Backoff::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// It went well: the next trouble is waited out from the shortest wait on.
    pub fn well(&mut self) {
        self.backoff.reset();
    }

    /// A failed connection, as [`trouble`] says it.
    pub fn failed(&mut self, error: &io::Error) -> Error {
        trouble(self.name, &self.address, error, &mut self.backoff)
    }

    /// Trouble that passes.
    pub fn again(&mut self, code: &str, what: &str) -> Error {
        Error::Retriable { code: self.code(code), message: self.said(what), after: Some(self.backoff.delay()) }
    }

    /// What no wait mends.
    #[must_use]
    pub fn fatal(&self, code: &str, what: &str) -> Error {
        Error::fatal(&self.code(code), self.said(what))
    }

    fn code(&self, code: &str) -> String {
        format!("{}.{code}", self.name)
    }

    fn said(&self, what: &str) -> String {
        format!("{}: {what}", self.address)
    }
}
