//! A connection to one broker: requests go out, answers come back in order, and nothing waits beyond its deadline.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use spout_guest::{Error, Result, net, now, secret::Secret};

use crate::{
    sasl,
    settings::Settings,
    trouble::{Malformed, garbage, late, unreachable},
    wire::{API_VERSIONS, Api, Input, Output, Versions, ask_versions},
};

/// Bytes that an answer may have.
const MOST: usize = 64 << 20;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// A request that was sent and not yet answered.
#[derive(Clone, Copy, Debug)]
struct Pending {
    correlation: i32,
    api: Api,
    version: i16,
    until: Instant,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: net::Connection,
    address: String,
    client: String,
    versions: Versions,
    correlation: i32,
    pending: VecDeque<Pending>,
    /// What has come of the answer that is under way.
    come: BytesMut,
}

/// An answer, the version that it is in, and the request that it is to.
pub(crate) type Answer = (Input, i16);

impl Connection {
    /// Connects to the broker at `address`, and asks which requests it knows.
    pub(crate) fn open(address: &str, settings: &Settings, until: Instant) -> Result<Self> {
        let time = until.saturating_duration_since(now());
        if time.is_zero() {
            return Err(late(address, "connecting"));
        }
        let stream =
            net::Connection::open(address, time).map_err(|error| unreachable(address, "connecting", &error))?;
        if settings.wants_tls() && !stream.is_secure() {
            let what = format!(
                "broker {address} would be reached in the clear, but `security.protocol` wants TLS; grant it as one of \
                 `endpoints` with `tls`"
            );
            return Err(Error::fatal("kafka.tls", what));
        }
        let mut connection = Self {
            stream,
            address: address.to_owned(),
            client: settings.client_id.clone(),
            versions: Versions::default(),
            correlation: 0,
            pending: VecDeque::new(),
            come: BytesMut::new(),
        };
        connection.send_in(API_VERSIONS, 0, until, None, ask_versions)?;
        let (input, _) = connection.answer(API_VERSIONS, until)?;
        let versions = Versions::read(input).map_err(|what| garbage(address, what))?;
        connection.versions = Versions::checked(versions).map_err(|error| error.of(address))?;
        sasl::authenticate(&mut connection, settings, until)?;
        Ok(connection)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// When the oldest request has to be answered.
    pub(crate) fn answered_by(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.until)
    }

    /// Whether a request was not answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends a request and waits for its answer; `write` gets the version that is spoken.
    pub(crate) fn call(&mut self, api: Api, until: Instant, write: impl FnOnce(&mut Output, i16)) -> Result<Answer> {
        self.send(api, until, write)?;
        self.answer(api, until)
    }

    /// The answer to the only request under way.
    pub(crate) fn answer(&mut self, api: Api, until: Instant) -> Result<Answer> {
        self.wait(until)?.ok_or_else(|| late(&self.address, api.name))
    }

    /// Sends a request that is to be answered by `until`.
    pub(crate) fn send(&mut self, api: Api, until: Instant, write: impl FnOnce(&mut Output, i16)) -> Result<()> {
        let version = self.versions.best(api).map_err(|error| error.of(&self.address))?;
        self.send_in(api, version, until, None, |out| write(out, version))
    }

    /// Sends a request whose body is bytes that end with a secret, which the host writes.
    pub(crate) fn send_secret(&mut self, api: Api, before: &[u8], secret: &Secret, until: Instant) -> Result<()> {
        let version = self.versions.best(api).map_err(|error| error.of(&self.address))?;
        self.send_in(api, version, until, Some(secret), |out| out.blob_before(before, secret.len()))
    }

    fn send_in(
        &mut self,
        api: Api,
        version: i16,
        until: Instant,
        secret: Option<&Secret>,
        write: impl FnOnce(&mut Output),
    ) -> Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        let correlation = self.correlation;
        let mut out = Output::request(api, version, correlation, &self.client);
        write(&mut out);
        let bytes = out.framed(secret.map_or(0, Secret::len));
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let time = until.saturating_duration_since(now());
            if time.is_zero() {
                return Err(late(&self.address, api.name));
            }
            self.stream.set_write_timeout(time);
            let written = self.stream.write(rest).map_err(|error| unreachable(&self.address, api.name, &error))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        if let Some(secret) = secret {
            self.stream.set_write_timeout(until.saturating_duration_since(now()));
            secret.send(&mut self.stream)?;
        }
        self.pending.push_back(Pending { correlation, api, version, until });
        Ok(())
    }

    /// The answer to the oldest request, if it comes before `until`; what has come of it is kept. An error ends the connection,
    /// and that the answer did not come by the time that was given to it is one.
    pub(crate) fn wait(&mut self, until: Instant) -> Result<Option<Answer>> {
        let Some(pending) = self.pending.front().copied() else { return Ok(None) };
        loop {
            if let Some(frame) = self.frame()? {
                self.pending.pop_front();
                return self.checked(frame, pending).map(|input| Some((input, pending.version)));
            }
            let time = until.min(pending.until).saturating_duration_since(now());
            match self.read(time) {
                Ok(0) => {
                    return Err(unreachable(&self.address, pending.api.name, &io::ErrorKind::UnexpectedEof.into()));
                }
                // That was all there is now.
                Ok(read) if read < PIECE && now() >= until && self.frame_is_short() => {
                    if now() >= pending.until {
                        return Err(late(&self.address, pending.api.name));
                    }
                    return Ok(None);
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                    if now() >= pending.until {
                        return Err(late(&self.address, pending.api.name));
                    }
                    if now() >= until {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreachable(&self.address, pending.api.name, &error)),
            }
            // A peer that sends a byte now and then does not get more time.
            if now() >= pending.until && self.frame_is_short() {
                return Err(late(&self.address, pending.api.name));
            }
        }
    }

    /// Takes what has come: what the peer says of the length reserves nothing.
    fn read(&mut self, time: Duration) -> io::Result<usize> {
        self.stream.set_read_timeout(time);
        let bytes = self.stream.receive(PIECE)?;
        self.come.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Waits until one of these has something to read, or `until`.
    pub(crate) fn wait_any<'a>(connections: impl Iterator<Item = &'a Self>, until: Instant) {
        let streams: Vec<&net::Connection> = connections.map(|connection| &connection.stream).collect();
        drop(net::Connection::wait_any(&streams, until.saturating_duration_since(now())));
    }

    fn frame_is_short(&self) -> bool {
        let length = self.come.first_chunk::<4>().map(|length| i32::from_be_bytes(*length));
        length.is_none_or(|length| self.come.len() < 4 + usize::try_from(length).unwrap_or(0))
    }

    /// The answer, once all of it has come.
    fn frame(&mut self) -> Result<Option<Bytes>> {
        let Some(length) = self.come.first_chunk::<4>().map(|length| i32::from_be_bytes(*length)) else {
            return Ok(None);
        };
        let wrong = || {
            let looks = match self.come.get(..4) {
                Some(b"HTTP") => "; it looks like HTTP",
                Some([0x15, 3, ..]) => "; it looks like TLS",
                _ => "",
            };
            garbage(&self.address, format!("an answer of {length} bytes{looks}"))
        };
        let length = usize::try_from(length).ok().filter(|length| (4..=MOST).contains(length)).ok_or_else(wrong)?;
        if self.come.len() < 4 + length {
            return Ok(None);
        }
        self.come.advance(4);
        let frame = self.come.split_to(length).freeze();
        if self.come.is_empty() {
            // The frame has the memory to itself.
            self.come = BytesMut::new();
        }
        Ok(Some(frame))
    }

    /// The body of an answer that is the one to `pending`.
    fn checked(&self, mut frame: Bytes, pending: Pending) -> Result<Input> {
        let wrong = |what: Malformed| garbage(&self.address, what);
        let correlation = frame.try_get_i32().map_err(|error| wrong(error.into()))?;
        if correlation != pending.correlation {
            let what = format!("an answer to request {correlation} instead of {}", pending.correlation);
            return Err(garbage(&self.address, what));
        }
        let flexible = pending.version >= pending.api.flexible;
        let mut input = Input::new(frame, flexible);
        input.tags().map_err(wrong)?;
        Ok(input)
    }
}
