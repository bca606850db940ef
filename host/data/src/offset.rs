//! Where in a partition something is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which partition of which producer of a pipeline: `3`, or `1.3` for partition 3 of the producer that commits know as the
/// second. Ordered by producer, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The producer; 0 for the only one.
    pub producer: u16,
    /// The partition, as its source numbers it.
    pub number: u32,
}

impl PartitionId {
    /// A partition of the only producer.
    #[must_use]
    pub const fn numbered(number: u32) -> Self {
        Self { producer: 0, number }
    }

    /// Producers from this one on are no producers of a spec: they stand for the dead letters of one that were replayed into its own
    /// table, the last number for the first producer.
    const REPLAYS: u16 = u16::MAX - 255;

    /// The number that commits know the replayed dead letters of a producer by, the `index`th of its spec.
    #[must_use]
    pub fn replays(index: usize) -> u16 {
        u16::MAX - u16::try_from(index).unwrap_or(u16::MAX).min(u16::MAX - Self::REPLAYS)
    }

    /// Whether it stands for dead letters that were replayed.
    #[must_use]
    pub fn is_replay(self) -> bool {
        self.producer >= Self::REPLAYS
    }

    /// As one whole number, in the same order: what held rows are sorted by.
    #[must_use]
    pub fn ordinal(self) -> i64 {
        (i64::from(self.producer) << 32) | i64::from(self.number)
    }
}

impl From<u32> for PartitionId {
    fn from(number: u32) -> Self {
        Self::numbered(number)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.producer {
            0 => write!(f, "{}", self.number),
            producer => write!(f, "{producer}.{}", self.number),
        }
    }
}

impl FromStr for PartitionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (producer, number) = text.split_once('.').unwrap_or(("0", text));
        match (producer.parse(), number.parse()) {
            (Ok(producer), Ok(number)) => Ok(Self { producer, number }),
            _ => Err(format!("`{text}` is not a partition; write 3, or 1.3 for partition 3 of producer 1")),
        }
    }
}

/// A number for the only producer, a text for others.
impl Serialize for PartitionId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.producer {
            0 => to.serialize_u32(self.number),
            _ => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for PartitionId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = PartitionId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a partition, such as 3 or \"1.3\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PartitionId, E> {
                u32::try_from(number).map(PartitionId::from).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PartitionId, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// The place of the next message of a partition.
///
/// The host orders, compares and commits by `offset`; `token` is the source's own cursor where that does not fit into
/// 64 bits (a log sequence number, a resume token) and is stored beside the offset, unread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Unit: whatever the source counts in (messages, bytes); it only ever grows within a partition.
    pub offset: u64,
    /// Opaque to the host; base64 where written as text.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "token_text")]
    pub token: Option<Vec<u8>>,
}

impl Position {
    /// A position that is an offset and nothing else.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self { offset, token: None }
    }
}

/// A run of one partition: `start` is inclusive, `next` exclusive, and `next` is explicit even when no row is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition the run belongs to.
    pub partition: PartitionId,
    /// Offset the run starts at.
    pub start: u64,
    /// Position of the first message after the run.
    pub next: Position,
}

mod token_text {
    //! Tokens as base64 text, so that a commit record stays readable JSON.

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(token: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        match token {
            Some(bytes) => to.serialize_some(&STANDARD.encode(bytes)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| STANDARD.decode(text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_written_and_read_in_one_order() {
        let of = |producer, number| PartitionId { producer, number };
        for (id, text, json) in
            [(of(0, 3), "3", "3"), (of(1, 3), "1.3", "\"1.3\""), (of(9, u32::MAX), "9.4294967295", "\"9.4294967295\"")]
        {
            assert_eq!((id.to_string().as_str(), text.parse()), (text, Ok(id)));
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(serde_json::from_str::<PartitionId>(json).unwrap(), id);
            let map = std::collections::BTreeMap::from([(id, 1)]);
            let written = serde_json::to_string(&map).unwrap();
            assert_eq!(written, format!("{{\"{text}\":1}}"));
            assert_eq!(serde_json::from_str::<std::collections::BTreeMap<PartitionId, i32>>(&written).unwrap(), map);
        }
        for wrong in ["", "x", "1.", ".1", "1.2.3", "-1"] {
            assert!(wrong.parse::<PartitionId>().is_err(), "{wrong}");
        }
        let mut ids = [of(1, 0), of(0, 7), of(0, u32::MAX), of(1, 5)];
        ids.sort_unstable();
        assert!(ids.is_sorted_by_key(|id| id.ordinal()));
    }
}
