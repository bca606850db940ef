//! Where a stream begins and ends: the protocol has no question for it, so it is read there.

use spout_guest::{Error, Fnv, Position, Result, now};
use spout_queue::PATIENCE;

use crate::{
    client::{Client, QUIET},
    frame::{Message, Taken},
    method::{Begin, Method},
    reader::Place,
};

/// How many messages of the end come before one of them is acknowledged.
const AHEAD: u16 = 256;

/// Messages at one place of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The first of them.
    pub(crate) first: u64,
    /// What the last of them is.
    pub(crate) last: Place,
}

impl Edge {
    /// After the last of them.
    pub(crate) fn next(&self) -> Position {
        self.last.next()
    }
}

/// What tells a message from another with its offset.
pub(crate) fn hash(message: &Message) -> u64 {
    let (delivery, body) = (&message.delivery, &message.body);
    let head = [&delivery.exchange, "\0", &delivery.routing_key, "\0"].concat();
    Fnv::default().and(head.bytes()).and(body.iter().copied()).0
}

/// The message that is first there, or with [`Begin::Last`] all from there to the end; `None` if there is none.
pub(crate) fn edge(client: &mut Client, begin: Begin) -> Result<Option<Edge>> {
    let to_the_end = begin == Begin::Last;
    client.connect(Some(begin), if to_the_end { AHEAD } else { 1 })?;
    let (quiet, until) = (now() + QUIET, now() + PATIENCE);
    // Questions for the number of messages: the answer comes after what the server has just now.
    let (mut found, mut asked, mut fresh, mut tag) = (None::<Edge>, false, false, 0);
    loop {
        match client.receive(if found.is_none() && !asked { quiet } else { until })? {
            Some(Taken::Message(message)) => {
                let offset = message.offset().ok_or_else(no_stream)?;
                let last = Place { at: offset, hash: hash(&message) };
                found = Some(Edge { first: found.map_or(offset, |edge| edge.first), last });
                if !to_the_end {
                    break;
                }
                (fresh, tag) = (true, message.delivery.tag);
                if !asked {
                    client.look()?;
                    asked = true;
                }
            }
            Some(Taken::Method(Method::Declared(count))) => match found {
                None if count == 0 => break,
                None => {}
                Some(_) if fresh => {
                    client.acknowledge(tag)?;
                    client.look()?;
                    fresh = false;
                }
                Some(_) => break,
            },
            Some(_) => {}
            // After the last there is nothing.
            None if matches!(begin, Begin::Second(_)) => break,
            None if !asked => {
                client.look()?;
                asked = true;
            }
            None => {
                return Err(client.link.broken("io", "it does not deliver what the stream has"));
            }
        }
    }
    client.leave();
    Ok(found)
}

pub(crate) fn no_stream() -> Error {
    Error::fatal("amqp.stream", "the queue is no stream; read it with `consumerType: acked`")
}
