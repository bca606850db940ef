//! The rows of a file on their way into a commit.

use arrow::datatypes::SchemaRef;
use spout_format::{Encoded, Format, TableWriter};
use spout_repo::{OpenCommit, PutMode};
use tokio::task::spawn_blocking;

use super::{Import, Table};
use crate::{Put, Result};

/// A table is put in pieces of about this size, so that memory does not grow with it.
const PIECE: usize = 64 << 20;

/// Puts the rows of `table` at `path`. Columns have the types of `known` where it has them.
pub(crate) async fn put(
    open: &mut OpenCommit,
    path: &str,
    mut how: PutMode,
    table: Table<'_>,
    known: Option<SchemaRef>,
) -> Result<Put> {
    let Table { file, name, format } = table;
    let name = name.to_owned();
    let stored = Format::of_path(path).unwrap_or_default();
    let mut import = blocking(move || Import::open(file, &name, format, known.as_deref())).await?;
    let mut put = Put { path: path.to_owned(), size: 0, rows: Some(0) };
    loop {
        let (piece, rest) = blocking(move || next(import, stored)).await?;
        put.size += piece.bytes.len() as u64;
        put.rows = put.rows.map(|rows| rows + piece.rows);
        open.put_table(path, how, piece).await?;
        match rest {
            Some(rest) => import = rest,
            None => return Ok(put),
        }
        how = PutMode::Append;
    }
}

/// Runs what reads a file and computes on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The next piece, and what is to come after it.
fn next(mut import: Import, stored: Format) -> Result<(Encoded, Option<Import>)> {
    let mut writer = TableWriter::new(stored, SchemaRef::clone(&import.schema))?;
    while writer.bytes_buffered() < PIECE {
        match import.next() {
            Some(batch) => writer.write(&batch?)?,
            None => return Ok((writer.finish()?, None)),
        }
    }
    Ok((writer.finish()?, Some(import)))
}
