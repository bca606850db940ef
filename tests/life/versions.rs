//! What each version of a repo has added: the messages of each partition, by what the rows themselves say.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, UInt64Type},
};
use serde_json::json;
use spout_repo::{MASTER, Store};

/// Columns that pipelines add when their specs say `metadata: [partition, offset]`.
const PARTITION: &str = "__partition";
const OFFSET: &str = "__offset";

/// Prints a line for each version of `repo`, oldest first: the offsets that it has added, by partition, as runs of which both ends are
/// counted; and how many rows its tree has.
///
/// # Errors
/// If the store cannot be read.
pub(crate) async fn versions(url: &str, repo: &str) -> Result<()> {
    let store = Store::open_existing(url).await?;
    let repo = store.repo(repo).await?;
    let mut follower = repo.follow(MASTER);
    let newest = follower.refresh().await?.map_or(0, |head| head.number);
    for number in follower.first().await?..=newest {
        let added = follower.added(number, number).await?;
        ensure!(added.rewritten.is_empty(), "version {number} has rewritten {:?}", added.rewritten);
        let mut offsets = BTreeMap::<u64, Vec<u64>>::new();
        for file in &added.files {
            for batch in follower.rows(file, None).await?.into_iter().flatten() {
                gather(&batch?, &mut offsets)?;
            }
        }
        let tree = repo.tree(&added.commit).await?;
        let rows: u64 = tree.files().filter_map(|file| file.rows).sum();
        let runs: BTreeMap<String, Vec<[u64; 2]>> =
            offsets.into_iter().map(|(partition, offsets)| (partition.to_string(), runs(offsets))).collect();
        println!("{}", json!({"version": number, "reason": added.commit.reason, "added": runs, "rows": rows}));
    }
    Ok(())
}

fn gather(batch: &RecordBatch, offsets: &mut BTreeMap<u64, Vec<u64>>) -> Result<()> {
    let column = |name: &str| -> Result<_> {
        let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
        Ok(cast(column, &DataType::UInt64)?)
    };
    let (partitions, places) = (column(PARTITION)?, column(OFFSET)?);
    let (partitions, places) = (partitions.as_primitive::<UInt64Type>(), places.as_primitive::<UInt64Type>());
    ensure!(partitions.null_count() == 0 && places.null_count() == 0, "a row says not which message it is of");
    for (partition, place) in partitions.values().iter().zip(places.values()) {
        offsets.entry(*partition).or_default().push(*place);
    }
    Ok(())
}

/// Sorted runs; a number that is there twice is in two of them.
fn runs(mut offsets: Vec<u64>) -> Vec<[u64; 2]> {
    offsets.sort_unstable();
    let mut runs: Vec<[u64; 2]> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some([_, to]) if *to + 1 == offset => *to = offset,
            _ => runs.push([offset, offset]),
        }
    }
    runs
}
