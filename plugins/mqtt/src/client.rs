//! A connection to a broker: hello, packets in both directions, and what tells a dead one.

use std::time::{Duration, Instant};

use spout_guest::{Error, Result, net::Broken, now, secret::Secret};
use spout_queue::{Link, PATIENCE};

use crate::{
    packet::{Connected, Packet, Version, Wrong, packet},
    settings::{Protocol, Settings},
    speech::{Hello, PING, farewell},
};

/// The longest silence of ours, however seldom the broker wants to hear of us: a broker that is gone is noticed so.
const SILENCE: Duration = Duration::from_secs(15);

/// A broker, and the connection to it if there is one.
#[derive(Debug)]
pub(crate) struct Client {
    settings: Settings,
    client_id: String,
    pub(crate) link: Link<Open>,
    /// The version that this broker takes.
    version: Version,
}

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Open {
    /// The longest silence of ours.
    silence: Duration,
    /// When something was sent last, and the oldest ping that was not answered.
    sent: Instant,
    waits: Option<Instant>,
    pings: u64,
    pongs: u64,
}

impl Client {
    pub(crate) fn new(settings: Settings, client_id: String) -> Self {
        let version = if settings.protocol == Protocol::V3 { Version::V3 } else { Version::V5 };
        Self { link: Link::new("mqtt", settings.address.clone()), settings, client_id, version }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Connects, with the version that the broker takes.
    pub(crate) fn connect(&mut self, clean: bool, until: Instant) -> Result<Connected> {
        let mut connected = self.hello(clean, until)?;
        // 1 is what a broker says that knows no codes of MQTT 5.
        if matches!(connected.code, 1 | 0x84) && self.version == Version::V5 && self.settings.protocol == Protocol::Auto
        {
            self.version = Version::V3;
            connected = self.hello(clean, until)?;
        }
        if connected.code == 0 {
            return Ok(connected);
        }
        self.link.close();
        Err(self.refusal(connected.code, &connected.reason))
    }

    fn hello(&mut self, clean: bool, until: Instant) -> Result<Connected> {
        let silence = self.silence(self.settings.keep_alive);
        self.link.connect(Open { silence, sent: now(), waits: None, pings: 0, pongs: 0 }, until)?;
        let password = Secret::password(self.settings.username.as_deref())?;
        let hello = Hello {
            client_id: &self.client_id,
            username: self.settings.username.as_deref(),
            password: password.as_ref().map(Secret::len),
            keep_alive: self.settings.keep_alive,
            inflight: self.settings.inflight,
            expiry: self.settings.session_expiry.unwrap_or(u32::MAX),
            clean,
        };
        let hello = hello.packet(self.version);
        let hello =
            hello.ok_or_else(|| Error::invalid_config("the client id, the user or the password is too long"))?;
        self.send(&hello, until)?;
        if let Some(password) = password {
            // The host writes it: it is never here.
            self.link.send_secret(&password, until)?;
        }
        match self.receive(until)? {
            Some(Packet::Connected(connected)) => {
                if let (Some(seconds), Some(open)) = (connected.keep_alive, self.link.state()) {
                    open.silence = silence.min(Duration::from_secs(u64::from(seconds)) / 3).max(PATIENCE / 50);
                }
                Ok(connected)
            }
            Some(_) => Err(self.link.broken("protocol", "it does not answer as a broker of MQTT does")),
            None => Err(self.link.broken("io", "it does not answer in time")),
        }
    }

    fn silence(&self, keep_alive: u16) -> Duration {
        if keep_alive == 0 { SILENCE } else { SILENCE.min(Duration::from_secs(u64::from(keep_alive)) / 3) }
    }

    /// Sends all of this; afterwards there is a connection only if it went well.
    pub(crate) fn send(&mut self, bytes: &[u8], until: Instant) -> Result<()> {
        if let Some(open) = self.link.state() {
            open.sent = now();
        }
        self.link.send(bytes, until)
    }

    /// The next packet; `None` if none comes until then.
    pub(crate) fn receive(&mut self, until: Instant) -> Result<Option<Packet>> {
        let (version, most) = (self.version, self.settings.max_message);
        let received = self.link.receive(until, |got, _| packet(got, version, most));
        match received.map_err(|broken| self.failed(broken))? {
            Some(Packet::Pong) => {
                if let Some(open) = self.link.state() {
                    open.pongs += 1;
                    open.waits = if open.pongs < open.pings { open.waits } else { None };
                }
                Ok(Some(Packet::Pong))
            }
            Some(Packet::Disconnected(code, reason)) => {
                self.link.close();
                Err(self.refusal(code, &reason))
            }
            packet => Ok(packet),
        }
    }

    /// Asks for a sign of life, which comes after everything that the broker has sent; the number of it.
    pub(crate) fn ping(&mut self, until: Instant) -> Result<u64> {
        self.send(&PING, until)?;
        let Some(open) = self.link.state() else { return Ok(0) };
        open.pings += 1;
        open.waits = open.waits.or(Some(now()));
        Ok(open.pings)
    }

    /// Whether the ping with this number was answered.
    pub(crate) fn answered(&self, ping: u64) -> bool {
        self.link.known().is_some_and(|open| open.pongs >= ping)
    }

    /// Finds out whether the broker lives, and says that we do. Only after nothing came.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let waits = self.link.known().and_then(|open| open.waits);
        if waits.is_some_and(|since| since.elapsed() > PATIENCE) {
            return Err(self.link.broken("io", "it does not answer any more"));
        }
        self.live()
    }

    /// Says that we live when it is time to.
    pub(crate) fn live(&mut self) -> Result<()> {
        if self.link.known().is_some_and(|open| open.sent.elapsed() >= open.silence) {
            self.ping(now() + PATIENCE)?;
        }
        Ok(())
    }

    /// Has the broker forget the session, as well as that can be done.
    pub(crate) fn forget(&mut self, until: Instant) {
        if self.version == Version::V3 {
            drop(self.connect(true, until));
        }
        // A session that stays is one without a subscription.
        drop(self.send(farewell(self.version), until));
        self.link.close();
    }

    fn failed(&mut self, broken: Broken<Wrong>) -> Error {
        match broken {
            Broken::Io(error) => self.link.failed(&error),
            Broken::Wrong(Wrong::Garbage(what)) => {
                self.link.again("protocol", &format!("it does not speak as a broker of MQTT does: {what}"))
            }
            Broken::Wrong(Wrong::TooLarge(bytes)) => self.link.too_large(bytes, self.settings.max_message),
        }
    }

    /// What the broker gives as its reason to end a connection, or not to begin one.
    fn refusal(&mut self, code: u8, reason: &str) -> Error {
        let what = match code {
            1 | 0x84 => "it does not speak this version of MQTT; set `protocol`",
            2 | 0x85 => "it does not take the client id; set `clientId`",
            4 | 5 | 0x86 | 0x87 | 0x8a | 0x8c => "it refuses the user, the password or what they may do",
            0x8e => "another client has the same client id; set `clientId`",
            0x9c | 0x9d => "it sends us to another broker; name that one",
            _ => "it refuses or ends the connection",
        };
        let quoted = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let what = format!("{what} (code {code}{quoted})");
        match code {
            4 | 5 | 0x86 | 0x87 | 0x8a | 0x8c => self.link.fatal("denied", &what),
            1 | 2 | 0x81 | 0x82 | 0x84 | 0x85 | 0x95 | 0x9c | 0x9d => self.link.fatal("refused", &what),
            _ => self.link.again("unavailable", &what),
        }
    }
}
