//! Reads topics of Apache Kafka, and of brokers that speak its protocol, by partition or as one stream.
//!
//! From the network inwards:
//!
//! - `wire` is the protocol: its types, and the few requests that a reader needs.
//! - `connection` sends requests to a broker and waits for answers, never beyond a deadline; `sasl` says who we are.
//! - `cluster` knows the brokers, the topic and who leads its partitions, and asks them for offsets.
//! - `records` takes record batches apart: checksum, compression, transactions, records.
//! - `stock` is what was fetched of a partition and not yet returned; `reader` keeps the stocks filled, with one connection a
//!   broker, and serves the host from them.
//! - `source` and `stream` are what the host sees, `group` the hint in Kafka's own offsets.
//!
//! **Invariant**: what a broker says is believed only after its length, its number and its checksum were right, and nothing is
//! reserved at a length that it says.

mod cluster;
mod connection;
#[cfg(test)]
mod fuzz;
mod group;
mod reader;
mod records;
mod sasl;
mod settings;
mod source;
mod stock;
mod stream;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;

pub use self::{
    reader::Reader,
    settings::{Isolation, Mechanism, Protocol, Settings},
    source::Kafka,
    stream::Stream,
};

spout_guest::register! {
    name: "kafka",
    summary: "topics of Apache Kafka, and of brokers that speak its protocol",
    asks: {net: ["*"]},
    source: Kafka,
    stream: Stream,
}
