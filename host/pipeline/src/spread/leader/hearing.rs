//! What the tasks of a job say.

use std::collections::BTreeMap;

use spout_data::{Batch, PartitionId};

use super::{Heard, Reading, Spread, Written};
use crate::{
    Error,
    lane::{About, LaneEvent, Share},
    spread::{
        Lost, Said,
        batches::unpack,
        words::{Order, Took, Word, unframe},
    },
};

impl Spread {
    /// Words of the job that runs, as an event if they are one.
    pub(super) fn hear(&mut self, said: Option<Result<Said, Lost>>) -> Result<Option<Heard>, Error> {
        let pipeline = self.common.pipeline.clone();
        let Some(running) = &mut self.job else { return Ok(None) };
        let gone = |member: &str, reason: String| Error::Member {
            pipeline: pipeline.clone(),
            member: member.to_owned(),
            reason,
        };
        let Said { task, what } = match said {
            Some(Ok(said)) => said,
            Some(Err(lost)) => return Err(gone(&lost.member, lost.reason)),
            None => return Err(gone("a member", "its task ended before it was told to".into())),
        };
        let member = running.member(task);
        let (word, body) = unframe::<Word>(&what).map_err(|reason| gone(&member, reason))?;
        let known = |partitions: &BTreeMap<PartitionId, Reading>, partition: PartitionId| {
            let there = partitions.contains_key(&partition);
            there
                .then_some(())
                .ok_or_else(|| gone(&member, format!("it spoke of partition {partition}, which it has not")))
        };
        Ok(match word {
            Word::Took(took) => {
                known(&self.partitions, took.partition)?;
                if !took.partial {
                    let (rows, bytes) = took.given;
                    self.figures.shared().have_taken(&member, took.rows + rows, took.bytes + bytes);
                }
                self.exchange.iter_mut().for_each(|exchange| exchange.ran(took.partition));
                let rows = self.brings_rows();
                let batches = if rows { unpack(body).map_err(|reason| gone(&member, reason))? } else { Vec::new() };
                self.took(took, batches)
            }
            Word::Idle { partition, expects } => {
                known(&self.partitions, partition)?;
                Some(Heard::Lane(LaneEvent::Idle { partition, expects }))
            }
            Word::Ended { partition } => {
                known(&self.partitions, partition)?;
                self.partitions.remove(&partition);
                Some(Heard::Lane(LaneEvent::Ended(partition)))
            }
            Word::Place { partition, position } => {
                known(&self.partitions, partition)?;
                if let Some(reading) = self.partitions.get_mut(&partition) {
                    reading.at = position.clone();
                }
                Some(Heard::Lane(LaneEvent::Place(partition, position)))
            }
            Word::Stand { partitions, done } => {
                self.standings.heard(partitions);
                self.figures.shared().have_done(&member, done);
                None
            }
            Word::Full => Some(Heard::Full),
            Word::Handled { done } => {
                self.figures.shared().have_handled(&member, &done);
                None
            }
            Word::Cut { columns, tables, started_ms } => {
                running.left.remove(&task);
                running.tables.extend(tables);
                // Declared ones are known before, and stored once somebody decodes.
                if self.common.columns.is_empty() && !columns.is_empty() {
                    (self.common.columns, self.settled) = (columns, true);
                }
                self.common.before_ms = self.common.before_ms.max(started_ms);
                None
            }
            Word::Made { rows, bytes, counts, done } => {
                for (task, bytes) in done {
                    running.order(&Order::Done { task, bytes });
                }
                Some(Heard::Made { rows, bytes, counts: Box::new(counts) })
            }
            Word::Finished { any } => {
                self.exchange.iter_mut().for_each(|exchange| exchange.finished(any));
                None
            }
            Word::Files(files) if !running.left.contains(&task) => {
                running.files.insert(task, *files);
                None
            }
            Word::Files(_) => return Err(gone(&member, "it said more than it was asked".into())),
            Word::Unfit { text } => {
                tracing::warn!(
                    pipeline,
                    member,
                    "a process of the cluster cannot do tasks of the pipeline, and gets none for a minute: {text}"
                );
                self.unfit.add(&member);
                return Err(gone(&member, text));
            }
            Word::Apart { from, text } => {
                self.apart(&member, &from);
                return Err(gone(&member, format!("it does not get what {from} has for it: {text}")));
            }
            Word::Failed { code, kind, text } => {
                return Err(Error::Remote { pipeline, member, code, kind: kind.into(), text });
            }
        })
    }

    /// A member does not reach the one at the address `from`. If that is so again, one of the two gets no tasks for a while.
    fn apart(&self, member: &str, from: &str) {
        let Some(other) =
            self.members.borrow().iter().find(|other| other.address == from).map(|other| other.id.clone())
        else {
            return;
        };
        if let Some(rests) = self.unfit.apart(member, &other, &self.leader) {
            tracing::warn!(
                pipeline = self.common.pipeline,
                member,
                other,
                "two processes of the cluster do not reach each other, so {rests} gets no tasks of the pipeline for a minute"
            );
        }
    }

    fn took(&mut self, took: Took, batches: Vec<Batch>) -> Option<Heard> {
        let reading = self.partitions.get_mut(&took.partition)?;
        if took.partial {
            reading.open.extend(batches);
            return None;
        }
        let mut whole = std::mem::take(&mut reading.open);
        whole.extend(batches);
        if let Some(next) = &took.next {
            reading.at = next.clone();
        }
        let Took { partition, next, jumped, awaited, rows, bytes, counts, given: (_, given), .. } = took;
        Some(if self.brings_rows() {
            let about = About { jumped, awaited, moved: next.is_some(), ..About::default() };
            Heard::Lane(LaneEvent::Batches { partition, batches: whole, more: None, about, share: Share::none() })
        } else {
            Heard::Written(Box::new(Written { partition, next, jumped, awaited, rows, bytes, given, counts }))
        })
    }
}
