//! New files of a directory, by the plugin `objects/directory`.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use rand::{SeedableRng as _, rngs::StdRng};
use spout_tests::Site;

use crate::{
    endure::{self, Load, message},
    objects::object,
};

fn spec(topic: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: objects/directory
    topic: {topic}
    fetch: {{timeout: 50ms}}
    settings: {{every: 0.02{settings}}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
errors: {{decode: dead-letter}}
commit: {{flush: {{rows: 3000, time: 50ms}}}}
grants:
  objects: {{dirs: {{in: ./in}}}}
"
    )
}

/// Moves a file into place, with a date of an hour ago, as those who copy files do.
fn moved(path: &Path, content: &[u8]) -> Result<()> {
    let hidden = path.with_file_name(format!(".{}", path.file_name().context("a name")?.display()));
    fs::create_dir_all(path.parent().context("a directory")?)?;
    let mut file = File::create(&hidden)?;
    file.write_all(content)?;
    file.set_modified(SystemTime::now() - Duration::from_secs(3600))?;
    Ok(fs::rename(hidden, path)?)
}

/// Writes a file where it lies, in parts.
fn written(path: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("a directory")?)?;
    let mut file = File::create(path)?;
    // It is not complete before it has this date: until then it was written just now, or a moment ago.
    for part in content.chunks(content.len() / 5 + 1) {
        file.write_all(part)?;
        file.set_modified(SystemTime::now() + Duration::from_secs(3600))?;
    }
    Ok(file.set_modified(SystemTime::now() - Duration::from_secs(3600))?)
}

/// Where a file of this number is: in one of several directories, which are in each other.
fn place(site: &Site, number: u64, name: &str) -> PathBuf {
    site.path().join(["in/a", "in/a/b", "in/c/d/e"][usize::try_from(number % 3).unwrap_or(0)]).join(name)
}

#[test]
fn every_line_is_there_once_over_kills() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let load = Load::now();
    let (mut dice, total, size) = (StdRng::seed_from_u64(seed), load.messages, 1000);
    let site = Arc::new(Site::new()?);
    fs::create_dir_all(site.path().join("in"))?;
    site.write("spec.yaml", spec("in", ", settle: 20"))?;
    let allowed = Arc::new(AtomicU64::new(0));
    let writer = {
        let (allowed, site) = (Arc::clone(&allowed), Arc::clone(&site));
        thread::spawn(move || -> Result<()> {
            for number in 0..total / size {
                while allowed.load(Ordering::SeqCst) < (number + 1) * size {
                    thread::park_timeout(Duration::from_millis(2));
                }
                let (name, content) = object(number, number * size, (number + 1) * size)?;
                // Their names are in no order.
                let path = place(&site, number, &format!("{}-{name}", number * 37 % 100));
                if number % 4 == 0 { written(&path, &content)? } else { moved(&path, &content)? }
            }
            Ok(())
        })
    };
    for round in 1..=load.kills {
        allowed.store(total * round / (load.kills + 1), Ordering::SeqCst);
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("committed")?.context("a commit in this round")?;
        endure::wait(&mut dice, 200);
        running.child.kill()?;
        running.end()?;
    }
    allowed.store(total, Ordering::SeqCst);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let before = site.number("select count(*) from lines", None)?;
    ensure!(before > 0 && before < total, "{before} rows before the last run: the kills proved nothing");
    endure::complete(&site, total)?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_directory_passes_what_is_asked_of_sources() -> Result<()> {
    let site = Site::new()?;
    for number in 0..9 {
        let (name, content) = object(number, number * 100, (number + 1) * 100)?;
        moved(&place(&site, number, &name), &content)?;
    }
    let grant = format!("in={}", site.path().join("in").display());
    for order in ["order=name", "order=modified"] {
        let test = ["plugin", "test", "objects/directory", "--topic", "in/a/", "--grant", &grant];
        site.ok(&[&test[..], &["--settings", "every=0.01", "--settings", order]].concat())?;
    }
    site.write("spec.yaml", spec("in/a/", ""))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from lines", None)? == 600);
    site.write("spec.yaml", spec("out/a/", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["E0216", "the directories out"])?;
    Ok(())
}

#[test]
fn a_file_that_is_changed_after_it_was_read_is_a_dead_letter_once() -> Result<()> {
    let site = Site::new()?;
    let lines = |from: u64, to: u64| (from..to).map(|n| message(n) + "\n").collect::<String>();
    moved(&site.path().join("in/a"), lines(0, 100).as_bytes())?;
    site.write("spec.yaml", spec("in", ", settle: 0"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    fs::write(site.path().join("in/a"), lines(0, 200))?;
    moved(&site.path().join("in/b"), lines(100, 200).as_bytes())?;
    for _ in 0..2 {
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        endure::each_once(&site, 200)?;
        let letters = site.json(&["deadletter", "list", "lines"])?;
        let said = format!("{letters:?}");
        ensure!(
            letters.len() == 1 && said.contains("objects.changed") && said.contains("changed after it was read"),
            "{said}"
        );
    }
    site.write("spec.yaml", spec("in", ", settle: 0, changed: again"))?;
    fs::write(site.path().join("in/b"), lines(200, 300))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    endure::each_once(&site, 300)
}
