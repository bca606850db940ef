//! Sockets that do not trust their peers. A [`Gate`] is what every listener asks who gets in, an [`Identity`] what it shows over
//! TLS, and [`Web`] one that speaks HTTP; a [`Trust`] says whom to talk TLS with; the rest is how programs talk ZeroMQ with each other, and the hello that comes before
//! data.
//!
//! [`Publisher`] is PUB with a REP socket beside it, [`Subscriber`] is SUB with a REQ. Before data the publisher says
//! `connect` each second, until as many subscribers as it expects have said hello on the other socket; at the end it says
//! `end`. Without a second socket both are plain PUB and SUB.
//!
//! ```text
//! Publisher                                     Subscriber
//!    PUB ── connect ──────────────────────────────► SUB
//!    REP ◄───────────────────────────── its name ── REQ
//!    PUB ── payload, payload, … , end ────────────► SUB
//! ```
//!
//! The ZeroMQ library sets aside whatever memory a peer's frame header asks for, and tells nobody when the last byte has
//! left. So its sockets are only opened in a private directory, and every connection with the outside passes a `relay`,
//! which reads the headers first and knows when it is done.
//!
//! **Invariant**: nothing here knows rows, offsets or pipelines.

mod endpoint;
#[cfg(test)]
mod fuzz;
mod gate;
mod pem;
mod publisher;
mod relay;
mod seldom;
mod subscriber;
#[cfg(test)]
mod tests;
mod tls;
mod trust;
mod web;

pub use self::{
    endpoint::Endpoint,
    gate::{Crowd, Gate, Permit, Refused},
    publisher::{Publisher, PublisherOptions},
    subscriber::{Received, Subscriber, SubscriberOptions},
    tls::{Identity, IdentityError},
    trust::{Secured, Trust},
    web::{Web, serve_own},
};

/// What a publisher says until its subscribers are there.
const CONNECT: &[u8] = b"connect";
/// What a publisher says last.
const END: &[u8] = b"end";
/// Most bytes of a hello, and of anything else that a subscriber can say.
const HELLO: u64 = 4096;
