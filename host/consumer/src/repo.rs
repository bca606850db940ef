//! The repo consumer: encodes the rows of a commit while they arrive, on a thread if they are many, and hands over the files at a cut.

use std::{sync::Arc, thread};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use spout_base::clock;
use spout_data::{Aside, Batch, ByteSize, Counts, DeadLetter};
use spout_format::{Encoded, Format, TableWriter};
use spout_repo::{OpenCommit, PutMode, Repo};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    Error,
    dead_letters::{self, Names},
    encode as outside, fit,
};

/// Where the data files of a pipeline go.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Branch that they go to.
    pub branch: String,
    /// Directory of the data files, or a template with `{commit}` and `{part}`, or one file.
    pub path: String,
    /// Format of the data files.
    pub format: Format,
    /// Whether a same-named file is replaced rather than grown.
    pub overwrite: bool,
}

/// The files of one commit, durable and not yet visible.
#[derive(Debug)]
pub struct Written {
    /// The commit they belong to.
    pub open: OpenCommit,
    /// What became of the messages that its offsets cover.
    pub counts: Counts,
    /// When its first row arrived, or it was cut; milliseconds since 1970, and later than for the commit before, whatever the
    /// clock says: files are named by it, and their names sort as their commits do.
    pub started_ms: i64,
}

/// Batches waiting to be encoded, in memory.
const QUEUE: ByteSize = ByteSize(32 << 20);
/// Arrow bytes of a commit that are encoded in less time than it takes to start a thread for them.
const FEW: usize = 64 << 10;

/// Takes batches for the next commit.
#[derive(Debug)]
pub struct RepoConsumer {
    repo: Repo,
    target: Target,
    producers: Names,
    encoding: Encoding,
    /// The files of the source's own commit, which the open one is.
    files: Option<OpenCommit>,
    room: Arc<Semaphore>,
    dead: Vec<DeadLetter>,
    late: Vec<Aside>,
    counts: Counts,
    started_ms: Option<i64>,
    /// What that was for the commit before.
    before_ms: i64,
}

/// The rows of the open commit on their way into files.
#[derive(Debug)]
enum Encoding {
    /// So few that they are encoded at the cut, with their Arrow bytes.
    Few(Vec<RecordBatch>, usize),
    /// They are encoded while more come.
    Thread(Thread),
}

/// The thread that encodes the rows of one commit; it ends its files when no more can come.
#[derive(Debug)]
struct Thread {
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
    /// Takes rows that go into files of `format`.
    async fn take(&mut self, rows: RecordBatch, format: Format, room: &Arc<Semaphore>) -> Result<(), Error> {
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

    /// The files, when no more rows come.
    async fn files(self, format: Format) -> Result<Vec<Encoded>, Error> {
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
        files.map_err(failed)
    }
}

impl RepoConsumer {
    /// A consumer that writes to `repo`, where the newest commit was started at `before_ms`; `producers` are the names of
    /// several by number, none where there is one only.
    #[must_use]
    pub fn new(repo: Repo, target: Target, producers: Names, before_ms: i64) -> Self {
        Self {
            repo,
            target,
            producers,
            encoding: Encoding::Few(Vec::new(), 0),
            files: None,
            room: Arc::new(Semaphore::new(kib(QUEUE.0) as usize)),
            dead: Vec::new(),
            late: Vec::new(),
            counts: Counts::default(),
            started_ms: None,
            before_ms,
        }
    }

    /// Sets rows aside that the files of the commit cannot hold; before any consumer sees them.
    ///
    /// # Errors
    /// If the rows that stay cannot be put together.
    pub fn fit(&self, batch: &mut Batch) -> Result<(), Error> {
        let rows = batch.records.num_rows();
        let format = self.target.format;
        fit::fit(format, batch).map_err(outside::failed("repo", format.extension(), rows))
    }

    /// Takes one batch; waits while too much is still to be encoded.
    ///
    /// # Errors
    /// If the encoding thread is gone.
    pub async fn consume(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.started_ms.get_or_insert_with(clock::wall_ms);
        self.counts.add(&batch.counts());
        self.dead.append(&mut batch.dead);
        self.late.append(&mut batch.late);
        if batch.records.num_rows() == 0 {
            return Ok(());
        }
        self.encoding.take(batch.records.clone(), self.target.format, &self.room).await
    }

    /// Makes `files`, which a source has put itself, part of this commit.
    pub fn join(&mut self, files: OpenCommit) {
        self.files = Some(files);
    }

    /// Ends the files of this commit and starts those of the next. The answer is waited for apart from the rows to come.
    pub fn cut(&mut self) -> Pending {
        self.before_ms = self.started_ms.take().unwrap_or_else(clock::wall_ms).max(self.before_ms.saturating_add(1));
        Pending {
            open: self.files.take().unwrap_or_else(|| self.repo.open_commit_on(&self.target.branch)),
            target: self.target.clone(),
            producers: self.producers.clone(),
            encoding: std::mem::replace(&mut self.encoding, Encoding::Few(Vec::new(), 0)),
            dead: std::mem::take(&mut self.dead),
            late: std::mem::take(&mut self.late),
            counts: std::mem::take(&mut self.counts),
            started_ms: self.before_ms,
        }
    }
}

/// A cut commit whose files are still being encoded.
#[derive(Debug)]
pub struct Pending {
    open: OpenCommit,
    target: Target,
    producers: Names,
    encoding: Encoding,
    dead: Vec<DeadLetter>,
    late: Vec<Aside>,
    counts: Counts,
    started_ms: i64,
}

impl Pending {
    /// Waits for the encoding and makes the files durable.
    ///
    /// # Errors
    /// Rows that the format cannot hold, and what the store says.
    pub async fn written(mut self) -> Result<Written, Error> {
        let tables = self.encoding.files(self.target.format).await?;
        let how = if self.target.overwrite { PutMode::Overwrite } else { PutMode::Append };
        for (part, table) in tables.into_iter().enumerate() {
            // Parts of one commit that go to one file follow each other, also where older content is replaced.
            let how = if part == 0 || self.target.path.contains("{part}") { how } else { PutMode::Append };
            let path = data_path(&self.target, self.started_ms, self.open.id(), part);
            self.open.put_table(&path, how, table).await.map_err(failed)?;
        }
        if !self.dead.is_empty() {
            let encoded = encode_dead(&self.dead, &self.producers)?;
            let path = format!("/dead-letter/{}.parquet", file_name(self.started_ms, self.open.id(), 0));
            self.open.put_table(&path, PutMode::Append, encoded).await.map_err(failed)?;
        }
        put_late(&mut self.open, self.late, self.started_ms).await?;
        Ok(Written { open: self.open, counts: self.counts, started_ms: self.started_ms })
    }
}

/// What the repo, or a file for it, refused.
fn failed(error: impl Into<spout_repo::Error>) -> Error {
    Error::Repo(Box::new(error.into()))
}

/// Late rows of each handler that are kept, a file for each of their schemas.
async fn put_late(open: &mut OpenCommit, late: Vec<Aside>, started_ms: i64) -> Result<(), Error> {
    let mut tables: Vec<(String, SchemaRef, TableWriter)> = Vec::new();
    for Aside { handler, records, .. } in late {
        let Some(records) = records else { continue };
        let schema = records.schema();
        let at = match tables.iter().position(|(of, known, _)| *of == handler && *known == schema) {
            Some(at) => at,
            None => {
                let table = TableWriter::new(Format::Parquet, Arc::clone(&schema)).map_err(failed)?;
                tables.push((handler, schema, table));
                tables.len() - 1
            }
        };
        tables.get_mut(at).map_or(Ok(()), |(_, _, table)| table.write(&records)).map_err(failed)?;
    }
    for (part, (handler, _, table)) in tables.into_iter().enumerate() {
        let name = file_name(started_ms, open.id(), part);
        let encoded = table.finish().map_err(failed)?;
        let path = format!("/late/{handler}/{name}.parquet");
        open.put_table(&path, PutMode::Append, encoded).await.map_err(failed)?;
    }
    Ok(())
}

fn encode_dead(dead: &[DeadLetter], producers: &Names) -> Result<Encoded, Error> {
    let rows = dead_letters::rows(dead, producers);
    let rows =
        rows.map_err(|source| Error::Encode { consumer: "repo", format: "parquet", rows: dead.len(), source })?;
    let mut writer = TableWriter::new(Format::Parquet, dead_letters::schema(producers)).map_err(failed)?;
    writer.write(&rows).map_err(failed)?;
    writer.finish().map_err(failed)
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

/// Sorts by time, and cannot meet a name of another commit.
fn file_name(started_ms: i64, commit: &str, part: usize) -> String {
    format!("{started_ms:013}-{}-{part}", commit.get(..8).unwrap_or(commit))
}

fn data_path(target: &Target, started_ms: i64, commit: &str, part: usize) -> String {
    let path = target.path.as_str();
    if path.contains('{') {
        return path.replace("{commit}", commit).replace("{part}", &part.to_string());
    }
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if is_file {
        path.to_owned()
    } else {
        let directory = path.trim_end_matches('/');
        format!("{directory}/{}.{}", file_name(started_ms, commit, part), target.format.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_directory_a_template_or_a_file() {
        let check = |path: &str, expected: &str| {
            let target = Target { branch: "master".into(), path: path.into(), format: Format::Csv, overwrite: false };
            assert_eq!(data_path(&target, 7, "0123456789abcdef", 1), expected);
        };
        check("/", "/0000000000007-01234567-1.csv");
        check("/events/", "/events/0000000000007-01234567-1.csv");
        check("/events", "/events/0000000000007-01234567-1.csv");
        check("/a/{commit}/{part}.csv", "/a/0123456789abcdef/1.csv");
        check("/all.csv", "/all.csv");
    }

    #[tokio::test]
    async fn names_sort_as_commits_do_whatever_the_clock_says() {
        let place = tempfile::tempdir().unwrap();
        let store = spout_repo::Store::open(&place.path().display().to_string()).await.unwrap();
        let repo = store.repo_or_create("r", "").await.unwrap();
        let target = Target { branch: "master".into(), path: "/".into(), format: Format::Csv, overwrite: false };
        let later = clock::wall_ms() + 60_000;
        let mut consumer = RepoConsumer::new(repo, target, Names::default(), later);
        let started: Vec<i64> = (0..3).map(|_| consumer.cut().started_ms).collect();
        assert_eq!(started, [later + 1, later + 2, later + 3]);
    }
}
