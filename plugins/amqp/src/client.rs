//! A connection to a server, with one channel and one consumer: what comes, what is sent, and what tells a dead one.

use std::time::{Duration, Instant};

use spout_guest::{
    Backoff, Error, Result,
    net::{Wire, trouble},
    now,
    secret::{Form, Secret},
};

use crate::{
    frame::{Assembly, Frame, LONGEST, Taken, Wrong, frame},
    method::{self, Begin, Closed, GREETING, HEARTBEAT, Method},
    settings::{Mechanism, Settings},
};

/// How long the server may take for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// After how long without a message a stream may be taken to have none.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// How long more messages are waited for once there is one.
pub(crate) const LINGER: Duration = Duration::from_millis(2);

/// A server, and the connection to it if there is one.
#[derive(Debug)]
pub(crate) struct Client {
    settings: Settings,
    queue: String,
    link: Option<Link>,
    backoff: Backoff,
    /// Connections so far: a delivery tag is of one of them.
    connections: u64,
    /// The queue was there.
    found: bool,
}

#[derive(Debug)]
struct Link {
    wire: Wire,
    assembly: Assembly,
    /// After this time without a word, either side gives the other up.
    heartbeat: Option<Duration>,
    sent: Instant,
    heard: Instant,
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
    pub(crate) fn new(settings: Settings, queue: String) -> Self {
        Self { settings, queue, link: None, backoff: Backoff::default(), connections: 0, found: false }
    }

    /// Which connection this is.
    pub(crate) fn connection(&self) -> Option<u64> {
        self.link.as_ref().map(|_| self.connections)
    }

    pub(crate) fn close(&mut self) {
        self.link = None;
    }

    /// Ends the connection with a word.
    pub(crate) fn leave(&mut self) {
        // The server finds out by itself otherwise.
        drop(self.send(method::close(), now() + PATIENCE));
        self.link = None;
    }

    /// It went well: the next trouble is waited out from the shortest wait on.
    pub(crate) fn well(&mut self) {
        self.backoff.reset();
    }

    /// Connects, and asks for the messages of the queue, of a stream from there on; at most `ahead` of them come before one of them is
    /// acknowledged.
    pub(crate) fn connect(&mut self, from: Option<Begin>, ahead: u16) -> Result<()> {
        let until = now() + PATIENCE;
        let done = self.begin(until).and_then(|_| {
            self.ask(method::limit(ahead), &Method::Limited, until)?;
            self.ask(method::consume(&self.queue, from), &Method::Consuming, until)
        });
        if done.is_err() {
            self.link = None;
        }
        done
    }

    /// Connects, and sees whether there is the queue: how many messages it has, as the server counts them now and then.
    pub(crate) fn count(&mut self) -> Result<u32> {
        let count = self.begin(now() + PATIENCE);
        if count.is_err() {
            self.link = None;
        }
        count
    }

    fn begin(&mut self, until: Instant) -> Result<u32> {
        let wire = Wire::connect(&self.settings.address, until).map_err(|error| self.trouble(&error))?;
        self.connections += 1;
        let (sent, heard) = (now(), now());
        self.link = Some(Link { wire, assembly: Assembly::default(), heartbeat: None, sent, heard });
        self.send(Some(GREETING.to_vec()), until)?;
        let Method::Start(mechanisms) = self.answer(until)? else { return Err(self.unexpected()) };
        self.introduce(&mechanisms, until)?;
        let Method::Tune(longest, heartbeat) = self.answer(until)? else { return Err(self.unexpected()) };
        let longest = if longest == 0 { LONGEST } else { LONGEST.min(usize::try_from(longest).unwrap_or(LONGEST)) };
        let heartbeat = match (heartbeat, self.settings.heartbeat) {
            (0, ours) => ours,
            (_, 0) => 0,
            (theirs, ours) => theirs.min(ours),
        };
        self.send(method::tune_ok(u32::try_from(longest).unwrap_or(0), heartbeat), until)?;
        if let Some(link) = &mut self.link {
            link.heartbeat = (heartbeat > 0).then(|| Duration::from_secs(u64::from(heartbeat)));
        }
        self.ask(method::open(&self.settings.vhost), &Method::Opened, until)?;
        self.ask(method::open_channel(), &Method::ChannelOpened, until)?;
        self.send(method::look(&self.queue), until)?;
        let Method::Declared(count) = self.answer(until)? else { return Err(self.unexpected()) };
        self.found = true;
        Ok(count)
    }

    /// Says who we are. The host writes the password: it is never here.
    fn introduce(&mut self, mechanisms: &[String], until: Instant) -> Result<()> {
        let password = Secret::named("password").ok();
        let name = if self.settings.mechanism == Mechanism::External { "EXTERNAL" } else { "PLAIN" };
        if !mechanisms.iter().any(|one| one == name) {
            return Err(self.fatal("amqp.denied", &format!("it does not know the mechanism {name}")));
        }
        let (response, password) = match (self.settings.mechanism, &self.settings.username, password) {
            (Mechanism::External, ..) => (String::new(), None),
            (Mechanism::Plain, None, None) => ("\0guest\0guest".to_owned(), None),
            (Mechanism::Plain, Some(_), None) => {
                let wanted = "a `username` needs the secret `password`; grant it under `secrets`";
                return Err(Error::invalid_config(wanted));
            }
            (Mechanism::Plain, user, password) => (format!("\0{}\0", user.as_deref().unwrap_or("guest")), password),
        };
        let parts = method::start_ok(name, &response, password.as_ref().map_or(0, Secret::len));
        let (head, tail) = parts.ok_or_else(|| Error::invalid_config("the user or the password is too long"))?;
        self.send(Some(head), until)?;
        if let (Some(password), Some(link)) = (password, &mut self.link) {
            link.wire.send_secret(&password, Form::Raw, until)?;
        }
        self.send(Some(tail), until)
    }

    fn ask(&mut self, what: Option<Vec<u8>>, expected: &Method, until: Instant) -> Result<()> {
        self.send(what, until)?;
        if self.answer(until)? == *expected { Ok(()) } else { Err(self.unexpected()) }
    }

    fn answer(&mut self, until: Instant) -> Result<Method> {
        loop {
            match self.receive(until)? {
                Some(Taken::Method(Method::Noted) | Taken::Nothing) => {}
                Some(Taken::Method(method)) => return Ok(method),
                Some(Taken::Message(_)) => return Err(self.unexpected()),
                None => return Err(self.again("amqp.io", "it does not answer in time")),
            }
        }
    }

    /// Asks how many messages the queue has; the answer comes after all that was delivered before.
    pub(crate) fn look(&mut self) -> Result<()> {
        self.send(method::look(&self.queue), now() + PATIENCE)
    }

    /// Acknowledges all messages of this connection up to a tag.
    pub(crate) fn acknowledge(&mut self, tag: u64) -> Result<()> {
        self.send(method::acknowledge(tag), now() + PATIENCE)
    }

    /// Sends all of this, or says that it is too long; afterwards there is a connection only if it went well.
    fn send(&mut self, bytes: Option<Vec<u8>>, until: Instant) -> Result<()> {
        let bytes =
            bytes.ok_or_else(|| Error::invalid_config("the name of the queue or of the virtual host is too long"))?;
        let Some(link) = self.link.as_mut() else {
            return Err(self.again("amqp.io", "the connection has ended"));
        };
        link.sent = now();
        let sent = link.wire.send(&bytes, until);
        sent.map_err(|error| {
            self.link = None;
            self.trouble(&error)
        })
    }

    /// What comes next; `None` if nothing does until then.
    pub(crate) fn receive(&mut self, until: Instant) -> Result<Option<Taken>> {
        let most = self.settings.max_message;
        let Some(link) = self.link.as_mut() else {
            return Err(self.again("amqp.io", "the connection has ended"));
        };
        let received = link.wire.receive(until, |got| frame(got).map_err(Trouble::Wrong));
        let taken = received.and_then(|frame: Frame| link.assembly.take(frame, most).map_err(Trouble::Wrong));
        match taken {
            Ok(taken) => {
                link.heard = now();
                match taken {
                    Taken::Method(Method::Closed(closed)) => {
                        self.link = None;
                        Err(self.closed(&closed))
                    }
                    Taken::Method(Method::Cancelled) => {
                        self.link = None;
                        Err(self.again("amqp.cancelled", "the server delivers no more: the queue is gone, or moved"))
                    }
                    taken => Ok(Some(taken)),
                }
            }
            Err(Trouble::Io(error)) if is_late(&error) => Ok(None),
            Err(trouble) => {
                self.link = None;
                Err(self.failed(trouble))
            }
        }
    }

    /// Finds out whether the server lives, and says that we do. Only after nothing came.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let Some(Link { heartbeat: Some(heartbeat), heard, .. }) = &self.link else { return Ok(()) };
        if heard.elapsed() > *heartbeat * 2 {
            self.link = None;
            return Err(self.again("amqp.io", "it does not answer any more"));
        }
        self.live()
    }

    /// Says that we live when it is time to.
    pub(crate) fn live(&mut self) -> Result<()> {
        let Some(Link { heartbeat: Some(heartbeat), sent, .. }) = &self.link else { return Ok(()) };
        if sent.elapsed() >= *heartbeat / 3 { self.send(Some(HEARTBEAT.to_vec()), now() + PATIENCE) } else { Ok(()) }
    }

    /// Trouble that passes.
    pub(crate) fn again(&mut self, code: &str, what: &str) -> Error {
        let message = format!("{}: {what}", self.settings.address);
        Error::Retriable { code: code.into(), message, after: Some(self.backoff.delay()) }
    }

    pub(crate) fn unexpected(&mut self) -> Error {
        self.again("amqp.protocol", "it does not answer as a server of AMQP does")
    }

    fn fatal(&self, code: &str, what: &str) -> Error {
        Error::fatal(code, format!("{}: {what}", self.settings.address))
    }

    fn trouble(&mut self, error: &std::io::Error) -> Error {
        trouble("amqp", &self.settings.address, error, &mut self.backoff)
    }

    fn failed(&mut self, failed: Trouble) -> Error {
        match failed {
            Trouble::Io(error) => self.trouble(&error),
            Trouble::Wrong(Wrong::Garbage(what)) => {
                self.again("amqp.protocol", &format!("it does not speak as a server of AMQP does: {what}"))
            }
            Trouble::Wrong(Wrong::Version) => {
                self.fatal("amqp.version", "it does not speak AMQP 0-9-1; RabbitMQ does, with its usual port")
            }
            Trouble::Wrong(Wrong::TooLarge(bytes)) => {
                let most = self.settings.max_message;
                self.fatal(
                    "amqp.large",
                    &format!(
                        "a message has {bytes} bytes, more than the {most} it may have; raise the setting `maxMessage`"
                    ),
                )
            }
        }
    }

    /// Why the server ends the channel or the connection.
    fn closed(&mut self, closed: &Closed) -> Error {
        let Closed { code, text, whole } = closed;
        let what = format!("the server ends the {}: {text}", if *whole { "connection" } else { "channel" });
        match code {
            403 => self.fatal("amqp.denied", &what),
            // One that was there comes back, perhaps; and a server that starts has not found its own yet.
            404 if self.found || text.contains("inaccessible") => self.again("amqp.queue", &what),
            404 => self.fatal("amqp.queue", &what),
            402 | 530 => self.fatal("amqp.refused", &what),
            // A stream, asked for without an offset; a queue, with one.
            540 => self.fatal("amqp.stream", &format!("{what}; a stream is read without `consumerType: acked`")),
            406 if text.contains("invalid arg") => {
                self.fatal("amqp.stream", &format!("{what}; a queue is read with `consumerType: acked`"))
            }
            _ => self.again("amqp.unavailable", &what),
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock)
}
