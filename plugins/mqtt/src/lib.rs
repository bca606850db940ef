//! `mqtt`: the messages of MQTT topics, of a session that the broker keeps, acknowledged once they are in a commit.
//!
//! The broker sends again what was not acknowledged when a connection ended. MQTT has no ids that would tell such a message from
//! others; [`serial`] says what this plugin makes of what there is.

mod client;
mod consumer;
mod filter;
#[cfg(test)]
mod fuzz;
mod packet;
mod property;
mod serial;
mod settings;
mod speech;
#[cfg(test)]
mod tests;

use spout_guest::register;

use self::consumer::Mqtt;
pub use self::settings::Settings;

register! {
    name: "mqtt",
    summary: "the messages of MQTT topics, acknowledged after the commit; the topic is a filter, or several with commas",
    asks: {net: ["*"]},
    stream: Mqtt,
}
