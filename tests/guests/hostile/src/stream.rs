//! The same source as one stream.

use std::cell::Cell;

use crate::{
    Hostile, Plan,
    bindings::exports::spout::plugin::stream_consumer::{
        Checkpoint, Consumer, Error, FetchLimits, Guest, GuestConsumer, Messages, Position, Progress, StartAt,
    },
    deed::act,
    source::count,
};

pub(crate) struct Stream {
    plan: Plan,
    at: Cell<u64>,
}

impl Guest for Hostile {
    type Consumer = Stream;
}

impl GuestConsumer for Stream {
    fn open(
        _name: String,
        _topic: String,
        _group: String,
        at: StartAt,
        settings: Vec<(String, String)>,
    ) -> Result<Consumer, Error> {
        let plan = Plan::new(&settings);
        act(&plan, "stream-open")?;
        let at = match at {
            StartAt::Earliest => 0,
            StartAt::Latest => plan.total,
            StartAt::Checkpoint(checkpoint) => checkpoint.positions.first().map_or(0, |(_, position)| position.offset),
        };
        Ok(Consumer::new(Self { plan, at: Cell::new(at) }))
    }

    fn next(&self, limits: FetchLimits) -> Result<(Messages, Progress), Error> {
        act(&self.plan, "next")?;
        let left = self.plan.total.saturating_sub(self.at.get());
        let n = left.min(u64::from(limits.max_messages));
        let mut messages = count(self.at.get(), n);
        messages.partitions = vec![0; n as usize];
        self.at.set(self.at.get() + n);
        match self.plan.mode("next") {
            "offsets-fall" => messages.offsets.reverse(),
            "partitions-missing" => messages.partitions.clear(),
            _ => {}
        }
        Ok((messages, if n == left { Progress::Ended } else { Progress::More }))
    }

    fn checkpoint(&self) -> Result<Checkpoint, Error> {
        act(&self.plan, "checkpoint")?;
        Ok(Checkpoint { positions: vec![(0, Position { offset: self.at.get(), token: None })], extra: None })
    }

    fn committed(&self, _upto: Checkpoint) -> Result<(), Error> {
        act(&self.plan, "stream-committed")
    }
}
