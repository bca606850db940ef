//! What spouts commit: bytes of large files, through archives and through `pfs`, against `tar | dd` of the same bytes onto the same
//! disk; and how many small commits a second.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests};

use crate::timing::{median, rate};

/// Mebibytes of a large file.
const LARGE: u64 = 512;
/// Small commits.
const SMALL: u64 = 500;
/// Runs of each candidate, one after the other in turn.
const RUNS: usize = 5;

/// A way to get bytes or commits into the store.
struct Way {
    name: &'static str,
    transform: String,
    /// What it brings, in mebibytes or commits.
    brings: u64,
}

pub(crate) fn run() -> Result<()> {
    let dir = spout_tests::root().join("target/bench-store-spouts");
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(dir.join("plugins"))?;
    for guest in ["tars.wasm", "driven.wasm"] {
        let from = guests().join(guest);
        fs::copy(&from, dir.join("plugins").join(guest))
            .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    }
    let large = dir.join("large");
    let bytes: Vec<u8> = (0..LARGE << 20).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    fs::write(&large, bytes)?;
    println!("spouts: a file of {LARGE} MiB, and {SMALL} small commits, on the disk of {}", dir.display());
    let trusted =
        format!("{{trusted: true, cmd: [sh, -c, 'exec tar -C \"$0\" -c large > \"$PFS_OUT\"', '{}']}}", dir.display());
    let wholes = [
        Way {
            name: "tar, sandboxed",
            transform: format!("{{plugin: tars, args: [large, '{}']}}", LARGE << 20),
            brings: LARGE,
        },
        Way { name: "tar, trusted program", transform: trusted, brings: LARGE },
        Way {
            name: "put-file",
            transform: format!("{{plugin: driven, settings: {{task: large, commits: {LARGE}}}}}"),
            brings: LARGE,
        },
    ];
    let (mut bare, mut times) = (Vec::new(), vec![Vec::new(); wholes.len()]);
    for _ in 0..RUNS {
        bare.push(tar_to_disk(&dir)?);
        for (way, times) in wholes.iter().zip(&mut times) {
            times.push(committed(&dir, way, 1)?);
        }
    }
    let bare = rate(LARGE as f64, median(&mut bare));
    println!("  {:24} {bare:7.0} MiB/s", "tar | dd conv=fsync");
    for (way, mut times) in wholes.iter().zip(times) {
        let speed = rate(way.brings as f64, median(&mut times));
        println!("  {:24} {speed:7.0} MiB/s   {:.2}x of that", way.name, speed / bare);
    }
    println!("  aim: 0.5x for archives");
    for way in [
        Way { name: "tar, sandboxed", transform: format!("{{plugin: tars, args: [rapid, '{SMALL}']}}"), brings: SMALL },
        Way {
            name: "put-file",
            transform: format!("{{plugin: driven, settings: {{task: grow, commits: {SMALL}}}}}"),
            brings: SMALL,
        },
    ] {
        let mut times = (0..RUNS).map(|_| committed(&dir, &way, SMALL)).collect::<Result<Vec<_>>>()?;
        println!("  {:24} {:7.0} commits/s", way.name, rate(way.brings as f64, median(&mut times)));
    }
    Ok(())
}

/// How long it takes from the start of the pipeline until so many commits are durable, in a store of its own.
fn committed(dir: &Path, way: &Way, commits: u64) -> Result<Duration> {
    let mut site = Site::new()?;
    let store = dir.join("store");
    (site.store, site.plugins) = (store.display().to_string(), dir.join("plugins"));
    site.write("spec.yaml", format!("pipeline: {{name: s}}\ntransform: {}\n", way.transform))?;
    let mut running = site.start(&["run", "spec.yaml", "--until", "ended"])?;
    running.wait_for("started")?.with_context(|| format!("{}: it did not start", way.name))?;
    let begun = Instant::now();
    for _ in 0..commits {
        running.wait_for("committed")?.with_context(|| format!("{}: it did not commit", way.name))?;
    }
    let took = begun.elapsed();
    let (fine, said) = running.end()?;
    ensure!(fine, "{}: {said}", way.name);
    fs::remove_dir_all(store)?;
    Ok(took)
}

/// How long the same bytes take as an archive that is written to a file, and synced.
fn tar_to_disk(dir: &Path) -> Result<Duration> {
    let to: PathBuf = dir.join("copied");
    let begun = Instant::now();
    let status = Command::new("sh")
        .args(["-c", "tar -c large | dd of=copied bs=1M conv=fsync status=none"])
        .current_dir(dir)
        .status()?;
    let took = begun.elapsed();
    ensure!(status.success(), "tar | dd failed");
    fs::remove_file(to)?;
    Ok(took)
}
