//! Brokers, and who leads which partition of a topic.

use crate::{
    trouble::Malformed,
    wire::{Input, Output, TopicId},
};

type Result<T> = std::result::Result<T, Malformed>;

/// From this version on topics have ids.
const IDS: i16 = 10;

/// Asks about one topic, without having it made.
pub(crate) fn ask(out: &mut Output, version: i16, topic: &str) {
    out.count(1);
    if version >= IDS {
        out.topic_id(&TopicId::default());
    }
    out.text(topic);
    out.tags();
    out.i8(0);
    if version == IDS {
        out.i8(0);
    }
    if version >= IDS {
        out.i8(0);
    }
    out.tags();
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) node: i32,
    pub(crate) address: String,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicPartition {
    pub(crate) code: i16,
    pub(crate) number: i32,
    /// The node that leads it; negative if nobody does.
    pub(crate) leader: i32,
}

/// The brokers, and the topic that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) code: i16,
    /// Zeros if the broker does not know ids.
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<TopicPartition>,
}

impl Metadata {
    pub(crate) fn read(mut input: Input, version: i16) -> Result<Self> {
        input.i32()?;
        let brokers = input.each(broker)?;
        input.text()?;
        input.i32()?;
        let mut topics = input.each(|input| topic(input, version))?;
        let (code, id, partitions) = topics.pop().ok_or(Malformed("the topic is missing"))?;
        Ok(Self { brokers, code, id, partitions })
    }
}

fn broker(input: &mut Input) -> Result<Broker> {
    let node = input.i32()?;
    let host = input.text()?.unwrap_or_default();
    let port = input.i32()?;
    input.text()?;
    input.tags()?;
    // An IPv6 address has colons of its own.
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Ok(Broker { node, address })
}

fn topic(input: &mut Input, version: i16) -> Result<(i16, TopicId, Vec<TopicPartition>)> {
    let code = input.i16()?;
    input.text()?;
    let id = if version >= IDS { input.topic_id()? } else { TopicId::default() };
    input.i8()?;
    let partitions = input.each(|input| partition(input, version))?;
    if version >= 8 {
        input.i32()?;
    }
    input.tags()?;
    Ok((code, id, partitions))
}

fn partition(input: &mut Input, version: i16) -> Result<TopicPartition> {
    let (code, number, leader) = (input.i16()?, input.i32()?, input.i32()?);
    if version >= 7 {
        input.i32()?;
    }
    // Replicas, those in sync, those that are off.
    for _ in 0..if version >= 5 { 3 } else { 2 } {
        input.each(Input::i32)?;
    }
    input.tags()?;
    Ok(TopicPartition { code, number, leader })
}
