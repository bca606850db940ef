//! Reads a branch while a pipeline runs: its one partition, and one run of commits after the other.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use spout_data::{Marker, Position};
use spout_plugin::Progress;
use spout_repo::Store;
use tokio_util::sync::CancellationToken;

use super::{
    RepoSpec, RepoStart,
    branch::Branch,
    cursor::{Cursor, Next},
    reading::{Content, Reading},
};
use crate::{Boundary, Error, Fetched, Fetcher, Found, Goal, Producer, ProducerTraits};

/// Reads the commits of another repo.
pub(super) struct RepoProducer {
    branch: Branch,
    told: bool,
    /// The last commit that is read, where that is not every one to come.
    bound: Option<u64>,
}

impl RepoProducer {
    /// Reads a branch of `store`, which is idle only when `writer_over`, and has ended, if `ends`, when everything that its own
    /// pipeline reads has.
    pub(super) fn new(spec: RepoSpec, store: Store, writer_over: Option<CancellationToken>, ends: bool) -> Self {
        Self { branch: Branch { spec, store, writer_over, ends, tracks: false }, told: false, bound: None }
    }
}

#[async_trait]
impl Producer for RepoProducer {
    fn traits(&self) -> ProducerTraits {
        ProducerTraits {
            discover_every: Duration::from_secs(3600),
            drains: false,
            finite: false,
            readers: None,
            heirs: false,
            beside: false,
        }
    }

    async fn partitions(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(Vec::new());
        }
        let spec = &self.branch.spec;
        let mut found = Found::only(marker, &format!("{}@{}", spec.repo, spec.branch));
        if spec.own {
            // What fails again is set aside by commits behind it, and is for the next replay.
            self.bound = Some(self.branch.start(&RepoStart::Latest).await?.offset);
            found.label = format!("dead letters of {}", found.label);
        }
        if found.committed.is_none() && initial {
            found.start = self.branch.start(&spec.start).await?;
        }
        Ok(vec![found])
    }

    async fn seek(&mut self, marker: &Marker, goal: Goal) -> Result<Vec<Found>, Error> {
        let spec = &self.branch.spec;
        let found = Found::only(marker, &format!("{}@{}", spec.repo, spec.branch));
        let start = match goal {
            Goal::Earliest => Position::default(),
            Goal::Latest => self.branch.start(&RepoStart::Latest).await?,
            Goal::Offset(number) => Position::at(number),
        };
        Ok(vec![Found { start, ..found }])
    }

    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher> {
        let cursor = Cursor::new(self.branch.clone(), &found.start).up_to(self.bound);
        Box::new(RepoFetcher { cursor, reading: None })
    }
}

/// Reads one run of commits after the other.
struct RepoFetcher {
    cursor: Cursor,
    reading: Option<Reading>,
}

#[async_trait]
impl Fetcher for RepoFetcher {
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        let Self { cursor, reading } = self;
        let mut open = match reading.take() {
            Some(open) => open,
            None => match cursor.next().await? {
                Next::Run(run) => cursor.reading(*run)?,
                Next::Jump(to) => {
                    return Ok(Fetched { jump: Some(to), ..cursor.fetched(to, Progress::More) });
                }
                Next::Nothing(progress, expects) => {
                    return Ok(Fetched { expects, ..cursor.fetched(cursor.number(), progress) });
                }
            },
        };
        let start = cursor.number();
        let content = cursor.content(&mut open, most as usize).await?;
        let over = open.is_over();
        open.begun |= content.is_some();
        cursor.pass(&open, over);
        if over && !open.begun && cursor.stays_silent() {
            return Ok(cursor.fetched(cursor.number(), Progress::More));
        }
        let mut fetched = cursor.fetched(start, Progress::More);
        if !cursor.splits() {
            fetched.boundary = if over { Boundary::End } else { Boundary::Inside };
        }
        if content.is_some() || !cursor.splits() {
            fetched.provenance.push(open.provenance.clone());
        }
        match content {
            Some(Content::Rows(rows)) => fetched.rows = Some(rows),
            Some(Content::Messages(messages)) => fetched.messages = messages,
            None => {}
        }
        *reading = (!over).then_some(open);
        Ok(fetched)
    }
}

impl fmt::Debug for RepoProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepoProducer").field("spec", &self.branch.spec).finish_non_exhaustive()
    }
}

impl fmt::Debug for RepoFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepoFetcher").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
