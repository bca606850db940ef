//! A service: each line of a connection is a message, and is answered with its number.

use std::{
    io::{self, Read as _, Write as _},
    time::Duration,
};

use spout_guest::{
    Checkpoint, Limits, Messages, Progress, Result, Start, StreamConsumer,
    net::{TcpListener, TcpStream},
};

/// Where to listen.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// A port of loopback.
    port: u16,
}

/// Serves one connection after the other, as many at once as there are.
#[derive(Debug)]
pub(crate) struct Lines {
    listener: TcpListener,
    clients: Vec<Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    open: Vec<u8>,
}

impl StreamConsumer for Lines {
    type Settings = Settings;

    fn open(_: &str, _: &str, start: Start, settings: Settings) -> Result<Self> {
        let next = match &start {
            Start::Checkpoint(Checkpoint { extra: Some(next), .. }) => {
                String::from_utf8_lossy(next).parse().unwrap_or(0)
            }
            _ => 0,
        };
        Ok(Self { listener: TcpListener::bind(&format!("127.0.0.1:{}", settings.port))?, clients: Vec::new(), next })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let mut messages = Messages::default();
        let wait = limits.timeout.min(Duration::from_millis(20));
        while let Some(mut stream) =
            self.listener.accept_within(if self.clients.is_empty() { wait } else { Duration::ZERO })?
        {
            stream.set_read_timeout(Duration::ZERO);
            self.clients.push(Client { stream, open: Vec::new() });
        }
        let next = &mut self.next;
        self.clients.retain_mut(|client| client.serve(&mut messages, next).unwrap_or(false));
        if messages.is_empty() {
            spout_guest::pause(Duration::from_millis(1));
        }
        Ok((messages, Progress::More))
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        Ok(Checkpoint { positions: Vec::new(), extra: Some(self.next.to_string().into_bytes()) })
    }
}

impl Client {
    /// Takes the lines that are there; whether it is still connected.
    fn serve(&mut self, messages: &mut Messages, next: &mut u64) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let read = match self.stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        self.open.extend_from_slice(&buffer[..read]);
        while let Some(end) = self.open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.open.drain(..=end).collect();
            messages.add(*next, &line[..end]).partition(0);
            *next += 1;
            self.stream.write_all(format!("{next}\n").as_bytes())?;
        }
        Ok(read > 0)
    }
}
