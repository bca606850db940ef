//! A session with the server: connection, start, statements.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use spout_guest::{Error, Result, net::Connection, now};

use crate::{
    Settings,
    auth::{self, Proof},
    fault::{self, Report},
    frame::{self, Frame, Wrong},
};

/// How long a connection may take. A call has ten seconds.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// How long one statement that reads a catalog may take.
const ANSWER: Duration = Duration::from_secs(4);
/// How long the server may take nothing of what is written.
pub(crate) const WRITE: Duration = Duration::from_secs(3);
/// Bytes of one read.
const READ: usize = 256 << 10;
/// After how many messages the clock is looked at.
const LOOK: u32 = 256;
/// Bytes of an answer that takes no time.
const LARGEST: usize = 64 << 20;

/// What holds for every session, so that a value is the same text wherever it comes from.
const PARAMETERS: [(&str, &str); 12] = [
    ("application_name", "spout"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    // Rows that a policy hides would be missing without a word.
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// What a row takes besides its values.
const ROW: usize = 64;

/// A row of a result, as text.
pub(crate) type Row = Vec<Option<Bytes>>;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    buffer: BytesMut,
    largest: u32,
    /// When the call has to be over.
    pub(crate) call: Instant,
    /// What the running statement is for, in words that go on after "the server does not".
    asked: &'static str,
    running: bool,
    rows: VecDeque<Row>,
    failed: Option<Report>,
    /// Messages that have come, of which the clock is looked at once in a while.
    messages: u32,
    /// `server_version_num`, as far as the server says its version: 150003 for 15.3.
    pub(crate) version: u32,
}

/// What has come of a statement.
#[derive(Debug)]
pub(crate) enum Polled {
    /// The next row.
    Row(Row),
    /// It is done.
    Done,
    /// Nothing for now.
    Waiting,
}

impl Session {
    /// Connects, and starts a session, which may be one that can replicate.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub(crate) fn open(settings: &Settings, replicate: bool, call: Instant) -> Result<Self> {
        let connection = auth::dial(settings, call)?;
        let mut session = Self {
            connection,
            buffer: BytesMut::new(),
            largest: settings.max_message,
            call,
            asked: "let us in",
            running: true,
            rows: VecDeque::new(),
            failed: None,
            messages: 0,
            version: 0,
        };
        let own = [("user", settings.user.as_str()), ("database", settings.database.as_str())];
        let replicate: &[_] = if replicate { &[("replication", "database")] } else { &[] };
        session.send(&frame::startup(&[&own, replicate, &PARAMETERS].concat()))?;
        let (until, mut proof) = (session.soon(), Proof::default());
        loop {
            let Some(frame) = session.frame(until)? else { return Err(slow("let us in")) };
            match frame.kind {
                b'R' => proof.answer(frame.body, settings, &mut session.connection)?,
                b'S' => session.parameter(frame.body)?,
                b'v' => return Err(Error::fatal("postgres.version", "the server does not speak protocol 3.0")),
                // What follows the greeting is as after any statement.
                _ => {
                    if let Polled::Done = session.took(frame)? {
                        return Ok(session);
                    }
                }
            }
        }
    }

    /// When an answer that takes no time has to be there.
    pub(crate) fn soon(&self) -> Instant {
        self.call.min(now() + ANSWER)
    }

    fn parameter(&mut self, mut body: Bytes) -> Result<()> {
        let (name, value) = (frame::text(&mut body)?, frame::text(&mut body)?);
        if name == "server_version" {
            let mut numbers = value.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
            self.version = numbers.next().unwrap_or(0_u32).saturating_mul(10_000);
        }
        Ok(())
    }

    /// Sends bytes whole.
    ///
    /// # Errors
    /// The connection is gone, or the server takes nothing.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection.write_all(bytes).map_err(|error| broken(&error))
    }

    /// The next message of the server; `None` if it is not there by then, or if the call has to be over, however much comes.
    ///
    /// # Errors
    /// The connection is gone, or what comes is no message.
    pub(crate) fn frame(&mut self, until: Instant) -> Result<Option<Frame>> {
        self.messages = self.messages.wrapping_add(1);
        if self.messages.is_multiple_of(LOOK) && now() >= self.call {
            return Ok(None);
        }
        loop {
            let long = frame::row_length(&self.buffer).filter(|length| *length > self.largest && self.version > 0);
            if let Some(length) = long {
                let told = format!("a row has {length} bytes, more than the {} of `maxMessage`", self.largest);
                return Err(Error::fatal("postgres.too-large", told));
            }
            if let Some(frame) = frame::take(&mut self.buffer, self.largest)? {
                return Ok(Some(frame));
            }
            if !self.read(until)? {
                return Ok(None);
            }
        }
    }

    fn read(&mut self, until: Instant) -> Result<bool> {
        self.connection.set_read_timeout(until.saturating_duration_since(now()));
        match self.connection.receive(READ) {
            Ok(bytes) if bytes.is_empty() => {
                Err(Error::retriable("postgres.closed", "the server closed the connection"))
            }
            Ok(bytes) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Begins a statement; `what` it is for is said where the server refuses it.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn begin(&mut self, what: &'static str, sql: &str) -> Result<()> {
        (self.asked, self.running) = (what, true);
        self.rows.clear();
        self.send(&frame::query(sql))
    }

    /// What has come of the statement that was begun.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) fn poll(&mut self, until: Instant) -> Result<Polled> {
        while self.running {
            let Some(frame) = self.frame(until)? else { return Ok(Polled::Waiting) };
            match self.took(frame)? {
                Polled::Waiting => {}
                polled => return Ok(polled),
            }
        }
        Ok(Polled::Done)
    }

    fn took(&mut self, frame: Frame) -> Result<Polled> {
        match frame.kind {
            b'D' => return Ok(Polled::Row(frame::row(&frame.body)?)),
            b'E' => {
                let report = fault::report(frame.body);
                // One that ends the session is not followed by anything.
                if report.state.starts_with("57P") || report.state.starts_with("28") || self.version == 0 {
                    return Err(fault::of_server(self.asked, &report));
                }
                self.failed.get_or_insert(report);
            }
            b'Z' => {
                self.running = false;
                if let Some(report) = self.failed.take() {
                    return Err(fault::of_server(self.asked, &report));
                }
                return Ok(Polled::Done);
            }
            // Results begin and end; keys, parameters, notices and notifications tell us nothing.
            b'T' | b'C' | b'I' | b'K' | b'S' | b'N' | b'A' => {}
            other => return Err(Wrong(format!("a message of kind {other:#04x}")).into()),
        }
        Ok(Polled::Waiting)
    }

    /// The rows of a statement that takes no time.
    ///
    /// # Errors
    /// What the server says, or that it says nothing.
    pub(crate) fn query(&mut self, what: &'static str, sql: &str) -> Result<Vec<Row>> {
        self.begin(what, sql)?;
        let until = self.soon();
        let (mut rows, mut left) = (Vec::new(), LARGEST);
        loop {
            match self.poll(until)? {
                Polled::Row(row) => {
                    let bytes = row.iter().flatten().map(Bytes::len).sum::<usize>() + ROW;
                    left =
                        left.checked_sub(bytes).ok_or_else(|| Wrong(format!("more than {LARGEST} bytes of rows")))?;
                    rows.push(row);
                }
                Polled::Done => return Ok(rows),
                Polled::Waiting => return Err(slow(what)),
            }
        }
    }

    /// Ends the session, if the server listens.
    pub(crate) fn close(mut self) {
        drop(self.send(&frame::terminate()));
    }
}

/// A text column of a row; nothing if it is null.
#[must_use]
pub(crate) fn text(row: &Row, column: usize) -> Option<String> {
    row.get(column)?.as_ref().map(|value| String::from_utf8_lossy(value).into_owned())
}

fn slow(what: &str) -> Error {
    Error::retriable("postgres.slow", format!("the server does not {what} in time"))
}

fn broken(error: &io::Error) -> Error {
    Error::retriable("postgres.broken", format!("the connection to the server broke: {error}"))
}

/// A text as a literal of SQL.
#[must_use]
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in SQL.
#[must_use]
pub(crate) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
