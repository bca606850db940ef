//! Kernels over columns: what a plugin asks of the host, so that no value crosses into the sandbox.
//!
//! Each takes columns whole and returns a column of as many rows. Null stays null, unless it says otherwise. None changes a value
//! silently: what cannot be computed for a row is an error that names the row.
//!
//! The same code runs in the host, and natively in the tests of a plugin.

mod booleans;
mod cast;
mod compare;
mod error;
mod text;

pub use self::{
    booleans::{both, chosen, either, is_null, not},
    cast::cast,
    compare::{Comparison, Value, compare, compare_columns},
    error::{Error, Result},
    text::{Pattern, Work, hash, mask, matches, replace},
};
