//! `csv`: records of named columns. A message is one record, or a whole document.
//!
//! ```text
//! bytes ─► RecordFinder ─► messages ─► Reader ─► records ─► names ─► typed columns
//! ```
//!
//! **Records** (RFC 4180, strictly). Values are separated by delimiters; records end at `\n` or `\r\n` outside quotes
//! or with the message. A value that begins with a quote ends with one, and doubled quotes within stand for one. Faults
//! are: an unclosed quote, anything but a delimiter or a line end after a closing quote, a carriage return outside
//! quotes without a line feed (also at the end), a record with more or fewer values than columns, bytes that are not
//! UTF-8. A quote inside a value that does not begin with one is an ordinary character (`5" pipe`), blanks and NUL are part
//! of values, blank lines are skipped, and a byte order mark before a record is dropped. A message with a fault has no row
//! at all.
//!
//! `csv-core`, which this replaces, reads whatever it is given: it reports neither whether a value was quoted (so `""`
//! could not be told from an empty value), nor that text follows a closing quote or that a quote is open at the end. So
//! the state machine is our own; [`RecordFinder`] (for streams that arrive in pieces) and [`Reader`] agree on where a
//! record ends, which a test checks.
//!
//! **Columns.** By name wherever there is a header, in any order: see [`Settings::header`]. Schema columns missing from
//! a header are null; header columns outside the schema are left out or a fault ([`Settings::unknown`]); a header that
//! names no column at all is a fault. A header is at hand in a document, in the attribute `header` (sources that take
//! headers off), and in the attribute `first`, the first record of a file, body or stream, if that names columns: it does if
//! two of its values are names of columns, or one is that of its own column. Otherwise values go by position. A record that
//! repeats the header is left out; one that looks like a header of the same columns in another order is a fault, never a
//! row, and so are the records behind it in its file or stream, as long as the decoder runs.
//!
//! **Invariant**: no row depends on the contents of an earlier call, except for the settled schema.

mod decoder;
mod finder;
#[cfg(test)]
mod fuzz;
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
    names::names,
    reader::{Cell, Reader, Value, Wrong, WrongKind},
    settings::Settings,
    settle::Inference,
    style::Style,
};

/// Most columns that a header may name.
pub const MAX_COLUMNS: usize = 4096;
/// Longest column name, in bytes.
pub const MAX_NAME: usize = 1024;

const BOM: &[u8; 3] = b"\xEF\xBB\xBF";
