//! A source read as a whole.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Limits, Messages, Position, Progress, Result};

/// Where a stream resumes: after everything that `next` has returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The next message of each partition.
    pub positions: Vec<(u32, Position)>,
    /// Anything else needed to resume.
    pub extra: Option<Vec<u8>>,
}

/// Where to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message.
    Earliest,
    /// After the newest message.
    Latest,
    /// At a checkpoint.
    Checkpoint(Checkpoint),
}

/// A source read as a whole.
pub trait StreamConsumer: Sized + 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;

    /// Whether the source forgets messages once they are acknowledged, and sends others again: a queue, not a log. Then a spec reads it
    /// with `consumerType: acked`.
    ///
    /// Such a source acknowledges in [`StreamConsumer::committed`], and nowhere else, everything that `next` had returned before that
    /// checkpoint; if it cannot, it says so, and is told again with the next commit. `next` returns whatever the source sends,
    /// also what it sends again, with [`Added::id`](crate::Added::id), which is the same whenever the message comes; without it the
    /// partition and the offset are. The host leaves out what it has. A new instance is not told of what an older one has returned:
    /// the source sends that again.
    const ACKED: bool = false;

    /// Opens the topic on behalf of `group`.
    ///
    /// # Errors
    /// The settings are wrong, or the topic does not exist.
    fn open(topic: &str, group: &str, start: Start, settings: Self::Settings) -> Result<Self>;

    /// The next messages, each with offset and partition.
    ///
    /// # Errors
    /// [`Error::retriable`](crate::Error::retriable) for a transient failure.
    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)>;

    /// How many messages the source has for it that `next` has not returned, where it says so: what the host shows as lag. Asked after each
    /// call of `next`, so the answer has to be at hand; [`Waiting`](crate::Waiting) says when to ask the source.
    fn waiting(&self) -> Option<u64> {
        None
    }

    /// Covers exactly what `next` has returned so far.
    ///
    /// # Errors
    /// The checkpoint cannot be determined.
    fn checkpoint(&mut self) -> Result<Checkpoint>;

    /// Everything before `upto` is durable in a commit. A hint: it may come late, twice or never.
    ///
    /// # Errors
    /// Errors are only logged.
    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let _ = upto;
        Ok(())
    }
}

#[doc(hidden)]
pub mod shim {
    //! Adapts the WIT interface to the trait.

    use std::{
        cell::{Cell, RefCell},
        marker::PhantomData,
    };

    use super::{Checkpoint, Start, StreamConsumer};
    use crate::{
        Limits, Messages, Position, Progress,
        decoder::shim::texts,
        metrics, parse_settings,
        register::{self, Offers, named},
        wit::{
            base::{exports::spout::plugin::about::Offer, spout::plugin::types as wit},
            stream::exports::spout::plugin::stream_consumer as export,
        },
    };

    /// The gauge by which the host learns what waits; anything below zero is that nobody knows.
    const WAITING: &str = "stream-consumer.waiting";

    /// Any stream.
    pub trait Consume {
        fn next(&mut self, limits: Limits) -> crate::Result<(Messages, Progress)>;
        fn waiting(&self) -> Option<u64>;
        fn checkpoint(&mut self) -> crate::Result<Checkpoint>;
        fn committed(&mut self, upto: Checkpoint) -> crate::Result<()>;
    }

    impl<S: StreamConsumer> Consume for S {
        fn next(&mut self, limits: Limits) -> crate::Result<(Messages, Progress)> {
            StreamConsumer::next(self, limits)
        }

        fn waiting(&self) -> Option<u64> {
            StreamConsumer::waiting(self)
        }

        fn checkpoint(&mut self) -> crate::Result<Checkpoint> {
            StreamConsumer::checkpoint(self)
        }

        fn committed(&mut self, upto: Checkpoint) -> crate::Result<()> {
            StreamConsumer::committed(self, upto)
        }
    }

    /// How to open a stream: topic, group, start, settings.
    pub type Open = fn(&str, &str, Start, &wit::Settings) -> crate::Result<Box<dyn Consume>>;

    #[must_use]
    pub const fn open<S: StreamConsumer>() -> Open {
        |topic, group, start, list| Ok(Box::new(S::open(topic, group, start, parse_settings(texts(list))?)?))
    }

    #[must_use]
    pub fn offer<S: StreamConsumer>(name: &str, summary: &str) -> Offer {
        let offer = register::offer::<S::Settings>("stream-consumer", name, summary);
        if S::ACKED { register::acked(offer) } else { offer }
    }

    #[derive(Debug)]
    pub struct Shim<P>(PhantomData<P>);

    /// With what the host was told of waiting messages.
    pub struct Consumer<P>(RefCell<Box<dyn Consume>>, Cell<Option<u64>>, PhantomData<P>);

    impl<P> std::fmt::Debug for Consumer<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Consumer")
        }
    }

    fn raise(checkpoint: export::Checkpoint) -> Checkpoint {
        let position = |(partition, position): (u32, wit::Position)| (partition, position.into());
        Checkpoint { positions: checkpoint.positions.into_iter().map(position).collect(), extra: checkpoint.extra }
    }

    impl<P: Offers<Open>> export::Guest for Shim<P> {
        type Consumer = Consumer<P>;
    }

    impl<P: Offers<Open>> export::GuestConsumer for Consumer<P> {
        fn open(
            name: String,
            topic: String,
            group: String,
            at: export::StartAt,
            list: wit::Settings,
        ) -> Result<export::Consumer, wit::Error> {
            let start = match at {
                export::StartAt::Earliest => Start::Earliest,
                export::StartAt::Latest => Start::Latest,
                export::StartAt::Checkpoint(checkpoint) => Start::Checkpoint(raise(checkpoint)),
            };
            let consumer = named(P::OFFERS, &name)?(&topic, &group, start, &list)?;
            Ok(export::Consumer::new(Self(RefCell::new(consumer), Cell::new(None), PhantomData)))
        }

        fn next(&self, limits: wit::FetchLimits) -> Result<(wit::Messages, wit::Progress), wit::Error> {
            let mut consumer = self.0.borrow_mut();
            let (messages, progress) = consumer.next(limits.into())?;
            let waiting = consumer.waiting();
            if waiting != self.1.replace(waiting) {
                metrics::set(WAITING, waiting.map_or(-1.0, |waiting| waiting as f64));
            }
            Ok((messages.into(), progress.into()))
        }

        fn checkpoint(&self) -> Result<export::Checkpoint, wit::Error> {
            let checkpoint = self.0.borrow_mut().checkpoint()?;
            let position = |(partition, position): (u32, Position)| (partition, position.into());
            Ok(export::Checkpoint {
                positions: checkpoint.positions.into_iter().map(position).collect(),
                extra: checkpoint.extra,
            })
        }

        fn committed(&self, upto: export::Checkpoint) -> Result<(), wit::Error> {
            Ok(self.0.borrow_mut().committed(raise(upto))?)
        }
    }
}
