//! What a decoder made of messages.

use std::borrow::Cow;

use crate::{Batch, Input, Result, Schema};

/// A message that has no row, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Index of the message.
    pub message: u32,
    /// Stable and dotted, such as `json.syntax`.
    pub code: Cow<'static, str>,
    /// What is wrong: the field, the value's beginning, the place in the message.
    pub reason: String,
}

/// A field that messages have and the schema has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Its name; the names of nested fields are joined by dots.
    pub name: String,
    /// How many messages had it.
    pub count: u64,
}

/// Rows, where they came from, and what has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The rows.
    pub batch: Batch,
    /// The message each row came from; empty where row i is the i-th message without a fault.
    pub origins: Vec<u32>,
    /// Messages without a row, rising.
    pub faults: Vec<RowFault>,
    /// Fields that were left out of the rows, each name once.
    pub unknown: Vec<UnknownField>,
}

/// A running decoder of one format.
pub trait Decode: std::fmt::Debug + Send {
    /// The rows of `input`. A bad message is a fault and takes no neighbour down; what comes out does not depend on how
    /// messages were cut into calls.
    ///
    /// # Errors
    /// Only what has nothing to do with a single message.
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded>;

    /// The schema its rows have, once it is given or settled by the first messages. Columns that are named and not yet typed
    /// have the type null.
    fn schema(&self) -> Option<&Schema>;

    /// Columns for the fields that `input` has values for and the schema has not, if the settings want such columns added.
    /// `unknown` are the fields that were left out of the rows of `input`.
    ///
    /// # Errors
    /// As [`Decode::decode`].
    fn added(&mut self, input: &Input<'_>, unknown: &[UnknownField]) -> Result<Schema> {
        let _ = (input, unknown);
        Ok(Schema::default())
    }

    /// What to tell the user about the messages so far, each thing once.
    fn take_advice(&mut self) -> Option<&'static str> {
        None
    }
}
