//! Batches as bytes: what a worker's handlers have made of a run, for handlers and consumers that only the leader has.

use std::{io::Cursor, sync::Arc};

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use bytes::Bytes;
use prost::Message as _;
use spout_codec::{Attribute, UnknownField};
use spout_data::{Aside, Batch, Blobs, DeadLetter, Header, Holds, Messages, Origins, PartitionId, Position, Span};

/// Batches of one run.
#[derive(Clone, PartialEq, prost::Message)]
struct SentRun {
    #[prost(message, repeated, tag = "1")]
    batches: Vec<SentBatch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentBatch {
    #[prost(message, optional, tag = "1")]
    partition: Option<SentPartition>,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    next: u64,
    #[prost(bytes = "bytes", optional, tag = "4")]
    token: Option<Bytes>,
    /// An Arrow IPC stream of one batch.
    #[prost(bytes = "bytes", tag = "5")]
    records: Bytes,
    /// 0: each row is its message; 1: listed; 2: unknown.
    #[prost(uint32, tag = "6")]
    origins: u32,
    #[prost(uint32, repeated, tag = "7")]
    taken: Vec<u32>,
    #[prost(message, optional, tag = "8")]
    messages: Option<SentMessages>,
    #[prost(message, repeated, tag = "9")]
    dead: Vec<SentLetter>,
    #[prost(message, repeated, tag = "10")]
    late: Vec<SentAside>,
    #[prost(message, repeated, tag = "11")]
    unknown: Vec<SentUnknown>,
    /// As JSON.
    #[prost(bytes = "bytes", tag = "12")]
    counts: Bytes,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct SentPartition {
    #[prost(uint32, tag = "1")]
    producer: u32,
    #[prost(uint32, tag = "2")]
    number: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentBlobs {
    #[prost(uint32, repeated, tag = "1")]
    bounds: Vec<u32>,
    #[prost(bytes = "bytes", tag = "2")]
    bytes: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentMessages {
    #[prost(message, optional, tag = "1")]
    values: Option<SentBlobs>,
    #[prost(uint32, repeated, tag = "2")]
    nulls: Vec<u32>,
    #[prost(message, optional, tag = "3")]
    keys: Option<SentBlobs>,
    #[prost(uint64, repeated, tag = "4")]
    offsets: Vec<u64>,
    #[prost(uint32, repeated, tag = "5")]
    partitions: Vec<u32>,
    #[prost(sint64, repeated, tag = "6")]
    timestamps_ms: Vec<i64>,
    #[prost(message, repeated, tag = "7")]
    headers: Vec<SentNamed>,
    #[prost(message, repeated, tag = "8")]
    attributes: Vec<SentNamed>,
}

/// A header of the message `at`, or an attribute of those from there on.
#[derive(Clone, PartialEq, prost::Message)]
struct SentNamed {
    #[prost(uint32, tag = "1")]
    at: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "bytes", tag = "3")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentLetter {
    #[prost(message, optional, tag = "1")]
    partition: Option<SentPartition>,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(sint64, optional, tag = "3")]
    timestamp_ms: Option<i64>,
    #[prost(string, optional, tag = "4")]
    file: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    key: Option<Bytes>,
    #[prost(message, repeated, tag = "6")]
    headers: Vec<SentNamed>,
    /// Absent where it is that of the letter before.
    #[prost(bytes = "bytes", optional, tag = "7")]
    value: Option<Bytes>,
    #[prost(bool, tag = "8")]
    null: bool,
    #[prost(uint32, tag = "9")]
    holds: u32,
    #[prost(string, tag = "10")]
    stage: String,
    #[prost(string, tag = "11")]
    code: String,
    #[prost(string, tag = "12")]
    reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentAside {
    #[prost(string, tag = "1")]
    handler: String,
    #[prost(uint64, tag = "2")]
    rows: u64,
    #[prost(bytes = "bytes", optional, tag = "3")]
    records: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SentUnknown {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    count: u64,
}

/// `batches`, with everything that belongs to them.
pub(super) fn pack(batches: &[Batch]) -> Result<Bytes, String> {
    let batches: Result<Vec<_>, ArrowError> = batches.iter().map(sent).collect();
    let batches = batches.map_err(|error| format!("rows cannot be sent to the leader: {error}"))?;
    Ok(SentRun { batches }.encode_to_vec().into())
}

/// What [`pack`] has packed. Rows are checked as Arrow checks what comes from elsewhere.
pub(super) fn unpack(bytes: Bytes) -> Result<Vec<Batch>, String> {
    let wrong = |reason: String| format!("a worker sent rows that cannot be read: {reason}");
    let run = SentRun::decode(bytes).map_err(|error| wrong(error.to_string()))?;
    run.batches.into_iter().map(|batch| received(batch).map_err(wrong)).collect()
}

fn sent(batch: &Batch) -> Result<SentBatch, ArrowError> {
    let Span { partition, start, next } = &batch.span;
    let (origins, taken) = match &batch.origins {
        Origins::Each => (0, Vec::new()),
        Origins::Taken(list) => (1, list.to_vec()),
        Origins::Unknown => (2, Vec::new()),
    };
    let mut before: Option<Bytes> = None;
    let dead = batch.dead.iter().map(|letter| {
        let shares = before.replace(letter.value.clone()).is_some_and(|value| value.as_ptr() == letter.value.as_ptr());
        sent_letter(letter, shares && !letter.value.is_empty())
    });
    Ok(SentBatch {
        partition: Some((*partition).into()),
        start: *start,
        next: next.offset,
        token: next.token.clone().map(Bytes::from),
        records: rows(&batch.records)?,
        origins,
        taken,
        messages: (!batch.messages.is_empty()).then(|| sent_messages(&batch.messages)),
        dead: dead.collect(),
        late: batch.late.iter().map(sent_aside).collect::<Result<_, _>>()?,
        unknown: batch.unknown.iter().map(|one| SentUnknown { name: one.name.clone(), count: one.count }).collect(),
        counts: serde_json::to_vec(&batch.counts).map_err(|error| ArrowError::ExternalError(Box::new(error)))?.into(),
    })
}

fn received(batch: SentBatch) -> Result<Batch, String> {
    let partition = PartitionId::try_from(batch.partition.unwrap_or_default())?;
    let origins = match batch.origins {
        0 => Origins::Each,
        1 => Origins::Taken(batch.taken.into()),
        _ => Origins::Unknown,
    };
    let mut dead: Vec<DeadLetter> = Vec::with_capacity(batch.dead.len());
    for letter in batch.dead {
        let before = dead.last().map(|letter| letter.value.clone());
        dead.push(received_letter(letter, before)?);
    }
    let next = Position { offset: batch.next, token: batch.token.map(Vec::from) };
    Ok(Batch {
        records: records(&batch.records)?,
        span: Span { partition, start: batch.start, next },
        origins,
        messages: Arc::new(batch.messages.map(received_messages).unwrap_or_default()),
        dead,
        late: batch.late.into_iter().map(received_aside).collect::<Result<_, _>>()?,
        unknown: batch.unknown.into_iter().map(|one| UnknownField { name: one.name, count: one.count }).collect(),
        counts: serde_json::from_slice(&batch.counts).map_err(|error| error.to_string())?,
    })
}

fn rows(records: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), records.schema_ref())?;
    writer.write(records)?;
    writer.finish()?;
    Ok(writer.into_inner()?.into())
}

fn records(bytes: &Bytes) -> Result<RecordBatch, String> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(|error| error.to_string())?;
    match reader.next() {
        Some(records) => records.map_err(|error| error.to_string()),
        None => Err("no rows follow the columns".to_owned()),
    }
}

impl From<PartitionId> for SentPartition {
    fn from(partition: PartitionId) -> Self {
        Self { producer: u32::from(partition.producer), number: partition.number }
    }
}

impl TryFrom<SentPartition> for PartitionId {
    type Error = String;

    fn try_from(sent: SentPartition) -> Result<Self, String> {
        let producer = sent.producer.try_into().map_err(|_| format!("there is no producer {}", sent.producer))?;
        Ok(Self { producer, number: sent.number })
    }
}

fn sent_blobs(blobs: &Blobs) -> SentBlobs {
    SentBlobs { bounds: blobs.bounds.clone(), bytes: Bytes::copy_from_slice(&blobs.bytes) }
}

fn received_blobs(sent: SentBlobs) -> Blobs {
    Blobs { bounds: sent.bounds, bytes: sent.bytes.into() }
}

fn sent_messages(messages: &Messages) -> SentMessages {
    let header = |header: &Header| SentNamed {
        at: header.message,
        name: header.name.clone(),
        value: Bytes::copy_from_slice(&header.value),
    };
    let attribute = |attribute: &Attribute| SentNamed {
        at: attribute.first,
        name: attribute.name.clone(),
        value: Bytes::copy_from_slice(&attribute.value),
    };
    SentMessages {
        values: Some(sent_blobs(&messages.values)),
        nulls: messages.nulls.clone(),
        keys: messages.keys.as_ref().map(sent_blobs),
        offsets: messages.offsets.clone(),
        partitions: messages.partitions.clone(),
        timestamps_ms: messages.timestamps_ms.clone(),
        headers: messages.headers.iter().map(header).collect(),
        attributes: messages.attributes.iter().map(attribute).collect(),
    }
}

fn received_messages(sent: SentMessages) -> Messages {
    let header = |one: SentNamed| Header { message: one.at, name: one.name, value: one.value.into() };
    let attribute = |one: SentNamed| Attribute { first: one.at, name: one.name, value: one.value.into() };
    Messages {
        values: sent.values.map(received_blobs).unwrap_or_default(),
        nulls: sent.nulls,
        keys: sent.keys.map(received_blobs),
        offsets: sent.offsets,
        partitions: sent.partitions,
        timestamps_ms: sent.timestamps_ms,
        headers: sent.headers.into_iter().map(header).collect(),
        attributes: sent.attributes.into_iter().map(attribute).collect(),
    }
}

fn sent_letter(letter: &DeadLetter, shares: bool) -> SentLetter {
    let header = |(name, value): &(String, Vec<u8>)| SentNamed {
        at: 0,
        name: name.clone(),
        value: Bytes::copy_from_slice(value),
    };
    SentLetter {
        partition: Some(letter.partition.into()),
        offset: letter.offset,
        timestamp_ms: letter.timestamp_ms,
        file: letter.file.clone(),
        key: letter.key.clone().map(Bytes::from),
        headers: letter.headers.iter().map(header).collect(),
        value: (!shares).then(|| letter.value.clone()),
        null: letter.null,
        holds: match letter.holds {
            Holds::Message => 0,
            Holds::Part => 1,
            Holds::Row => 2,
        },
        stage: letter.stage.clone(),
        code: letter.code.clone(),
        reason: letter.reason.clone(),
    }
}

fn received_letter(sent: SentLetter, before: Option<Bytes>) -> Result<DeadLetter, String> {
    Ok(DeadLetter {
        partition: PartitionId::try_from(sent.partition.unwrap_or_default())?,
        offset: sent.offset,
        timestamp_ms: sent.timestamp_ms,
        file: sent.file,
        key: sent.key.map(Vec::from),
        headers: sent.headers.into_iter().map(|header| (header.name, header.value.into())).collect(),
        value: sent.value.or(before).unwrap_or_default(),
        null: sent.null,
        holds: match sent.holds {
            0 => Holds::Message,
            1 => Holds::Part,
            _ => Holds::Row,
        },
        stage: sent.stage,
        code: sent.code,
        reason: sent.reason,
    })
}

fn sent_aside(aside: &Aside) -> Result<SentAside, ArrowError> {
    let records = aside.records.as_ref().map(rows).transpose()?;
    Ok(SentAside { handler: aside.handler.clone(), rows: aside.rows, records })
}

fn received_aside(sent: SentAside) -> Result<Aside, String> {
    let records = sent.records.as_ref().map(records).transpose()?;
    Ok(Aside { handler: sent.handler, rows: sent.rows, records })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use spout_data::{Counts, Letters, Wrong};

    use super::*;

    fn batch() -> Batch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "ü"]));
        let records = RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("t", texts, false)]).unwrap();
        let mut messages = Messages {
            offsets: vec![10, 11, 17],
            timestamps_ms: vec![5, i64::MIN, -7],
            nulls: vec![1],
            headers: vec![Header { message: 2, name: "h".into(), value: vec![0, 255] }],
            attributes: vec![Attribute { first: 0, name: "file".into(), value: b"f".to_vec() }],
            ..Messages::default()
        };
        let mut keys = Blobs::default();
        for (value, key) in [(&b"one"[..], &b"k"[..]), (b"", b""), (b"three", b"\xff")] {
            messages.values.push(value);
            keys.push(key);
        }
        messages.keys = Some(keys);
        let span = Span {
            partition: PartitionId { producer: 2, number: 9 },
            start: 10,
            next: Position { offset: 18, token: Some(vec![1, 2]) },
        };
        let wrong = || Wrong { stage: "s".into(), code: "c".into(), reason: "r".into() };
        let dead = {
            let mut letters = Letters::new(&span, &messages);
            [Some(0), Some(0), Some(1), None].map(|at| letters.letter(at, wrong(), || b"{}".to_vec())).to_vec()
        };
        let counts = Counts { messages: 3, rows: 0, empty: 1, ..Counts::default() };
        Batch {
            origins: Origins::Taken([0, 2, 2].into()),
            late: vec![
                Aside { handler: "w".into(), rows: 3, records: Some(records.clone()) },
                Aside { handler: "x".into(), rows: 1, records: None },
            ],
            unknown: vec![UnknownField { name: "u".into(), count: 4 }],
            records,
            span,
            messages: Arc::new(messages),
            dead,
            counts,
        }
    }

    #[test]
    fn everything_of_a_batch_arrives() {
        let empty = Batch::held(RecordBatch::new_empty(batch().records.schema()));
        let all = [batch(), empty, Batch { origins: Origins::Each, dead: Vec::new(), ..batch() }];
        let packed = pack(&all).unwrap();
        let back = unpack(packed.clone()).unwrap();
        assert_eq!(format!("{all:?}"), format!("{back:?}"));
        let letters = &back[0].dead;
        assert_eq!(letters[0].value.as_ptr(), letters[1].value.as_ptr(), "they share the message");
        for cut in 1..packed.len() {
            // Whatever is cut off: an error, or fewer batches, and no panic.
            assert!(
                unpack(packed.slice(..cut)).is_ok_and(|less| less.len() < all.len())
                    || unpack(packed.slice(..cut)).is_err()
            );
        }
    }
}
