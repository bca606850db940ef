//! The whole pipeline as users run it: a file of events through the `files` plugin, decoded, committed every 100,000 rows.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::Site;

use crate::{
    events::{self, SCHEMA},
    process,
};

const EVENTS: u64 = 2_000_000;
const RUNS: usize = 3;

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall: Duration,
    cpu: f64,
    peak_mib: u64,
}

fn spec(decoder: &str) -> String {
    format!(
        r#"
pipeline: {{name: events}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", follow: false}}}}
  decoder: {decoder}
commit: {{path: /events/, flush: {{rows: 100000}}}}
grants:
  files: {{dirs: {{in: {}}}}}
"#,
        spout_tests::root().join("target/bench-events").display()
    )
}

pub(crate) fn run() -> Result<()> {
    let bytes = input(&spout_tests::root().join("target/bench-events"))?;
    println!(
        "pipeline: {EVENTS} events of {} bytes from one file, a commit every 100,000 rows, median of {RUNS}",
        bytes / EVENTS
    );
    let native = format!("{{type: json, schema: {SCHEMA}}}");
    let plugin = format!("{{plugin: json, settings: {{schema: '{SCHEMA}'}}}}");
    let mut all: [Vec<Took>; 2] = Default::default();
    for _ in 0..RUNS {
        for (took, decoder) in all.iter_mut().zip([&native, &plugin]) {
            took.push(once(decoder)?);
        }
    }
    let aims = ["aim 1,000,000 rows/s, 0.8 CPU s, 300 MiB", "aim 700,000 rows/s"];
    let mut walls = Vec::new();
    for ((mut took, name), aim) in all.into_iter().zip(["native decoder", "json plugin"]).zip(aims) {
        took.sort_by_key(|took| took.wall);
        let middle = took.get(RUNS / 2).context("a run")?;
        let peak = took.iter().map(|took| took.peak_mib).max().unwrap_or(0);
        walls.push(middle.wall.as_secs_f64());
        println!(
            "  {name:15} {:9.0} rows/s   {:.2} CPU s a million rows   peak {peak} MiB   ({aim})",
            EVENTS as f64 / middle.wall.as_secs_f64(),
            middle.cpu / (EVENTS as f64 / 1e6)
        );
    }
    println!("  plugin/native {:.2}x", walls.first().unwrap_or(&0.0) / walls.last().unwrap_or(&1.0));
    Ok(())
}

/// Makes the input unless it is there; its bytes.
fn input(dir: &Path) -> Result<u64> {
    let path = dir.join("events.ndjson");
    if !path.exists() {
        fs::create_dir_all(dir)?;
        let staged = dir.join("staged");
        let mut file = BufWriter::new(File::create(&staged)?);
        (0..EVENTS).try_for_each(|n| events::write(n, &mut file))?;
        file.flush()?;
        fs::rename(staged, &path)?;
    }
    Ok(fs::metadata(path)?.len())
}

fn once(decoder: &str) -> Result<Took> {
    let site = Site::new()?;
    site.write("spec.yaml", spec(decoder))?;
    let mut command = site.command(&["run", "spec.yaml", "--until", "ended"]);
    let store = spout_tests::root().join("target/bench-store-pipeline");
    drop(fs::remove_dir_all(&store));
    let begun = Instant::now();
    let mut child = command.env("SPOUT_STORE", &store).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
    let seen = process::watch(&mut child);
    let wall = begun.elapsed();
    ensure!(child.wait()?.success(), "the run failed");
    let store = store.to_string_lossy().into_owned();
    let count = site.ok(&["sql", "select count(*) from events", "--format", "csv", "--store", &store])?;
    ensure!(count.lines().last() == Some("2000000"), "{count}");
    Ok(Took { wall, cpu: seen.cpu, peak_mib: seen.peak_mib })
}
