//! Many partitions: the same events in 4, 1,000 and 10,000 files, to committed rows; then nothing to do, with 10,000 files, and
//! with 50 pipelines of one file.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::Site;

use crate::{
    events::{self, SCHEMA},
    process::{self, Seen},
};

const EVENTS: u64 = 1_000_000;
const RUNS: usize = 3;
/// How long nothing to do is measured.
const IDLE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
struct Took {
    wall: Duration,
    first_commit: Duration,
    seen: Seen,
}

pub(crate) fn run() -> Result<()> {
    println!("partitions: {EVENTS} events in files of one directory, median of {RUNS}");
    let counts = [4, 1000, 10_000];
    for files in counts {
        input(files)?;
    }
    let mut all: [Vec<Took>; 3] = Default::default();
    for _ in 0..RUNS {
        for (took, files) in all.iter_mut().zip(counts) {
            took.push(to_rows(files)?);
        }
    }
    let mut base = None;
    for (mut took, files) in all.into_iter().zip(counts) {
        took.sort_by_key(|took| took.wall);
        let Took { wall, first_commit, seen } = *took.get(RUNS / 2).context("a run")?;
        let of = wall.as_secs_f64() / base.get_or_insert(wall).as_secs_f64();
        println!(
            "  {files:>6} files: {:.2} s ({of:.2}x of 4 files; aim at 1,000: 1.5x), {:.2} CPU s, peak {} MiB (aim at 10,000: 600), {} threads, first commit after {:.2} s (aim 5 s)",
            wall.as_secs_f64(),
            seen.cpu,
            seen.peak_mib,
            seen.threads,
            first_commit.as_secs_f64()
        );
    }
    let idle = idle(&[spec("events", &place(10_000), true)])?;
    println!("  10,000 idle files: {} (aim 5 %, 600 MiB)", idle);
    let dir = place(50);
    let specs: Vec<String> = (0..50)
        .map(|n| {
            let dir = dir.join(format!("in-{n}"));
            fs::create_dir_all(&dir)?;
            let mut line = Vec::new();
            events::write(n, &mut line)?;
            fs::write(dir.join("a.ndjson"), line)?;
            Ok(spec(&format!("events-{n}"), &dir, true))
        })
        .collect::<Result<_>>()?;
    println!("  50 idle pipelines of one file: {} (aim 3 %, 40 threads)", self::idle(&specs)?);
    Ok(())
}

fn place(files: u64) -> PathBuf {
    spout_tests::root().join(format!("target/bench-partitions-{files}"))
}

fn spec(name: &str, dir: &Path, follow: bool) -> String {
    format!(
        r#"
pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", follow: {follow}}}}}
  decoder: {{type: json, schema: {SCHEMA}}}
commit: {{path: /events/, flush: {{rows: 100000, time: 1s}}}}
grants:
  files: {{dirs: {{in: {}}}}}
"#,
        dir.display()
    )
}

/// The events spread over `files` files.
fn input(files: u64) -> Result<()> {
    let dir = place(files);
    if dir.join("done").exists() {
        return Ok(());
    }
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(&dir)?;
    for file in 0..files {
        let mut out = BufWriter::new(File::create(dir.join(format!("{file:05}.ndjson")))?);
        (EVENTS * file / files..EVENTS * (file + 1) / files).try_for_each(|n| events::write(n, &mut out))?;
        out.flush()?;
    }
    Ok(fs::write(dir.join("done"), "")?)
}

fn start(site: &Site, specs: &[String], until: &[&str]) -> Result<Child> {
    site.write("spec.yaml", specs.join("---"))?;
    let store = spout_tests::root().join("target/bench-store-partitions");
    drop(fs::remove_dir_all(&store));
    let mut command = site.command(&["run", "spec.yaml", "--json"]);
    Ok(command.args(until).env("SPOUT_STORE", &store).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
}

fn to_rows(files: u64) -> Result<Took> {
    let site = Site::new()?;
    let begun = Instant::now();
    let mut child = start(&site, &[spec("events", &place(files), false)], &["--until", "ended"])?;
    let out = BufReader::new(child.stdout.take().context("its output")?);
    let committed = std::thread::spawn(move || {
        let mut first = None;
        for line in out.lines().map_while(Result::ok) {
            if first.is_none() && line.contains(r#""event":"committed""#) {
                first = Some(Instant::now());
            }
        }
        first
    });
    let seen = process::watch(&mut child);
    let wall = begun.elapsed();
    ensure!(child.wait()?.success(), "the run of {files} files failed");
    let first = committed.join().ok().flatten().context("a commit")?;
    let store = spout_tests::root().join("target/bench-store-partitions").to_string_lossy().into_owned();
    let count = site.ok(&["sql", "select count(*) from events", "--format", "csv", "--store", &store])?;
    ensure!(count.lines().last() == Some("1000000"), "{count}");
    Ok(Took { wall, first_commit: first.duration_since(begun), seen })
}

/// What a run takes that has read everything and waits.
fn idle(specs: &[String]) -> Result<String> {
    let site = Site::new()?;
    let mut child = start(&site, specs, &[])?;
    // Not read: what it prints fits a pipe, or is dropped with it.
    let out = child.stdout.take().context("its output")?;
    let drain = std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).for_each(drop));
    let mut seen = Seen::default();
    let mut rest = (0.0, Instant::now());
    // Everything is read once a second costs little more than the one before.
    loop {
        seen.look(&child);
        ensure!(matches!(child.try_wait(), Ok(None)), "the idle run ended");
        if rest.1.elapsed() >= Duration::from_secs(3) {
            if seen.cpu - rest.0 < 0.6 {
                break;
            }
            rest = (seen.cpu, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    seen = Seen { threads: 0, ..seen };
    let (before, begun) = (seen.cpu, Instant::now());
    while begun.elapsed() < IDLE {
        seen.look(&child);
        std::thread::sleep(Duration::from_millis(250));
    }
    let share = (seen.cpu - before) / begun.elapsed().as_secs_f64() * 100.0;
    child.kill()?;
    child.wait()?;
    drop(drain.join());
    Ok(format!("{share:.1} % of a core, {} MiB, {} threads", seen.resident_mib, seen.threads))
}
