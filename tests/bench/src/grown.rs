//! Repos of events with many commits, made without syncing, which changes no byte of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use spout_data::{Advance, Counts, PartitionId, PartitionMarker, Position, Step};
use spout_format::{Format, TableWriter};
use spout_repo::{CommitMeta, Finished, MASTER, PutMode, Reference, Store};

/// Users that events are of.
pub(crate) const USERS: u64 = 100_000;
/// Rows that a writer gets at once.
const BATCH: u64 = 8192;
const KINDS: [&str; 4] = ["click", "view", "buy", "leave"];
const COUNTRIES: u64 = 60;

/// What a repo has in its commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grown {
    pub(crate) repo: &'static str,
    pub(crate) commits: u64,
    /// Rows of each commit.
    pub(crate) rows: u64,
}

impl Grown {
    fn batch(&self, first: u64, count: u64) -> Result<RecordBatch> {
        if self.repo == "users" { users(first, count) } else { events(first, count) }
    }

    /// A new store `dir` with `repos` in it, made by a process that does not sync.
    pub(crate) fn make(dir: &Path, repos: &[Self]) -> Result<()> {
        drop(fs::remove_dir_all(dir));
        for one in repos {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["grown", one.repo, &one.commits.to_string(), &one.rows.to_string()]).arg(dir);
            let output = command.env("SPOUT_UNSAFE_NO_FSYNC", "1").output()?;
            ensure!(output.status.success(), "{one:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// What [`make`](Self::make) runs.
    pub(crate) async fn run(args: &[String]) -> Result<()> {
        let [repo, commits, rows, dir] = args else { bail!("grown takes REPO COMMITS ROWS STORE") };
        let repo = if repo == "users" { "users" } else { "events" };
        Self { repo, commits: commits.parse()?, rows: rows.parse()? }.grow(dir).await
    }

    async fn grow(&self, store: &str) -> Result<()> {
        let repo = Store::open(store).await?.repo_or_create(self.repo, "").await?;
        let mut writer = repo.writer(MASTER, self.repo).await?;
        for n in 0..self.commits {
            let (begin, end) = (n * self.rows, (n + 1) * self.rows);
            let mut table = TableWriter::new(Format::Parquet, self.batch(begin, 1)?.schema())?;
            for first in (begin..end).step_by(BATCH as usize) {
                table.write(&self.batch(first, BATCH.min(end - first))?)?;
            }
            let mut open = repo.open_commit();
            open.put_table(&format!("/{}/{n:08}.parquet", self.repo), PutMode::Append, table.finish()?).await?;
            let to = PartitionMarker {
                producer: String::new(),
                label: "p".into(),
                position: Position::at(end),
                ended: false,
                passing: Vec::new(),
            };
            let step = Step { from: (n > 0).then_some(begin), to, jumped: None };
            let meta = CommitMeta {
                pipeline: self.repo.into(),
                advance: Advance { steps: [(PartitionId::default(), step)].into() },
                reason: "rows".into(),
                counts: Counts { messages: self.rows, rows: self.rows, ..Counts::default() },
                ..CommitMeta::default()
            };
            match writer.finish(open, meta).await? {
                Finished::Committed(_) => {}
                other => bail!("{other:?}"),
            }
        }
        Ok(())
    }
}

/// The files that hold the rows of `repo`.
pub(crate) async fn files(dir: &Path, repo: &str) -> Result<Vec<PathBuf>> {
    let store = Store::open_existing(dir.to_str().context("a path that is text")?).await?;
    let (repo, commit) = store.recorded(&Reference::head(repo, MASTER)).await?;
    let tree = repo.tree(&commit).await?;
    let pieces = tree.files().flat_map(|file| &file.pieces);
    Ok(pieces.filter_map(|piece| Some(PathBuf::from(repo.shown(piece.blob.object()?)))).collect())
}

/// A number that looks like chance.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn name(user: u64) -> String {
    format!("user-{user:06}")
}

fn events(first: u64, count: u64) -> Result<RecordBatch> {
    let ids = || first..first + count;
    let kinds = ids().map(|id| KINDS.get((mixed(id) % 4) as usize).copied().unwrap_or_default());
    let columns: [(&str, ArrayRef); 7] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids().map(u64::cast_signed)))),
        ("at", Arc::new(times(ids()))),
        ("name", Arc::new(StringArray::from_iter_values(ids().map(|id| name(mixed(id + 1) % USERS))))),
        ("kind", Arc::new(StringArray::from_iter_values(kinds))),
        ("note", Arc::new(StringArray::from_iter_values(ids().map(|id| format!("note {}", mixed(id + 2) % 977))))),
        ("amount", Arc::new(Int64Array::from_iter_values(ids().map(|id| (mixed(id + 3) % 1_000_000).cast_signed())))),
        ("paid", Arc::new(ids().map(|id| Some(mixed(id + 4).is_multiple_of(3))).collect::<BooleanArray>())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn times(ids: std::ops::Range<u64>) -> TimestampMillisecondArray {
    TimestampMillisecondArray::from_iter_values(ids.map(|id| 1_700_000_000_000 + (id * 3).cast_signed()))
}

fn users(first: u64, count: u64) -> Result<RecordBatch> {
    let ids = || first..first + count;
    let country = |id: u64| format!("country {:02}", mixed(id) % COUNTRIES);
    let columns: [(&str, ArrayRef); 3] = [
        ("name", Arc::new(StringArray::from_iter_values(ids().map(name)))),
        ("country", Arc::new(StringArray::from_iter_values(ids().map(country)))),
        ("level", Arc::new(Int64Array::from_iter_values(ids().map(|id| (mixed(id) % 10).cast_signed())))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
