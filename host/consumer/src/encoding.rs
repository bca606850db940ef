//! Rows of one commit on their way into files: encoded at the cut if they are few, and on a thread while more come.

use std::{sync::Arc, thread};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use spout_data::ByteSize;
use spout_format::{Encoded, Format, TableWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Error;

/// Batches waiting to be encoded, in memory.
const QUEUE: ByteSize = ByteSize(16 << 20);
/// Arrow bytes of a commit that are encoded in less time than it takes to start a thread for them.
const FEW: usize = 64 << 10;

/// Room for what waits to be encoded, of all encodings of one consumer.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(kib(QUEUE.0) as usize))
}

/// The rows of the open commit on their way into files.
#[derive(Debug)]
pub(super) enum Encoding {
    /// So few that they are encoded at the cut, with their Arrow bytes.
    Few(Vec<RecordBatch>, usize),
    /// They are encoded while more come.
    Thread(Thread),
}

/// The thread that encodes the rows of one commit; it ends its files when no more can come.
#[derive(Debug)]
pub(super) struct Thread {
    rows: mpsc::UnboundedSender<(RecordBatch, OwnedSemaphorePermit)>,
    files: oneshot::Receiver<Result<Vec<Encoded>, spout_format::Error>>,
}

impl Thread {
    fn start(format: Format) -> Self {
        let (rows, queue) = mpsc::unbounded_channel();
        let (answer, files) = oneshot::channel();
        // Nobody waits for the answer if the pipeline stopped meanwhile.
        thread::spawn(move || drop(answer.send(encode(queue, format))));
        Self { rows, files }
    }

    /// Passes rows on; waits while too much is still to be encoded.
    async fn pass(&self, rows: RecordBatch, room: &Arc<Semaphore>) -> Result<(), Error> {
        let size = kib(rows.get_array_memory_size() as u64).min(kib(QUEUE.0));
        let permit = Arc::clone(room).acquire_many_owned(size).await.map_err(|_| Error::Gone)?;
        self.rows.send((rows, permit)).map_err(|_| Error::Gone)
    }
}

impl Encoding {
    /// Before the first row.
    pub(super) fn new() -> Self {
        Self::Few(Vec::new(), 0)
    }

    /// Takes rows that go into files of `format`.
    pub(super) async fn take(&mut self, rows: RecordBatch, format: Format, room: &Arc<Semaphore>) -> Result<(), Error> {
        match self {
            Self::Thread(thread) => thread.pass(rows, room).await,
            Self::Few(held, bytes) => {
                *bytes += rows.get_array_memory_size();
                held.push(rows);
                if *bytes <= FEW {
                    return Ok(());
                }
                let (held, thread) = (std::mem::take(held), Thread::start(format));
                for rows in held {
                    thread.pass(rows, room).await?;
                }
                *self = Self::Thread(thread);
                Ok(())
            }
        }
    }

    /// Ends when the thread that encodes is gone, which it never is before no more rows come. The future may be dropped.
    pub(super) async fn failed(&mut self) {
        match self {
            Self::Thread(thread) => thread.rows.closed().await,
            Self::Few(..) => std::future::pending().await,
        }
    }

    /// The files, when no more rows come.
    pub(super) async fn files(self, format: Format) -> Result<Vec<Encoded>, Error> {
        let files = match self {
            Self::Few(rows, _) => {
                let mut tables = Vec::new();
                rows.iter().try_for_each(|rows| add(&mut tables, rows, format)).and_then(|()| finish(tables))
            }
            Self::Thread(Thread { rows, files }) => {
                drop(rows);
                files.await.map_err(|_| Error::Gone)?
            }
        };
        files.map_err(|error| Error::Repo(Box::new(error.into())))
    }
}

/// Encodes everything that comes: one table a schema, in the order in which schemas appear.
fn encode(
    mut queue: mpsc::UnboundedReceiver<(RecordBatch, OwnedSemaphorePermit)>,
    format: Format,
) -> Result<Vec<Encoded>, spout_format::Error> {
    let mut tables: Vec<(SchemaRef, TableWriter)> = Vec::new();
    let mut outcome = Ok(());
    // After an error too, what comes is taken: whoever sends waits for room.
    while let Some((rows, permit)) = queue.blocking_recv() {
        if outcome.is_ok() {
            outcome = add(&mut tables, &rows, format);
        }
        drop((rows, permit));
    }
    outcome?;
    finish(tables)
}

fn finish(tables: Vec<(SchemaRef, TableWriter)>) -> Result<Vec<Encoded>, spout_format::Error> {
    tables.into_iter().map(|(_, table)| table.finish()).collect()
}

fn add(
    tables: &mut Vec<(SchemaRef, TableWriter)>,
    rows: &RecordBatch,
    format: Format,
) -> Result<(), spout_format::Error> {
    let schema = rows.schema();
    let at = match tables.iter().position(|(known, _)| Arc::ptr_eq(known, &schema) || *known == schema) {
        Some(at) => at,
        None => {
            tables.push((Arc::clone(&schema), TableWriter::new(format, schema)?));
            tables.len() - 1
        }
    };
    tables.get_mut(at).map_or(Ok(()), |(_, table)| table.write(rows))
}

/// Sizes in KiB, as permits; at least one.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::batch;

    #[tokio::test]
    async fn a_thread_that_panics_is_known_before_the_next_row() {
        let room = room();
        let mut encoding = Encoding::Thread(Thread::start(Format::Parquet));
        encoding.take(batch(0..3).records, Format::Parquet, &room).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), encoding.failed()).await.is_err());
        let files = encoding.files(Format::Parquet).await.unwrap();
        assert_eq!(files.len(), 1);

        let (rows, queue) = mpsc::unbounded_channel();
        let (answer, files) = oneshot::channel();
        let panics = thread::spawn(move || {
            let _both = (queue, answer);
            panic!("a bug");
        });
        let mut encoding = Encoding::Thread(Thread { rows, files });
        encoding.failed().await;
        assert!(panics.join().is_err());
        assert!(matches!(encoding.take(batch(0..3).records, Format::Parquet, &room).await, Err(Error::Gone)));
        assert!(matches!(encoding.files(Format::Parquet).await, Err(Error::Gone)));
    }
}
