//! A connection to a server: requests and their answers, and what it delivers.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value as Json;
use spout_guest::{
    Error, Result,
    net::{Broken, Server, Wire},
    secret::{Form, Secret},
};

use crate::protocol::{Frame, Message, Wrong, frame};

/// How long the server may take for an answer, besides what it was asked to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The subscription for answers to requests.
const ANSWERS: u64 = 1;

/// A server, and the connection to it if there is one.
#[derive(Debug)]
pub(crate) struct Client {
    server: Server,
    username: Option<String>,
    max_message: usize,
    link: Option<Link>,
    /// Connections so far: subscriptions of one are not those of another.
    connections: u64,
}

#[derive(Debug)]
struct Link {
    wire: Wire,
    /// Part of the subjects that answers come to, which nobody else uses.
    inbox: String,
    requests: u64,
}

/// What a server says of itself that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    auth_required: bool,
    tls_required: bool,
    headers: bool,
    client_id: u64,
    server_id: String,
}

/// An error in an answer of JetStream.
#[derive(Debug, Deserialize)]
struct Refusal {
    code: u16,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

impl Client {
    pub(crate) fn new(address: String, username: Option<String>, max_message: usize) -> Self {
        Self { server: Server::new("nats", address), username, max_message, link: None, connections: 0 }
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    /// Which connection this is; a consumer lives no longer than its subscription.
    pub(crate) fn connection(&self) -> Option<u64> {
        self.link.as_ref().map(|_| self.connections)
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.link = None;
    }

    /// It went well: the next trouble is waited out from the shortest wait on.
    pub(crate) fn well(&mut self) {
        self.server.well();
    }

    /// Asks JetStream; `None` if what was asked for is not there.
    pub(crate) fn ask(&mut self, subject: &str, request: &Json, until: Instant) -> Result<Option<Vec<u8>>> {
        let message = self.on_link(until, |client, link| link.request(client, subject, &request.to_string(), until))?;
        if let Some((503, _)) = message.status() {
            return Err(self
                .server
                .again("unavailable", "JetStream does not answer; it may be starting, or not enabled"));
        }
        let answer: Answer = serde_json::from_slice(&message.payload)
            .map_err(|_| self.server.again("protocol", &format!("the answer of {subject} is not JSON")))?;
        match answer.error {
            None => Ok(Some(message.payload.to_vec())),
            Some(Refusal { code: 404, .. }) => Ok(None),
            Some(Refusal { code: 500.., description }) => Err(self.server.again("unavailable", &description)),
            Some(Refusal { description, .. }) => {
                Err(self.server.fatal("refused", &format!("it refuses {subject}: {description}")))
            }
        }
    }

    /// Sends a message whose answers come to subscription `sid`.
    pub(crate) fn publish(&mut self, subject: &str, sid: u64, payload: &Json, until: Instant) -> Result<()> {
        self.on_link(until, |client, link| {
            let text = payload.to_string();
            let reply = link.subject(sid, 0);
            link.send(client, &format!("PUB {subject} {reply} {}\r\n{text}\r\n", text.len()), until)
        })
    }

    /// Acknowledges messages by the subjects that came with them; the server has taken it when this returns.
    pub(crate) fn acknowledge(&mut self, subjects: &[&str], until: Instant) -> Result<()> {
        let Some((last, others)) = subjects.split_last() else { return Ok(()) };
        let all: String = others.iter().map(|subject| format!("PUB {subject} 4\r\n+ACK\r\n")).collect();
        self.on_link(until, |client, link| {
            link.send(client, &all, until)?;
            // They are taken in their order, and only this one is answered.
            let answer = link.request(client, last, "+ACK", until)?;
            match answer.status() {
                None => Ok(()),
                Some((code, says)) => Err(client
                    .server
                    .again("unavailable", &format!("it does not take an acknowledgment: {code} {says}"))),
            }
        })
    }

    /// Begins subscription `sid`.
    pub(crate) fn subscribe(&mut self, sid: u64, until: Instant) -> Result<()> {
        self.on_link(until, |client, link| {
            let subject = link.subject(sid, 0);
            link.send(client, &format!("SUB {subject} {sid}\r\n"), until)
        })
    }

    /// Ends subscription `sid`, if there is a connection.
    pub(crate) fn unsubscribe(&mut self, sid: u64, until: Instant) -> Result<()> {
        if self.link.is_none() {
            return Ok(());
        }
        self.on_link(until, |client, link| link.send(client, &format!("UNSUB {sid}\r\n"), until))
    }

    /// The next message of subscription `sid`.
    pub(crate) fn next(&mut self, sid: u64, until: Instant) -> Result<Message> {
        self.on_link(until, |client, link| link.next(client, sid, until))
    }

    /// Does something on the connection, which there is afterwards only if it went well.
    fn on_link<T>(&mut self, until: Instant, act: impl FnOnce(&mut Self, &mut Link) -> Result<T>) -> Result<T> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect(until)?,
        };
        let done = act(self, &mut link)?;
        self.link = Some(link);
        Ok(done)
    }

    fn connect(&mut self, until: Instant) -> Result<Link> {
        let wire = Wire::connect_plain(self.server.address(), until);
        let wire = wire.map_err(|error| self.server.failed(&error))?;
        let mut link = Link { wire, inbox: String::new(), requests: 0 };
        let Frame::Info(info) = link.frame(self, until)? else {
            return Err(self.server.again("protocol", "it does not say who it is, as NATS does"));
        };
        let info: Info = serde_json::from_slice(&info)
            .map_err(|_| self.server.again("protocol", "what it says of itself is not JSON"))?;
        if info.tls_required {
            let secured = link.wire.start_tls(until);
            secured.map_err(|error| self.server.failed(&error))?;
        }
        let password = Secret::named("password").ok();
        if password.is_none() && (info.auth_required || self.username.is_some()) {
            let what = "it wants a password; grant the secret `password` under `secrets`";
            return Err(self.server.fatal("denied", what));
        }
        if !info.headers {
            return Err(self.server.fatal("version", "it has no headers: it is older than NATS 2.2"));
        }
        self.connections += 1;
        // The server tells its clients apart by a number; with its own name, nobody else has this subject.
        link.inbox = format!("_INBOX.spout.{}.{}", info.server_id, info.client_id);
        let hello = serde_json::json!({
            "verbose": false, "pedantic": false, "tls_required": false, "headers": true, "no_responders": true,
            "protocol": 1, "lang": "rust", "version": "0.1.0", "name": "spout",
        });
        let inbox = &link.inbox;
        let rest = format!("\r\nSUB {inbox}.{ANSWERS}.* {ANSWERS}\r\nPING\r\n");
        match password {
            None => link.send(self, &format!("CONNECT {hello}{rest}"), until)?,
            Some(password) => {
                // The host writes the password into the object: it is never here.
                let open = hello.to_string().trim_end_matches('}').to_owned();
                let user = match &self.username {
                    None => r#""auth_token":"#.to_owned(),
                    Some(user) => format!(r#""user":{},"pass":"#, Json::from(user.as_str())),
                };
                link.send(self, &format!("CONNECT {open},{user}"), until)?;
                link.wire.send_secret(&password, Form::Json, until)?;
                link.send(self, &format!("}}{rest}"), until)?;
            }
        }
        loop {
            match link.frame(self, until)? {
                Frame::Pong => return Ok(link),
                Frame::Error(said) => return Err(self.said(&said)),
                _ => {}
            }
        }
    }

    /// An error that the server sent.
    fn said(&mut self, said: &str) -> Error {
        let lower = said.to_ascii_lowercase();
        if lower.contains("authoriz") || lower.contains("authent") || lower.contains("permissions") {
            return self.server.fatal("denied", &format!("it says: {said}"));
        }
        self.server.again("unavailable", &format!("it says: {said}"))
    }
}

impl Link {
    /// The subject that answers come to.
    fn subject(&self, sid: u64, request: u64) -> String {
        format!("{}.{sid}.{request}", self.inbox)
    }

    fn send(&mut self, client: &mut Client, text: &str, until: Instant) -> Result<()> {
        let sent = self.wire.send(text.as_bytes(), until);
        sent.map_err(|error| client.server.failed(&error))
    }

    fn frame(&mut self, client: &mut Client, until: Instant) -> Result<Frame> {
        let most = client.max_message;
        let received = self.wire.receive(until, |got| frame(got, most).map_err(Broken::Wrong));
        received.map_err(|error| match error {
            Broken::Io(error) => client.server.failed(&error),
            Broken::Wrong(Wrong::Garbage(what)) => {
                client.server.again("protocol", &format!("it does not speak as NATS does: {what}"))
            }
            Broken::Wrong(Wrong::TooLarge(bytes)) => client.server.fatal(
                "large",
                &format!(
                    "a message has {bytes} bytes, more than the {most} it may have; raise the setting `maxMessage`"
                ),
            ),
        })
    }

    /// The next message of a subscription.
    fn next(&mut self, client: &mut Client, sid: u64, until: Instant) -> Result<Message> {
        loop {
            match self.frame(client, until)? {
                Frame::Message(message) if message.sid == sid => return Ok(message),
                Frame::Ping => self.send(client, "PONG\r\n", until)?,
                Frame::Error(said) => return Err(client.said(&said)),
                _ => {}
            }
        }
    }

    fn request(&mut self, client: &mut Client, subject: &str, text: &str, until: Instant) -> Result<Message> {
        self.requests += 1;
        let reply = self.subject(ANSWERS, self.requests);
        self.send(client, &format!("PUB {subject} {reply} {}\r\n{text}\r\n", text.len()), until)?;
        loop {
            // An answer to an earlier request is none to this one.
            let message = self.next(client, ANSWERS, until)?;
            if message.subject == reply {
                return Ok(message);
            }
        }
    }
}
