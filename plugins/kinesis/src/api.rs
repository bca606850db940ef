//! What the service says, of which we read what we need.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::place::Sequence;

/// A part of the list of shards.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShardList {
    pub(crate) shards: Vec<Shard>,
    pub(crate) next_token: Option<String>,
}

/// A shard.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Shard {
    pub(crate) shard_id: String,
    pub(crate) parent_shard_id: Option<String>,
    pub(crate) adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    #[serde(deserialize_with = "number")]
    starting_hash_key: u128,
    #[serde(deserialize_with = "number")]
    ending_hash_key: u128,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    ending_sequence_number: Option<String>,
}

impl Shard {
    /// The shards that it was made of.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        self.parent_shard_id.as_deref().into_iter().chain(self.adjacent_parent_shard_id.as_deref())
    }

    /// Whether nothing is added to it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sequence_number_range.ending_sequence_number.is_some()
    }

    /// The hash keys whose records it gets.
    pub(crate) fn keys(&self) -> std::ops::RangeInclusive<u128> {
        self.hash_key_range.starting_hash_key..=self.hash_key_range.ending_hash_key
    }
}

/// Where reading begins, as the service knows it for five minutes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShardIterator {
    pub(crate) shard_iterator: String,
}

/// Records of a shard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    /// None after the last record of a shard that is closed.
    pub(crate) next_shard_iterator: Option<String>,
    pub(crate) millis_behind_latest: Option<u64>,
}

/// A record.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record {
    pub(crate) sequence_number: Sequence,
    pub(crate) partition_key: String,
    #[serde(deserialize_with = "bytes")]
    pub(crate) data: Vec<u8>,
    /// Milliseconds since 1970, in which the service has seconds with a fraction.
    #[serde(rename = "ApproximateArrivalTimestamp", deserialize_with = "milliseconds", default)]
    pub(crate) arrival: u64,
}

/// Why a request was refused.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    pub(crate) message: String,
}

impl Refusal {
    /// The kind of error without the name space that some services put before it.
    pub(crate) fn kind(&self) -> &str {
        self.kind.rsplit('#').next().unwrap_or_default()
    }
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let seconds = Option::<f64>::deserialize(from)?.unwrap_or_default();
    Ok((seconds * 1000.0).round() as u64)
}
