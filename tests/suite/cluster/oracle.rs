//! What must be true of a repo at every version, whoever was killed, paused or cut off on the way there.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use spout_tests::{Site, life::Life};

/// A version, as `spout-life versions` prints it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Version {
    version: u64,
    #[serde(default)]
    reason: String,
    /// Runs of offsets, by partition; both ends count.
    added: BTreeMap<String, Vec<[u64; 2]>>,
    /// Rows that are there at this version.
    rows: u64,
}

/// What a whole history adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) versions: usize,
    /// Messages of each partition.
    pub(super) messages: BTreeMap<String, u64>,
}

impl Sum {
    pub(super) fn all(&self) -> u64 {
        self.messages.values().sum()
    }
}

/// The versions of a repo of this site, oldest first.
pub(super) fn history(site: &Site, repo: &str) -> Result<Vec<Version>> {
    let life = Life::of(env!("CARGO_BIN_EXE_spout-life"));
    let mut command = life.command(&["versions", &site.store, repo]);
    command.envs(site.environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().context("start spout-life")?;
    ensure!(output.status.success(), "spout-life versions: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    said.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// Every version has the messages of each partition from the first on, each once, and all rows of the version before it.
pub(super) fn each_message_once(history: &[Version]) -> Result<Sum> {
    let mut sum = Sum { versions: history.len(), ..Sum::default() };
    for (Version { version, reason, added, rows }, expected) in history.iter().zip(1..) {
        ensure!(*version == expected, "version {version} comes where {expected} should be");
        for (partition, runs) in added {
            let next = sum.messages.entry(partition.clone()).or_default();
            for &[first, last] in runs {
                let what = if first < *next { "twice" } else { "not before those that follow" };
                ensure!(
                    first == *next,
                    "version {version} ({reason}) has message {} of partition {partition} {what}: {runs:?} after {next}",
                    first.min(*next)
                );
                *next = last + 1;
            }
        }
        ensure!(*rows == sum.all(), "version {version} has {rows} rows, and {} messages were committed", sum.all());
    }
    Ok(sum)
}

/// The oracle itself: histories that are whole, and some that are not.
mod tests {
    use anyhow::Result;
    use serde_json::{from_value, json};

    use super::{Version, each_message_once};

    fn version(version: u64, added: &serde_json::Value, rows: u64) -> Result<Version> {
        Ok(from_value(json!({"version": version, "added": added, "rows": rows}))?)
    }

    #[test]
    fn a_history_that_is_not_whole_is_refused_with_the_version_that_is_not() -> Result<()> {
        let first = version(1, &json!({"0": [[0, 4]], "1": [[0, 1]]}), 7)?;
        let sum = each_message_once(&[first.clone(), version(2, &json!({"1": [[2, 3]]}), 9)?])?;
        assert_eq!((sum.versions, sum.all()), (2, 9));
        assert!(each_message_once(&[])?.messages.is_empty());
        for (second, said) in [
            (version(2, &json!({"0": [[6, 7]]}), 9)?, "message 5 of partition 0 not before"),
            (version(2, &json!({"0": [[4, 5]]}), 9)?, "message 4 of partition 0 twice"),
            (version(2, &json!({"0": [[5, 6], [6, 7]]}), 11)?, "message 6 of partition 0 twice"),
            (version(2, &json!({"0": [[5, 6], [8, 8]]}), 10)?, "message 7 of partition 0 not before"),
            (version(2, &json!({"2": [[1, 1]]}), 8)?, "message 0 of partition 2 not before"),
            (version(2, &json!({"0": [[5, 5]]}), 7)?, "7 rows, and 8 messages"),
            (version(3, &json!({"0": [[5, 5]]}), 8)?, "version 3 comes where 2"),
        ] {
            let refused = each_message_once(&[first.clone(), second]).expect_err(said).to_string();
            assert!(refused.contains(said), "{refused}");
        }
        Ok(())
    }
}
