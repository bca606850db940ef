//! Runs of messages looked at together, so that columns are inferred from more than the first message.

use std::{collections::VecDeque, time::Duration};

use spout_base::clock;
use spout_data::{Messages, PartitionId, Position};
use spout_producer::Fetched;
use tokio::sync::mpsc;

use super::lane::Share;

/// Messages that are enough to infer columns from.
const ENOUGH: usize = 1000;
/// Messages that are looked at together at most: those of one fetch.
const MOST: usize = 8192;
/// How long to wait for them.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What the fetching task of a lane passes on.
pub(super) enum Raw {
    Run(Box<Fetched>, Share),
    /// The partition has nothing for now; and whether somebody is there who may send.
    Idle(PartitionId, bool),
    /// The source's own place moved on, without a message and at the same offset.
    Place(PartitionId, Position),
    /// The partition has nothing ever again.
    Ended(PartitionId),
}

/// A run, and its share of the room that all runs have.
pub(super) type FetchedRun = (Box<Fetched>, Share);

/// Runs that follow each other.
pub(super) struct Sample {
    runs: Vec<FetchedRun>,
    /// What ended it.
    next: Option<Raw>,
}

impl Sample {
    /// `first` and what comes after it, of `waiting` and then of `fetched`, until that is enough or `patience` is over.
    pub(super) async fn gather(
        first: FetchedRun,
        waiting: &mut VecDeque<Raw>,
        fetched: &mut mpsc::Receiver<Raw>,
        patience: Duration,
    ) -> Self {
        let until = clock::now() + patience;
        let mut messages = first.0.messages.len();
        let mut sample = Self { runs: vec![first], next: None };
        while messages < ENOUGH {
            let next = match waiting.pop_front() {
                Some(raw) => Some(raw),
                None => match tokio::time::timeout_at(until, fetched.recv()).await {
                    Ok(raw) => raw,
                    Err(_) => break,
                },
            };
            match next {
                Some(Raw::Run(run, room)) if run.jump.is_none() && run.rows.is_none() => {
                    messages += run.messages.len();
                    sample.runs.push((run, room));
                }
                other => {
                    sample.next = other;
                    break;
                }
            }
        }
        sample
    }

    /// Whether it is more than the first run.
    pub(super) fn is_more(&self) -> bool {
        self.runs.len() > 1
    }

    /// All its messages, as far as they are not many more than enough.
    pub(super) fn messages(&self) -> Messages {
        let mut messages = Messages::default();
        for (run, _) in &self.runs {
            let left = MOST - messages.len();
            messages.append(if run.messages.len() <= left {
                run.messages.clone()
            } else {
                run.messages.slice(0..left)
            });
        }
        messages
    }

    /// The first run.
    pub(super) fn first(&self) -> Option<&Fetched> {
        self.runs.first().map(|(first, _)| first.as_ref())
    }

    /// Whether it can be one run of `most` messages: a commit can be cut only between two runs, and a run is of one partition.
    pub(super) fn fits(&self, most: u32) -> bool {
        let partition = |run: &FetchedRun| run.0.span.partition;
        self.runs.is_sorted_by(|a, b| partition(a) == partition(b))
            && self.runs.iter().map(|(run, _)| run.messages.len()).sum::<usize>() <= most as usize
    }

    /// Puts its runs in front of `waiting`, as one if that fits.
    pub(super) fn put_back(self, most: u32, waiting: &mut VecDeque<Raw>) {
        let one = self.fits(most);
        let Self { mut runs, next } = self;
        if one {
            runs = runs.into_iter().reduce(together).into_iter().collect();
        }
        next.into_iter().for_each(|next| waiting.push_front(next));
        runs.into_iter().rev().for_each(|(run, room)| waiting.push_front(Raw::Run(run, room)));
    }
}

/// Two runs that follow each other as one.
fn together((mut run, mut room): FetchedRun, (next, more): FetchedRun) -> FetchedRun {
    run.messages.append(next.messages);
    run.span.next = next.span.next;
    run.awaited = run.awaited.into_iter().chain(next.awaited).min();
    run.provenance.extend(next.provenance);
    room.merge(more);
    (run, room)
}
