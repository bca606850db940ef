//! One cut commit on its way: files durable, then the record, then the answer.

use std::{collections::BTreeMap, time::Duration};

use spout_base::{
    clock::{self, Instant},
    error::Coded as _,
    trace::{self, Context, Doing},
};
use spout_consumer::Pending;
use spout_data::{Advance, Part, PartitionId, Provenance, Upstream};
use spout_repo::{BranchWriter, Commit, CommitMeta, Finished};

use super::{
    Error,
    build::Parts,
    spread::{self, Ended},
    totals::Reasons,
};

/// Everything that a commit consists of.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) pending: Pending,
    pub(super) writer: BranchWriter,
    pub(super) advance: Advance,
    pub(super) provenance: Vec<Provenance>,
    /// The commits of tables that its rows were looked up in.
    pub(super) tables: Vec<Upstream>,
    /// Messages set aside, for those who wait for the commit.
    pub(super) dead: Vec<(PartitionId, u64)>,
    pub(super) states: BTreeMap<String, Part>,
    pub(super) reason: &'static str,
    /// Why some of its messages could not be processed.
    pub(super) faults: Reasons,
    /// The spans of the fetches that brought its messages, as many as it names.
    pub(super) traces: Vec<Context>,
    /// The files that other processes put for it.
    pub(super) ended: Vec<Ended>,
    pub(super) at: Instant,
}

/// A finished commit, with the writer for the next one.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) writer: BranchWriter,
    pub(super) commit: Commit,
    pub(super) advance: Advance,
    pub(super) dead: Vec<(PartitionId, u64)>,
    pub(super) faults: Reasons,
    pub(super) took: Duration,
}

impl Cut {
    /// Writes the files, then creates the record; as part of the trace of the first fetch of it that has one.
    pub(super) async fn commit(self, parts: Parts) -> Result<Done, Error> {
        let mut doing = trace::within("commit", self.traces.first().copied());
        doing.links(&self.traces);
        let done = Box::pin(self.written(parts)).await;
        match &done {
            Ok(done) => told(&mut doing, &done.commit),
            Err(error) => doing.fail(error.code()),
        }
        done
    }

    async fn written(self, parts: Parts) -> Result<Done, Error> {
        let Self { pending, mut writer, advance, provenance, mut tables, mut dead, states, reason, .. } = self;
        let (mut faults, at) = (self.faults, self.at);
        let branch = parts.spec.commit.branch.clone();
        let failed = |source| Error::Repo {
            pipeline: parts.name.clone(),
            branch: branch.clone(),
            doing: "commit to",
            source: Box::new(source),
        };
        let written = pending.written().await;
        let mut written =
            written.map_err(|source| Error::Consumer { pipeline: parts.name.clone(), source: Box::new(source) })?;
        for ended in self.ended {
            tables.extend(ended.tables);
            for files in spread::files_of(ended.files).await? {
                written.open.join(files.prepared).map_err(failed)?;
                written.counts.add(&files.counts);
                written.started_ms = written.started_ms.max(files.started_ms);
                dead.extend(files.dead);
                faults.extend(files.faults);
            }
        }
        tables.sort_unstable();
        tables.dedup();
        let meta = CommitMeta {
            pipeline: parts.name.clone(),
            spec_digest: parts.digest.clone(),
            plugins: parts.digests.clone(),
            advance: advance.clone(),
            state: states,
            started_ms: written.started_ms,
            reason: reason.to_owned(),
            counts: written.counts,
            // A spout that drives itself has a marker of its own, and its commit has that already.
            marker_file: parts.spec.spout.marker.clone().filter(|_| parts.spec.transform.is_none()),
            // Of several the newest: what led to it led to this commit.
            global: provenance.last().map(|from| from.global.clone()),
            provenance: provenance.into_iter().map(|from| from.upstream).chain(tables).collect(),
        };
        let publish = trace::inner("publish");
        let finished = writer.finish(written.open, meta).await.map_err(failed)?;
        drop(publish);
        match finished {
            Finished::Committed(commit) => {
                let took = clock::now().duration_since(at);
                Ok(Done { writer, commit, advance, dead, faults, took })
            }
            Finished::Lost(winner) => {
                Err(Error::Lost { pipeline: parts.name.clone(), branch, winner: winner.header.id })
            }
            Finished::Unknown(source) => Err(failed(*source)),
        }
    }
}

/// What is known of a commit.
fn told(doing: &mut Doing, commit: &Commit) {
    if doing.context().is_none() {
        return;
    }
    doing.note("spout.commit", commit.header.id.as_str());
    doing.note("spout.sequence", commit.header.sequence);
    doing.note("spout.reason", commit.reason.as_str());
    doing.note("spout.rows", commit.counts.rows);
    doing.note("spout.messages", commit.counts.messages);
}
