//! Who leads, by the records of a directory that all see; and how long it takes until somebody else does.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::fleet::Fleet;

/// A leader is given up after three to five seconds, and the next one begins a job: far more than that.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// The newest claim of the branch that `records` are of, and what follows it.
struct Newest {
    sequence: u64,
    address: String,
    /// Commits after it.
    commits: usize,
}

fn records(fleet: &Fleet, repo: &str) -> PathBuf {
    Path::new(&fleet.site.store).join("repos").join(repo).join("branches/master")
}

/// The names of all records, in their order.
fn names(records: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(records)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.ends_with(".json"));
    names.sort_unstable_by_key(|name| (name.len(), name.clone()));
    Ok(names)
}

/// No record is of a leader that was replaced before.
pub(super) fn none_is_late(fleet: &Fleet, repo: &str) -> Result<()> {
    let records = records(fleet, repo);
    let mut newest = 0;
    for name in names(&records)? {
        let record: Value = serde_json::from_slice(&fs::read(records.join(&name))?).with_context(|| name.clone())?;
        let epoch = record["epoch"].as_u64().context("a record without an epoch")?;
        ensure!(epoch >= newest, "{name} is of epoch {epoch}, and one of {newest} is before it");
        newest = epoch;
    }
    Ok(())
}

fn newest(records: &Path) -> Result<Option<Newest>> {
    let mut commits = 0;
    for name in names(records)?.into_iter().rev() {
        // It is there whole or not at all.
        let record: Value = serde_json::from_slice(&fs::read(records.join(&name))?).with_context(|| name.clone())?;
        match record["kind"].as_str() {
            Some("commit") => commits += 1,
            Some("claim") => {
                let address = record["leader"]["address"].as_str().context("a claim without a leader")?.to_owned();
                let sequence = record["sequence"].as_u64().context("a record without a number")?;
                return Ok(Some(Newest { sequence, address, commits }));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Which worker leads `repo`, whose branch somebody has claimed.
pub(super) fn leader(fleet: &Fleet, repo: &str) -> Result<usize> {
    let newest = newest(&records(fleet, repo))?.context("nobody has claimed it")?;
    fleet.at(&newest.address)
}

/// How long it took until somebody else had claimed the branch of `repo`, and until that one had made a commit, after its leader was killed, or
/// paused until then.
pub(super) fn measured(fleet: &mut Fleet, repo: &str, killed: bool) -> Result<(Duration, Duration)> {
    let records = records(fleet, repo);
    let until = Instant::now() + PATIENCE;
    let leads = loop {
        if let Some(newest) = newest(&records)?
            && newest.commits > 0
        {
            break newest;
        }
        ensure!(Instant::now() < until, "nobody has made a commit");
        thread::park_timeout(PAUSE);
    };
    let leader = fleet.at(&leads.address)?;
    if killed {
        fleet.kill(leader)?
    } else {
        fleet.signal(leader, "STOP")?
    }
    let (begun, mut claimed) = (Instant::now(), None);
    loop {
        ensure!(begun.elapsed() < PATIENCE, "nobody leads in place of worker {leader}; claimed after {claimed:?}");
        let next = newest(&records)?.context("a claim")?;
        if next.sequence > leads.sequence {
            let claimed = *claimed.get_or_insert_with(|| begun.elapsed());
            if next.commits > 0 {
                ensure!(next.address != leads.address, "a process that is dead leads");
                let committed = begun.elapsed();
                if killed {
                    fleet.wake(leader)?
                } else {
                    fleet.signal(leader, "CONT")?
                }
                return Ok((claimed, committed));
            }
        }
        thread::park_timeout(PAUSE);
    }
}
