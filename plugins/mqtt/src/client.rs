//! A connection to a broker: hello, packets in both directions, and what tells a dead one.

use std::time::{Duration, Instant};

use spout_guest::{
    Backoff, Error, Result,
    net::{Wire, trouble},
    now,
    secret::{Form, Secret},
};

use crate::{
    packet::{Connected, Packet, Version, Wrong, packet},
    settings::{Protocol, Settings},
    speech::{Hello, PING, farewell},
};

/// How long the broker may take for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The longest silence of ours, however seldom the broker wants to hear of us: a broker that is gone is noticed so.
const SILENCE: Duration = Duration::from_secs(15);

/// A broker, and the connection to it if there is one.
#[derive(Debug)]
pub(crate) struct Client {
    settings: Settings,
    client_id: String,
    link: Option<Link>,
    backoff: Backoff,
    /// The version that this broker takes.
    version: Version,
    /// Connections so far: what one delivered is not acknowledged on another.
    connections: u64,
}

#[derive(Debug)]
struct Link {
    wire: Wire,
    /// The longest silence of ours.
    silence: Duration,
    /// When something was sent last, and the oldest ping that was not answered.
    sent: Instant,
    waits: Option<Instant>,
    pings: u64,
    pongs: u64,
}

enum Trouble {
    Io(std::io::Error),
    Wrong(Wrong),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Client {
    pub(crate) fn new(settings: Settings, client_id: String) -> Self {
        let version = if settings.protocol == Protocol::V3 { Version::V3 } else { Version::V5 };
        Self { settings, client_id, link: None, backoff: Backoff::default(), version, connections: 0 }
    }

    /// Which connection this is.
    pub(crate) fn connection(&self) -> Option<u64> {
        self.link.as_ref().map(|_| self.connections)
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn close(&mut self) {
        self.link = None;
    }

    /// It went well: the next trouble is waited out from the shortest wait on.
    pub(crate) fn well(&mut self) {
        self.backoff.reset();
    }

    /// Connects, with the version that the broker takes.
    pub(crate) fn connect(&mut self, clean: bool, until: Instant) -> Result<Connected> {
        self.link = None;
        let mut connected = self.hello(clean, until)?;
        // 1 is what a broker says that knows no codes of MQTT 5.
        if matches!(connected.code, 1 | 0x84) && self.version == Version::V5 && self.settings.protocol == Protocol::Auto
        {
            (self.version, self.link) = (Version::V3, None);
            connected = self.hello(clean, until)?;
        }
        if connected.code == 0 {
            self.connections += 1;
            return Ok(connected);
        }
        self.link = None;
        Err(self.refusal(connected.code, &connected.reason))
    }

    fn hello(&mut self, clean: bool, until: Instant) -> Result<Connected> {
        let wire = Wire::connect(&self.settings.address, until).map_err(|error| self.trouble(&error))?;
        let password = Secret::named("password").ok();
        if password.is_none() && self.settings.username.is_some() {
            let wanted = "a `username` needs the secret `password`; grant it under `secrets`";
            return Err(Error::invalid_config(wanted));
        }
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
        let silence = self.silence(self.settings.keep_alive);
        self.link = Some(Link { wire, silence, sent: now(), waits: None, pings: 0, pongs: 0 });
        self.send(&hello, until)?;
        if let (Some(password), Some(link)) = (password, &mut self.link) {
            // The host writes it: it is never here.
            link.wire.send_secret(&password, Form::Raw, until)?;
        }
        match self.receive(until)? {
            Some(Packet::Connected(connected)) => {
                if let (Some(seconds), Some(link)) = (connected.keep_alive, self.link.as_mut()) {
                    link.silence = silence.min(Duration::from_secs(u64::from(seconds)) / 3).max(PATIENCE / 50);
                }
                Ok(connected)
            }
            Some(_) => {
                self.link = None;
                Err(self.again("mqtt.protocol", "it does not answer as a broker of MQTT does"))
            }
            None => {
                self.link = None;
                Err(self.again("mqtt.io", "it does not answer in time"))
            }
        }
    }

    fn silence(&self, keep_alive: u16) -> Duration {
        if keep_alive == 0 { SILENCE } else { SILENCE.min(Duration::from_secs(u64::from(keep_alive)) / 3) }
    }

    /// Sends all of this; afterwards there is a connection only if it went well.
    pub(crate) fn send(&mut self, bytes: &[u8], until: Instant) -> Result<()> {
        let Some(link) = self.link.as_mut() else {
            return Err(self.again("mqtt.io", "the connection has ended"));
        };
        link.sent = now();
        let sent = link.wire.send(bytes, until);
        sent.map_err(|error| {
            self.link = None;
            self.trouble(&error)
        })
    }

    /// The next packet; `None` if none comes until then.
    pub(crate) fn receive(&mut self, until: Instant) -> Result<Option<Packet>> {
        let (version, most) = (self.version, self.settings.max_message);
        let Some(link) = self.link.as_mut() else {
            return Err(self.again("mqtt.io", "the connection has ended"));
        };
        let received = link.wire.receive(until, |got| packet(got, version, most).map_err(Trouble::Wrong));
        match received {
            Ok(Packet::Pong) => {
                link.pongs += 1;
                link.waits = if link.pongs < link.pings { link.waits } else { None };
                Ok(Some(Packet::Pong))
            }
            Ok(Packet::Disconnected(code, reason)) => {
                self.link = None;
                Err(self.refusal(code, &reason))
            }
            Ok(packet) => Ok(Some(packet)),
            Err(Trouble::Io(error)) if is_late(&error) => Ok(None),
            Err(trouble) => {
                self.link = None;
                Err(self.failed(trouble))
            }
        }
    }

    /// Asks for a sign of life, which comes after everything that the broker has sent; the number of it.
    pub(crate) fn ping(&mut self, until: Instant) -> Result<u64> {
        self.send(&PING, until)?;
        let Some(link) = self.link.as_mut() else { return Ok(0) };
        link.pings += 1;
        link.waits = link.waits.or(Some(now()));
        Ok(link.pings)
    }

    /// Whether the ping with this number was answered.
    pub(crate) fn answered(&self, ping: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.pongs >= ping)
    }

    /// Finds out whether the broker lives, and says that we do. Only after nothing came.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        if link.waits.is_some_and(|since| since.elapsed() > PATIENCE) {
            self.link = None;
            return Err(self.again("mqtt.io", "it does not answer any more"));
        }
        self.live()
    }

    /// Says that we live when it is time to.
    pub(crate) fn live(&mut self) -> Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        if link.sent.elapsed() >= link.silence {
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
        self.link = None;
    }

    /// Trouble that passes.
    pub(crate) fn again(&mut self, code: &str, what: &str) -> Error {
        let message = format!("{}: {what}", self.settings.address);
        Error::Retriable { code: code.into(), message, after: Some(self.backoff.delay()) }
    }

    /// Trouble that stays.
    pub(crate) fn fatal(&self, code: &str, what: &str) -> Error {
        Error::fatal(code, format!("{}: {what}", self.settings.address))
    }

    fn trouble(&mut self, error: &std::io::Error) -> Error {
        trouble("mqtt", &self.settings.address, error, &mut self.backoff)
    }

    fn failed(&mut self, failed: Trouble) -> Error {
        match failed {
            Trouble::Io(error) => self.trouble(&error),
            Trouble::Wrong(Wrong::Garbage(what)) => {
                self.again("mqtt.protocol", &format!("it does not speak as a broker of MQTT does: {what}"))
            }
            Trouble::Wrong(Wrong::TooLarge(bytes)) => {
                let most = self.settings.max_message;
                self.fatal(
                    "mqtt.large",
                    &format!(
                        "a message has {bytes} bytes, more than the {most} it may have; raise the setting `maxMessage`"
                    ),
                )
            }
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
            4 | 5 | 0x86 | 0x87 | 0x8a | 0x8c => self.fatal("mqtt.denied", &what),
            1 | 2 | 0x81 | 0x82 | 0x84 | 0x85 | 0x95 | 0x9c | 0x9d => self.fatal("mqtt.refused", &what),
            _ => self.again("mqtt.unavailable", &what),
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock)
}
