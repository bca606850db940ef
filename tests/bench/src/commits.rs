//! Commits of one row against bare files of the same bytes, written and synced one after the other.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use spout_data::{Advance, Counts, PartitionId, PartitionMarker, Position, Step};
use spout_format::{Format, TableWriter};
use spout_repo::{CommitMeta, Finished, PutMode, Store};

use crate::timing::{median, rate};

const COMMITS: u64 = 300;

pub(crate) async fn run() -> Result<()> {
    let dir = spout_tests::root().join("target/bench-store");
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(dir.join("bare"))?;
    let store = Store::open(&dir.join("store").to_string_lossy()).await?;
    let repo = store.repo_or_create("bench", "").await?;
    let mut writer = repo.writer("master", "bench").await?;
    let (mut commits, mut bare) = (Vec::new(), Vec::new());
    for n in 0..COMMITS {
        let begun = Instant::now();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![n as i64]));
        let rows = RecordBatch::try_from_iter([("n", column)])?;
        let mut table = TableWriter::new(Format::Parquet, rows.schema())?;
        table.write(&rows)?;
        let mut open = repo.open_commit();
        open.put_table(&format!("/rows/{n:06}.parquet"), PutMode::Append, table.finish()?).await?;
        match writer.finish(open, meta(n)).await? {
            Finished::Committed(_) => {}
            other => bail!("{other:?}"),
        }
        commits.push(begun.elapsed());
        let record = fs::read_dir(dir.join("store/repos/bench/branches/master"))?.last();
        let bytes = vec![
            7;
            usize::try_from(
                record.transpose()?.map_or(4096, |record| record.metadata().map_or(4096, |m| m.len()))
            )?
        ];
        bare.push(bare_create(&dir.join("bare"), n, &bytes)?);
    }
    let total: Duration = commits.iter().sum();
    let (commit, bare) = (median(&mut commits), median(&mut bare));
    println!("commits: {COMMITS} commits of one row, on the disk of {}", dir.display());
    println!(
        "  commit                         {:7.2} ms   {:6.0} a second",
        commit.as_secs_f64() * 1e3,
        rate(COMMITS as f64, total)
    );
    println!(
        "  bare create + fsync + fsync of the directory {:7.2} ms   commit/bare {:.2}x",
        bare.as_secs_f64() * 1e3,
        commit.as_secs_f64() / bare.as_secs_f64()
    );
    Ok(())
}

fn bare_create(dir: &std::path::Path, n: u64, bytes: &[u8]) -> Result<Duration> {
    let begun = Instant::now();
    let mut file = File::create_new(dir.join(format!("{n:020}.json")))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(begun.elapsed())
}

fn meta(n: u64) -> CommitMeta {
    let to = PartitionMarker { label: "p".into(), position: Position::at(n + 1), ..PartitionMarker::default() };
    let step = Step { from: (n > 0).then_some(n), to, jumped: None };
    CommitMeta {
        pipeline: "bench".into(),
        spec_digest: String::new(),
        plugins: BTreeMap::new(),
        advance: Advance { steps: BTreeMap::from([(PartitionId::default(), step)]) },
        state: BTreeMap::new(),
        started_ms: 0,
        reason: "rows".into(),
        counts: Counts { messages: 1, rows: 1, ..Counts::default() },
        marker_file: None,
        ..CommitMeta::default()
    }
}
