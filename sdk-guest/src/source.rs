//! A source read by partition.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Fetched, Limits, Position, Result};

/// One partition of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number; never changes.
    pub id: u32,
    /// Its name, for humans.
    pub label: String,
    /// Whether nothing will be added to it.
    pub ended: bool,
}

impl Partition {
    /// A partition known by its label, such as a file's name: its number is made of it, so it is the same in every run. Two
    /// labels that happen to have one number stop the pipeline.
    #[must_use]
    pub fn named(label: impl Into<String>) -> Self {
        let label = label.into();
        // FNV-1a.
        let id = label.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { id, label, ended: false }
    }
}

/// A partition that a commit has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub label: String,
    /// Where it resumes.
    pub position: Position,
}

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criteria {
    /// At the oldest message.
    Earliest,
    /// After the newest message.
    Latest,
    /// At the first message at or after this time, in milliseconds since 1970.
    AtTimeMs(u64),
    /// At this offset.
    AtOffset(u64),
}

/// A source read by partition, each of which has a [`Reader`].
///
/// A source that can read several partitions at once, over one connection say, implements [`SharedSource`](crate::SharedSource)
/// instead.
pub trait Source: Sized + 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;
    /// Reads one partition.
    type Reader: Reader;

    /// Opens the topic to answer questions about it.
    ///
    /// # Errors
    /// The settings are wrong, or the topic does not exist.
    fn open(topic: &str, settings: Self::Settings) -> Result<Self>;

    /// The current partitions. Called repeatedly: new ones are picked up. `known` are those that commits have seen.
    ///
    /// # Errors
    /// [`Error::retriable`](crate::Error::retriable) if they cannot be listed now.
    fn partitions(&mut self, known: &[Known], timeout: Duration) -> Result<Vec<Partition>>;

    /// The position for `at`; `None` if the source does not support it.
    ///
    /// # Errors
    /// As for [`Source::partitions`].
    fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> Result<Option<Position>> {
        let _ = (partition, timeout);
        Ok(match at {
            Criteria::Earliest => Some(Position::default()),
            Criteria::AtOffset(offset) => Some(Position::at(offset)),
            Criteria::Latest | Criteria::AtTimeMs(_) => None,
        })
    }

    /// Opens one partition for reading. Partitions of one [`Source`] are read in turn.
    ///
    /// # Errors
    /// The partition does not exist.
    fn read(&mut self, partition: u32) -> Result<Self::Reader>;
}

/// Reads one partition.
pub trait Reader: 'static {
    /// The messages from `start` on. Any position ever returned may be requested again, and must return the same
    /// messages. Returns empty if nothing arrives within the time-out.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) if `start` is gone.
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched>;

    /// Everything before `upto` is durable in a commit. A hint: it may come late, twice or never.
    ///
    /// # Errors
    /// Errors are only logged.
    fn committed(&mut self, upto: Position) -> Result<()> {
        let _ = upto;
        Ok(())
    }
}

#[doc(hidden)]
pub mod shim {
    //! Adapts the WIT interface to the traits.

    use std::{cell::RefCell, marker::PhantomData, time::Duration};

    use super::{Criteria, Known, Partition};
    use crate::{
        Position, SharedReader, SharedSource,
        decoder::shim::texts,
        parse_settings,
        register::{self, Offers, named},
        wit::{
            base::{exports::spout::plugin::about::Offer, spout::plugin::types as wit},
            source::exports::spout::plugin::{metadata_provider as meta, partition_consumer as part},
        },
    };

    /// What any source says of its topic.
    pub trait Provide {
        fn partitions(&mut self, known: &[Known], timeout: Duration) -> crate::Result<Vec<Partition>>;
        fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> crate::Result<Option<Position>>;
    }

    impl<S: SharedSource> Provide for S {
        fn partitions(&mut self, known: &[Known], timeout: Duration) -> crate::Result<Vec<Partition>> {
            SharedSource::partitions(self, known, timeout)
        }

        fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> crate::Result<Option<Position>> {
            SharedSource::resolve(self, partition, at, timeout)
        }
    }

    /// How to open a source, to ask it and to read it.
    #[derive(Clone, Copy, Debug)]
    pub struct Open {
        provider: fn(&str, &wit::Settings) -> crate::Result<Box<dyn Provide>>,
        reader: fn(&str, &wit::Settings) -> crate::Result<Box<dyn SharedReader>>,
    }

    #[must_use]
    pub const fn open<S: SharedSource>() -> Open {
        Open {
            provider: |topic, list| Ok(Box::new(S::open(topic, parse_settings(texts(list))?)?)),
            reader: |topic, list| Ok(Box::new(S::open(topic, parse_settings(texts(list))?)?.into_reader()?)),
        }
    }

    #[must_use]
    pub fn offer<S: SharedSource>(name: &str, summary: &str) -> Offer {
        register::offer::<S::Settings>("partition-consumer", name, summary)
    }

    #[derive(Debug)]
    pub struct Shim<P>(PhantomData<P>);

    pub struct Provider<P>(RefCell<Box<dyn Provide>>, PhantomData<P>);

    pub struct Consumer<P>(RefCell<Box<dyn SharedReader>>, PhantomData<P>);

    impl<P> std::fmt::Debug for Provider<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Provider")
        }
    }

    impl<P> std::fmt::Debug for Consumer<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Consumer")
        }
    }

    impl<P: Offers<Open>> meta::Guest for Shim<P> {
        type Provider = Provider<P>;
    }

    impl<P: Offers<Open>> meta::GuestProvider for Provider<P> {
        fn open(name: String, topic: String, list: wit::Settings) -> Result<meta::Provider, wit::Error> {
            let provider = (named(P::OFFERS, &name)?.provider)(&topic, &list)?;
            Ok(meta::Provider::new(Self(RefCell::new(provider), PhantomData)))
        }

        fn partitions(
            &self,
            known: Vec<meta::KnownPartition>,
            timeout_ms: u32,
        ) -> Result<Vec<meta::PartitionInfo>, wit::Error> {
            let raise =
                |one: meta::KnownPartition| Known { id: one.id, label: one.label, position: one.position.into() };
            let known: Vec<Known> = known.into_iter().map(raise).collect();
            let partitions = self.0.borrow_mut().partitions(&known, Duration::from_millis(u64::from(timeout_ms)))?;
            let info = |partition: Partition| meta::PartitionInfo {
                id: partition.id,
                label: partition.label,
                ended: partition.ended,
            };
            Ok(partitions.into_iter().map(info).collect())
        }

        fn resolve(
            &self,
            partition: u32,
            at: meta::OffsetCriteria,
            timeout_ms: u32,
        ) -> Result<Option<wit::Position>, wit::Error> {
            let at = match at {
                meta::OffsetCriteria::Earliest => Criteria::Earliest,
                meta::OffsetCriteria::Latest => Criteria::Latest,
                meta::OffsetCriteria::AtTimeMs(ms) => Criteria::AtTimeMs(ms),
                meta::OffsetCriteria::AtOffset(offset) => Criteria::AtOffset(offset),
            };
            let timeout = Duration::from_millis(u64::from(timeout_ms));
            Ok(self.0.borrow_mut().resolve(partition, at, timeout)?.map(Into::into))
        }
    }

    impl<P: Offers<Open>> part::Guest for Shim<P> {
        type Consumer = Consumer<P>;
    }

    fn raise(places: Vec<(u32, wit::Position)>) -> Vec<(u32, Position)> {
        places.into_iter().map(|(partition, position)| (partition, position.into())).collect()
    }

    fn lower(fetched: crate::Fetched) -> part::Fetched {
        part::Fetched {
            messages: fetched.messages.into(),
            next: fetched.next.into(),
            high_watermark: fetched.high_watermark,
            progress: fetched.progress.into(),
        }
    }

    impl<P: Offers<Open>> part::GuestConsumer for Consumer<P> {
        fn open(name: String, topic: String, list: wit::Settings) -> Result<part::Consumer, wit::Error> {
            let reader = (named(P::OFFERS, &name)?.reader)(&topic, &list)?;
            Ok(part::Consumer::new(Self(RefCell::new(reader), PhantomData)))
        }

        fn fetch(
            &self,
            wanted: Vec<(u32, wit::Position)>,
            limits: wit::FetchLimits,
        ) -> Result<Vec<(u32, Result<part::Fetched, wit::Error>)>, wit::Error> {
            let answers = self.0.borrow_mut().fetch(&raise(wanted), limits.into())?;
            let answer = |(partition, fetched): (u32, crate::Result<crate::Fetched>)| {
                (partition, fetched.map(lower).map_err(Into::into))
            };
            Ok(answers.into_iter().map(answer).collect())
        }

        fn committed(&self, upto: Vec<(u32, wit::Position)>) -> Result<(), wit::Error> {
            Ok(self.0.borrow_mut().committed(&raise(upto))?)
        }
    }
}
