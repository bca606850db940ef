//! A queue that is acknowledged: `NEXT COUNT` is answered with a number of lines, each `TAG ID PAYLOAD`, `LEFT 0` with how many
//! messages are in it, and `ACK TAG` with `ok`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    time::Duration,
};

use spout_guest::{
    Checkpoint, Error, Limits, Messages, Progress, Result, Start, StreamConsumer,
    net::{Connection, PATIENCE},
};

/// What to do.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whether to acknowledge anything.
    #[serde(default = "yes")]
    acknowledge: bool,
}

fn yes() -> bool {
    true
}

/// One connection to the queue.
#[derive(Debug)]
pub(crate) struct Queue {
    connection: BufReader<Connection>,
    acknowledge: bool,
    /// Which instance this is, so that it knows its own checkpoints.
    instance: String,
    /// What was returned and is not acknowledged, in that order, and how many were before.
    delivered: Vec<String>,
    before: u64,
    /// How many messages the queue has besides.
    left: Option<u64>,
}

impl Queue {
    fn ask(&mut self, line: &str) -> Result<String> {
        self.connection.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.connection.read_line(&mut line)? {
            0 => Err(Error::retriable("queue.closed", "the queue has closed the connection")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl StreamConsumer for Queue {
    type Settings = Settings;
    const ACKED: bool = true;

    fn open(topic: &str, _: &str, _: Start, settings: Settings) -> Result<Self> {
        let mut connection = BufReader::new(Connection::open(topic, PATIENCE)?);
        let mut instance = String::new();
        connection.read_line(&mut instance)?;
        let instance = instance.trim_end().to_owned();
        Ok(Self {
            connection,
            acknowledge: settings.acknowledge,
            instance,
            delivered: Vec::new(),
            before: 0,
            left: None,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let count: usize = self.ask(&format!("NEXT {}", limits.messages))?.parse().unwrap_or(0);
        let mut messages = Messages::default();
        for _ in 0..count {
            let line = self.line()?;
            let mut parts = line.splitn(3, ' ');
            if let (Some(tag), Some(id), Some(payload)) = (parts.next(), parts.next(), parts.next()) {
                let offset = self.before + self.delivered.len() as u64;
                messages.add(offset, payload.as_bytes()).partition(0).id(id.as_bytes());
                self.delivered.push(tag.to_owned());
            }
        }
        self.left = self.ask("LEFT 0")?.parse().ok();
        if messages.is_empty() {
            spout_guest::pause(Duration::from_millis(5));
            return Ok((messages, Progress::Idle));
        }
        Ok((messages, Progress::More))
    }

    fn waiting(&self) -> Option<u64> {
        self.left
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let place = format!("{} {}", self.instance, self.before + self.delivered.len() as u64);
        Ok(Checkpoint { positions: Vec::new(), extra: Some(place.into_bytes()) })
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let place = String::from_utf8_lossy(upto.extra.as_deref().unwrap_or_default()).into_owned();
        let Some(upto) = place.strip_prefix(&format!("{} ", self.instance)) else { return Ok(()) };
        if !self.acknowledge {
            return Err(Error::retriable("queue.ack", "it does not acknowledge, as it is told"));
        }
        let count = upto.parse::<u64>().unwrap_or(0).saturating_sub(self.before);
        for tag in self.delivered.drain(..usize::try_from(count).unwrap_or(0)).collect::<Vec<_>>() {
            self.ask(&format!("ACK {tag}"))?;
            self.before += 1;
        }
        Ok(())
    }
}
