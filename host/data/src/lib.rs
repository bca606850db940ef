//! What flows through a pipeline: messages, offsets, batches, markers.
//!
//! Read in this order: [`Position`] and [`Span`] say where in a partition something is, [`Messages`] is what a stream
//! consumer fetched, [`Batch`] is what a decoder made of it, [`Marker`] is what a commit stores about progress,
//! [`Part`] what it stores of a handler's state, [`Counts`] what became of the messages, [`SchemaText`] columns as users write them.
//!
//! **Invariant**: nothing here does IO, is async, or knows who produced or consumes it.

mod arrays;
mod aside;
mod batch;
mod counts;
mod dead_letter;
#[cfg(test)]
mod fuzz;
mod marker;
mod message;
mod offset;
mod part;
mod partitions;
mod quantity;
mod schema_limits;
mod schema_text;
mod upstream;

pub use arrays::{ARRAY, within_an_array};
pub use aside::Aside;
pub use batch::{Batch, Origins};
pub use counts::{Counts, UnknownKeys};
pub use dead_letter::{DeadLetter, Holds, Letters, Wrong};
pub use marker::{Advance, Marker, PartitionMarker, Passing, Step};
pub use message::{Blobs, Header, Messages, OVERHEAD};
pub use offset::{PartitionId, Position, Span};
pub use part::Part;
pub use partitions::Partitions;
pub use quantity::{ByteSize, Period};
pub use schema_limits::within_limits;
pub use schema_text::{SchemaText, map_of};
pub use upstream::{Provenance, Upstream};
