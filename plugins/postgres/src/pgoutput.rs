//! The logical messages of `pgoutput`, version 1: whole transactions, in the order of their commits.

use bytes::{Buf as _, Bytes};

use crate::{
    Lsn,
    frame::{Wrong, bytes, short, text},
};

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Null.
    Null,
    /// A large value that an update left as it was; the server does not send it.
    Unchanged,
    /// The value as text.
    Text(Bytes),
}

/// The values of a row, in the order of the table's columns.
pub(crate) type Tuple = Vec<Cell>;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// The number of its type.
    pub(crate) kind: u32,
    /// Whether it is part of what identifies a row.
    pub(crate) key: bool,
}

/// A table as it was when the changes after this message were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// What changes call it by.
    pub(crate) id: u32,
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) table: String,
    /// `REPLICA IDENTITY`: `d` default, `n` nothing, `f` full, `i` an index.
    pub(crate) identity: u8,
    /// Its columns, as far as they are published.
    pub(crate) columns: Vec<Column>,
}

/// What a change says of the row before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// The columns that identify it; the others are null here.
    Key(Tuple),
    /// All of it.
    Full(Tuple),
}

/// A logical message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Logical {
    /// A transaction begins.
    Begin {
        /// Where its commit is.
        commit: Lsn,
        /// When it was committed, in microseconds since 2000.
        time: i64,
        /// Its number.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// Where its commit is.
        commit: Lsn,
        /// What comes after it.
        end: Lsn,
    },
    /// What a table looks like.
    Relation(Relation),
    /// A new row.
    Insert(u32, Tuple),
    /// A row changed. What it was before is said if its key changed, or the identity is full.
    Update(u32, Option<Old>, Tuple),
    /// A row is gone.
    Delete(u32, Old),
    /// Tables were emptied.
    Truncate(Vec<u32>),
    /// Something that no row depends on: where a transaction came from, what a type is called.
    Other,
}

/// Reads one message.
///
/// # Errors
/// It is none of version 1.
pub(crate) fn read(mut body: Bytes) -> Result<Logical, Wrong> {
    let kind = body.try_get_u8().map_err(short)?;
    let message = match kind {
        b'B' => Logical::Begin {
            commit: lsn(&mut body)?,
            time: body.try_get_i64().map_err(short)?,
            xid: body.try_get_u32().map_err(short)?,
        },
        b'C' => {
            body.try_get_u8().map_err(short)?;
            let message = Logical::Commit { commit: lsn(&mut body)?, end: lsn(&mut body)? };
            body.try_get_i64().map_err(short)?;
            message
        }
        b'R' => Logical::Relation(relation(&mut body)?),
        b'I' => {
            let table = body.try_get_u32().map_err(short)?;
            expect(&mut body, b'N')?;
            Logical::Insert(table, tuple(&mut body)?)
        }
        b'U' => {
            let table = body.try_get_u32().map_err(short)?;
            let old = if body.first() == Some(&b'N') { None } else { Some(old(&mut body)?) };
            expect(&mut body, b'N')?;
            Logical::Update(table, old, tuple(&mut body)?)
        }
        b'D' => Logical::Delete(body.try_get_u32().map_err(short)?, old(&mut body)?),
        b'T' => {
            let count = body.try_get_u32().map_err(short)?;
            body.try_get_u8().map_err(short)?;
            let mut tables = Vec::new();
            for _ in 0..count {
                tables.push(body.try_get_u32().map_err(short)?);
            }
            Logical::Truncate(tables)
        }
        // Origin, type, and a message of an application.
        b'O' | b'Y' | b'M' => return Ok(Logical::Other),
        other => return Err(Wrong(format!("a logical message of kind {other:#04x}"))),
    };
    if body.is_empty() { Ok(message) } else { Err(Wrong(format!("{} bytes after a logical message", body.len()))) }
}

fn lsn(body: &mut Bytes) -> Result<Lsn, Wrong> {
    body.try_get_u64().map(Lsn).map_err(short)
}

fn expect(body: &mut Bytes, wanted: u8) -> Result<(), Wrong> {
    let kind = body.try_get_u8().map_err(short)?;
    if kind == wanted { Ok(()) } else { Err(Wrong(format!("a row of kind {kind:#04x}"))) }
}

fn old(body: &mut Bytes) -> Result<Old, Wrong> {
    match body.try_get_u8().map_err(short)? {
        b'K' => tuple(body).map(Old::Key),
        b'O' => tuple(body).map(Old::Full),
        other => Err(Wrong(format!("a row of kind {other:#04x}"))),
    }
}

fn tuple(body: &mut Bytes) -> Result<Tuple, Wrong> {
    let count = body.try_get_u16().map_err(short)?;
    let mut cells = Vec::new();
    for _ in 0..count {
        cells.push(match body.try_get_u8().map_err(short)? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = body.try_get_u32().map_err(short)?;
                Cell::Text(bytes(body, length as usize)?)
            }
            other => return Err(Wrong(format!("a value of kind {other:#04x}"))),
        });
    }
    Ok(cells)
}

fn relation(body: &mut Bytes) -> Result<Relation, Wrong> {
    let id = body.try_get_u32().map_err(short)?;
    let (schema, table) = (text(body)?, text(body)?);
    let identity = body.try_get_u8().map_err(short)?;
    let count = body.try_get_u16().map_err(short)?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let key = body.try_get_u8().map_err(short)? & 1 == 1;
        let name = text(body)?;
        let kind = body.try_get_u32().map_err(short)?;
        body.try_get_u32().map_err(short)?;
        columns.push(Column { name, kind, key });
    }
    // The system's own schema is written as nothing.
    let schema = if schema.is_empty() { "pg_catalog".into() } else { schema };
    Ok(Relation { id, schema, table, identity, columns })
}
