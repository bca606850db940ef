//! Entries of a stream as they come in a reply, and as messages.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::Value as Json;
use spout_guest::{Added, Messages};

use crate::{id::EntryId, resp::Value};

/// An entry: names and values of its fields, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) fields: Vec<(Bytes, Bytes)>,
}

/// What becomes of an entry's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// The field that is the message; without it, the message is a JSON object of all.
    pub(crate) value: Option<String>,
    /// The field that is the message's key.
    pub(crate) key: Option<String>,
}

/// The streams of a reply to `XREAD`, with their entries; `None` if it is something else.
pub(crate) fn streams(reply: Value) -> Option<Vec<(Bytes, Vec<Entry>)>> {
    let items = match reply {
        Value::Null => return Some(Vec::new()),
        Value::Array(items) => items,
        _ => return None,
    };
    // RESP3 has a map, RESP2 an array of pairs.
    let flat = if items.first().is_some_and(|first| first.items().is_some()) {
        let mut flat = Vec::new();
        for item in items {
            let Value::Array(pair) = item else { return None };
            flat.extend(pair);
        }
        flat
    } else {
        items
    };
    let (mut streams, mut flat) = (Vec::new(), flat.into_iter());
    while let Some(name) = flat.next() {
        streams.push((name.bytes()?.clone(), entries(flat.next()?)?));
    }
    Some(streams)
}

/// The entries of a list, such as a reply to `XRANGE`.
pub(crate) fn entries(list: Value) -> Option<Vec<Entry>> {
    let Value::Array(items) = list else { return None };
    items.into_iter().map(entry).collect()
}

/// The reply to `XAUTOCLAIM`: from which id on to claim next, and entries. Those that are gone are left out by servers before Redis 7.
pub(crate) fn claimed(reply: Value) -> Option<(EntryId, Vec<Entry>)> {
    let Value::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter();
    let next = parts.next()?.text()?.parse().ok()?;
    let Value::Array(items) = parts.next()? else { return None };
    let there = items.into_iter().filter(|item| *item != Value::Null);
    Some((next, there.map(entry).collect::<Option<_>>()?))
}

fn entry(item: Value) -> Option<Entry> {
    let Value::Array(parts) = item else { return None };
    // Of one that was deleted and not acknowledged there is only the id.
    if let [id, Value::Null] = parts.as_slice() {
        return Some(Entry { id: id.text()?.parse().ok()?, fields: Vec::new() });
    }
    let [id, Value::Array(texts)] = parts.as_slice() else { return None };
    let pair = |pair: &[Value]| match pair {
        [name, value] => Some((name.bytes()?.clone(), value.bytes()?.clone())),
        _ => None,
    };
    Some(Entry { id: id.text()?.parse().ok()?, fields: texts.chunks(2).map(pair).collect::<Option<_>>()? })
}

impl Entry {
    /// About how many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len() + 6);
        fields.sum::<usize>() + 32
    }

    /// Whether it was deleted, while somebody was to acknowledge it.
    pub(crate) fn is_gone(&self) -> bool {
        self.fields.is_empty()
    }

    fn field(&self, wanted: &str) -> Option<&Bytes> {
        self.fields.iter().find(|(name, _)| name == wanted.as_bytes()).map(|(_, value)| value)
    }

    /// Adds it to `messages`.
    pub(crate) fn add<'a>(&self, offset: u64, form: &Form, messages: &'a mut Messages) -> Added<'a> {
        let (value, fault) = match &form.value {
            None => self.object(),
            Some(name) => match self.field(name) {
                Some(value) => (value.to_vec(), None),
                // It is kept as it is, where it can be looked at.
                None => (self.object().0, Some(format!("redis.field there is no field `{name}`"))),
            },
        };
        messages.attribute("fault", fault.unwrap_or_default().as_bytes());
        let mut added = messages.add(offset, &value).header("id", self.id.to_string().as_bytes());
        // Of those that are neither the message nor its key nothing would be left.
        let is_whole = form.value.as_ref().is_none_or(|name| self.field(name).is_none());
        let others = if is_whole { &[] } else { self.fields.as_slice() };
        let own = [&form.value, &form.key];
        for (name, value) in others {
            let name = String::from_utf8_lossy(name);
            if !own.iter().any(|own| own.as_deref() == Some(name.as_ref())) {
                added = added.header(&name, value);
            }
        }
        if let Ok(ms) = i64::try_from(self.id.ms) {
            added = added.timestamp_ms(ms);
        }
        match form.key.as_ref().and_then(|name| self.field(name)) {
            Some(key) => added.key(key),
            None => added,
        }
    }

    /// All fields as a JSON object, in their order; one that is there several times is a list. What is not UTF-8 is an object
    /// `{"base64": …}`, and makes the message a dead letter.
    fn object(&self) -> (Vec<u8>, Option<String>) {
        let mut fault = None;
        let mut text = |bytes: &Bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Json::from(text),
            Err(_) => {
                fault = Some(
                    "redis.binary it has bytes that are not UTF-8; with `value: FIELD` a field is the message as it is",
                );
                serde_json::json!({ "base64": BASE64_STANDARD.encode(bytes) })
            }
        };
        let (mut order, mut fields): (Vec<String>, BTreeMap<String, Vec<Json>>) = Default::default();
        for (name, value) in &self.fields {
            let name = match text(name) {
                Json::String(name) => name,
                other => other.to_string(),
            };
            let values = fields.entry(name.clone()).or_default();
            if values.is_empty() {
                order.push(name);
            }
            values.push(text(value));
        }
        let mut object = vec![b'{'];
        for name in order {
            let Some(mut values) = fields.remove(&name) else { continue };
            let value = if values.len() == 1 { values.remove(0) } else { Json::Array(values) };
            if object.len() > 1 {
                object.push(b',');
            }
            object.extend_from_slice(Json::from(name).to_string().as_bytes());
            object.push(b':');
            object.extend_from_slice(value.to_string().as_bytes());
        }
        object.push(b'}');
        (object, fault.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&[u8], &[u8])]) -> Entry {
        let owned = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let fields = pairs.iter().map(|(name, value)| (owned(name), owned(value))).collect();
        Entry { id: EntryId { ms: 5, sequence: 1 }, fields }
    }

    fn message(entry: &Entry, form: &Form) -> Messages {
        let mut messages = Messages::default();
        entry.add(7, form, &mut messages);
        messages
    }

    #[test]
    fn fields_are_an_object_in_their_order() {
        let entry = fields(&[(b"z", b"1"), (b"a\"", "ä\n".as_bytes()), (b"z", b"2")]);
        let messages = message(&entry, &Form::default());
        assert_eq!(messages.value(0), "{\"z\":[\"1\",\"2\"],\"a\\\"\":\"ä\\n\"}".as_bytes());
        assert_eq!((messages.timestamp_ms(0), messages.offsets()), (Some(5), &[7][..]));
        assert_eq!(messages.headers(0).collect::<Vec<_>>(), [("id", &b"5-1"[..])]);
        assert!(messages.attributes().is_empty());
    }

    #[test]
    fn a_field_is_the_message_and_another_its_key() {
        let form = Form { value: Some("v".into()), key: Some("k".into()) };
        let others = fields(&[(b"b", b"1"), (b"k", b"\xff"), (b"v", b"\x00\xff"), (b"a", b""), (b"b", b"\xfe")]);
        let mut messages = message(&others, &form);
        let headers: Vec<_> = messages.headers(0).collect();
        assert_eq!(headers, [("id", &b"5-1"[..]), ("b", b"1"), ("a", b""), ("b", b"\xfe")]);
        assert_eq!((messages.value(0), messages.key(0)), (&b"\x00\xff"[..], Some(&b"\xff"[..])));
        fields(&[(b"w", b"\xff")]).add(8, &form, &mut messages);
        fields(&[(b"v", b"")]).add(9, &form, &mut messages);
        assert_eq!(messages.value(1), b"{\"w\":{\"base64\":\"/w==\"}}");
        let faults: Vec<_> = messages.attributes().iter().map(|one| (one.first, one.value.is_empty())).collect();
        assert_eq!(faults, [(1, false), (2, true)]);
    }

    #[test]
    fn replies_that_have_no_entries_are_none() {
        let text = |text: &str| Value::Bytes(Bytes::copy_from_slice(text.as_bytes()));
        let list = |id: &str, parts: &[&str]| {
            let fields = Value::Array(parts.iter().map(|part| text(part)).collect());
            Value::Array(vec![Value::Array(vec![text(id), fields])])
        };
        let pair = Value::Array(vec![text("s"), list("1-1", &["a", "b"])]);
        assert_eq!(streams(Value::Array(vec![pair])).unwrap()[0].1.len(), 1);
        assert_eq!(streams(Value::Array(vec![text("s"), list("1-1", &["a", "b"])])).unwrap().len(), 1);
        assert_eq!(streams(Value::Null), Some(vec![]));
        for wrong in [
            Value::Integer(1),
            Value::Array(vec![text("s")]),
            Value::Array(vec![text("s"), list("1", &["a", "b"])]),
            Value::Array(vec![text("s"), list("1-1", &["a"])]),
            Value::Array(vec![Value::Array(vec![text("s"), Value::Null])]),
        ] {
            assert_eq!(streams(wrong.clone()), None, "{wrong:?}");
        }
    }
}
