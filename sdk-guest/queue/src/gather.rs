//! What one fetch returns of what a server sends.

use std::time::Instant;

use spout_guest::{Error, Limits, Messages, Result, now};

use crate::LINGER;

/// Who takes in what a server sends.
pub trait Gather {
    /// Adds what came and fits; whether there is room for more.
    ///
    /// # Errors
    /// What came cannot be returned.
    fn drain(&mut self, messages: &mut Messages, limits: Limits) -> Result<bool>;

    /// Takes in what comes next, until then; whether something did.
    ///
    /// # Errors
    /// As the server or the connection says.
    fn step(&mut self, until: Instant) -> Result<bool>;

    /// Whether there is a connection.
    fn is_connected(&self) -> bool;

    /// Ends the connection.
    fn close(&mut self);
}

/// Takes in what comes: until there is enough, or nothing more comes at once, and for the first message as long as `limits` say.
///
/// # Errors
/// Those of `from`, where nothing has come before.
pub fn gather(from: &mut impl Gather, limits: Limits) -> Result<Messages> {
    let (until, mut messages) = (now() + limits.timeout.max(LINGER), Messages::default());
    while from.drain(&mut messages, limits)? {
        let soon = now() + LINGER;
        if !messages.is_empty() && soon > until {
            break;
        }
        match from.step(if messages.is_empty() { until } else { soon }) {
            Ok(true) => {}
            Ok(false) => break,
            // What has come is good; the next call finds that there is no connection.
            Err(Error::Retriable { .. }) if !messages.is_empty() => from.close(),
            Err(error) => return Err(error),
        }
        if !from.is_connected() {
            break;
        }
    }
    Ok(messages)
}
