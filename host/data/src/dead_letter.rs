//! A message that could not be processed, kept as it arrived with the reason.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Messages, PartitionId, Span};

/// A message set aside. It is committed together with the offsets that cover it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Partition it came from.
    pub partition: PartitionId,
    /// Its offset, or the start of its run where a handler had already merged rows.
    pub offset: u64,
    /// Milliseconds since 1970, where the source gave one.
    pub timestamp_ms: Option<i64>,
    /// Name of the file it stood in, where the source reads files.
    pub file: Option<String>,
    /// Raw key, where the source gave one.
    pub key: Option<Vec<u8>>,
    /// Headers, where the source gave any: names and raw values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Raw payload. Letters of rows of one message share it.
    pub value: Bytes,
    /// Whether the message had none, as a tombstone has.
    pub null: bool,
    /// What that is.
    pub holds: Holds,
    /// `decode`, or the id of the handler.
    pub stage: String,
    /// Stable and dotted, such as `json.syntax`.
    pub code: String,
    /// What was wrong, for people.
    pub reason: String,
}

/// What a dead letter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The message as it arrived.
    Message,
    /// A part of it, whose other parts may have become rows.
    Part,
    /// A row that a handler had made, as JSON.
    Row,
}

impl Holds {
    /// As the table of dead letters says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Part => "part",
            Self::Row => "row",
        }
    }
}

/// What a letter takes besides its texts and bytes: its place in lists, and what it owns of each.
const OVERHEAD: usize = 256;

impl DeadLetter {
    /// About the bytes that it takes.
    #[must_use]
    pub fn room(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| OVERHEAD + name.len() + value.len()).sum();
        let key = self.key.as_ref().map_or(0, Vec::len) + self.file.as_ref().map_or(0, String::len);
        let said = self.stage.len() + self.code.len() + self.reason.len();
        OVERHEAD + headers + key + said + self.value.len()
    }
}

/// What was wrong with a message, or a row of it.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// `decode`, or the id of the handler.
    pub stage: String,
    /// Stable and dotted.
    pub code: String,
    /// For people.
    pub reason: String,
}

/// Makes dead letters of the messages of one run.
///
/// **Invariant**: a message is copied once, however many of its rows are set aside: a file of a million rows may be one message.
#[derive(Debug)]
pub struct Letters<'a> {
    span: &'a Span,
    messages: &'a Messages,
    values: HashMap<usize, Bytes>,
}

impl<'a> Letters<'a> {
    /// Letters of `messages`, which are those of `span`.
    #[must_use]
    pub fn new(span: &'a Span, messages: &'a Messages) -> Self {
        Self { span, messages, values: HashMap::new() }
    }

    /// The letter of the message with this index; where there is none, `row` is what it says was set aside.
    pub fn letter(&mut self, message: Option<usize>, wrong: Wrong, row: impl FnOnce() -> Vec<u8>) -> DeadLetter {
        let message = message.filter(|&message| message < self.messages.len());
        let (value, holds) = match message {
            Some(message) => (self.value(message), Holds::Message),
            None => (row().into(), Holds::Row),
        };
        self.with_value(message, wrong, value, holds)
    }

    /// The letter of a part of a message.
    #[must_use]
    pub fn part(&self, message: usize, wrong: Wrong, part: Vec<u8>) -> DeadLetter {
        self.with_value(Some(message), wrong, part.into(), Holds::Part)
    }

    fn with_value(
        &self,
        message: Option<usize>,
        Wrong { stage, code, reason }: Wrong,
        value: Bytes,
        holds: Holds,
    ) -> DeadLetter {
        let Messages { partitions, offsets, .. } = self.messages;
        DeadLetter {
            // The messages of a stream-level source come from several partitions, and each has the offset of its own.
            partition: PartitionId {
                producer: self.span.partition.producer,
                number: message.and_then(|at| partitions.get(at).copied()).unwrap_or(self.span.partition.number),
            },
            offset: message.and_then(|at| offsets.get(at).copied()).unwrap_or(self.span.start),
            timestamp_ms: message.and_then(|at| self.messages.timestamp_ms(at)),
            file: message
                .and_then(|at| self.messages.attribute(at, "file"))
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            key: message.and_then(|at| self.messages.key(at)).map(<[u8]>::to_vec),
            headers: message.map(|at| self.headers(at)).unwrap_or_default(),
            value,
            null: holds == Holds::Message && message.is_some_and(|at| self.messages.is_null(at)),
            holds,
            stage,
            code,
            reason,
        }
    }

    fn headers(&self, message: usize) -> Vec<(String, Vec<u8>)> {
        let headers = self.messages.headers_of(message);
        headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
    }

    fn value(&mut self, message: usize) -> Bytes {
        let values = &self.messages.values;
        self.values.entry(message).or_insert_with(|| Bytes::copy_from_slice(values.get(message))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blobs, Position};

    #[test]
    fn letters_of_one_message_share_its_bytes() {
        let mut values = Blobs::default();
        [&b"zero"[..], b"a large file"].into_iter().for_each(|value| values.push(value));
        let messages = Messages { values, offsets: vec![10, 11], ..Messages::default() };
        let span = Span { partition: 7.into(), start: 10, next: Position::at(12) };
        let mut letters = Letters::new(&span, &messages);
        let wrong = || Wrong { stage: "s".into(), code: "c".into(), reason: "r".into() };
        let mut letter = |message| letters.letter(message, wrong(), || b"row".to_vec());
        let [one, two] = [letter(Some(1)), letter(Some(1))];
        assert_eq!((one.offset, &one.value[..]), (11, &b"a large file"[..]));
        assert_eq!((two.value.as_ptr(), two.value.len()), (one.value.as_ptr(), one.value.len()));
        for made in [letter(None), letter(Some(2))] {
            assert_eq!((made.partition, made.offset, &made.value[..]), (7.into(), 10, &b"row"[..]));
        }
    }

    #[test]
    fn the_letter_of_a_tombstone_has_no_value() {
        let mut values = Blobs::default();
        [&b"a"[..], b"", b""].into_iter().for_each(|value| values.push(value));
        let messages = Messages { values, offsets: vec![1, 2, 3], nulls: vec![1], ..Messages::default() };
        let span = Span { partition: 0.into(), start: 1, next: Position::at(4) };
        let mut letters = Letters::new(&span, &messages);
        let wrong = || Wrong { stage: "s".into(), code: "c".into(), reason: "r".into() };
        let nulls = [0, 1, 2].map(|message| letters.letter(Some(message), wrong(), Vec::new).null);
        assert_eq!(nulls, [false, true, false], "a message without bytes is another thing");
    }
}
