//! `amqp`: the messages of a queue, by AMQP 0-9-1 as RabbitMQ speaks it, acknowledged once they are in a commit; and those of its streams,
//! which are read by offset and acknowledged only to get more.
//!
//! Delivery tags belong to a channel: what it brought is acknowledged there or not at all. What comes again is known by the id that its
//! sender gave it, and by nothing else.

mod client;
mod consumer;
mod content;
mod edge;
mod frame;
#[cfg(test)]
mod fuzz;
mod method;
mod reader;
mod settings;
mod stream;
mod table;
#[cfg(test)]
mod tests;

use spout_guest::register;

use self::consumer::Amqp;
pub use self::{reader::Reader, settings::Settings, stream::Streams};

register! {
    name: "amqp",
    summary: "the messages of a queue of RabbitMQ, or of streams; the topic names it, or them with commas",
    asks: {net: ["*"]},
    source: Streams,
    stream: Amqp,
}
