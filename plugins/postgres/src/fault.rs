//! What went wrong, and whether it passes.

use bytes::Bytes;
use spout_guest::Error;

use crate::frame::{Wrong, text};

/// An error or notice of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its SQLSTATE.
    pub(crate) state: String,
    /// What it says, with detail and hint.
    pub(crate) message: String,
}

/// Bytes of a server's message that are repeated.
const LONGEST: usize = 600;

/// Reads the body of an `ErrorResponse`.
#[must_use]
pub(crate) fn report(mut body: Bytes) -> Report {
    let (mut state, mut said) = (String::new(), Vec::new());
    while let Some(&field) = body.first().filter(|field| **field != 0) {
        body = body.slice(1..);
        // Before a session begins, messages may be in any encoding.
        let Ok(value) = text(&mut body) else { break };
        match field {
            b'C' => state = value,
            b'M' | b'D' | b'H' => said.push(value),
            _ => {}
        }
    }
    let mut message = said.join("; ");
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
    }
    Report { state, message }
}

/// The error of a plugin for what the server said while it was asked to do `what`.
#[must_use]
pub(crate) fn of_server(what: &str, report: &Report) -> Error {
    let Report { state, message } = report;
    let told = format!("the server does not {what}: {message} (SQLSTATE {state})");
    match (state.get(..2).unwrap_or_default(), state.as_str()) {
        (_, "55006") => Error::retriable(
            "postgres.slot-in-use",
            format!(
                "{told}. Another host reads this slot, or one that died has not been missed yet: a slot belongs to one pipeline"
            ),
        ),
        (_, "53400") => Error::retriable(
            "postgres.slots",
            format!(
                "{told}. A snapshot needs two slots and two WAL senders: raise `max_replication_slots` and `max_wal_senders`"
            ),
        ),
        ("08" | "40" | "53" | "57" | "58", _) => Error::retriable("postgres.unavailable", told),
        ("28", _) => Error::fatal("postgres.refused", told),
        ("3D", _) => Error::fatal("postgres.database", told),
        (_, "42501") => Error::fatal("postgres.permission", told),
        ("XX", _) => Error::retriable("postgres.internal", told),
        _ => Error::fatal("postgres.failed", told),
    }
}

/// What comes from the peer is no protocol; a new connection may reach a better one.
impl From<Wrong> for Error {
    fn from(Wrong(what): Wrong) -> Self {
        Self::retriable("postgres.protocol", format!("the server does not speak PostgreSQL's protocol: it sent {what}"))
    }
}

/// A slot that cannot give what was not committed yet.
#[must_use]
pub(crate) fn lost(slot: &str, why: &str) -> Error {
    Error::fatal(
        "postgres.slot-lost",
        format!(
            "the replication slot `{slot}` {why}; changes since the last commit may be lost. Drop the slot if it is still there, and \
             begin anew: `spout marker seek NAME --to earliest --spec FILE`, which reads all rows again, or a new repo"
        ),
    )
}
