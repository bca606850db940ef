//! Messages, positions and the limits of a fetch.

use spout_codec::{Attribute, Input};

use crate::wit::base::spout::plugin::types as wit;

/// The place of the next message of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The host orders and commits by it; grows within a partition.
    pub offset: u64,
    /// Anything else the source needs to find the place again; the host stores it unread.
    pub token: Option<Vec<u8>>,
}

impl Position {
    /// A position without a token.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self { offset, token: None }
    }
}

impl From<wit::Position> for Position {
    fn from(position: wit::Position) -> Self {
        Self { offset: position.offset, token: position.token }
    }
}

impl From<Position> for wit::Position {
    fn from(position: Position) -> Self {
        Self { offset: position.offset, token: position.token }
    }
}

/// How much one fetch may return, and how long it may wait for the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most messages.
    pub messages: usize,
    /// Most payload bytes.
    pub bytes: usize,
    /// Longest wait.
    pub timeout: std::time::Duration,
}

impl From<wit::FetchLimits> for Limits {
    fn from(limits: wit::FetchLimits) -> Self {
        Self {
            messages: limits.max_messages as usize,
            bytes: limits.max_bytes as usize,
            timeout: std::time::Duration::from_millis(u64::from(limits.timeout_ms)),
        }
    }
}

/// Whether to fetch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more.
    More,
    /// Nothing for now.
    Idle,
    /// Nothing more, ever.
    Ended,
}

impl From<Progress> for wit::Progress {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::More => Self::More,
            Progress::Idle => Self::Idle,
            Progress::Ended => Self::Ended,
        }
    }
}

/// The result of one fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The messages, each with its offset.
    pub messages: Messages,
    /// Where the next fetch starts; advances even when nothing was returned.
    pub next: Position,
    /// Offset after the newest message, if known.
    pub high_watermark: Option<u64>,
    /// Whether to fetch again.
    pub progress: Progress,
}

/// Messages as a struct of arrays: they cross to the host in a few copies, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    bounds: Vec<u32>,
    bytes: Vec<u8>,
    nulls: Vec<u32>,
    offsets: Vec<u64>,
    partitions: Vec<u32>,
    timestamps_ms: Vec<i64>,
    attributes: Vec<Attribute>,
}

impl Messages {
    /// Number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The payload of one message.
    #[must_use]
    pub fn value(&self, index: usize) -> &[u8] {
        match (self.bounds.get(index), self.bounds.get(index + 1)) {
            (Some(&from), Some(&to)) => self.bytes.get(from as usize..to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The indices of messages whose payload is null, rising.
    #[must_use]
    pub fn nulls(&self) -> &[u32] {
        &self.nulls
    }

    /// The messages' offsets.
    #[must_use]
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Reserves space for `count` more messages of `bytes` bytes in total.
    pub fn reserve(&mut self, count: usize, bytes: usize) {
        self.bounds.reserve(count + 1);
        self.offsets.reserve(count);
        self.bytes.reserve(bytes);
    }

    /// Adds a message at the end.
    pub fn push(&mut self, offset: u64, value: &[u8]) {
        self.write(offset, |bytes| bytes.extend_from_slice(value));
    }

    /// Adds a message whose payload `write` appends in place.
    pub fn write(&mut self, offset: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        write(&mut self.bytes);
        self.bounds.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.offsets.push(offset);
    }

    /// Sets the time of the last message added, in milliseconds since 1970. Every message needs one, or none.
    pub fn timestamp_ms(&mut self, at: i64) {
        self.timestamps_ms.push(at);
    }

    /// Sets the partition of the last message added; a [`StreamConsumer`](crate::StreamConsumer) needs it.
    pub fn partition(&mut self, partition: u32) {
        self.partitions.push(partition);
    }

    /// Sets what the messages pushed from now on have in common, such as their `file`; an empty value ends it.
    pub fn attribute(&mut self, name: &str, value: &[u8]) {
        let first = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let last = self.attributes.iter().rev().find(|attribute| attribute.name == name);
        if last.map_or(value.is_empty(), |last| last.value == value) {
            return;
        }
        self.attributes.retain(|attribute| attribute.first != first || attribute.name != name);
        self.attributes.push(Attribute { first, name: name.to_owned(), value: value.to_vec() });
    }

    /// The attributes, each from its first message on.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The messages as a core decoder sees them.
    #[must_use]
    pub fn input(&self) -> Input<'_> {
        Input {
            bounds: &self.bounds,
            bytes: &self.bytes,
            nulls: &self.nulls,
            timestamps_ms: &self.timestamps_ms,
            attributes: &self.attributes,
        }
    }

    /// Messages whose payloads lie one after the other in `bytes`, delimited by `bounds` (one more than there are
    /// messages, from 0 to the length), with `offsets`; nothing is copied.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, bounds: Vec<u32>, offsets: Vec<u64>) -> Self {
        Self { bounds, bytes, offsets, ..Self::default() }
    }
}

impl From<wit::Messages> for Messages {
    fn from(messages: wit::Messages) -> Self {
        Self {
            bounds: messages.values.bounds,
            bytes: messages.values.bytes,
            nulls: messages.nulls,
            offsets: messages.offsets,
            partitions: messages.partitions,
            timestamps_ms: messages.timestamps_ms,
            attributes: messages.attributes.into_iter().map(raised).collect(),
        }
    }
}

fn raised(wit::Attribute { first, name, value }: wit::Attribute) -> Attribute {
    Attribute { first, name, value }
}

fn lowered(Attribute { first, name, value }: Attribute) -> wit::Attribute {
    wit::Attribute { first, name, value }
}

impl From<Messages> for wit::Messages {
    fn from(messages: Messages) -> Self {
        // What holds for no message is not said.
        let count = messages.len();
        let told = messages.attributes.into_iter().filter(|attribute| (attribute.first as usize) < count);
        let attributes = told.map(lowered).collect();
        Self {
            values: wit::Blobs { bounds: messages.bounds, bytes: messages.bytes },
            nulls: messages.nulls,
            keys: None,
            offsets: messages.offsets,
            partitions: messages.partitions,
            timestamps_ms: messages.timestamps_ms,
            headers: Vec::new(),
            attributes,
        }
    }
}
