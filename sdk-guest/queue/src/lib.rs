//! Queues whose server sends by itself, as those of AMQP and MQTT: what came by a connection is acknowledged on that connection after the
//! commit, or not at all, since the server sends it again once the connection has ended.
//!
//! A plugin is a [`Protocol`]: how to connect, what comes, what a message is and how it is acknowledged. [`Queue`] makes a
//! [`StreamConsumer`](spout_guest::StreamConsumer) of it. [`Link`] is the connection, and [`gather`] what one fetch returns; both are of use
//! without the rest.

mod gather;
mod link;
mod protocol;
mod queue;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    gather::{Gather, gather},
    link::Link,
    protocol::{Came, Given, Place, Protocol},
    queue::Queue,
};

/// How long a server may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long more messages are waited for once there is one.
pub const LINGER: Duration = Duration::from_millis(2);
