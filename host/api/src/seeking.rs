//! Moving where a pipeline goes on, as people ask for it.

use std::fmt::Debug;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Sought, SpecText};

/// What can be asked about the markers of a store's pipelines, or of those of a server that has one.
///
/// Every function fails as those of [`Api`](crate::Api) do.
#[async_trait]
pub trait Markers: Debug + Send + Sync {
    /// Makes the pipeline that writes `output`, `repo` or `repo@branch`, go on somewhere else, by a commit of its own. Without a
    /// branch it is that of the pipeline's spec.
    async fn seek(&self, output: &str, wanted: &SeekTo) -> Result<Sought>;
    /// Makes it pass over messages of one partition that it would read next, by a commit of its own.
    async fn skip(&self, output: &str, wanted: &SkipPast) -> Result<Sought>;
}

/// Where a pipeline is to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekTo {
    /// There.
    pub to: Destination,
    /// Only these partitions, by their numbers or labels; none are all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
    /// Only the partitions of this producer, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// The spec of the pipeline, where the store does not have it by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<SpecText>,
    /// Why, for those who read the history.
    #[serde(default)]
    pub why: String,
    /// Whether the branch is taken away from who may still write it.
    #[serde(default)]
    pub force: bool,
}

/// Messages that a pipeline is to pass over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkipPast {
    /// The partition, by its number or label.
    pub partition: String,
    /// Its producer, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// The offset of the first message to pass over, where the partition has to go on; without it, that offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many offsets are passed over.
    #[serde(default = "one")]
    pub count: u64,
    /// The spec of the pipeline, where the store does not have it by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<SpecText>,
    /// Why, for those who read the history.
    #[serde(default)]
    pub why: String,
    /// Whether the branch is taken away from who may still write it.
    #[serde(default)]
    pub force: bool,
}

fn one() -> u64 {
    1
}

/// A place where a pipeline can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Destination {
    /// The oldest messages that the sources have; a spout has no marker.
    Earliest,
    /// What arrives from now on.
    Latest,
    /// This offset.
    Offset(u64),
    /// Where it was at a commit: `~2`, an id, a tag, a moment in braces.
    Commit(String),
    /// These bytes, in base64, become the marker of a spout.
    Marker(MarkerBytes),
}

/// The marker of a spout.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MarkerBytes(
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub Vec<u8>,
);

impl MarkerBytes {
    /// Most bytes of a marker.
    pub const MOST: usize = 1 << 20;
}

impl Debug for MarkerBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MarkerBytes({} bytes)", self.0.len())
    }
}

mod text {
    //! Bytes as base64 text.

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_as_it_is_written() {
        let check = |text: &str, to: Destination| {
            let read: SeekTo = serde_json::from_str(text).unwrap();
            assert_eq!(read.to, to, "{text}");
            let again: SeekTo = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(again, read);
        };
        check(r#"{"to": "earliest"}"#, Destination::Earliest);
        check(r#"{"to": {"offset": 18446744073709551615}}"#, Destination::Offset(u64::MAX));
        check(r#"{"to": {"commit": "~2"}, "partitions": ["3"]}"#, Destination::Commit("~2".into()));
        check(r#"{"to": {"marker": "AP8="}, "why": "so"}"#, Destination::Marker(MarkerBytes(vec![0, 255])));
        for wrong in [r#"{"to": {"offset": -1}}"#, r#"{"to": {"marker": "?"}}"#, r#"{}"#, r#"{"to": "latest", "x": 1}"#]
        {
            assert!(serde_json::from_str::<SeekTo>(wrong).is_err(), "{wrong}");
        }
    }
}
