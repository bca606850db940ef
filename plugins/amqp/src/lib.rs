//! `amqp`: the messages of a queue, by AMQP 0-9-1 as RabbitMQ speaks it, acknowledged once they are in a commit.
//!
//! Delivery tags belong to a channel: what it brought is acknowledged there or not at all. What comes again is known by the id that its
//! sender gave it, and by nothing else.

mod client;
mod consumer;
mod frame;
#[cfg(test)]
mod fuzz;
mod method;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use spout_guest::register;

pub use self::{consumer::Amqp, settings::Settings};

register! {
    name: "amqp",
    summary: "the messages of a queue of RabbitMQ, acknowledged after the commit; the topic is its name",
    asks: {net: ["*"]},
    stream: Amqp,
}
