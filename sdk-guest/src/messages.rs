//! Messages as they cross between source, host and decoder.

use spout_codec::{Attribute, Input, NO_TIME};

use crate::wit::base::spout::plugin::types as wit;

/// Byte strings in one run, each ending where the next begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Blobs {
    /// Empty, or one more than there are entries.
    bounds: Vec<u32>,
    bytes: Vec<u8>,
}

impl Blobs {
    fn len(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    fn get(&self, index: usize) -> &[u8] {
        match (self.bounds.get(index), self.bounds.get(index + 1)) {
            (Some(&from), Some(&to)) => self.bytes.get(from as usize..to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        write(&mut self.bytes);
        self.bounds.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Adds empty entries until there are `len`.
    fn fill(&mut self, len: usize) {
        while self.len() < len {
            self.write(|_| {});
        }
    }
}

/// A header of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    message: u32,
    name: String,
    value: Vec<u8>,
}

impl Header {
    fn bytes(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

impl From<wit::Blobs> for Blobs {
    fn from(blobs: wit::Blobs) -> Self {
        Self { bounds: blobs.bounds, bytes: blobs.bytes }
    }
}

impl From<Blobs> for wit::Blobs {
    fn from(blobs: Blobs) -> Self {
        Self { bounds: blobs.bounds, bytes: blobs.bytes }
    }
}

/// Messages as a struct of arrays: they cross to the host in a few copies, however many there are.
///
/// A source adds them; a message has an offset and a payload, and may have a key, headers, a time and a partition:
///
/// ```
/// let mut messages = spout_guest::Messages::default();
/// messages.push(17, b"a payload");
/// messages.add(18, b"another").key(b"user-7").header("trace", b"4711").timestamp_ms(1_767_225_600_000);
/// assert_eq!((messages.key(0), messages.key(1)), (None, Some(&b"user-7"[..])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    values: Blobs,
    nulls: Vec<u32>,
    /// Of the first messages; those beyond have none.
    keys: Blobs,
    offsets: Vec<u64>,
    partitions: Vec<u32>,
    /// Of the first messages; those beyond have none.
    timestamps_ms: Vec<i64>,
    headers: Vec<Header>,
    /// Bytes of all headers: they are many, and who adds messages asks again and again.
    header_bytes: usize,
    attributes: Vec<Attribute>,
}

impl Messages {
    /// Number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of payloads, keys and headers: what [`Limits::bytes`](crate::Limits::bytes) limits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.bytes.len() + self.keys.bytes.len() + self.header_bytes
    }

    /// The messages, one after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        (0..self.len()).map(|index| Message { messages: self, index })
    }

    /// The payload of one message.
    #[must_use]
    pub fn value(&self, index: usize) -> &[u8] {
        self.values.get(index)
    }

    /// The indices of messages whose payload is null, rising.
    #[must_use]
    pub fn nulls(&self) -> &[u32] {
        &self.nulls
    }

    /// The key of one message; `None` if it has none or an empty one.
    #[must_use]
    pub fn key(&self, index: usize) -> Option<&[u8]> {
        Some(self.keys.get(index)).filter(|key| !key.is_empty())
    }

    /// The headers of one message, in the order of the source.
    pub fn headers(&self, index: usize) -> impl Iterator<Item = (&str, &[u8])> + use<'_> {
        let from = self.headers.partition_point(|header| (header.message as usize) < index);
        let rest = self.headers.get(from..).unwrap_or_default().iter();
        rest.take_while(move |header| header.message as usize == index)
            .map(|header| (header.name.as_str(), header.value.as_slice()))
    }

    /// When one message was sent, in milliseconds since 1970, if that is known.
    #[must_use]
    pub fn timestamp_ms(&self, index: usize) -> Option<i64> {
        self.input().timestamp_ms(index)
    }

    /// The partition of one message; a decoder always knows it.
    #[must_use]
    pub fn partition(&self, index: usize) -> Option<u32> {
        self.partitions.get(index).copied()
    }

    /// The messages' offsets.
    #[must_use]
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Reserves space for `count` more messages of `bytes` bytes in total.
    pub fn reserve(&mut self, count: usize, bytes: usize) {
        self.values.bounds.reserve(count + 1);
        self.offsets.reserve(count);
        self.values.bytes.reserve(bytes);
    }

    /// Adds a message at the end.
    pub fn push(&mut self, offset: u64, value: &[u8]) {
        self.add(offset, value);
    }

    /// Adds a message at the end, which may have more than its payload.
    pub fn add(&mut self, offset: u64, value: &[u8]) -> Added<'_> {
        self.write(offset, |bytes| bytes.extend_from_slice(value))
    }

    /// Adds a message whose payload `write` appends in place.
    pub fn write(&mut self, offset: u64, write: impl FnOnce(&mut Vec<u8>)) -> Added<'_> {
        self.values.write(write);
        self.offsets.push(offset);
        Added(self)
    }

    /// Adds a message whose payload is null: a tombstone.
    pub fn add_null(&mut self, offset: u64) -> Added<'_> {
        self.nulls.push(u32::try_from(self.len()).unwrap_or(u32::MAX));
        self.write(offset, |_| {})
    }

    /// Says that all messages so far are from this partition.
    pub fn all_from(&mut self, partition: u32) {
        self.partitions = vec![partition; self.len()];
    }

    /// Sets what the messages added from now on have in common, such as their `file`; an empty value ends it.
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
            bounds: &self.values.bounds,
            bytes: &self.values.bytes,
            nulls: &self.nulls,
            timestamps_ms: &self.timestamps_ms,
            attributes: &self.attributes,
        }
    }

    /// Messages whose payloads lie one after the other in `bytes`, delimited by `bounds` (one more than there are
    /// messages, from 0 to the length), with `offsets`; nothing is copied.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, bounds: Vec<u32>, offsets: Vec<u64>) -> Self {
        Self { values: Blobs { bounds, bytes }, offsets, ..Self::default() }
    }
}

/// One of [`Messages`].
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    messages: &'a Messages,
    index: usize,
}

impl<'a> Message<'a> {
    /// Its payload; empty if it is null.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.messages.value(self.index)
    }

    /// As [`Messages::key`].
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.messages.key(self.index)
    }

    /// As [`Messages::headers`].
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.messages.headers(self.index)
    }

    /// As [`Messages::timestamp_ms`].
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.messages.timestamp_ms(self.index)
    }

    /// As [`Messages::partition`].
    #[must_use]
    pub fn partition(&self) -> Option<u32> {
        self.messages.partition(self.index)
    }

    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.messages.offsets.get(self.index).copied()
    }
}

/// The message added last.
#[derive(Debug)]
pub struct Added<'a>(&'a mut Messages);

impl Added<'_> {
    /// Gives it a key.
    pub fn key(self, key: &[u8]) -> Self {
        let before = self.0.len() - 1;
        self.0.keys.fill(before);
        self.0.keys.write(|bytes| bytes.extend_from_slice(key));
        self
    }

    /// Says which message it is, for a source that may send it again ([`StreamConsumer::ACKED`](crate::StreamConsumer::ACKED)): in the
    /// header `message-id`.
    pub fn id(self, id: &[u8]) -> Self {
        self.header("message-id", id)
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: &[u8]) -> Self {
        let message = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        let header = Header { message, name: name.to_owned(), value: value.to_vec() };
        self.0.header_bytes += header.bytes();
        self.0.headers.push(header);
        self
    }

    /// Says when it was sent, in milliseconds since 1970.
    pub fn timestamp_ms(self, at: i64) -> Self {
        let before = self.0.len() - 1;
        self.0.timestamps_ms.resize(before, NO_TIME);
        self.0.timestamps_ms.push(at);
        self
    }

    /// Says which partition it is from; a [`StreamConsumer`](crate::StreamConsumer) says so of each message.
    pub fn partition(self, partition: u32) -> Self {
        self.0.partitions.push(partition);
        self
    }
}

impl From<wit::Messages> for Messages {
    fn from(messages: wit::Messages) -> Self {
        let header = |wit::Header { message, name, value }: wit::Header| Header { message, name, value };
        let attribute = |wit::Attribute { first, name, value }: wit::Attribute| Attribute { first, name, value };
        let headers: Vec<Header> = messages.headers.into_iter().map(header).collect();
        Self {
            values: messages.values.into(),
            nulls: messages.nulls,
            keys: messages.keys.map(Blobs::from).unwrap_or_default(),
            offsets: messages.offsets,
            partitions: messages.partitions,
            timestamps_ms: messages.timestamps_ms,
            header_bytes: headers.iter().map(Header::bytes).sum(),
            headers,
            attributes: messages.attributes.into_iter().map(attribute).collect(),
        }
    }
}

impl From<Messages> for wit::Messages {
    fn from(mut messages: Messages) -> Self {
        let count = messages.len();
        if messages.keys.len() > 0 {
            messages.keys.fill(count);
        }
        if !messages.timestamps_ms.is_empty() {
            messages.timestamps_ms.resize(count, NO_TIME);
        }
        let header = |Header { message, name, value }: Header| wit::Header { message, name, value };
        let attribute = |Attribute { first, name, value }: Attribute| wit::Attribute { first, name, value };
        // An attribute that applies to no message is left out.
        let applies = |attribute: &Attribute| (attribute.first as usize) < count;
        Self {
            values: messages.values.into(),
            nulls: messages.nulls,
            keys: Some(messages.keys).filter(|keys| keys.len() > 0).map(Into::into),
            offsets: messages.offsets,
            partitions: messages.partitions,
            timestamps_ms: messages.timestamps_ms,
            headers: messages.headers.into_iter().map(header).collect(),
            attributes: messages.attributes.into_iter().filter(applies).map(attribute).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_messages_have_besides_their_payload_crosses_and_comes_back() {
        let mut messages = Messages::default();
        messages.push(1, b"a");
        messages.add(2, b"b").key(b"k").header("h", b"1").header("h", b"2").timestamp_ms(5).partition(7);
        messages.add_null(3).header("i", b"");
        messages.add(4, b"d").timestamp_ms(0);
        messages.push(5, b"e");
        assert_eq!(messages.bytes(), 4 + 1 + 2 * 2 + 1);
        // All or none of them have a partition.
        messages.partitions = vec![7; 5];
        let crossed = wit::Messages::from(messages.clone());
        assert_eq!(crossed.keys.as_ref().map(|keys| keys.bounds.as_slice()), Some(&[0, 0, 1, 1, 1, 1][..]));
        assert_eq!(crossed.timestamps_ms, [NO_TIME, 5, NO_TIME, 0, NO_TIME]);
        for messages in [messages, crossed.into()] {
            assert_eq!(messages.bytes(), 4 + 1 + 2 * 2 + 1);
            let header = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
            let all = |at| messages.headers(at).map(header).collect::<Vec<_>>();
            assert_eq!(all(1), [("h".to_owned(), b"1".to_vec()), ("h".into(), b"2".to_vec())]);
            assert_eq!((all(0).len(), all(2).len(), all(9).len()), (0, 1, 0));
            let keys: Vec<_> = (0..5).map(|at| messages.key(at)).collect();
            assert_eq!(keys, [None, Some(&b"k"[..]), None, None, None]);
            let times: Vec<_> = (0..5).map(|at| messages.timestamp_ms(at)).collect();
            assert_eq!(times, [None, Some(5), None, Some(0), None]);
            assert_eq!((messages.partition(1), messages.partition(9), messages.nulls()), (Some(7), None, &[2][..]));
        }
        let plain = wit::Messages::from(Messages::from_parts(vec![b'x'], vec![0, 1], vec![3]));
        assert!(plain.keys.is_none() && plain.timestamps_ms.is_empty() && plain.headers.is_empty());
    }
}
