//! A connection to a server, with one channel and one consumer: what comes, what is sent, and what tells a dead one.

use std::time::{Duration, Instant};

use spout_guest::{Error, Result, net::Broken, now, secret::Secret};
use spout_queue::{Link, PATIENCE};

use crate::{
    frame::{Assembly, LONGEST, Taken, Wrong, frame},
    method::{self, Begin, Closed, GREETING, HEARTBEAT, Method},
    settings::{Mechanism, Settings},
};

/// After how long without a message a stream may be taken to have none.
pub(crate) const QUIET: Duration = Duration::from_secs(1);

/// A server, and the connection to it if there is one.
#[derive(Debug)]
pub(crate) struct Client {
    settings: Settings,
    queue: String,
    pub(crate) link: Link<Open>,
    /// The queue was there.
    found: bool,
}

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Open {
    assembly: Assembly,
    /// After this time without a word, either side gives the other up.
    heartbeat: Option<Duration>,
    sent: Instant,
    heard: Instant,
}

impl Client {
    pub(crate) fn new(settings: Settings, queue: String) -> Self {
        Self { link: Link::new("amqp", settings.address.clone()), settings, queue, found: false }
    }

    /// Ends the connection with a word.
    pub(crate) fn leave(&mut self) {
        // The server finds out by itself otherwise.
        drop(self.send(method::close(), now() + PATIENCE));
        self.link.close();
    }

    /// Connects, and asks for the messages of the queue, of a stream from there on; at most `ahead` of them come before one of them is
    /// acknowledged. How many there are.
    pub(crate) fn connect(&mut self, from: Option<Begin>, ahead: u16) -> Result<u32> {
        let until = now() + PATIENCE;
        let done = self.begin(until).and_then(|count| {
            self.ask(method::limit(ahead), &Method::Limited, until)?;
            self.ask(method::consume(&self.queue, from), &Method::Consuming, until)?;
            Ok(count)
        });
        if done.is_err() {
            self.link.close();
        }
        done
    }

    /// Connects, and sees whether there is the queue: how many messages it has, as the server counts them now and then.
    pub(crate) fn count(&mut self) -> Result<u32> {
        let count = self.begin(now() + PATIENCE);
        if count.is_err() {
            self.link.close();
        }
        count
    }

    fn begin(&mut self, until: Instant) -> Result<u32> {
        let open = Open { assembly: Assembly::default(), heartbeat: None, sent: now(), heard: now() };
        self.link.connect(open, until)?;
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
        if let Some(open) = self.link.state() {
            open.heartbeat = (heartbeat > 0).then(|| Duration::from_secs(u64::from(heartbeat)));
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
        let name = if self.settings.mechanism == Mechanism::External { "EXTERNAL" } else { "PLAIN" };
        if !mechanisms.iter().any(|one| one == name) {
            return Err(self.link.fatal("denied", &format!("it does not know the mechanism {name}")));
        }
        let user = self.settings.username.as_deref();
        let (response, password) = if self.settings.mechanism == Mechanism::External {
            (String::new(), None)
        } else {
            match Secret::password(user)? {
                None => ("\0guest\0guest".to_owned(), None),
                password => (format!("\0{}\0", user.unwrap_or("guest")), password),
            }
        };
        let parts = method::start_ok(name, &response, password.as_ref().map_or(0, Secret::len));
        let (head, tail) = parts.ok_or_else(|| Error::invalid_config("the user or the password is too long"))?;
        self.send(Some(head), until)?;
        if let Some(password) = password {
            self.link.send_secret(&password, until)?;
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
                None => return Err(self.link.again("io", "it does not answer in time")),
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
        if let Some(open) = self.link.state() {
            open.sent = now();
        }
        self.link.send(&bytes, until)
    }

    /// What comes next; `None` if nothing does until then.
    pub(crate) fn receive(&mut self, until: Instant) -> Result<Option<Taken>> {
        let most = self.settings.max_message;
        let taken = self.link.receive(until, |got, open| match frame(got)? {
            Some(frame) => open.assembly.take(frame, most).map(Some),
            None => Ok(None),
        });
        let Some(taken) = taken.map_err(|broken| self.failed(broken))? else { return Ok(None) };
        if let Some(open) = self.link.state() {
            open.heard = now();
        }
        match taken {
            Taken::Method(Method::Closed(closed)) => {
                self.link.close();
                Err(self.closed(&closed))
            }
            Taken::Method(Method::Cancelled) => {
                Err(self.link.broken("cancelled", "the server delivers no more: the queue is gone, or moved"))
            }
            taken => Ok(Some(taken)),
        }
    }

    /// Finds out whether the server lives, and says that we do. Only after nothing came.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let Some(Open { heartbeat: Some(heartbeat), heard, .. }) = self.link.state() else { return Ok(()) };
        if heard.elapsed() > *heartbeat * 2 {
            return Err(self.link.broken("io", "it does not answer any more"));
        }
        self.live()
    }

    /// Says that we live when it is time to.
    pub(crate) fn live(&mut self) -> Result<()> {
        let Some(Open { heartbeat: Some(heartbeat), sent, .. }) = self.link.state() else { return Ok(()) };
        if sent.elapsed() >= *heartbeat / 3 { self.send(Some(HEARTBEAT.to_vec()), now() + PATIENCE) } else { Ok(()) }
    }

    pub(crate) fn unexpected(&mut self) -> Error {
        self.link.again("protocol", "it does not answer as a server of AMQP does")
    }

    fn failed(&mut self, broken: Broken<Wrong>) -> Error {
        match broken {
            Broken::Io(error) => self.link.failed(&error),
            Broken::Wrong(Wrong::Garbage(what)) => {
                self.link.again("protocol", &format!("it does not speak as a server of AMQP does: {what}"))
            }
            Broken::Wrong(Wrong::Version) => {
                self.link.fatal("version", "it does not speak AMQP 0-9-1; RabbitMQ does, with its usual port")
            }
            Broken::Wrong(Wrong::TooLarge(bytes)) => self.link.too_large(bytes, self.settings.max_message),
        }
    }

    /// Why the server ends the channel or the connection.
    fn closed(&mut self, closed: &Closed) -> Error {
        let Closed { code, text, whole } = closed;
        let what = format!("the server ends the {}: {text}", if *whole { "connection" } else { "channel" });
        match code {
            403 => self.link.fatal("denied", &what),
            // One that was there comes back, perhaps; and a server that starts has not found its own yet.
            404 if self.found || text.contains("inaccessible") => self.link.again("queue", &what),
            404 => self.link.fatal("queue", &what),
            402 | 530 => self.link.fatal("refused", &what),
            // A stream, asked for without an offset; a queue, with one.
            540 => self.link.fatal("stream", &format!("{what}; a stream is read without `consumerType: acked`")),
            406 if text.contains("invalid arg") => {
                self.link.fatal("stream", &format!("{what}; a queue is read with `consumerType: acked`"))
            }
            _ => self.link.again("unavailable", &what),
        }
    }
}
