//! Where in a partition something is.

use serde::{Deserialize, Serialize};

/// A partition of a topic, as the source numbers it.
pub type PartitionId = u32;

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
