//! `csv`: records of named columns. A message is one record, or a whole document.
//!
//! ```text
//! bytes ─► RecordFinder ─► messages ─► Reader ─► records ─► names ─► typed columns
//! ```
//!
//! **What a record is** (RFC 4180, strictly). Values stand between delimiters, records end at `\n` or `\r\n` outside quotes or
//! with the message. A value that begins with a quote ends with one, and doubled quotes within stand for one. A fault is: a
//! quote that is not closed, anything but a delimiter or a line end behind a closing quote, a carriage return outside quotes
//! without a line feed, a record of another width than its columns, bytes that are not UTF-8. A quote inside a value that does
//! not begin with one is a character like any other (`5" pipe`), blanks and NUL belong to values, blank lines are no records, and a
//! byte order mark at the beginning of a record is no part of it. A message with a fault has no row at all.
//!
//! `csv-core`, which this replaces, reads whatever it is given: it does not say whether a value was quoted (so that `""` could
//! not be told from nothing), nor that text follows a closing quote or that a quote is open at the end. So the machine is our
//! own; [`RecordFinder`] (for streams that come in pieces) and [`Reader`] agree on where a record ends, which a test holds.
//!
//! **Which column a value is of.** By name wherever there is a header, in any order: see [`Settings::header`]. Columns of the
//! schema that a header has not are null, columns of a header that the schema has not are left out or a fault
//! ([`Settings::unknown`]); a header that names no column at all is a fault. Without a header at hand values go by position, and
//! a record that looks like a header of the same columns in another order is a fault, never a row; so are the lines of its file
//! that follow, as long as the decoder runs. Sources that frame records give each message its file's header, and nothing of this
//! matters.
//!
//! **Invariant**: no row depends on what a call before it held, but for the settled schema.

mod decoder;
mod finder;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod header;
mod infer;
mod names;
#[cfg(test)]
mod peer;
mod reader;
mod record;
mod settings;
mod settle;
mod style;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    decoder::{Csv, is_open},
    finder::RecordFinder,
    header::Header,
    reader::{Cell, Reader, Value, Wrong, WrongKind},
    settings::Settings,
    style::Style,
};

/// Most columns that a header may name.
pub const MAX_COLUMNS: usize = 4096;
/// Longest name of a column, in bytes.
pub const MAX_NAME: usize = 1024;

const BOM: &[u8; 3] = b"\xEF\xBB\xBF";
