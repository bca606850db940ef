//! Messages and positions across the boundary.

use spout_codec::Attribute;
use spout_data::{Blobs, Header, Messages, OVERHEAD, Position};

use crate::{LimitsSpec, bindings::spout::plugin::types as wit, secrets::Masks};

pub(crate) fn lower_position(position: &Position) -> wit::PositionParam<'_> {
    wit::PositionParam { offset: position.offset, token: position.token.as_deref() }
}

pub(crate) fn raise_position(position: wit::PositionResult) -> Position {
    Position { offset: position.offset, token: position.token }
}

/// The headers of `messages`, borrowed; [`lower`] needs them to live as long as the call.
pub(crate) fn lower_headers(messages: &Messages) -> Vec<wit::HeaderParam<'_>> {
    let header = |header: &'_ Header| (header.message, header.name.len(), header.value.len());
    debug_assert!(messages.headers.iter().map(header).all(|(message, ..)| (message as usize) < messages.len()));
    messages
        .headers
        .iter()
        .map(|header| wit::HeaderParam { message: header.message, name: &header.name, value: &header.value })
        .collect()
}

/// The attributes of `messages`, borrowed as the headers are.
pub(crate) fn lower_attributes(messages: &Messages) -> Vec<wit::AttributeParam<'_>> {
    let attribute = |from: &'_ Attribute| (from.first, from.name.len(), from.value.len());
    debug_assert!(messages.attributes.iter().map(attribute).is_sorted_by_key(|(first, ..)| first));
    messages
        .attributes
        .iter()
        .map(|from| wit::AttributeParam { first: from.first, name: &from.name, value: &from.value })
        .collect()
}

/// `messages`, borrowed: they are copied once, into the guest.
pub(crate) fn lower<'a>(
    messages: &'a Messages,
    headers: &'a [wit::HeaderParam<'a>],
    attributes: &'a [wit::AttributeParam<'a>],
) -> wit::MessagesParam<'a> {
    wit::MessagesParam {
        values: lower_blobs(&messages.values),
        nulls: &messages.nulls,
        keys: messages.keys.as_ref().map(lower_blobs),
        offsets: &messages.offsets,
        partitions: &messages.partitions,
        timestamps_ms: &messages.timestamps_ms,
        headers,
        attributes,
    }
}

fn lower_blobs(blobs: &Blobs) -> wit::BlobsParam<'_> {
    wit::BlobsParam { bounds: &blobs.bounds, bytes: &blobs.bytes }
}

/// Positions of partitions, as a guest gets them.
pub(crate) fn lower_all(places: &[(u32, Position)]) -> Vec<(u32, wit::PositionParam<'_>)> {
    places.iter().map(|(partition, position)| (*partition, lower_position(position))).collect()
}

/// What a guest says are messages, checked in itself.
pub(crate) fn raise(told: wit::MessagesResult, masks: &Masks) -> Result<Messages, String> {
    let values = raise_blobs(told.values, "values")?;
    let count = values.len();
    let keys = told.keys.map(|keys| raise_blobs(keys, "keys")).transpose()?;
    if let Some(keys) = keys.as_ref().filter(|keys| keys.len() != count) {
        return Err(format!("`keys` has {} entries for {count} messages", keys.len()));
    }
    let lists = [
        ("offsets", told.offsets.len()),
        ("partitions", told.partitions.len()),
        ("timestamps-ms", told.timestamps_ms.len()),
    ];
    if let Some((name, length)) = lists.iter().find(|(_, length)| *length != 0 && *length != count) {
        return Err(format!("`{name}` has {length} entries for {count} messages; it must have none or one each"));
    }
    let mut before = None;
    for &null in &told.nulls {
        if null as usize >= count || before.is_some_and(|before| before >= null) {
            return Err(format!("`nulls` must rise and stay below {count}, but has {null}"));
        }
        before = Some(null);
    }
    let header = |header: wit::HeaderResult| Header { message: header.message, name: header.name, value: header.value };
    let headers: Vec<Header> = told.headers.into_iter().map(header).collect();
    if let Some(header) = headers.iter().find(|header| header.message as usize >= count) {
        return Err(format!("a header names message {} of {count}", header.message));
    }
    if !headers.is_sorted_by_key(|header| header.message) {
        return Err("the headers are not sorted by message".into());
    }
    let attribute = |from: wit::AttributeResult| Attribute { first: from.first, name: from.name, value: from.value };
    let mut attributes: Vec<Attribute> = told.attributes.into_iter().map(attribute).collect();
    masks.hide_in(&mut attributes);
    if let Some(beyond) = attributes.iter().find(|attribute| attribute.first as usize >= count) {
        return Err(format!("the attribute `{}` begins at message {} of {count}", beyond.name, beyond.first));
    }
    if !attributes.is_sorted_by_key(|attribute| attribute.first) {
        return Err("the attributes are not sorted by their first message".into());
    }
    Ok(Messages {
        values,
        nulls: told.nulls,
        keys,
        offsets: told.offsets,
        partitions: told.partitions,
        timestamps_ms: told.timestamps_ms,
        headers,
        attributes,
    })
}

pub(crate) fn raise_blobs(told: wit::BlobsResult, name: &str) -> Result<Blobs, String> {
    let (first, last) = (told.bounds.first().copied().unwrap_or(0), told.bounds.last().copied().unwrap_or(0));
    if first != 0 || last as usize != told.bytes.len() {
        return Err(format!("the bounds of `{name}` run from {first} to {last}, not from 0 to {}", told.bytes.len()));
    }
    if told.bounds.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(format!("the bounds of `{name}` do not rise"));
    }
    Ok(Blobs { bounds: told.bounds, bytes: told.bytes })
}

/// Messages of no bytes cost something too: all that were asked for may come, and others as far as an answer may have bytes.
pub(crate) fn bounded<'a>(
    all: impl Iterator<Item = &'a Messages>,
    asked: u32,
    limits: &LimitsSpec,
) -> Result<(), String> {
    let (count, takes) = all.fold((0, 0), |(count, takes), one| (count + one.len(), takes + one.room() as u64));
    if takes <= limits.answer.0.saturating_add(u64::from(asked).saturating_mul(OVERHEAD as u64)) {
        return Ok(());
    }
    Err(format!(
        "{count} messages where {asked} were asked for; they take {takes} bytes, {OVERHEAD} for each besides its own, which is more than `limits.answer` ({})",
        limits.answer
    ))
}

/// Messages of one partition: offsets given, rising, from `start` on and below `next`, which does not go back.
pub(crate) fn check_partition(
    messages: &Messages,
    partition: u32,
    start: &Position,
    next: &Position,
) -> Result<(), String> {
    if next.offset < start.offset {
        return Err(format!("`next` goes back from {} to {}", start.offset, next.offset));
    }
    if let Some(other) = messages.partitions.iter().find(|&&other| other != partition) {
        return Err(format!("a message of partition {other} came from a fetch of partition {partition}"));
    }
    if messages.offsets.len() != messages.len() {
        return Err("every message needs its offset".into());
    }
    if let Some(pair) = messages.offsets.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("offsets must rise, but {} follows {}", pair[1], pair[0]));
    }
    let outside = |offset: u64| offset < start.offset || offset >= next.offset;
    let ends = [messages.offsets.first(), messages.offsets.last()];
    match ends.into_iter().flatten().find(|&&offset| outside(offset)) {
        Some(offset) => Err(format!("offset {offset} is outside of the run {}..{}", start.offset, next.offset)),
        None => Ok(()),
    }
}

/// Messages of a whole stream: each with partition and offset, rising within a partition.
pub(crate) fn check_stream(messages: &Messages) -> Result<(), String> {
    if messages.offsets.len() != messages.len() || messages.partitions.len() != messages.len() {
        return Err("every message of a stream needs its partition and its offset".into());
    }
    let mut seen = std::collections::BTreeMap::new();
    for (&partition, &offset) in messages.partitions.iter().zip(&messages.offsets) {
        if let Some(before) = seen.insert(partition, offset)
            && before >= offset
        {
            return Err(format!("offsets of partition {partition} must rise, but {offset} follows {before}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bounds: &[u32], bytes: &[u8]) -> wit::MessagesResult {
        wit::MessagesResult {
            values: wit::BlobsResult { bounds: bounds.to_vec(), bytes: bytes.to_vec() },
            nulls: Vec::new(),
            keys: None,
            offsets: Vec::new(),
            partitions: Vec::new(),
            timestamps_ms: Vec::new(),
            headers: Vec::new(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn bounds_are_checked() {
        let check = |bounds: &[u32], bytes: &[u8], expected: Option<usize>| {
            assert_eq!(
                raise(told(bounds, bytes), &Masks::default()).ok().map(|messages| messages.len()),
                expected,
                "{bounds:?}"
            );
        };
        check(&[], b"", Some(0));
        check(&[0, 1, 3], b"abc", Some(2));
        check(&[0, 2, 1, 3], b"abc", None);
        check(&[1, 3], b"abc", None);
        check(&[0, 4], b"abc", None);
        check(&[0, 2], b"abc", None);
        check(&[], b"abc", None);
    }

    #[test]
    fn lists_have_no_entry_or_one_each() {
        let check = |change: fn(&mut wit::MessagesResult), expected: bool| {
            let mut messages = told(&[0, 1, 2], b"ab");
            change(&mut messages);
            assert_eq!(raise(messages, &Masks::default()).is_ok(), expected);
        };
        check(|messages| messages.offsets = vec![1], false);
        check(|messages| messages.offsets = vec![1, 2], true);
        check(|messages| messages.nulls = vec![2], false);
        check(|messages| messages.nulls = vec![1, 1], false);
        check(|messages| messages.keys = Some(wit::BlobsResult { bounds: vec![0, 0], bytes: vec![] }), false);
        check(
            |messages| messages.headers = vec![wit::HeaderResult { message: 2, name: String::new(), value: vec![] }],
            false,
        );
    }

    #[test]
    fn messages_of_no_bytes_are_not_free() {
        let empty = |count: u32| raise(told(&vec![0; count as usize + 1], b""), &Masks::default()).unwrap();
        let limits = LimitsSpec { answer: spout_data::ByteSize(6400), ..LimitsSpec::default() };
        let bounded = |counts: &[u32], asked| {
            let all: Vec<Messages> = counts.iter().map(|count| empty(*count)).collect();
            bounded(all.iter(), asked, &limits)
        };
        assert_eq!(bounded(&[100], 0), Ok(()));
        assert_eq!(bounded(&[8192], 8192), Ok(()), "what was asked for may come");
        let said = bounded(&[8192, 101], 8192).unwrap_err();
        assert!(
            said.starts_with("8293 messages where 8192 were asked for") && said.contains("limits.answer"),
            "{said}"
        );
    }

    #[test]
    fn a_partition_only_moves_forward() {
        let check = |offsets: &[u64], next: u64, expected: Result<(), &str>| {
            let mut messages = raise(told(&[0, 1, 2], b"ab"), &Masks::default()).unwrap();
            messages.offsets = offsets.to_vec();
            match (check_partition(&messages, 0, &Position::at(10), &Position::at(next)), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, _) => panic!("{offsets:?} {next}: {got:?}"),
            }
        };
        check(&[10, 11], 12, Ok(()));
        check(&[10, 19], 20, Ok(()));
        check(&[9, 11], 12, Err("outside"));
        check(&[10, 12], 12, Err("outside"));
        check(&[11, 10], 12, Err("must rise"));
        check(&[10, 11], 9, Err("goes back"));
        check(&[10], 12, Err("needs its offset"));
    }
}
