//! Which member gets what of the next job.

use std::collections::BTreeMap;

use spout_data::PartitionId;

use super::{Reading, Spread};
use crate::spread::{
    Member, Task,
    assign::assign,
    exchange::Exchange,
    job::Running,
    words::{Assigned, Durable, TaskHead, frame},
};

impl Spread {
    fn place(&self) -> BTreeMap<PartitionId, String> {
        let partitions = self.partitions.keys().copied().collect();
        assign(&partitions, &self.placed, &self.taking())
    }

    pub(super) fn is_stale(&self) -> bool {
        let members = self.taking();
        self.place() != self.placed || self.exchange.as_ref().is_some_and(|exchange| exchange.is_stale(&members))
    }

    /// The members that may get tasks.
    fn taking(&self) -> Vec<Member> {
        let members = self.members.borrow();
        let has = |member: &&Member| self.labels.iter().all(|(key, value)| member.labels.get(key) == Some(value));
        let members = self.unfit.without(members.iter().filter(has).cloned().collect());
        if self.settled {
            return members;
        }
        // The same one as long as it is there.
        let at = members.iter().position(|member| self.placed.values().next() == Some(&member.id)).unwrap_or(0);
        members.into_iter().skip(at).take(1).collect()
    }

    /// Begins the job of the next commit; whether there is anybody who could do it, and anything to do.
    pub(super) fn begin(&mut self) -> bool {
        self.members.mark_unchanged();
        let finishes = self.exchange.as_ref().is_some_and(|exchange| exchange.finishing.is_some());
        if !finishes && (self.over || self.partitions.is_empty()) {
            return false;
        }
        let taking = self.taking();
        if !taking.is_empty() && !self.exchange.as_mut().is_none_or(|exchange| exchange.begin(&taking)) {
            return false;
        }
        self.placed = self.place();
        self.figures.shared().are(&self.members.borrow(), &self.leader, &self.placed);
        if taking.is_empty() {
            let (pipeline, labels) = (&self.common.pipeline, &self.labels);
            tracing::warn!(
                pipeline,
                ?labels,
                "no process of the cluster may read its partitions: none has these labels"
            );
            return false;
        }
        (self.stale, self.untold) = (false, false);
        self.common.job += 1;
        for (reader, at) in &mut self.readers {
            if let Some(reading) = self.partitions.get(reader) {
                at.clone_from(&reading.at);
            }
        }
        let mut by_member: BTreeMap<&str, Vec<Assigned>> = BTreeMap::new();
        if let Some(first) = taking.first().filter(|_| self.placed.is_empty()) {
            // Handlers are to give what they hold back, and nothing is read.
            by_member.insert(&first.id, Vec::new());
        }
        for (partition, member) in &self.placed {
            let Some(Reading { found, at, durable, .. }) = self.partitions.get(partition) else { continue };
            by_member.entry(member).or_default().push(Assigned {
                partition: *partition,
                label: found.label.clone(),
                at: at.clone(),
                committed: found.committed,
                passing: found.passing.clone(),
                durable: durable
                    .as_ref()
                    .map(|up_to| if up_to == at { Durable::Here } else { Durable::At(up_to.clone()) }),
            });
        }
        let readers = by_member.len();
        let gathers = self.exchange.as_ref().map(Exchange::gathers).unwrap_or_default();
        let of = readers + gathers.len();
        let mut tasks = Vec::with_capacity(readers);
        for (ordinal, (member, partitions)) in by_member.into_iter().enumerate() {
            let (gathers, readers) = (gathers.clone(), self.readers.clone());
            let head = TaskHead { ordinal, tasks: of, partitions, readers, gathers, ..self.common.clone() };
            let Ok(what) = frame(&head, &[]) else { return false };
            tasks.push(Task { member: member.to_owned(), what });
        }
        let label = |reading: &Reading| (reading.found.partition, reading.found.label.clone());
        let labels: Vec<_> = self.partitions.values().filter(|_| self.exchange.is_some()).map(label).collect();
        let common = &self.common;
        let gathers = self.exchange.as_mut().map(|exchange| exchange.tasks(common, readers, &labels));
        let Some(gathers) = gathers.unwrap_or_else(|| Some(Vec::new())) else { return false };
        let members = tasks.iter().chain(&gathers).map(|task| task.member.clone()).collect();
        let name = format!("{}, job {} of epoch {}", self.common.pipeline, self.common.job, self.common.epoch);
        let job = self.fleet.start(&name, tasks, gathers);
        self.job = Some(Running::new(job, members));
        true
    }
}
