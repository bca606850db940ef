//! The repo consumer: encodes the rows of a commit, and what was set aside, while they arrive, and hands over the files at a cut.

use std::sync::Arc;

use spout_base::{clock, trace};
use spout_data::{Batch, Counts};
use spout_format::{Encoded, Format};
use spout_repo::{OpenCommit, PutMode, Repo};
use tokio::sync::Semaphore;

use super::{
    Error,
    dead_letters::Names,
    encode as outside,
    encoding::{Encoding, room},
    fit,
    set_aside::{LateRows, Letters},
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
    dead: Letters,
    late: LateRows,
    counts: Counts,
    started_ms: Option<i64>,
    /// What that was for the commit before.
    before_ms: i64,
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
            encoding: Encoding::new(),
            files: None,
            room: room(),
            dead: Letters::default(),
            late: LateRows::default(),
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
        self.dead.take(std::mem::take(&mut batch.dead), &self.producers, &self.room).await?;
        self.late.take(std::mem::take(&mut batch.late), &self.room).await?;
        if batch.records.num_rows() == 0 {
            return Ok(());
        }
        self.encoding.take(batch.records.clone(), self.target.format, &self.room).await
    }

    /// Why it can take no more: a thread that encodes is gone. Never, as long as they are there; the future may be dropped.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            () = self.encoding.failed() => Error::Gone,
            () = self.dead.failed() => Error::Gone,
            () = self.late.failed() => Error::Gone,
        }
    }

    /// Id that this commit will have.
    pub fn id(&mut self) -> &str {
        self.files.get_or_insert_with(|| self.repo.open_commit_on(&self.target.branch)).id()
    }

    /// Names the files of this commit later than those of one that was started at `before_ms`.
    pub fn after(&mut self, before_ms: i64) {
        self.before_ms = self.before_ms.max(before_ms);
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
            encoding: std::mem::replace(&mut self.encoding, Encoding::new()),
            dead: std::mem::take(&mut self.dead),
            late: std::mem::take(&mut self.late),
            counts: std::mem::take(&mut self.counts),
            started_ms: self.before_ms,
            share: None,
        }
    }
}

/// What a process has of a commit that several fill.
#[derive(Clone, Debug)]
struct Share {
    commit: String,
    ordinal: usize,
    of: usize,
}

/// A cut commit whose files are still being encoded.
#[derive(Debug)]
pub struct Pending {
    open: OpenCommit,
    target: Target,
    producers: Names,
    encoding: Encoding,
    dead: Letters,
    late: LateRows,
    counts: Counts,
    started_ms: i64,
    share: Option<Share>,
}

impl Pending {
    /// The same as part `ordinal` of `of` parts of the commit with this id, whose files are published by another process.
    #[must_use]
    pub fn as_part_of(mut self, commit: &str, ordinal: usize, of: usize) -> Self {
        self.open = self.open.as_one_of(of);
        self.share = Some(Share { commit: commit.to_owned(), ordinal, of });
        self
    }

    /// When its first row arrived; see [`Written::started_ms`].
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Waits for the encoding and makes the files durable.
    ///
    /// # Errors
    /// Rows that the format cannot hold, and what the store says.
    pub async fn written(mut self) -> Result<Written, Error> {
        let encode = trace::inner("encode");
        let tables = self.encoding.files(self.target.format).await?;
        drop(encode);
        let _durable = trace::inner("durable");
        let how = if self.target.overwrite { PutMode::Overwrite } else { PutMode::Append };
        for (part, table) in tables.into_iter().enumerate() {
            // Parts of one commit that go to one file follow each other, also where older content is replaced.
            let how = if part == 0 || self.target.path.contains("{part}") { how } else { PutMode::Append };
            let path = data_path(&self.target, self.started_ms, (self.open.id(), self.share.as_ref()), part);
            self.open.put_table(&path, how, table).await.map_err(failed)?;
        }
        for (part, table) in self.dead.files(&self.producers).await?.into_iter().enumerate() {
            let path = format!("/dead-letter/{}.parquet", file_name(self.started_ms, self.open.id(), part));
            self.open.put_table(&path, PutMode::Append, table).await.map_err(failed)?;
        }
        let late: Vec<(String, Encoded)> = self.late.files().await?;
        for (part, (handler, table)) in late.into_iter().enumerate() {
            let path = format!("/late/{handler}/{}.parquet", file_name(self.started_ms, self.open.id(), part));
            self.open.put_table(&path, PutMode::Append, table).await.map_err(failed)?;
        }
        Ok(Written { open: self.open, counts: self.counts, started_ms: self.started_ms })
    }
}

/// What the repo, or a file for it, refused.
fn failed(error: impl Into<spout_repo::Error>) -> Error {
    Error::Repo(Box::new(error.into()))
}

/// Sorts by time, and cannot meet a name of another commit.
fn file_name(started_ms: i64, commit: &str, part: usize) -> String {
    format!("{started_ms:013}-{}-{part}", commit.get(..8).unwrap_or(commit))
}

/// The path of a part of what `id` holds, which may be a share of a commit. A template says what of it is the same in all shares.
fn data_path(target: &Target, started_ms: i64, (id, share): (&str, Option<&Share>), part: usize) -> String {
    let path = target.path.as_str();
    if path.contains('{') {
        let commit = share.map_or(id, |share| &share.commit);
        let part = share.map_or(part, |share| share.ordinal + part * share.of);
        return path.replace("{commit}", commit).replace("{part}", &part.to_string());
    }
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if is_file {
        path.to_owned()
    } else {
        let directory = path.trim_end_matches('/');
        format!("{directory}/{}.{}", file_name(started_ms, id, part), target.format.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_directory_a_template_or_a_file() {
        let check = |path: &str, expected: &str| {
            let target = Target { branch: "master".into(), path: path.into(), format: Format::Csv, overwrite: false };
            assert_eq!(data_path(&target, 7, ("0123456789abcdef", None), 1), expected);
        };
        check("/", "/0000000000007-01234567-1.csv");
        check("/events/", "/events/0000000000007-01234567-1.csv");
        check("/events", "/events/0000000000007-01234567-1.csv");
        check("/a/{commit}/{part}.csv", "/a/0123456789abcdef/1.csv");
        check("/all.csv", "/all.csv");
    }

    #[test]
    fn shares_of_a_commit_have_files_of_their_own() {
        let share = Share { commit: "fedcba9876543210".into(), ordinal: 2, of: 3 };
        let check = |path: &str, expected: &str| {
            let target = Target { branch: "master".into(), path: path.into(), format: Format::Csv, overwrite: false };
            assert_eq!(data_path(&target, 7, ("0123456789abcdef", Some(&share)), 1), expected);
        };
        check("/events/", "/events/0000000000007-01234567-1.csv");
        check("/a/{commit}/{part}.csv", "/a/fedcba9876543210/5.csv");
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
