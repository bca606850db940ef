//! Kafka's protocol, as much of it as a reader needs.
//!
//! A request has a body that is written by a function here, in a version that the broker knows too, and an answer that is read
//! by another one. From some version on a request is *flexible*: lengths are varints, and tagged fields, which we skip, may
//! follow what is known.

mod fetch;
mod group;
mod input;
mod metadata;
mod offsets;
mod output;
mod sasl;
mod versions;

pub(crate) use self::{
    fetch::{Aborted, Answer as FetchAnswer, Ask, FetchRequest, Fetched},
    group::{COMMIT, FETCHED, FIND, commit, committed, coordinator, fetched, find, wanted},
    input::Input,
    metadata::{Metadata, ask as ask_metadata},
    offsets::{EARLIEST, LATEST, ListedOffset, ask as ask_offsets, listed},
    output::Output,
    sasl::{SASL_AUTHENTICATE, SASL_HANDSHAKE, authenticated, handshaken},
    versions::{Versions, ask as ask_versions},
};

/// A kind of request: its number, the versions that are spoken here, best first, and from which on it is flexible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) versions: &'static [i16],
    pub(crate) flexible: i16,
}

pub(crate) const API_VERSIONS: Api = Api { key: 18, name: "ApiVersions", versions: &[0], flexible: 3 };
pub(crate) const METADATA: Api = Api { key: 3, name: "Metadata", versions: &[12, 11, 10, 4], flexible: 9 };
pub(crate) const LIST_OFFSETS: Api = Api { key: 2, name: "ListOffsets", versions: &[2], flexible: 6 };
pub(crate) const FETCH: Api = Api { key: 1, name: "Fetch", versions: &[13, 11, 4], flexible: 12 };

/// A topic's id; zeros where the broker knows none.
pub(crate) type TopicId = [u8; 16];
