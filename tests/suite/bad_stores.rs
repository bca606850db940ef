//! Stores that are damaged, full, read-only, shared or lived in by others: coded errors, nothing lost, nothing overwritten.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use spout_tests::life::{Life, in_memory, text};
use tempfile::TempDir;

fn life() -> Life {
    Life::of(env!("CARGO_BIN_EXE_spout-life"))
}

/// A store that has lived, and what readers saw of it after each step.
fn lived(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let (store, reference) = (dir.join("store"), dir.join("reference"));
    life().ok(&["live", text(&store)?, text(&reference)?])?;
    Ok((store, reference))
}

fn steps(output: &Output) -> usize {
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

/// Whether the process ended well, or with a code of the repo.
fn coded(output: &Output) -> Result<bool> {
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) if told.contains("error[E05") => Ok(false),
        _ => bail!("it ended with {}: {told}", output.status),
    }
}

#[test]
fn whatever_file_is_damaged_nobody_reads_anything_else_than_was_written() -> Result<()> {
    let dir = in_memory()?;
    let (store, _) = lived(dir.path())?;
    // Broken writes and what was replaced would be found beside the damage.
    life().ok(&["sweep", text(&store)?])?;
    let told = life().ok(&["damage", text(&store)?])?;
    println!("{told}");
    life().ok(&["write-on", text(&store)?])?;
    Ok(())
}

/// A small file system of its own in memory, unmounted in the end; `None` without root.
struct Mounted(TempDir);

impl Mounted {
    fn new(kib: u64) -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let size = format!("size={kib}k");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output()?;
        Ok(done.status.success().then_some(Self(dir)))
    }

    fn remount(&self, options: &str) -> Result<()> {
        // Busy while a file is open for writing.
        for _ in 0..10_000 {
            let mut mount = Command::new("mount");
            let done = mount.args(["-o", &format!("remount,{options}")]).arg(self.0.path()).output()?;
            if done.status.success() {
                return Ok(());
            }
        }
        bail!("it cannot be remounted {options}")
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0.path()).status());
    }
}

const NO_ROOT: &str = "SKIPPED: mounting a small file system needs root";

#[test]
fn wherever_the_disk_is_full_nothing_is_lost_and_it_goes_on_with_room() -> Result<()> {
    let dir = in_memory()?;
    let (store, reference) = lived(dir.path())?;
    let needed = Command::new("du").args(["-sk"]).arg(&store).output()?;
    let needed: u64 = String::from_utf8_lossy(&needed.stdout).split_whitespace().next().context("a size")?.parse()?;
    // Small steps while everything is small, then larger ones across the streamed file.
    let sizes = (16..600).step_by(24).chain((600..needed + 12_000).step_by(1_000));
    let (mut full, mut fine) = (0, 0);
    for kib in sizes {
        let Some(mounted) = Mounted::new(kib)? else {
            println!("{NO_ROOT}");
            return Ok(());
        };
        let store = mounted.store();
        let output = life().run(&["live", text(&store)?], "")?;
        if coded(&output).with_context(|| format!("with {kib} KiB"))? {
            fine += 1
        } else {
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(told.contains("E0504"), "with {kib} KiB: {told}");
            full += 1;
        }
        mounted.remount("size=200m")?;
        let acknowledged = steps(&output).to_string();
        let checked = life().ok(&["check", text(&store)?, text(&reference)?, &acknowledged]);
        checked.with_context(|| format!("with {kib} KiB, after {acknowledged} steps"))?;
    }
    println!("{full} lives in stores that were full, {fine} in stores that were not");
    ensure!(full > 10, "only {full} stores were full");
    Ok(())
}

#[test]
fn whenever_the_disk_becomes_read_only_nothing_is_lost() -> Result<()> {
    let dir = in_memory()?;
    let (_, reference) = lived(dir.path())?;
    for after in [1, 3, 30, 73, 80, 85, 90, 95, 104, 150, 172, 176] {
        let Some(mounted) = Mounted::new(200 << 10)? else {
            println!("{NO_ROOT}");
            return Ok(());
        };
        let store = mounted.store();
        let mut command = life().command(&["live", text(&store)?]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut steps = lines.by_ref().take(after).count();
        mounted.remount("ro")?;
        steps += lines.count();
        let output = child.wait_with_output()?;
        ensure!(!coded(&output)?, "it went on to the end");
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(told.contains("E0505"), "read-only after {after} steps: {told}");
        mounted.remount("rw")?;
        let checked = life().ok(&["check", text(&store)?, text(&reference)?, &steps.to_string()]);
        checked.with_context(|| format!("read-only after {after} steps"))?;
    }
    Ok(())
}

#[test]
fn files_of_others_in_a_store_are_neither_taken_for_ours_nor_touched() -> Result<()> {
    let dir = in_memory()?;
    let (store, _) = lived(dir.path())?;
    let theirs = [
        "holiday.jpg",
        "repos/life/thesis.doc",
        "repos/life/data/holiday.jpg",
        "repos/life/data/2026/01-02.bin",
        "repos/life/tables/master/rows/part-0.parquet",
        "repos/life/index/notes",
        "repos/life/branches/master/notes.txt",
        "repos/life/checkpoints/master/notes.txt",
        "repos/life/tags/one/notes.txt",
    ];
    for name in theirs {
        let path = store.join(name);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, name)?;
    }
    life().ok(&["go-on", text(&store)?])?;
    let gone = theirs.iter().filter(|name| fs::read(store.join(name)).ok().as_deref() != Some(name.as_bytes()));
    let gone: Vec<_> = gone.collect();
    ensure!(gone.is_empty(), "a collection or a repair took what is not ours: {gone:?}");
    Ok(())
}

#[test]
fn a_place_of_somebody_else_is_refused_and_stays_as_it_is() -> Result<()> {
    let check = |name: &str| -> Result<()> {
        let dir = in_memory()?;
        let store = dir.path().join("store");
        let path = store.join(name);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(&path, "theirs")?;
        let output = life().run(&["live", text(&store)?], "")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(!coded(&output)? && told.contains("E0558"), "{name}: {told}");
        ensure!(fs::read(&path)? == b"theirs", "{name} was changed");
        ensure!(!store.join("repos/life").exists(), "{name}: a repo was made");
        Ok(())
    };
    check("repos/readme.txt")?;
    check("repos/linux/Makefile")?;
    // Inside of another store's repo.
    check("repo.json")
}

#[test]
fn one_directory_by_two_urls_is_one_store() -> Result<()> {
    let dir = in_memory()?;
    let store = dir.path().join("store");
    fs::create_dir(&store)?;
    symlink(&store, dir.path().join("alias"))?;
    let urls = [
        text(&store)?.to_owned(),
        format!("file://{}", text(&store)?),
        format!("{}/", text(&store)?),
        text(&dir.path().join("alias"))?.to_owned(),
    ];
    let mut told = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        let mut command = life().command(&["write", url, &format!("writer-{at}")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut said = String::new();
        while said.matches("committed").count() < 3 {
            said += &(lines.next().context("it ended")?? + "\n");
        }
        drop(child.stdin.take());
        for line in lines {
            said += &(line? + "\n");
        }
        ensure!(child.wait()?.success(), "{url}");
        let path = dir.path().join(format!("told-{at}"));
        fs::write(&path, said)?;
        told.push(path);
    }
    let mut args = vec!["verify", text(&store)?, "exact"];
    for path in &told {
        args.push(text(path)?);
    }
    println!("{}", life().ok(&args)?);
    Ok(())
}

#[test]
fn a_clock_that_jumps_by_years_loses_nothing() -> Result<()> {
    const YEAR: i64 = 365 * 24 * 3600;
    let dir = in_memory()?;
    let store = dir.path().join("store");
    let mut told = Vec::new();
    for (at, years) in [0, 30, -20, 5, 0].into_iter().enumerate() {
        let mut command = life().command(&["write", text(&store)?, &format!("year-{at}")]);
        command.env("SPOUT_CLOCK_SHIFT", (years * YEAR).to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut said = String::new();
        while said.matches("committed").count() < 40 {
            said += &(lines.next().context("it ended")?? + "\n");
        }
        // A collection by a clock of another time takes nothing that is needed.
        let collected = life()
            .command(&["gc", text(&store)?, "3600000"])
            .env("SPOUT_CLOCK_SHIFT", (-years * YEAR).to_string())
            .output()?;
        coded(&collected)?;
        drop(child.stdin.take());
        for line in lines {
            said += &(line? + "\n");
        }
        ensure!(child.wait()?.success(), "in a year {years} from now");
        let path = dir.path().join(format!("told-{at}"));
        fs::write(&path, said)?;
        told.push(path);
    }
    let mut args = vec!["verify", text(&store)?, "exact"];
    for path in &told {
        args.push(text(path)?);
    }
    println!("{}", life().ok(&args)?);
    Ok(())
}
