//! The result of decoding.

use std::borrow::Cow;

use crate::{Batch, Input, Result, Schema};

/// A message without a row, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Index of the message.
    pub message: u32,
    /// Stable and dotted, such as `json.syntax`.
    pub code: Cow<'static, str>,
    /// What is wrong: the field, the start of the value, the location in the message.
    pub reason: String,
}

/// A field of messages that is not in the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Its name; the names of nested fields are joined by dots.
    pub name: String,
    /// How many messages had it.
    pub count: u64,
}

/// Rows, their origins, and messages without rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The rows.
    pub batch: Batch,
    /// The message each row came from; empty means row i is the i-th message without a fault.
    pub origins: Vec<u32>,
    /// Messages without a row, rising.
    pub faults: Vec<RowFault>,
    /// Fields left out of the rows, each name once.
    pub unknown: Vec<UnknownField>,
}

/// A running decoder of one format.
pub trait Decode: std::fmt::Debug + Send {
    /// The rows of `input`. A bad message is a fault and does not affect its neighbours; the result does not depend on
    /// how messages were cut into calls.
    ///
    /// # Errors
    /// Only for what has nothing to do with a single message.
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded>;

    /// The columns of one call take at most about so many bytes, or the call fails with [`TOO_LARGE`](crate::TOO_LARGE) and leaves
    /// nothing: fewer messages may pass.
    fn limit(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// The schema of the rows, once given or settled by the first messages. Columns that are named but not yet typed
    /// have the type null.
    fn schema(&self) -> Option<&Schema>;

    /// Columns for the fields that `input` has values for and the schema lacks, if the settings want such columns
    /// added. `unknown` are the fields left out of the rows of `input`.
    ///
    /// # Errors
    /// As [`Decode::decode`].
    fn added(&mut self, input: &Input<'_>, unknown: &[UnknownField]) -> Result<Schema> {
        let _ = (input, unknown);
        Ok(Schema::default())
    }

    /// Warnings about the messages so far, each reported once.
    fn take_advice(&mut self) -> Option<&'static str> {
        None
    }
}
