//! Records that hold several: what Amazon's producer library (KPL) makes of small ones.
//!
//! Such a record begins with four bytes, has a message of protobuf, and ends with the MD5 of that. What is not so in every respect is
//! a record like any other, as it is for Amazon's own consumer library.

use std::{ops::RangeInclusive, rc::Rc};

use md5::{Digest as _, Md5};
use prost::Message;

use crate::api::Record;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const CHECKSUM: usize = 16;
/// Most characters of a partition key, which many messages may share: the service takes no more.
const KEY: usize = 256;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Aggregated {
    #[prost(string, repeated, tag = "1")]
    pub(crate) partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) explicit_hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) records: Vec<Inner>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Inner {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) partition_key: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) explicit_hash_key: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) data: Option<Vec<u8>>,
}

/// A message and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) key: Rc<str>,
    pub(crate) data: Vec<u8>,
}

/// The messages of a record: one, or those that it holds. There is none if they belong to another shard than the one with these hash
/// keys, where it was put because the stream was just being split or merged: the producer then puts them again.
pub(crate) fn parts(record: &Record, keys: &RangeInclusive<u128>) -> Vec<Part> {
    match unpacked(&record.data) {
        None => vec![Part { key: record.partition_key.as_str().into(), data: record.data.clone() }],
        Some(all) if all.iter().all(|(hash, _)| keys.contains(hash)) => all.into_iter().map(|(_, part)| part).collect(),
        Some(_) => Vec::new(),
    }
}

/// The messages that a record holds, with the hash key of each; `None` if it does not hold any.
fn unpacked(data: &[u8]) -> Option<Vec<(u128, Part)>> {
    let (body, checksum) = data.strip_prefix(&MAGIC)?.split_last_chunk::<CHECKSUM>()?;
    if md5(body) != *checksum {
        return None;
    }
    let Aggregated { partition_keys, explicit_hash_keys, records } = Aggregated::decode(body).ok()?;
    if partition_keys.iter().any(|key| key.chars().count() > KEY) {
        return None;
    }
    let keys: Vec<(u128, Rc<str>)> =
        partition_keys.iter().map(|key| (u128::from_be_bytes(md5(key.as_bytes())), Rc::from(key.as_str()))).collect();
    let index = |at: u64| usize::try_from(at).ok();
    let one = |inner: Inner| {
        let (hash, key) = keys.get(index(inner.partition_key?)?)?;
        let hash = match inner.explicit_hash_key {
            Some(at) => explicit_hash_keys.get(index(at)?)?.parse().ok()?,
            None => *hash,
        };
        Some((hash, Part { key: Rc::clone(key), data: inner.data? }))
    };
    records.into_iter().map(one).collect()
}

fn md5(bytes: &[u8]) -> [u8; CHECKSUM] {
    Md5::digest(bytes).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record as the library writes it, of keys and values.
    pub(crate) fn packed(all: &Aggregated) -> Vec<u8> {
        sealed(&all.encode_to_vec())
    }

    /// The same of bytes that may be none.
    pub(crate) fn sealed(body: &[u8]) -> Vec<u8> {
        [&MAGIC[..], body, &md5(body)].concat()
    }

    pub(crate) fn aggregated(messages: &[(&str, &str)]) -> Aggregated {
        let partition_keys = messages.iter().map(|(key, _)| (*key).to_owned()).collect();
        let inner = |(at, (_, data)): (usize, &(&str, &str))| Inner {
            partition_key: Some(at as u64),
            explicit_hash_key: None,
            data: Some(data.as_bytes().to_vec()),
        };
        let records = messages.iter().enumerate().map(inner).collect();
        Aggregated { partition_keys, explicit_hash_keys: Vec::new(), records }
    }

    pub(crate) fn record(data: Vec<u8>) -> Record {
        let text = serde_json::json!({"SequenceNumber": "1", "PartitionKey": "outer", "Data": ""});
        Record { data, ..serde_json::from_value(text).unwrap() }
    }

    fn read(data: Vec<u8>, keys: RangeInclusive<u128>) -> Vec<(String, String)> {
        let text = |part: Part| (part.key.to_string(), String::from_utf8_lossy(&part.data).into_owned());
        parts(&record(data), &keys).into_iter().map(text).collect()
    }

    #[test]
    fn a_record_is_the_messages_that_it_holds() {
        let all = 0..=u128::MAX;
        let pair = |key: &str, data: &str| (key.to_owned(), data.to_owned());
        assert_eq!(read(b"plain".to_vec(), all.clone()), [pair("outer", "plain")]);
        let both = aggregated(&[("a", "1"), ("b", "2")]);
        assert_eq!(read(packed(&both), all.clone()), [pair("a", "1"), pair("b", "2")]);
        assert_eq!(read(packed(&aggregated(&[])), all).len(), 0);
        // Byte for byte as the library writes a message with tags, which mean nothing here.
        let body = b"\x0a\x01k\x1a\x0d\x08\x00\x1a\x02hi\x22\x05\x0a\x03tag";
        let known = sealed(body);
        assert_eq!(read(known, 0..=u128::MAX), [pair("k", "hi")]);
    }

    #[test]
    fn what_belongs_to_another_shard_is_not_read() {
        let hash = |key: &str| u128::from_be_bytes(md5(key.as_bytes()));
        let both = packed(&aggregated(&[("a", "1"), ("b", "2")]));
        let (low, high) = (hash("a").min(hash("b")), hash("a").max(hash("b")));
        assert_eq!(read(both.clone(), low..=high).len(), 2);
        assert_eq!(read(both.clone(), low + 1..=high).len(), 0);
        assert_eq!(read(both, low..=high - 1).len(), 0);
        let mut said = aggregated(&[("a", "1")]);
        said.explicit_hash_keys = vec!["7".into()];
        said.records[0].explicit_hash_key = Some(0);
        assert_eq!(read(packed(&said), 7..=7).len(), 1);
        assert_eq!(read(packed(&said), 8..=u128::MAX).len(), 0);
    }

    #[test]
    fn what_only_looks_like_several_is_one() {
        let sound = packed(&aggregated(&[("a", "1"), ("b", "2")]));
        let mut strange = aggregated(&[("a", "1")]);
        strange.records[0].partition_key = Some(9);
        let mut hash = aggregated(&[("a", "1")]);
        (hash.explicit_hash_keys, hash.records[0].explicit_hash_key) = (vec!["-1".into()], Some(0));
        let mut bare = aggregated(&[("a", "1")]);
        bare.records[0].data = None;
        // A key that thousands of empty messages share would become gigabytes.
        let mut bomb = aggregated(&[(&"k".repeat(500_000), "")]);
        bomb.records = vec![bomb.records[0].clone(); 50_000];
        let mut wrong = vec![
            packed(&bare),
            packed(&bomb),
            MAGIC.to_vec(),
            [&MAGIC[..], &[0; 15]].concat(),
            packed(&strange),
            packed(&hash),
        ];
        wrong.extend((4..sound.len()).map(|at| {
            let mut changed = sound.clone();
            changed[at] ^= 0x41;
            changed
        }));
        wrong.extend((0..sound.len()).map(|to| sound[..to].to_vec()));
        for absurd in
            [&b"\x1a\xff\xff\xff\xff\x0f"[..], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fa", b"\x1a\x02\x08\x00"]
        {
            wrong.push(sealed(absurd));
        }
        for data in wrong {
            let found = parts(&record(data.clone()), &(0..=u128::MAX));
            assert_eq!(found, [Part { key: "outer".into(), data }]);
        }
    }
}
