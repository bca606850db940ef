//! What a queue brings, and what of it is acknowledged.

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use spout_guest::{Checkpoint, Error, Limits, Messages, Progress, Result, Start, StreamConsumer, Waiting, now};

use crate::{Came, Gather, Given, PATIENCE, Place, Protocol, gather};

/// Most bytes of messages that may come while the server takes acknowledgments.
const AHEAD: usize = 32 << 20;

/// A queue of a server.
pub struct Queue<P: Protocol> {
    protocol: P,
    place: Place,
    entries: VecDeque<Entry<P::Tag>>,
    /// Messages that came and were not returned yet, each with its bytes; and those of all.
    ready: VecDeque<(P::Message, usize)>,
    ready_bytes: usize,
    waiting: Waiting,
}

/// A message that waits to be acknowledged.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    /// How many messages were returned, with it.
    count: u64,
    connection: u64,
    tag: T,
}

/// A checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Whole<S> {
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    state: S,
}

impl<P: Protocol> fmt::Debug for Queue<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(P::NAME).field("place", &self.place).finish_non_exhaustive()
    }
}

impl<P: Protocol> Gather for Queue<P> {
    fn drain(&mut self, messages: &mut Messages, limits: Limits) -> Result<bool> {
        while messages.len() < limits.messages && (messages.is_empty() || messages.bytes() < limits.bytes) {
            let Some((message, bytes)) = self.ready.pop_front() else { return Ok(true) };
            self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
            self.add(&message, messages)?;
        }
        Ok(false)
    }

    fn step(&mut self, until: Instant) -> Result<bool> {
        match self.protocol.receive(until)? {
            Came::Nothing => return Ok(false),
            Came::Message(message, bytes) => {
                self.ready_bytes = self.ready_bytes.saturating_add(bytes);
                self.ready.push_back((message, bytes));
                if !P::COUNTS {
                    self.waiting.measured(None);
                }
            }
            Came::Count(count) => {
                let came = u64::try_from(self.ready.len()).unwrap_or(u64::MAX);
                self.waiting.measured(Some(count.saturating_add(came)));
            }
            Came::Other => {}
        }
        Ok(true)
    }

    fn is_connected(&self) -> bool {
        self.protocol.link().connection().is_some()
    }

    fn close(&mut self) {
        self.protocol.link_mut().close();
    }
}

impl<P: Protocol> Queue<P> {
    /// Sees to it that there is a connection.
    fn join(&mut self) -> Result<()> {
        if self.is_connected() {
            return Ok(());
        }
        // What was not returned comes again.
        self.ready.clear();
        self.ready_bytes = 0;
        let connected = self.protocol.connect();
        if connected.is_err() {
            self.close();
        }
        self.waiting.measured(connected?);
        Ok(())
    }

    fn add(&mut self, message: &P::Message, messages: &mut Messages) -> Result<()> {
        let Some(connection) = self.protocol.link().connection() else {
            return Err(self.protocol.link_mut().ended());
        };
        let given = self.protocol.add(message, self.place, messages)?;
        self.waiting.returned(1);
        let tag = match given {
            Given::Added(tag) => {
                self.place.count += 1;
                tag
            }
            // There is nothing before it that it has to wait for.
            Given::Left(Some(tag)) if self.entries.is_empty() => return self.protocol.acknowledge(&[tag]),
            Given::Left(tag) => tag,
        };
        self.entries.extend(tag.map(|tag| Entry { count: self.place.count, connection, tag }));
        Ok(())
    }

    /// There is nothing just now: whether that is all.
    fn progress(&mut self) -> Result<Progress> {
        self.protocol.keep()?;
        if !self.entries.is_empty() {
            // The server may wait for acknowledgments, as we do for the commit.
            self.count()?;
            return Ok(Progress::More);
        }
        let progress = self.protocol.progress()?;
        if progress == Progress::Idle {
            self.waiting.measured(Some(0));
        }
        Ok(progress)
    }

    /// Asks how many messages there are, when it is time to.
    fn count(&mut self) -> Result<()> {
        if P::COUNTS && self.waiting.is_due() && self.protocol.is_answered() { self.protocol.ask() } else { Ok(()) }
    }

    /// Acknowledges, and waits until the server has taken it.
    fn acknowledge(&mut self, tags: &[P::Tag]) -> Result<()> {
        let until = now() + PATIENCE;
        self.protocol.acknowledge(tags)?;
        self.protocol.ask()?;
        while !self.protocol.is_answered() {
            if self.ready_bytes > AHEAD {
                return Err(self.protocol.link_mut().again("ack", "it sends more than it takes"));
            }
            if !self.step(until)? {
                return Err(self.protocol.link_mut().broken("io", "it does not answer in time"));
            }
        }
        Ok(())
    }
}

impl<P: Protocol> StreamConsumer for Queue<P> {
    type Settings = P::Settings;
    const ACKED: bool = true;

    fn open(topic: &str, group: &str, start: Start, settings: P::Settings) -> Result<Self> {
        let before: Option<Whole<P::State>> = match start {
            Start::Checkpoint(Checkpoint { extra: Some(extra), .. }) => {
                Some(serde_json::from_slice(&extra).map_err(|error| unreadable::<P>(&error))?)
            }
            _ => None,
        };
        let (place, state) = before.map_or_else(Default::default, |before| (before.place, before.state));
        Ok(Self {
            protocol: P::open(topic, group, settings, state)?,
            place: Place { instance: random(), ..place },
            entries: VecDeque::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            waiting: Waiting::default(),
        })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        self.join()?;
        let messages = gather(self, limits)?;
        if messages.is_empty() {
            let progress = self.progress()?;
            return Ok((messages, progress));
        }
        self.protocol.link_mut().well();
        // Whether that went well, the next call finds out.
        drop(self.protocol.live().and_then(|()| self.count()));
        Ok((messages, Progress::More))
    }

    fn waiting(&self) -> Option<u64> {
        self.waiting.count()
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let extra = serde_json::to_vec(&Whole { place: self.place, state: self.protocol.state() });
        let extra = extra.map_err(|error| Error::fatal(&code::<P>(), error.to_string()))?;
        Ok(Checkpoint { extra: Some(extra), ..Checkpoint::default() })
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let upto: Place =
            serde_json::from_slice(&upto.extra.unwrap_or_default()).map_err(|error| unreadable::<P>(&error))?;
        if upto.instance != self.place.instance {
            return Ok(());
        }
        let (mut tags, mut gone, connection) = (Vec::new(), 0_u64, self.protocol.link().connection());
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.count <= upto.count) {
            if Some(entry.connection) == connection {
                tags.push(entry.tag);
            } else {
                gone += 1;
            }
        }
        if !tags.is_empty() {
            self.acknowledge(&tags)?;
        }
        if gone > 0 {
            let what = format!("{gone} messages came by a connection that has ended; the server sends them again");
            return Err(Error::retriable(&format!("{}.ack", P::NAME), what));
        }
        Ok(())
    }
}

fn code<P: Protocol>() -> String {
    format!("{}.checkpoint", P::NAME)
}

fn unreadable<P: Protocol>(error: &serde_json::Error) -> Error {
    Error::fatal(&code::<P>(), format!("the checkpoint is not readable: {error}"))
}

/// A number that nobody else has.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
