//! A commit that moves where a pipeline goes on, and nothing that it made.

use std::collections::BTreeMap;

use spout_base::clock;
use spout_data::{Advance, Marker, Part, PartitionId, PartitionMarker, Step};

use super::{
    open_commit::OpenCommit,
    writer::{CommitMeta, Finished},
};
use crate::{
    error::Error,
    log::{Commit, Holder, LEFT_BY_SEEK},
    repo::Repo,
};

/// Where a pipeline is to go on.
#[derive(Debug)]
pub struct Seek {
    /// The entries of the marker that become others; the rest stays.
    pub entries: BTreeMap<PartitionId, PartitionMarker>,
    /// Files that show the marker, or are it.
    pub files: OpenCommit,
    /// The file that shows the marker, where the host writes it.
    pub marker_file: Option<String>,
    /// Why, for those who read the history.
    pub why: String,
}

/// Who writes a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The pipeline.
    pub pipeline: String,
    /// The process that it runs in, unless it is known to have stopped.
    pub running: Option<Holder>,
}

impl Repo {
    /// Who writes `branch`; `None` where no pipeline ever has.
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], and those of reading.
    pub async fn written_by(&self, branch: &str) -> Result<Option<Writer>, Error> {
        let state = self.known(branch).await?;
        if state.owner.is_empty() {
            return Ok(None);
        }
        Ok(Some(Writer { running: state.head.holder.filter(Holder::may_write), pipeline: state.owner }))
    }

    /// Makes a commit of `pipeline` on `branch` after which it goes on where `seek` says; the commit, and the marker before it. The
    /// branch is taken over: who still writes it is fenced. Handlers keep their state.
    ///
    /// # Errors
    /// Those of [`Repo::writer`] and [`BranchWriter::finish`](super::writer::BranchWriter::finish).
    pub async fn seek(&self, branch: &str, pipeline: &str, seek: Seek) -> Result<(Finished, Marker), Error> {
        let mut writer = self.writer(branch, pipeline).await?;
        let (before, head) = (writer.marker().clone(), writer.head().cloned());
        let step = |(partition, to): (PartitionId, PartitionMarker)| {
            let from = before.partitions.get(&partition).map(|entry| entry.position.offset);
            let jumped = Some(to.position.offset);
            (partition, Step { from, to, jumped })
        };
        let there = |(partition, to): &(PartitionId, PartitionMarker)| before.partitions.get(partition) != Some(to);
        let steps = seek.entries.into_iter().filter(there).map(step).collect();
        let kept = |head: &Commit| head.state.keys().map(|key| (key.clone(), Part::Kept)).collect();
        let why = if seek.why.is_empty() { String::new() } else { format!(": {}", seek.why) };
        let meta = CommitMeta {
            pipeline: pipeline.to_owned(),
            spec_digest: head.as_ref().map(|head| head.spec_digest.clone()).unwrap_or_default(),
            plugins: head.as_ref().map(|head| head.plugins.clone()).unwrap_or_default(),
            advance: Advance { steps },
            state: head.as_ref().map(kept).unwrap_or_default(),
            started_ms: clock::wall_ms(),
            reason: format!("{LEFT_BY_SEEK}{why}"),
            marker_file: seek.marker_file,
            ..CommitMeta::default()
        };
        let finished = writer.finish(seek.files, meta).await?;
        Ok((finished, before))
    }
}
