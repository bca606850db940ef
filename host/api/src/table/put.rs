//! The rows of a file on their way into a commit.

use arrow::datatypes::SchemaRef;
use spout_format::{Encoded, Format, TableWriter};
use spout_repo::{OpenCommit, PutMode};
use tokio::task::spawn_blocking;

use super::{Import, Table};
use crate::{Error, Put, Result};

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
    let (stored, called) = (Format::of_path(path).unwrap_or_default(), name.to_owned());
    let mut import = blocking((name, format), move || Import::open(file, &called, format, known.as_deref())).await?;
    let mut put = Put { path: path.to_owned(), size: 0, rows: Some(0) };
    loop {
        let (piece, rest) = blocking((name, format), move || next(import, stored)).await?;
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

/// Runs what reads the file `name` on a thread that may wait. Libraries panic over some damaged files, and such a file is refused.
async fn blocking<T: Send + 'static>(
    (name, format): (&str, Format),
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let damaged = |_| Error::Import {
        file: name.to_owned(),
        what: format.extension(),
        why: "its bytes are damaged, or its format is used in a way that is not known".to_owned(),
    };
    spawn_blocking(work).await.map_err(damaged)?
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
