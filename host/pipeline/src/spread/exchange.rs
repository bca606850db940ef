//! The leader's side of the second stage: who has which buckets of keys, and what their handlers are told.

use std::collections::{BTreeMap, BTreeSet};

use spout_data::{Part, PartitionId};
use spout_node::{BUCKETS, SourceEvent, bucket_of};
use spout_repo::Commit;

use super::{
    Member, Task,
    assign::assign,
    job::Running,
    words::{EventWord, GatherHead, Order, TaskHead, frame},
};

/// The buckets of a pipeline, and where they are.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Who has each, in the job that runs or was the last.
    placed: BTreeMap<PartitionId, String>,
    /// The commit that their state is that of, or will be; none, if it is empty.
    state: Option<String>,
    /// Whether that commit is still being written.
    writing: bool,
    /// Whether nobody has that state in memory.
    stored: bool,
    /// The parts of state that the newest durable commit has.
    parts: BTreeSet<String>,
    /// What the handlers were told since that commit, and what they are to be told by the next job.
    told: Vec<EventWord>,
    untold: Vec<EventWord>,
    /// Runs of each partition that the job that runs has brought.
    runs: BTreeMap<PartitionId, u64>,
    /// Whether it has brought anything.
    pub(super) brought: bool,
    /// Answers that are waited for, and whether one of them was that something was held back.
    pub(super) finishing: Option<usize>,
    pub(super) any: bool,
    /// Whether a commit was asked for, so that another job may follow.
    pub(super) asked: bool,
}

impl Exchange {
    /// Goes on from the state that `head` has.
    pub(super) fn new(head: Option<&Commit>) -> Self {
        let mut exchange = Self::default();
        if let Some(head) = head {
            exchange.durable(head);
        }
        exchange
    }

    /// `commit` is durable.
    pub(super) fn durable(&mut self, commit: &Commit) {
        self.state = Some(commit.header.id.clone());
        self.writing = false;
        self.parts = commit.state.keys().filter(|key| bucket_of(key).is_some()).cloned().collect();
    }

    /// The commit `id` is about to be written; the job that ran is part of it, if one `ran`.
    pub(super) fn cut(&mut self, id: &str, ran: bool) {
        self.state = Some(id.to_owned());
        (self.writing, self.stored) = (true, !ran);
        self.told.clear();
        self.asked = false;
    }

    /// The state of a commit that no job is part of.
    pub(super) fn kept(&self) -> BTreeMap<String, Part> {
        self.parts.iter().map(|key| (key.clone(), Part::Kept)).collect()
    }

    /// Who is to have which buckets.
    fn place(&self, members: &[Member]) -> BTreeMap<PartitionId, String> {
        let buckets = (0..u32::from(BUCKETS)).map(PartitionId::from).collect();
        assign(&buckets, &self.placed, members)
    }

    /// Whether these members are to have other buckets than they have.
    pub(super) fn is_stale(&self, members: &[Member]) -> bool {
        self.place(members) != self.placed
    }

    /// Gives out the buckets for another job; not, as long as state that is still being written would have to be elsewhere.
    pub(super) fn begin(&mut self, members: &[Member]) -> bool {
        let placed = self.place(members);
        if self.writing && self.stored {
            return false;
        }
        if self.writing && placed != self.placed {
            let there = |id: &String| members.iter().any(|member| member.id == *id);
            return !self.placed.is_empty() && self.placed.values().all(there);
        }
        self.placed = placed;
        true
    }

    /// The buckets of each member that has some.
    fn by_member(&self) -> BTreeMap<&str, Vec<u16>> {
        let mut by_member: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for (bucket, member) in &self.placed {
            by_member.entry(member).or_default().push(bucket.number as u16);
        }
        by_member
    }

    /// The buckets of each gather, in order.
    pub(super) fn gathers(&self) -> Vec<Vec<u16>> {
        self.by_member().into_values().collect()
    }

    /// The gathers of a job after `readers` tasks that read; and their members.
    pub(super) fn tasks(
        &mut self,
        common: &TaskHead,
        readers: usize,
        labels: &[(PartitionId, String)],
    ) -> Option<Vec<Task>> {
        let events = std::mem::take(&mut self.untold);
        let by_member = self.by_member();
        let tasks = readers + by_member.len();
        let gather = |(at, (member, buckets)): (usize, (&str, Vec<u16>))| {
            let task = TaskHead { ordinal: readers + at, tasks, ..common.clone() };
            let (state, events, labels) = (self.state.clone(), events.clone(), labels.to_vec());
            let head = GatherHead { task, buckets, readers, state, events, labels };
            Some(Task { member: member.to_owned(), what: frame(&head, &[]).ok()? })
        };
        let gathers = by_member.into_iter().enumerate().map(gather).collect::<Option<Vec<_>>>();
        self.told.extend(events);
        (self.runs, self.brought) = (BTreeMap::new(), false);
        gathers
    }

    /// The job that runs is given up, as if it had not been.
    pub(super) fn give_up(&mut self) {
        self.stored = true;
        let later = std::mem::take(&mut self.untold);
        self.untold = std::mem::take(&mut self.told);
        self.untold.extend(later);
    }

    /// The job has brought a run of a partition.
    pub(super) fn ran(&mut self, partition: PartitionId) {
        *self.runs.entry(partition).or_default() += 1;
        self.brought = true;
    }

    /// Tells the handlers of an event, behind everything that was heard before it.
    pub(super) fn tell(&mut self, event: SourceEvent, job: Option<&Running>) {
        let Some(event) = EventWord::of(event) else { return };
        match job.filter(|job| !job.is_cut()) {
            Some(job) => {
                let runs = self.runs.get(&event.partition()).copied().unwrap_or_default();
                job.order(&Order::Event { event, after: vec![(event.partition(), runs)] });
                self.told.push(event);
            }
            None => self.untold.push(event),
        }
    }

    /// Has the handlers give what they hold back.
    pub(super) fn finish(&mut self, job: &Running) {
        job.order(&Order::Finish { after: self.runs.iter().map(|(partition, runs)| (*partition, *runs)).collect() });
        (self.finishing, self.any) = (Some(self.by_member().len()), false);
        // What they release is in this job.
        self.brought = true;
    }

    /// A gather has given what it held back.
    pub(super) fn finished(&mut self, any: bool) {
        self.any |= any;
        self.finishing = self.finishing.map(|left| left.saturating_sub(1));
    }
}
