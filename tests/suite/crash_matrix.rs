//! A life is broken off on both sides of every durable step, killed or by an error: what was acknowledged is there, nothing
//! is there in half, the next commit works, and what is left over goes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::Output,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use spout_tests::life::{Life, in_memory, text};
use tempfile::TempDir;

/// A life waits for the disk most of the time.
const AT_ONCE: usize = 4;
const SIGABRT: i32 = 6;

/// What a life that nothing happens to goes through.
struct Whole {
    life: Life,
    dir: TempDir,
    steps: usize,
    /// How often each fail point is passed.
    passes: BTreeMap<String, u64>,
}

static WHOLE: LazyLock<std::result::Result<Whole, String>> =
    LazyLock::new(|| whole().map_err(|error| format!("{error:#}")));

fn whole() -> Result<Whole> {
    let (life, dir) = (Life::of(env!("CARGO_BIN_EXE_spout-life")), in_memory()?);
    let reference = dir.path().join("reference");
    let output = life.run(&["live", text(&dir.path().join("store"))?, text(&reference)?], "count")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted = fs::read_to_string(&reference)?;
    let passes: BTreeMap<String, u64> = serde_json::from_str(counted.lines().last().context("passes")?)?;
    Ok(Whole { life, dir, steps: acknowledged(&output), passes })
}

fn acknowledged(output: &Output) -> usize {
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

impl Whole {
    fn get() -> Result<&'static Self> {
        WHOLE.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Every fail point there is, with how often it is passed. A step that is new and not in the script is an error.
    fn points(&self) -> Result<Vec<(String, u64)>> {
        let points = self.life.ok(&["points"])?;
        let passed = |point: &str| {
            let passes = self.passes.get(point).copied();
            let passes =
                passes.with_context(|| format!("no life passes {point}: add its step to tests/life/script.rs"))?;
            Ok((point.to_owned(), passes))
        };
        points.lines().map(passed).collect()
    }

    /// Lives with that fault in a fresh store, and checks what is left; what became of the life.
    fn live(&self, dir: &TempDir, fault: &str) -> Result<Output> {
        let (store, reference) = (dir.path().join("store"), self.dir.path().join("reference"));
        let output = self.life.run(&["live", text(&store)?], fault)?;
        let steps = acknowledged(&output);
        ensure!(!output.status.success() || steps == self.steps, "it ended well after {steps} steps");
        self.life.ok(&["check", text(&store)?, text(&reference)?, &steps.to_string()])?;
        Ok(output)
    }
}

/// Lives with each fault in a place of its own, several at a time; all that is wrong is said in the end.
fn matrix(
    place: impl Fn() -> Result<TempDir> + Sync,
    faults: &[String],
    ended: impl Fn(&str, &Output) -> Result<()> + Sync,
) -> Result<()> {
    let whole = Whole::get()?;
    let next = AtomicUsize::new(0);
    let one = |fault: &str| place().and_then(|dir| whole.live(&dir, fault)).and_then(|output| ended(fault, &output));
    let work = || {
        let mut wrong = Vec::new();
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(one(fault).err().map(|error| format!("SPOUT_FAULT={fault}: {error:#}")));
        }
        wrong
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let told = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| vec!["a worker died".into()]));
        told.flatten().collect()
    });
    ensure!(wrong.is_empty(), "{} of {} lives:\n{}", wrong.len(), faults.len(), wrong.join("\n"));
    Ok(())
}

/// The first pass, one in the middle, and the last.
fn passes(count: u64) -> impl Iterator<Item = u64> {
    let mut all = vec![1, count / 2 + 1, count];
    all.dedup();
    all.into_iter()
}

#[test]
fn killed_on_either_side_of_every_step_nothing_acknowledged_is_lost() -> Result<()> {
    let points = Whole::get()?.points()?;
    ensure!(points.len() >= 40, "only {} points", points.len());
    let each = |(point, count): &(String, u64)| {
        let point = point.clone();
        passes(*count).map(move |pass| format!("{point}=kill@{pass}")).collect::<Vec<_>>()
    };
    let faults: Vec<String> = points.iter().flat_map(each).collect();
    let missed = AtomicUsize::new(0);
    matrix(
        || Ok(tempfile::tempdir()?),
        &faults,
        |fault, output| {
            match (output.status.signal(), output.status.success()) {
                (Some(SIGABRT), _) => {}
                // Index and checkpoint are written beside the commits, a time more or less.
                (None, true) if !fault.ends_with("@1") => drop(missed.fetch_add(1, Ordering::Relaxed)),
                _ => bail!("it ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
            }
            Ok(())
        },
    )?;
    println!("{} points, {} lives, {} not killed", points.len(), faults.len(), missed.into_inner());
    Ok(())
}

#[test]
fn an_error_on_either_side_of_every_step_loses_nothing_and_has_a_code() -> Result<()> {
    let points = Whole::get()?.points()?;
    let each = |(point, count): &(String, u64)| {
        let mut faults = vec![format!("{point}=error"), format!("{point}=error@1")];
        faults.extend((*count > 2).then(|| format!("{point}=error@{}", count / 2 + 1)));
        faults
    };
    let faults: Vec<String> = points.iter().flat_map(each).collect();
    let survived = AtomicUsize::new(0);
    matrix(in_memory, &faults, |_, output| {
        let told = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => drop(survived.fetch_add(1, Ordering::Relaxed)),
            Some(1) if told.starts_with("error[E05") => {}
            _ => bail!("it ended with {}: {told}", output.status),
        }
        Ok(())
    })?;
    println!("{} lives, {} of them went on", faults.len(), survived.into_inner());
    Ok(())
}

#[test]
fn the_check_of_a_life_can_fail() -> Result<()> {
    let whole = Whole::get()?;
    let dir = tempfile::tempdir()?;
    let (store, reference) = (dir.path().join("store"), whole.dir.path().join("reference"));
    let killed = whole.life.run(&["live", text(&store)?], "repo.record.before=kill@9")?;
    let steps = acknowledged(&killed);
    // As if the newest commit had been acknowledged before it was durable.
    let records = store.join("repos/life/branches/master");
    let newest = fs::read_dir(&records)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let record = |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "json");
    fs::remove_file(newest.iter().filter(record).max().context("a record")?)?;
    let check = ["check", text(&store)?, text(&reference)?, &steps.to_string()];
    let checked = whole.life.run(&check, "")?;
    let told = String::from_utf8_lossy(&checked.stderr);
    ensure!(!checked.status.success() && told.contains("branch master is"), "{told}");
    let there = Path::new(&store).is_dir();
    ensure!(there, "the evidence is gone");
    Ok(())
}
