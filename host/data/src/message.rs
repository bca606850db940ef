//! Raw messages as a struct of arrays, in Arrow's variable-binary layout.

use std::ops::Range;

use spout_codec::{Attribute, Input, NO_TIME};

use crate::Passing;

/// What a message takes besides its bytes, at most: its bound, offset, partition and time, and a place in each list that says
/// which row or dead letter came from it. Whoever counts bytes counts so many for each message, or millions of empty ones
/// would be nothing.
pub const OVERHEAD: usize = 64;

/// `n` byte strings: `n + 1` rising bounds, the first 0, over one run of bytes. No entry has an allocation of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blobs {
    /// Empty, or one more than there are entries.
    pub bounds: Vec<u32>,
    /// All entries, one after the other.
    pub bytes: Vec<u8>,
}

impl Blobs {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry at `index`; empty if there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        match (self.bounds.get(index), self.bounds.get(index + 1)) {
            (Some(&from), Some(&to)) => self.bytes.get(from as usize..to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Adds an entry at the end. The caller keeps the sum of all entries below 4 GiB.
    pub fn push(&mut self, entry: &[u8]) {
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        self.bytes.extend_from_slice(entry);
        self.bounds.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Adds all entries of `more` at the end, as [`Blobs::push`] does.
    pub fn append(&mut self, more: &Self) {
        if more.is_empty() {
            return;
        }
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        let before = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&more.bytes);
        self.bounds.extend(more.bounds.iter().skip(1).map(|bound| bound.saturating_add(before)));
    }

    /// What the entries take in a queue, with the overhead of each.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes.len().saturating_add(self.len().saturating_mul(OVERHEAD))
    }

    /// Adds empty entries until there are `len`.
    fn fill(&mut self, len: usize) {
        while self.len() < len {
            self.push(b"");
        }
    }

    /// A copy of the entries in `range`.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let bounds = self.bounds.get(range.start..=range.end.min(self.len())).unwrap_or_default();
        let (Some(&from), Some(&to)) = (bounds.first(), bounds.last()) else { return Self::default() };
        let bytes = self.bytes.get(from as usize..to as usize).unwrap_or_default().to_vec();
        if bounds.len() < 2 {
            Self::default()
        } else {
            Self { bounds: bounds.iter().map(|bound| bound - from).collect(), bytes }
        }
    }
}

/// One header of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Index of the message it belongs to.
    pub message: u32,
    /// Name, as the source has it.
    pub name: String,
    /// Value, as the source has it.
    pub value: Vec<u8>,
}

/// Messages of one fetch, in offset order. A list is either empty (absent) or has one entry a message; `nulls`,
/// `headers` and `attributes` are sparse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// The payloads.
    pub values: Blobs,
    /// Indices of messages whose payload is null (a tombstone), rising.
    pub nulls: Vec<u32>,
    /// The keys, where the source has any; empty where a message has none.
    pub keys: Option<Blobs>,
    /// Strictly rising within a partition.
    pub offsets: Vec<u64>,
    /// Only where the messages of one fetch come from several partitions.
    pub partitions: Vec<u32>,
    /// Milliseconds since 1970; [`NO_TIME`] where a message has none.
    pub timestamps_ms: Vec<i64>,
    /// Sorted by message.
    pub headers: Vec<Header>,
    /// What messages have in common from one on, sorted by `first`.
    pub attributes: Vec<Attribute>,
}

impl Messages {
    /// Whether a message has no payload: a tombstone.
    #[must_use]
    pub fn is_null(&self, message: usize) -> bool {
        u32::try_from(message).is_ok_and(|message| self.nulls.binary_search(&message).is_ok())
    }

    /// Number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What they take in a queue: their bytes, and the overhead of each.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes().saturating_add(self.len().saturating_mul(OVERHEAD))
    }

    /// Bytes of payloads, keys, headers and attributes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|header| size_of::<Header>() + header.name.len() + header.value.len());
        let attributes = self.attributes.iter().map(|one| size_of::<Attribute>() + one.name.len() + one.value.len());
        let keys = self.keys.as_ref().map_or(0, |keys| keys.bytes.len());
        self.values.bytes.len() + keys + headers.sum::<usize>() + attributes.sum::<usize>()
    }

    /// The key of one message, if it has one.
    #[must_use]
    pub fn key(&self, index: usize) -> Option<&[u8]> {
        self.keys.as_ref().map(|keys| keys.get(index)).filter(|key| !key.is_empty())
    }

    /// The headers of one message.
    #[must_use]
    pub fn headers_of(&self, index: usize) -> &[Header] {
        let from = self.headers.partition_point(|header| (header.message as usize) < index);
        let behind = self.headers.get(from..).unwrap_or_default();
        let count = behind.partition_point(|header| header.message as usize == index);
        behind.get(..count).unwrap_or_default()
    }

    /// When one message was sent, if that is known.
    #[must_use]
    pub fn timestamp_ms(&self, index: usize) -> Option<i64> {
        self.input().timestamp_ms(index)
    }

    /// The messages as the decoding core sees them.
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

    /// The attribute `name` of the message at `index`, if it has one.
    #[must_use]
    pub fn attribute(&self, index: usize, name: &str) -> Option<&[u8]> {
        self.input().attribute(index, name)
    }

    /// Adds `more` messages at the end. Offsets and partitions that only one side has are dropped: they would no longer say which
    /// is which.
    pub fn append(&mut self, more: Self) {
        let (before, added) = (self.len(), more.len());
        fn list<T>(own: &mut Vec<T>, mut more: Vec<T>, before: usize, added: usize) {
            if own.len() == before && more.len() == added { own.append(&mut more) } else { own.clear() }
        }
        let moved = |message: u32| message.saturating_add(u32::try_from(before).unwrap_or(u32::MAX));
        self.values.append(&more.values);
        self.nulls.extend(more.nulls.into_iter().map(moved));
        if self.keys.is_some() || more.keys.is_some() {
            let keys = self.keys.get_or_insert_default();
            keys.fill(before);
            keys.append(&more.keys.unwrap_or_default());
            keys.fill(before + added);
        }
        list(&mut self.offsets, more.offsets, before, added);
        list(&mut self.partitions, more.partitions, before, added);
        if !self.timestamps_ms.is_empty() || !more.timestamps_ms.is_empty() {
            self.timestamps_ms.resize(before, NO_TIME);
            self.timestamps_ms.extend(more.timestamps_ms);
            self.timestamps_ms.resize(before + added, NO_TIME);
        }
        let header = |header: Header| Header { message: moved(header.message), ..header };
        self.headers.extend(more.headers.into_iter().map(header));
        // What holds at the end here must not reach into messages that do not have it.
        for name in names(&self.attributes) {
            if added > 0 && !more.attributes.iter().any(|other| other.first == 0 && other.name == name) {
                self.attributes.push(Attribute { first: moved(0), name, value: Vec::new() });
            }
        }
        let attribute = |attribute: Attribute| Attribute { first: moved(attribute.first), ..attribute };
        self.attributes.extend(more.attributes.into_iter().map(attribute));
    }

    /// Those without the ones that `passed` has.
    #[must_use]
    pub fn without(self, passed: &[Passing]) -> Self {
        let goes = |offset: &u64| passed.iter().any(|one| one.has(*offset));
        if !self.offsets.iter().any(goes) {
            return self;
        }
        let (mut left, mut at) = (Self::default(), 0);
        for run in self.offsets.chunk_by(|one, other| goes(one) == goes(other)) {
            if run.first().is_some_and(|first| !goes(first)) {
                left.append(self.slice(at..at + run.len()));
            }
            at += run.len();
        }
        left
    }

    /// A copy of the messages at `places`, which rise.
    #[must_use]
    pub fn only(&self, places: &[u32]) -> Self {
        fn part<T: Copy>(list: &[T], places: &[u32]) -> Vec<T> {
            places.iter().filter_map(|place| list.get(*place as usize).copied()).collect()
        }
        fn blobs(all: &Blobs, places: &[u32]) -> Blobs {
            let mut some = Blobs::default();
            places.iter().for_each(|place| some.push(all.get(*place as usize)));
            some
        }
        let (mut nulls, mut headers, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
        let mut begun = self.attributes.iter().peekable();
        for (at, place) in (0..).zip(places) {
            let index = *place as usize;
            nulls.extend(self.is_null(index).then_some(at));
            headers.extend(self.headers_of(index).iter().map(|header| Header { message: at, ..header.clone() }));
            while let Some(attribute) = begun.next_if(|attribute| attribute.first <= *place) {
                attributes.push(Attribute { first: at, ..attribute.clone() });
            }
        }
        Self {
            values: blobs(&self.values, places),
            nulls,
            keys: self.keys.as_ref().map(|keys| blobs(keys, places)),
            offsets: part(&self.offsets, places),
            partitions: part(&self.partitions, places),
            timestamps_ms: part(&self.timestamps_ms, places),
            headers,
            attributes,
        }
    }

    /// A copy of the messages in `range`, for finding the one that a plugin cannot bear.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        fn part<T: Clone>(list: &[T], range: &Range<usize>) -> Vec<T> {
            list.get(range.clone()).map(<[T]>::to_vec).unwrap_or_default()
        }
        // Both lists are sorted: a run that is cut into many slices is not searched whole for each of them.
        fn within<T>(list: &[T], range: &Range<usize>, message: impl Fn(&T) -> u32) -> Range<usize> {
            let before = |end: usize| list.partition_point(|one| (message(one) as usize) < end);
            before(range.start)..before(range.end)
        }
        let nulls = within(&self.nulls, &range, |null| *null);
        let headers = within(&self.headers, &range, |header| header.message);
        let moved = |index: u32| index - u32::try_from(range.start).unwrap_or(u32::MAX);
        Self {
            values: self.values.slice(range.clone()),
            nulls: self.nulls.get(nulls).unwrap_or_default().iter().copied().map(moved).collect(),
            keys: self.keys.as_ref().map(|keys| keys.slice(range.clone())),
            offsets: part(&self.offsets, &range),
            partitions: part(&self.partitions, &range),
            timestamps_ms: part(&self.timestamps_ms, &range),
            headers: self
                .headers
                .get(headers)
                .unwrap_or_default()
                .iter()
                .map(|header| Header { message: moved(header.message), ..header.clone() })
                .collect(),
            attributes: self.attributes_of(&range),
        }
    }

    /// The attributes of the messages in `range`: those that already hold at its start, then those that begin within it.
    fn attributes_of(&self, range: &Range<usize>) -> Vec<Attribute> {
        let start = u32::try_from(range.start).unwrap_or(u32::MAX);
        let holding = |name: String| {
            let value = self.attribute(range.start, &name)?.to_vec();
            Some(Attribute { first: 0, name, value })
        };
        let mut attributes: Vec<Attribute> = names(&self.attributes).into_iter().filter_map(holding).collect();
        let within = |first: u32| first > start && (first as usize) < range.end;
        let begun = self.attributes.iter().filter(|attribute| within(attribute.first));
        attributes.extend(begun.map(|attribute| Attribute { first: attribute.first - start, ..attribute.clone() }));
        attributes
    }
}

fn names(attributes: &[Attribute]) -> std::collections::BTreeSet<String> {
    attributes.iter().map(|attribute| attribute.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_can_be_put_together() {
        let mut values = Blobs::default();
        ["a", "", "ccc", "d"].iter().for_each(|value| values.push(value.as_bytes()));
        let header = |message| Header { message, name: "h".into(), value: vec![1] };
        let (keys, headers) = (Some(values.clone()), vec![header(1), header(3)]);
        let attribute = |first, value: &[u8]| Attribute { first, name: "file".into(), value: value.to_vec() };
        let attributes = vec![attribute(1, b"a"), attribute(3, b"")];
        let offsets = vec![1, 2, 3, 4];
        let all = Messages { values, nulls: vec![1, 3], keys, offsets, headers, attributes, ..Messages::default() };
        for cut in 0..=4 {
            let mut both = all.slice(0..cut);
            both.append(all.slice(cut..4));
            assert_eq!(both.values.len(), 4);
            let files = |messages: &Messages| {
                (0..4).map(|at| messages.attribute(at, "file").map(<[u8]>::to_vec)).collect::<Vec<_>>()
            };
            assert_eq!(files(&both), files(&all), "cut at {cut}");
            let some: Vec<u32> = (0..4).filter(|at| *at != cut as u32).collect();
            let only = all.only(&some);
            for (at, place) in (0..).zip(&some) {
                let one = all.slice(*place as usize..*place as usize + 1);
                assert_eq!(only.slice(at..at + 1).values, one.values);
                assert_eq!(only.slice(at..at + 1).headers, one.headers);
                assert_eq!(
                    (only.is_null(at), only.key(at), only.attribute(at, "file")),
                    (one.is_null(0), one.key(0), one.attribute(0, "file"))
                );
            }
            assert_eq!(
                (both.nulls, both.offsets, both.headers),
                (all.nulls.clone(), all.offsets.clone(), all.headers.clone())
            );
        }
    }

    #[test]
    fn messages_with_a_key_or_a_time_are_appended_to_those_without() {
        let plain = |n: u64| {
            let mut messages = Messages { offsets: vec![n], ..Messages::default() };
            messages.values.push(b"v");
            messages
        };
        let mut full = Messages { timestamps_ms: vec![5], keys: Some(Blobs::default()), ..plain(1) };
        full.keys.as_mut().unwrap().push(b"k");
        full.headers.push(Header { message: 0, name: "h".into(), value: b"xyz".to_vec() });
        assert_eq!([full.headers_of(0).len(), full.headers_of(1).len()], [1, 0]);
        for order in [[0, 1], [1, 0]] {
            let mut all = Messages::default();
            order.iter().for_each(|&at| all.append(if at == 0 { plain(0) } else { full.clone() }));
            let of = |at: usize| (all.key(at).map(<[u8]>::to_vec), all.timestamp_ms(at));
            let with = order.iter().position(|&at| at == 1).unwrap();
            assert_eq!((of(with), of(1 - with)), ((Some(b"k".to_vec()), Some(5)), (None, None)));
            assert_eq!((all.headers[0].message as usize, all.keys.as_ref().map(Blobs::len)), (with, Some(2)));
            assert_eq!(all.slice(with..with + 1), full);
        }
        assert!(full.bytes() >= 1 + 1 + 1 + 3 && full.bytes() > plain(0).bytes() + 1, "keys and headers take room");
    }

    #[test]
    fn a_slice_keeps_what_belongs_to_its_messages() {
        let mut values = Blobs::default();
        ["a", "", "ccc", "d"].iter().for_each(|value| values.push(value.as_bytes()));
        let all = Messages {
            values,
            nulls: vec![1, 3],
            offsets: vec![10, 11, 12, 13],
            headers: vec![Header { message: 2, name: "h".into(), value: vec![1] }],
            ..Messages::default()
        };
        let some = all.slice(1..3);
        assert_eq!(some.len(), 2);
        assert_eq!(some.values.get(1), b"ccc");
        assert_eq!((some.nulls, some.offsets), (vec![0], vec![11, 12]));
        assert_eq!(some.headers[0].message, 1);
        assert_eq!(all.values.get(9), b"");
        assert_eq!((all.values.slice(4..4), all.values.slice(2..9).len()), (Blobs::default(), 2));
        assert_eq!((all.values.room(), all.room()), (5 + 4 * OVERHEAD, all.bytes() + 4 * OVERHEAD));
    }
}
