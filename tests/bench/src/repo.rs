//! Commits of different sizes against bare files of the same bytes, and what a long history costs.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use spout_data::{Advance, Counts, PartitionId, PartitionMarker, Position, Step};
use spout_format::{Format, TableWriter};
use spout_repo::{BranchWriter, Commit, CommitMeta, Finished, MASTER, PutMode, Reference, Repo, Store};

use crate::{
    process,
    timing::{at_percent, median, rate},
};

const REPO: &str = "bench";
/// Rows of a commit, and how many such commits are timed.
const SIZES: [(usize, u64); 3] = [(1, 400), (1_000, 300), (100_000, 40)];
/// Commits before the costs of a history are looked at; the last is what `--commits` says.
const HISTORIES: [u64; 3] = [10, 1_000, 100_000];
/// The files that all commits of a history overwrite in turn, so that histories differ in length alone.
const FILES: u64 = 10;
/// Commits and openings timed after a history.
const TIMED: u64 = 60;
const OPENINGS: usize = 15;

/// Everything: commits of all sizes, then histories, each looked at by a process of its own.
pub(crate) async fn run(args: &[String]) -> Result<()> {
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["grow", dir, from, to] => return grow(Path::new(dir), from.parse()?, to.parse()?).await,
        ["look", dir] => return look(Path::new(dir)).await,
        ["loop", dir, count] => return only_commits(Path::new(dir), count.parse()?).await,
        [] => {}
        ["--commits", most] => return all(most.parse()?).await,
        _ => bail!("repo takes --commits N"),
    }
    all(HISTORIES[2]).await
}

async fn all(most: u64) -> Result<()> {
    let dir = spout_tests::root().join("target/bench-repo");
    drop(fs::remove_dir_all(&dir));
    sizes(&dir.join("sizes")).await?;
    histories(&dir.join("histories"), most)?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Rows of some text and numbers.
fn rows(first: u64, count: usize) -> Result<RecordBatch> {
    let first = first.cast_signed();
    let ids = (0..).map(|at| first.wrapping_add(at)).take(count);
    let names = ids.clone().map(|id| format!("customer-{:05}", id.wrapping_mul(7919) % 10_007));
    let prices = ids.clone().map(|id| (id % 997) as f64 / 8.0);
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        ("name", Arc::new(StringArray::from_iter_values(names))),
        ("price", Arc::new(Float64Array::from_iter_values(prices))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn meta(from: Option<u64>) -> CommitMeta {
    let to = PartitionMarker {
        label: "p".into(),
        position: Position::at(from.unwrap_or(0) + 1),
        ..PartitionMarker::default()
    };
    CommitMeta {
        pipeline: REPO.into(),
        advance: Advance { steps: [(PartitionId::default(), Step { from, to, jumped: None })].into() },
        reason: "rows".into(),
        counts: Counts { messages: 1, rows: 1, ..Counts::default() },
        ..CommitMeta::default()
    }
}

/// One commit of these rows as a Parquet file; it, and the time that making the file took.
async fn commit(repo: &Repo, writer: &mut BranchWriter, rows: &RecordBatch) -> Result<(Commit, Duration)> {
    let from = writer.marker().partitions.get(&PartitionId::default()).map(|entry| entry.position.offset);
    let begun = Instant::now();
    let mut table = TableWriter::new(Format::Parquet, rows.schema())?;
    table.write(rows)?;
    let encoded = table.finish()?;
    let encoding = begun.elapsed();
    let mut open = repo.open_commit();
    let path = format!("/rows/{:02}.parquet", from.unwrap_or(0) % FILES);
    open.put_table(&path, PutMode::Overwrite, encoded).await?;
    match writer.finish(open, meta(from)).await? {
        Finished::Committed(commit) => Ok((commit, encoding)),
        other => bail!("{other:?}"),
    }
}

/// Bytes of the objects that a commit made: its files that are not in the record, and the record.
fn objects(store: &Path, commit: &Commit) -> Result<Vec<u64>> {
    let record = format!("repos/{REPO}/branches/{MASTER}/{:020}.json", commit.header.sequence);
    let record = fs::metadata(store.join(record))?.len();
    Ok(commit
        .files
        .iter()
        .filter(|file| file.blob.object().is_some())
        .map(|file| file.blob.size)
        .chain([record])
        .collect())
}

/// What the store does for one object, by hand: stage, write, sync, link, sync the directory, unlink.
fn bare(dir: &Path, n: u64, sizes: &[u64]) -> Result<Duration> {
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| (0..*size).map(|at| (at * 7 % 251) as u8).collect()).collect();
    let begun = Instant::now();
    for (at, body) in bodies.iter().enumerate() {
        let (staged, name) = (dir.join(format!("{n}-{at}#1")), dir.join(format!("{n}-{at}")));
        let mut file = File::create_new(&staged)?;
        file.write_all(body)?;
        file.sync_all()?;
        fs::hard_link(&staged, &name)?;
        File::open(dir)?.sync_all()?;
        fs::remove_file(&staged)?;
    }
    Ok(begun.elapsed())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn sizes(dir: &Path) -> Result<()> {
    println!(
        "repo: commits of a Parquet file against bare stage + write + fsync + link + fsync of the directory of the same"
    );
    println!("bytes, alternating, on the disk of {}", dir.display());
    println!("     rows  commits/s   p50 ms   p99 ms   bare p50   bare p99   p50 ratio   p99 ratio   encoding p50");
    for (count, commits) in SIZES {
        let (place, bare_dir) = (dir.join(format!("{count}/store")), dir.join(format!("{count}/bare")));
        fs::create_dir_all(&bare_dir)?;
        let repo = Store::open(&place.to_string_lossy()).await?.repo_or_create(REPO, "").await?;
        let mut writer = repo.writer(MASTER, REPO).await?;
        let (mut ours, mut theirs, mut encodings) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..commits {
            let rows = rows(n * count as u64, count)?;
            let begun = Instant::now();
            let (made, encoding) = commit(&repo, &mut writer, &rows).await?;
            ours.push(begun.elapsed());
            encodings.push(encoding);
            theirs.push(bare(&bare_dir, n, &objects(&place, &made)?)?);
        }
        let a_second = rate(commits as f64, ours.iter().sum());
        let ((p50, p99), (bare50, bare99)) = (both(&mut ours), both(&mut theirs));
        println!(
            "{count:>9} {a_second:>10.0} {:>8.2} {:>8.2} {:>10.2} {:>10.2} {:>10.2}x {:>10.2}x {:>14.2}",
            ms(p50),
            ms(p99),
            ms(bare50),
            ms(bare99),
            p50.as_secs_f64() / bare50.as_secs_f64(),
            p99.as_secs_f64() / bare99.as_secs_f64(),
            ms(median(&mut encodings)),
        );
    }
    Ok(())
}

fn both(times: &mut [Duration]) -> (Duration, Duration) {
    (at_percent(times, 50), at_percent(times, 99))
}

/// Each length is grown without syncing, which changes no byte of it, and looked at by a process of its own.
fn histories(dir: &Path, most: u64) -> Result<()> {
    println!(
        "\nrepo: after so many commits of one row (opening: median of {OPENINGS}, commits: of {TIMED} with fsync)"
    );
    println!("  commits   resolve ms   claim ms   list files ms   20 commits ms   commit ms   commit/bare   RSS MiB");
    let (mut there, mut looks) = (0, Vec::new());
    for length in HISTORIES.into_iter().filter(|length| *length < most).chain([most]) {
        let begun = Instant::now();
        let (from, to) = (there.to_string(), length.to_string());
        child(&["grow", text(dir)?, &from, &to], true)?;
        let grown = begun.elapsed();
        let looked = child(&["look", text(dir)?], false)?;
        let looked: Vec<f64> = looked.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [resolve, claim, tree, history, commit, bare, rss] = looked.as_slice() else { bail!("{looked:?}") };
        println!(
            "{length:>9} {resolve:>12.2} {claim:>10.2} {tree:>15.2} {history:>15.2} {commit:>11.2} {:>12.2}x {rss:>9.0}   \
             (grown in {:.0} s)",
            commit / bare,
            grown.as_secs_f64()
        );
        there = length + TIMED;
        looks.push(looked);
    }
    if let [first, .., last] = looks.as_slice() {
        let ratio = |at: usize| last.get(at).copied().unwrap_or(0.0) / first.get(at).copied().unwrap_or(f64::NAN);
        let [resolve, claim, tree, history, commit] = [0, 1, 2, 3, 4].map(ratio);
        println!("last/first {resolve:>11.2}x {claim:>9.2}x {tree:>14.2}x {history:>14.2}x {commit:>10.2}x");
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

/// `spout-bench repo ARGS`; its output.
fn child(args: &[&str], unsynced: bool) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("repo").args(args);
    if unsynced {
        command.env("SPOUT_UNSAFE_NO_FSYNC", "1");
    }
    let output = command.output()?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn open(dir: &Path) -> Result<Repo> {
    Ok(Store::open(&dir.join("store").to_string_lossy()).await?.repo_or_create(REPO, "").await?)
}

async fn grow(dir: &Path, from: u64, to: u64) -> Result<()> {
    let repo = open(dir).await?;
    let mut writer = repo.writer(MASTER, REPO).await?;
    for n in from..to {
        commit(&repo, &mut writer, &rows(n, 1)?).await?;
    }
    Ok(())
}

/// Times what a process does that comes to a store, and prints it as numbers.
async fn look(dir: &Path) -> Result<()> {
    let head = Reference::head(REPO, MASTER);
    let place = dir.join("store").to_string_lossy().into_owned();
    let (mut resolving, mut listing, mut history, mut claiming) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        let begun = Instant::now();
        let (repo, commit) = Store::open_existing(&place).await?.resolve(&head).await?;
        resolving.push(begun.elapsed());
        let begun = Instant::now();
        ensure!(repo.tree(&commit).await?.len() as u64 == FILES, "the files are others");
        listing.push(begun.elapsed());
        let begun = Instant::now();
        ensure!(repo.history(&head, 20).await?.len() >= 10, "the history is short");
        history.push(begun.elapsed());
    }
    let repo = open(dir).await?;
    // Each claim is a record, so few of them do not change what is measured.
    for _ in 0..OPENINGS {
        let begun = Instant::now();
        drop(repo.writer(MASTER, REPO).await?);
        claiming.push(begun.elapsed());
    }
    let mut writer = repo.writer(MASTER, REPO).await?;
    let (mut commits, mut bares) = (Vec::new(), Vec::new());
    let bare_dir = dir.join("bare");
    drop(fs::remove_dir_all(&bare_dir));
    fs::create_dir_all(&bare_dir)?;
    for n in 0..TIMED {
        let rows = rows(n, 1)?;
        let begun = Instant::now();
        let (made, _) = commit(&repo, &mut writer, &rows).await?;
        commits.push(begun.elapsed());
        bares.push(bare(&bare_dir, n, &objects(&dir.join("store"), &made)?)?);
    }
    for times in [&mut resolving, &mut claiming, &mut listing, &mut history, &mut commits, &mut bares] {
        print!("{} ", ms(median(times)));
    }
    println!("{}", process::own_mib("VmRSS:"));
    Ok(())
}

/// One-row commits and nothing else, for a profiler.
async fn only_commits(dir: &Path, count: u64) -> Result<()> {
    let begun = Instant::now();
    grow(dir, 0, count).await?;
    println!("{:.0} commits a second", rate(count as f64, begun.elapsed()));
    Ok(())
}
