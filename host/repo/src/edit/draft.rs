//! A commit record as it would follow the head of a branch.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    invariants::{self, Following},
    open_commit::OpenCommit,
    writer::CommitMeta,
};
use crate::{
    error::Error,
    log::{Base, Blob, Commit, Header, Moved, RecordKind, State},
    tree::Tree,
};

/// What a record says beyond its files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    pub(crate) nonce: String,
    pub(crate) epoch: u64,
    /// What its maker says of it; the parts of its state are in `state`.
    pub(crate) meta: CommitMeta,
    pub(crate) state: BTreeMap<String, Blob>,
    pub(crate) base: Option<Base>,
    pub(crate) compaction: bool,
}

/// The record, checked against everything that must hold.
pub(crate) async fn draft(state: &State, open: &OpenCommit, contents: Contents) -> Result<Commit<Moved>, Error> {
    let below = contents.base.as_ref().map(|base| state.reverted(base));
    let below = below.as_ref().unwrap_or(state);
    let named: Vec<String> = open.removed.iter().map(|(path, _)| path.clone()).collect();
    let tree = Tree::around(below, &open.files, &named).await?;
    let put: BTreeSet<_> = open.files.iter().map(|file| &file.path).collect();
    // A delete of what only this commit had put is no delete; any other must find its file.
    let there = |(path, taken_back): &&(String, bool)| tree.get(path).is_some() || !(*taken_back || put.contains(path));
    let used: BTreeSet<_> = open.files.iter().filter_map(|file| Some(file.table.as_ref()?.schema.as_str())).collect();
    let new = |(key, _): &&(String, String)| used.contains(key.as_str()) && !below.schemas.contains_key(key);
    let schemas = open.schemas.iter().filter(new);
    let before = contents.base.as_ref().map_or(state.head.marker(), |base| &base.commit.marker);
    let marker = Moved::of(&contents.meta.advance, before);
    let Contents { nonce, epoch, meta, state: parts, base, compaction } = contents;
    let commit = Commit {
        header: Header { id: open.id().to_owned(), ..state.next(RecordKind::Commit, epoch, nonce) },
        parent: state.head.commit.as_ref().map(|head| head.header.id.clone()),
        number: state.head.commit.as_ref().map_or(0, |head| head.number) + 1,
        started_ms: meta.started_ms,
        pipeline: meta.pipeline,
        spec_digest: meta.spec_digest,
        plugins: meta.plugins,
        removed: open.removed.iter().filter(there).map(|(path, _)| path.clone()).collect(),
        schemas: schemas.cloned().collect(),
        files: open.files.clone(),
        marker,
        advance: meta.advance.steps.iter().map(|(&partition, step)| (partition, step.from)).collect(),
        jumped: meta.advance.steps.iter().filter_map(|(&at, step)| Some((at, step.jumped?))).collect(),
        state: parts,
        base: base.map(Box::new),
        counts: meta.counts,
        reason: meta.reason,
        compaction,
        provenance: meta.provenance,
        global: meta.global.unwrap_or_else(|| open.id().to_owned()),
        checksum: String::new(),
    };
    invariants::check(Following { commit: &commit, advance: &meta.advance, head: &state.head, tree: &tree })?;
    Ok(commit)
}
