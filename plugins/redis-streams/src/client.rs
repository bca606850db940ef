//! A connection to the server: commands go out together, replies come back in their order, each within bounds.

use std::time::{Duration, Instant};

use spout_guest::{
    Error, Result,
    net::{Broken, Server, Wire},
    secret::{Form, Secret},
};

use crate::resp::{Parser, Value, Wrong, command};

/// Most bytes of a reply that has no entries.
const SMALL: usize = 1 << 20;
/// How long the server may take for an answer, besides what it was asked to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A server, and the connection to it if there is one.
#[derive(Debug)]
pub(crate) struct Client {
    server: Server,
    username: Option<String>,
    database: u32,
    wire: Option<Wire>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It has more bytes than it may have.
    TooLarge,
    Other(Error),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Bytes of commands that are sent together.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    pub(crate) fn add(&mut self, words: &[impl AsRef<[u8]>]) {
        command(words, &mut self.bytes);
        self.count += 1;
    }
}

impl Client {
    pub(crate) fn new(address: String, username: Option<String>, database: u32) -> Self {
        Self { server: Server::new("redis", address), username, database, wire: None }
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    /// Sends one command; its reply, which is no error.
    pub(crate) fn ask(&mut self, words: &[impl AsRef<[u8]>], until: Instant) -> Result<Value> {
        let reply = self.reply(words, SMALL, until).map_err(|failed| match failed {
            Failed::TooLarge => self.server.fatal("large", &format!("a reply has more than {SMALL} bytes")),
            Failed::Other(error) => error,
        })?;
        self.sound(reply)
    }

    /// Sends one command; its reply of at most `most` bytes, whatever it says.
    pub(crate) fn reply(
        &mut self,
        words: &[impl AsRef<[u8]>],
        most: usize,
        until: Instant,
    ) -> std::result::Result<Value, Failed> {
        let mut commands = Commands::default();
        commands.add(words);
        let mut replies = self.replies(&commands, most, until)?;
        replies.pop().ok_or_else(|| Failed::Other(Error::fatal("redis.reply", "there is no reply")))
    }

    /// Sends commands; the reply to each, of at most `most` bytes. After a failure there is no connection.
    pub(crate) fn replies(
        &mut self,
        commands: &Commands,
        most: usize,
        until: Instant,
    ) -> std::result::Result<Vec<Value>, Failed> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect(until).map_err(Failed::Other)?,
        };
        let replies = exchange(&mut wire, commands, most, until).map_err(|error| self.failed(error))?;
        self.wire = Some(wire);
        self.server.well();
        Ok(replies)
    }

    fn connect(&mut self, until: Instant) -> Result<Wire> {
        let connected = Wire::connect(self.server.address(), until);
        let mut wire = connected.map_err(|error| self.server.failed(&error))?;
        self.login(&mut wire, until)?;
        if self.database > 0 {
            let mut select = Commands::default();
            select.add(&["SELECT", &self.database.to_string()]);
            let replies = exchange(&mut wire, &select, SMALL, until).map_err(|error| match self.failed(error) {
                Failed::TooLarge => Error::fatal("redis.large", "the reply to SELECT is too large"),
                Failed::Other(error) => error,
            })?;
            replies.into_iter().try_for_each(|reply| self.sound(reply).map(drop))?;
        }
        Ok(wire)
    }

    /// Says who we are, where the spec grants a password. The host writes it: it is never here.
    fn login(&mut self, wire: &mut Wire, until: Instant) -> Result<()> {
        let Some(password) = Secret::password(self.username.as_deref())? else { return Ok(()) };
        let (count, user) = match &self.username {
            None => (2, String::new()),
            Some(user) => (3, format!("${}\r\n{user}\r\n", user.len())),
        };
        let begin = format!("*{count}\r\n$4\r\nAUTH\r\n{user}${}\r\n", password.len());
        let sent = wire.send(begin.as_bytes(), until);
        sent.map_err(|error| self.server.failed(&error))?;
        wire.send_secret(&password, Form::Raw, until)?;
        let end = Commands { bytes: b"\r\n".to_vec(), count: 1 };
        let replies = exchange(wire, &end, SMALL, until).map_err(|error| match self.failed(error) {
            Failed::TooLarge => Error::fatal("redis.large", "the reply to AUTH is too large"),
            Failed::Other(error) => error,
        })?;
        replies.into_iter().try_for_each(|reply| match reply {
            // Without a password in the server, any is one too many.
            Value::Error(said) if !said.starts_with("LOADING") => {
                Err(self.server.fatal("denied", &format!("it says: {said}")))
            }
            reply => self.sound(reply).map(drop),
        })
    }

    /// A reply that says what was asked for; an error is one here too.
    pub(crate) fn sound(&mut self, reply: Value) -> Result<Value> {
        match reply {
            Value::Error(said) => Err(self.refusal(&said)),
            reply => Ok(reply),
        }
    }

    /// An error that the server replied with.
    pub(crate) fn refusal(&mut self, said: &str) -> Error {
        let says = format!("it says: {said}");
        match said.split(' ').next().unwrap_or_default() {
            "NOAUTH" | "WRONGPASS" | "NOPERM" => self.server.fatal("denied", &says),
            "MOVED" | "ASK" | "CROSSSLOT" => self.server.fatal(
                "cluster",
                &format!("{says}; this plugin reads from one server: name the one that has the stream"),
            ),
            "WRONGTYPE" => self.server.fatal("type", &format!("{says}; the topic names a key that is not a stream")),
            "LOADING" | "BUSY" | "TRYAGAIN" | "MASTERDOWN" | "CLUSTERDOWN" | "UNKILLABLE" | "MISCONF" => {
                self.server.again("unavailable", &says)
            }
            _ if said.contains("max number of clients") => self.server.again("unavailable", &says),
            _ => self.server.fatal("refused", &says),
        }
    }

    fn failed(&mut self, error: Broken<Wrong>) -> Failed {
        match error {
            Broken::Io(error) => Failed::Other(self.server.failed(&error)),
            Broken::Wrong(Wrong::TooLarge) => Failed::TooLarge,
            Broken::Wrong(Wrong::Garbage(what)) => {
                Failed::Other(self.server.again("protocol", &format!("it does not speak as Redis does: {what}")))
            }
        }
    }
}

fn exchange(
    wire: &mut Wire,
    commands: &Commands,
    most: usize,
    until: Instant,
) -> std::result::Result<Vec<Value>, Broken<Wrong>> {
    wire.send(&commands.bytes, until)?;
    let mut replies = Vec::new();
    for _ in 0..commands.count {
        let mut parser = Parser::new(most);
        replies.push(wire.receive(until, |got| parser.advance(got).map_err(Broken::Wrong))?);
    }
    Ok(replies)
}
