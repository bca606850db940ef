//! Messages as JSON. What a value is, its text in PostgreSQL says: whole numbers and booleans are JSON's own, everything else is
//! that text, so that no digit of a `numeric` is lost.

use bytes::Bytes;
use spout_guest::Messages;

use crate::{
    Lsn,
    pgoutput::{Cell, Column, Tuple},
    settings::Format,
};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It was there.
    Read,
    /// It was inserted.
    Create,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
    /// All rows of the table are gone.
    Truncate,
}

impl Deed {
    fn letter(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Truncate => "t",
        }
    }
}

/// The transaction of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Where its commit is.
    pub(crate) commit: Lsn,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) time_ms: i64,
    /// Its number.
    pub(crate) xid: u32,
}

/// What a message is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// What happened.
    pub(crate) deed: Deed,
    /// The table.
    pub(crate) schema: &'a str,
    /// The table.
    pub(crate) table: &'a str,
    /// Its columns.
    pub(crate) columns: &'a [Column],
    /// The columns of the key, by name and in order.
    pub(crate) key: &'a [String],
    /// What is known of the row before.
    pub(crate) before: Option<&'a Tuple>,
    /// Whether that is its key only.
    pub(crate) key_only: bool,
    /// The row after.
    pub(crate) after: Option<&'a Tuple>,
    /// None for rows that were there.
    pub(crate) transaction: Option<Transaction>,
}

impl Said<'_> {
    /// About as many bytes as it takes, so that large values are not moved while they are written.
    fn bytes(&self) -> usize {
        const CELL: usize = 16;
        let cells = self.before.into_iter().chain(self.after).flatten();
        let names = self.columns.iter().map(|column| 2 * (column.name.len() + CELL)).sum::<usize>();
        let values = cells.map(|cell| if let Cell::Text(text) = cell { text.len() } else { 0 }).sum::<usize>();
        values.saturating_add(names).saturating_add(CELL * CELL)
    }
}

/// The code of messages whose text is none.
const NOT_UTF8: &[u8] =
    b"postgres.not-utf8 a value is not UTF-8: the database does not say in which encoding it is (SQL_ASCII)";

const BOOL: u32 = 16;
/// `int8`, `int2`, `int4`, `oid`.
const WHOLE: [u32; 4] = [20, 21, 23, 26];

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Rendered {
    value: Vec<u8>,
    key: Option<Vec<u8>>,
    time_ms: Option<i64>,
}

/// Writes the message, with the key of its row.
#[must_use]
pub(crate) fn message(said: &Said<'_>, format: Format) -> Rendered {
    let mut value = Vec::with_capacity(said.bytes());
    match format {
        Format::Envelope => envelope(&mut value, said),
        Format::Flat => flat(&mut value, said),
    }
    Rendered { value, key: key(said), time_ms: said.transaction.map(|transaction| transaction.time_ms) }
}

impl Rendered {
    /// How long it is.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.value.len() + self.key.as_ref().map_or(0, Vec::len)
    }

    /// Adds it to `messages`.
    pub(crate) fn add(&self, messages: &mut Messages, offset: u64) {
        // The host decodes nothing that has a fault.
        let sound = std::str::from_utf8(&self.value).is_ok();
        messages.attribute("fault", if sound { b"" } else { NOT_UTF8 });
        let mut added = messages.add(offset, &self.value);
        if let Some(key) = &self.key {
            added = added.key(key);
        }
        if let Some(time_ms) = self.time_ms {
            added.timestamp_ms(time_ms);
        }
    }
}

fn envelope(to: &mut Vec<u8>, said: &Said<'_>) {
    to.extend_from_slice(b"{\"op\":\"");
    to.extend_from_slice(said.deed.letter().as_bytes());
    to.extend_from_slice(b"\",\"before\":");
    whole(to, said.columns, said.before, said.key_only);
    to.extend_from_slice(b",\"after\":");
    whole(to, said.columns, said.after, false);
    to.extend_from_slice(b",\"unchanged\":");
    unchanged(to, said);
    to.extend_from_slice(b",\"source\":{\"schema\":");
    text(to, said.schema.as_bytes());
    to.extend_from_slice(b",\"table\":");
    text(to, said.table.as_bytes());
    to.extend_from_slice(b",\"snapshot\":");
    to.extend_from_slice(if said.transaction.is_none() { b"true" } else { b"false" });
    transaction(to, said, "");
    to.extend_from_slice(b"}}");
}

fn flat(to: &mut Vec<u8>, said: &Said<'_>) {
    to.push(b'{');
    let (row, key_only) = match (said.after, said.before) {
        (Some(after), _) => (Some(after), false),
        (None, before) => (before, said.key_only),
    };
    if let Some(row) = row {
        fields(to, said.columns, row, key_only);
        if to.last() != Some(&b'{') {
            to.push(b',');
        }
    }
    to.extend_from_slice(b"\"__op\":\"");
    to.extend_from_slice(said.deed.letter().as_bytes());
    to.extend_from_slice(b"\",\"__schema\":");
    text(to, said.schema.as_bytes());
    to.extend_from_slice(b",\"__table\":");
    text(to, said.table.as_bytes());
    to.extend_from_slice(b",\"__unchanged\":");
    unchanged(to, said);
    // The key it had, if that is another one now.
    to.extend_from_slice(b",\"__before\":");
    whole(to, said.columns, said.before.filter(|_| said.after.is_some()), said.key_only);
    transaction(to, said, "__");
    to.push(b'}');
}

fn transaction(to: &mut Vec<u8>, said: &Said<'_>, prefix: &str) {
    let tell = |number: Option<String>| number.unwrap_or_else(|| "null".into());
    let of = said.transaction;
    let lsn = tell(of.map(|of| of.commit.0.to_string()));
    let xid = tell(of.map(|of| of.xid.to_string()));
    let time = tell(of.map(|of| of.time_ms.to_string()));
    to.extend_from_slice(format!(",\"{prefix}lsn\":{lsn},\"{prefix}xid\":{xid},\"{prefix}ts_ms\":{time}").as_bytes());
}

/// The names of the columns whose values the server did not send, or null.
fn unchanged(to: &mut Vec<u8>, said: &Said<'_>) {
    let cells = said.after.into_iter().flatten().zip(said.columns);
    let names = cells.filter(|(cell, _)| **cell == Cell::Unchanged).map(|(_, column)| column.name.as_str());
    let mut any = false;
    for name in names {
        to.push(if any { b',' } else { b'[' });
        text(to, name.as_bytes());
        any = true;
    }
    to.extend_from_slice(if any { b"]" } else { b"null" });
}

fn whole(to: &mut Vec<u8>, columns: &[Column], row: Option<&Tuple>, key_only: bool) {
    match row {
        Some(row) => {
            to.push(b'{');
            fields(to, columns, row, key_only);
            to.push(b'}');
        }
        None => to.extend_from_slice(b"null"),
    }
}

/// The columns that are known, each with its value.
fn fields(to: &mut Vec<u8>, columns: &[Column], row: &Tuple, key_only: bool) {
    let known = |(column, cell): &(&Column, &Cell)| **cell != Cell::Unchanged && (column.key || !key_only);
    let mut first = true;
    for (column, cell) in columns.iter().zip(row).filter(known) {
        if !std::mem::take(&mut first) {
            to.push(b',');
        }
        field(to, column, cell);
    }
}

fn field(to: &mut Vec<u8>, column: &Column, cell: &Cell) {
    text(to, column.name.as_bytes());
    to.push(b':');
    match cell {
        Cell::Null | Cell::Unchanged => to.extend_from_slice(b"null"),
        Cell::Text(value) => match (column.kind, value.as_ref()) {
            (BOOL, b"t") => to.extend_from_slice(b"true"),
            (BOOL, b"f") => to.extend_from_slice(b"false"),
            (kind, number) if WHOLE.contains(&kind) && is_whole(number) => to.extend_from_slice(number),
            (_, value) => text(to, value),
        },
    }
}

fn is_whole(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The key of the row that a message is about, as JSON.
fn key(said: &Said<'_>) -> Option<Vec<u8>> {
    let row = said.after.or(said.before)?;
    let mut key = vec![b'{'];
    for name in said.key {
        let (column, cell) = said.columns.iter().zip(row).find(|(column, _)| column.name == *name)?;
        if key.len() > 1 {
            key.push(b',');
        }
        field(&mut key, column, cell);
    }
    key.push(b'}');
    Some(key).filter(|key| key.len() > 2)
}

/// A text in JSON.
fn text(to: &mut Vec<u8>, text: &[u8]) {
    to.push(b'"');
    let mut from = 0;
    for (at, byte) in text.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        to.extend_from_slice(text.get(from..at).unwrap_or_default());
        if escaped.is_empty() {
            to.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            to.extend_from_slice(escaped);
        }
        from = at + 1;
    }
    to.extend_from_slice(text.get(from..).unwrap_or_default());
    to.push(b'"');
}

/// A row of a result as one of a change.
#[must_use]
pub(crate) fn tuple(row: &[Option<Bytes>]) -> Tuple {
    row.iter().map(|value| value.clone().map_or(Cell::Null, Cell::Text)).collect()
}
