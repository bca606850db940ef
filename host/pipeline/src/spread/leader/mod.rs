//! The leader's side: which member reads what, and the job that fills the open commit.

mod hearing;
mod placing;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use spout_data::{Batch, Counts, Part, PartitionId, Position};
use spout_node::SourceEvent;
use spout_producer::{Found, Standings};
use spout_repo::Commit;
use tokio::sync::watch;

use super::{
    Fleet, Member,
    exchange::Exchange,
    job::{Ended, Running, said},
    suits::Leading,
    unfit::Unfit,
    words::{Mode, Order, TaskHead, VERSION},
};
use crate::{Error, build::Parts, decide::Thresholds, figures::Figures, lane::LaneEvent};

/// A pipeline whose partitions are read by the members of a fleet.
#[derive(Debug)]
pub(crate) struct Spread {
    fleet: Arc<dyn Fleet>,
    members: watch::Receiver<Vec<Member>>,
    /// Those among them that cannot do its tasks, or not with the others.
    unfit: Unfit,
    /// What all tasks have in common.
    common: TaskHead,
    /// Whether the columns are settled: before, one member reads all, or each might settle others.
    settled: bool,
    /// What has to be said of members that read them.
    labels: BTreeMap<String, String>,
    /// How partitions stand, and who does what, for whoever looks.
    standings: Standings,
    figures: Figures,
    leader: String,
    partitions: BTreeMap<PartitionId, Reading>,
    placed: BTreeMap<PartitionId, String>,
    /// Where the readers of a stream are, where several share it; also those that there were once.
    readers: BTreeMap<PartitionId, Position>,
    job: Option<Running>,
    /// Events that belong to the next commit.
    deferred: VecDeque<Heard>,
    /// Jobs that have ended since the last commit was cut.
    ended: Vec<Ended>,
    /// What has changed since the job began, so that another one is to follow.
    stale: bool,
    over: bool,
    /// A commit was made that no task has told its sources of.
    untold: bool,
    /// Where handlers are split by key, and who has which.
    exchange: Option<Exchange>,
}

/// A partition, and where it goes on.
#[derive(Debug)]
struct Reading {
    found: Found,
    at: Position,
    durable: Option<Position>,
    /// Slices of a run that is not whole yet.
    open: Vec<Batch>,
}

/// A run whose rows are in files of another process.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) partition: PartitionId,
    /// Where the partition goes on, if it moved.
    pub(crate) next: Option<Position>,
    /// The source was re-entered here.
    pub(crate) jumped: Option<u64>,
    /// Somebody waits until it is durable, and should not wait longer than this.
    pub(crate) awaited: Option<Duration>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Bytes that went to handlers of other processes.
    pub(crate) given: u64,
    /// What became of its messages.
    pub(crate) counts: Counts,
}

/// What comes of a job.
#[derive(Debug)]
pub(crate) enum Heard {
    /// As of a lane of this process.
    Lane(LaneEvent),
    /// A run is in files.
    Written(Box<Written>),
    /// A member has little memory left.
    Full,
    /// Handlers of other processes have made rows, which are in files.
    Made { rows: u64, bytes: u64, counts: Box<Counts> },
}

impl Spread {
    /// Spreads a pipeline over `fleet`. `common` is what all of its tasks have in common.
    pub(crate) fn new(leads: &Leading, parts: &Parts, common: TaskHead, settled: bool, head: Option<&Commit>) -> Self {
        let exchange = (common.mode == Mode::Keys).then(|| Exchange::new(head));
        Self {
            exchange,
            fleet: Arc::clone(&leads.fleet),
            members: leads.fleet.members(),
            unfit: leads.unfit.clone(),
            common,
            settled,
            labels: parts.spec.cluster.labels.clone(),
            standings: parts.standings.clone(),
            figures: parts.figures.clone(),
            leader: leads.leader.id.clone(),
            partitions: BTreeMap::new(),
            placed: BTreeMap::new(),
            readers: BTreeMap::new(),
            job: None,
            deferred: VecDeque::new(),
            ended: Vec::new(),
            stale: false,
            over: false,
            untold: false,
        }
    }

    /// Whether rows come to the leader.
    pub(crate) fn brings_rows(&self) -> bool {
        self.common.mode == Mode::Rows
    }

    /// A partition is read too, from the next job on. If it is a reader of a stream, `others` are those besides it.
    pub(crate) fn add(&mut self, found: Found, others: Option<BTreeMap<PartitionId, Position>>) {
        let at = found.start.clone();
        if let Some(others) = others {
            self.readers.extend(others);
            self.readers.insert(found.partition, at.clone());
        }
        self.partitions.insert(found.partition, Reading { found, at, durable: None, open: Vec::new() });
        self.stale = true;
    }

    /// Everything before these positions is durable.
    pub(crate) fn committed<'a>(
        &mut self,
        commit: &Commit,
        positions: impl Iterator<Item = (&'a PartitionId, &'a Position)>,
    ) {
        if let Some(exchange) = &mut self.exchange {
            exchange.durable(commit);
            // What could not move before can now.
            self.stale |= self.is_stale();
        }
        let mut durable = Vec::new();
        for (partition, position) in positions {
            if let Some(reading) = self.partitions.get_mut(partition) {
                reading.durable = Some(position.clone());
                reading.found.committed = Some(position.offset);
                durable.push((*partition, position.clone()));
            }
        }
        // The next job may be long in coming: nothing has to come of the sources.
        match &self.job {
            Some(running) => running.order(&Order::Durable(durable)),
            None => self.untold |= !durable.is_empty(),
        }
    }

    /// Has sources told of the last commit, by a job that takes nothing, and lets go of them.
    pub(crate) async fn tell(&mut self) -> Result<(), Error> {
        if self.untold {
            (self.over, self.common.last) = (false, true);
            // Nothing comes of it that handlers of other processes could take.
            self.exchange = None;
            if self.begin() {
                while self.last().await?.is_some() {}
            }
        }
        Ok(())
    }

    /// No other job begins.
    pub(crate) fn drain(&mut self) {
        self.over = true;
    }

    /// Files of the next commit are those of the commit with this id, and named later than `before_ms`; a job `ran` for the one before.
    pub(crate) fn next_commit(&mut self, id: &str, before_ms: i64, ran: bool) {
        let before = std::mem::replace(&mut self.common.commit, id.to_owned());
        if let Some(exchange) = self.exchange.as_mut().filter(|_| !before.is_empty()) {
            exchange.cut(&before, ran);
        }
        self.common.before_ms = self.common.before_ms.max(before_ms);
    }

    /// What comes next of the open commit; none if another job is to follow the one that runs: members came or went, or partitions
    /// were found. Begins a job where none runs. The future may be dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, Error> {
        if let Some(event) = self.deferred.pop_front() {
            return Ok(Some(event));
        }
        loop {
            if self.stale && self.job.is_some() && self.may_end_job() {
                return Ok(None);
            }
            if self.job.is_none() && !self.begin() {
                // Nobody is there, or there is nothing to do.
                changed(&mut self.members).await;
                continue;
            }
            let said = tokio::select! {
                biased;
                () = changed(&mut self.members) => {
                    self.figures.shared().are(&self.members.borrow(), &self.leader, &self.placed);
                    self.stale = self.is_stale();
                    continue;
                }
                said = said(&mut self.job) => said,
            };
            if let Some(event) = self.hear(said)? {
                return Ok(Some(event));
            }
        }
    }

    /// What still comes of the job that runs, which ends; none when that is all, also where none runs.
    pub(crate) async fn last(&mut self) -> Result<Option<Heard>, Error> {
        self.job.iter_mut().for_each(Running::cut);
        while let Some(running) = &self.job {
            if running.left.is_empty() {
                let pipeline = self.common.pipeline.clone();
                self.ended.extend(self.job.take().map(|running| running.end(pipeline)));
                break;
            }
            let said = said(&mut self.job).await;
            if let Some(event) = self.hear(said)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Keeps an event for the next commit.
    pub(crate) fn defer(&mut self, event: Heard) {
        self.deferred.push_back(event);
    }

    /// What the jobs leave that have ended since this was asked last.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// What is stored of the columns, by key, as far as tasks have said.
    pub(crate) fn columns(&self) -> &BTreeMap<String, String> {
        &self.common.columns
    }

    /// Files are named later than this.
    pub(crate) fn before_ms(&self) -> i64 {
        self.common.before_ms
    }

    /// Whether another job may follow the one that runs. The state of handlers is in commits only, so where they are split, what a job
    /// has brought is committed first; one that has brought nothing is given up.
    fn may_end_job(&mut self) -> bool {
        let Some(exchange) = &mut self.exchange else { return true };
        if exchange.brought {
            return !std::mem::replace(&mut exchange.asked, true);
        }
        exchange.give_up();
        self.job = None;
        false
    }

    /// Whether handlers are split by key, and are in other processes.
    pub(crate) fn exchanges(&self) -> bool {
        self.exchange.is_some()
    }

    /// Tells handlers of other processes of an event.
    pub(crate) fn deliver(&mut self, event: SourceEvent) {
        let job = self.job.as_ref();
        self.exchange.iter_mut().for_each(|exchange| exchange.tell(event, job));
    }

    /// Their state, for a commit that no job is part of.
    pub(crate) fn kept(&self, ended: &[Ended]) -> BTreeMap<String, Part> {
        let exchange = self.exchange.as_ref().filter(|_| ended.is_empty());
        exchange.map(Exchange::kept).unwrap_or_default()
    }

    /// Has handlers of other processes give what they hold back, now that nothing more comes; whether that was anything.
    pub(crate) async fn finish(&mut self) -> Result<bool, Error> {
        let Some(exchange) = &mut self.exchange else { return Ok(false) };
        exchange.finishing = Some(0);
        if self.job.as_ref().is_none_or(Running::is_cut) && !self.begin() {
            let pipeline = self.common.pipeline.clone();
            let (member, reason) = ("a member".into(), "its handlers are elsewhere than they were".into());
            return Err(Error::Member { pipeline, member, reason });
        }
        if let (Some(exchange), Some(job)) = (&mut self.exchange, &self.job) {
            exchange.finish(job);
        }
        while self.exchange.as_ref().is_some_and(|exchange| exchange.finishing.is_some_and(|left| left > 0)) {
            let said = said(&mut self.job).await;
            if let Some(event) = self.hear(said)? {
                self.deferred.push_back(event);
            }
        }
        let Some(exchange) = &mut self.exchange else { return Ok(false) };
        exchange.finishing = None;
        Ok(exchange.any)
    }
}

/// Waits for members that come or go; never where nobody is left to say so.
async fn changed(members: &mut watch::Receiver<Vec<Member>>) {
    if members.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What all tasks of a pipeline have in common.
pub(crate) fn common(parts: &Parts, epoch: u64, mode: Mode, columns: BTreeMap<String, String>) -> TaskHead {
    // Where rows come to the leader, it takes no more than it needs.
    let all = Thresholds { rows: u64::MAX, bytes: u64::MAX, ..parts.thresholds() };
    let thresholds = if mode == Mode::Rows { all } else { parts.thresholds() };
    TaskHead {
        version: VERSION,
        pipeline: parts.name.clone(),
        spec: parts.text.clone(),
        spec_digest: parts.digest.clone(),
        base: parts.base.clone(),
        plugins: parts.digests.clone(),
        epoch,
        job: 0,
        ordinal: 0,
        tasks: 1,
        mode,
        partitions: Vec::new(),
        readers: BTreeMap::new(),
        last: false,
        columns,
        commit: String::new(),
        before_ms: 0,
        rows: thresholds.rows,
        bytes: thresholds.bytes,
        gathers: Vec::new(),
    }
}
