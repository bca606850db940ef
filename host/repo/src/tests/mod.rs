//! What the repo promises, checked over memory, a directory, and stores that fail.

mod conformance;
mod damage;
mod failing;
mod failing_store;
mod faults;
mod faulty_store;
mod fuzz;
mod model;
mod moved;
mod records;
mod stores;
mod tables;
mod upkeep;
mod versions;
mod writers;

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema};
use spout_data::{Advance, PartitionMarker, Position, Step};
use spout_format::{Format, decode};
use tempfile::TempDir;

use self::records::{committed, encode, local, meta, rows};
use super::*;

/// A store of each kind; the directory lives as long as the handle.
async fn stores() -> Vec<(Store, Option<TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    let local = Store::open(dir.path().join("made/on/open").to_str().unwrap()).await.unwrap();
    vec![(Store::open("memory://").await.unwrap(), None), (local, Some(dir))]
}

/// One commit that puts `files` and moves partition 0.
async fn commit(
    repo: &Repo,
    writer: &mut BranchWriter,
    files: &[(&str, PutMode, &[u8])],
    to: (Option<u64>, u64),
) -> Commit {
    let mut open = repo.open_commit();
    for (path, how, bytes) in files {
        open.put_file(path, *how, bytes.to_vec().into()).await.unwrap();
    }
    committed(writer.finish(open, meta(to.0, to.1)).await)
}

async fn read(repo: &Repo, commit: &Commit, path: &str) -> Vec<u8> {
    let tree = repo.tree(commit).await.unwrap();
    repo.read_file(&tree, path).await.unwrap().to_vec()
}

fn code(error: &Error) -> &'static str {
    spout_base::error::Coded::code(error)
}
