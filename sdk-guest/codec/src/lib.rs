//! The decoding core: messages into columns of Arrow's layout, the same code in the host and in plugins.
//!
//! A decoder takes [`Input`], the messages of one call, and returns [`Decoded`]: a [`Batch`], the message each row came
//! from, and a [`RowFault`] for every message without a row.
//!
//! **Rule**: a value is stored exactly as it was sent, or its message is a fault whose reason names the field, the
//! start of the value and its location. Integers and decimals are never rounded; floats take IEEE's nearest value;
//! nothing is truncated, wrapped, shifted or guessed. A verdict depends on the message alone, never on its neighbours.
//!
//! **Invariant**: no IO, no clock, no async, no Arrow library (except in the feature `arrow`, which converts): plugins
//! stay small.

#[cfg(feature = "arrow")]
mod arrow;
pub mod batch;
mod binary;
mod budget;
pub mod coerce;
mod columns;
pub mod csv;
mod decoded;
mod error;
pub mod evolve;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod fuzz_lines;
pub mod graphite;
pub mod influx;
mod input;
pub mod json;
mod messages;
pub mod number;
pub mod reason;
#[cfg(test)]
mod shown;
pub mod syslog;
pub mod text;
pub mod time;
pub mod unknown;

#[cfg(feature = "arrow")]
pub use self::arrow::{column, record_batch};
pub use self::{
    batch::{Array, ArrayBuilder, Batch, Bits, Data, DataType, Field, Schema, TimeUnit, schema_text},
    budget::TOO_LARGE,
    coerce::{BinaryText, Coerce, Epoch, Rounding},
    decoded::{Decode, Decoded, RowFault, UnknownField},
    error::{Error, Result},
    evolve::Evolve,
    input::{Attribute, Input, NO_TIME},
    unknown::Unknown,
};
