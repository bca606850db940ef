//! What a leader and its members say to each other about bulk work: one word that it is that, and a part or what came of it as JSON.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spout_repo::{MergePart, Prepared, ReadDone, ReadPart};

/// How every frame of bulk work begins. Those of pipelines begin with the length of their head, which is never so much.
const BULK: &[u8; 4] = b"bulk";
/// Version of these words. A member does no part of another version.
pub(super) const VERSION: u32 = 1;

/// What a member is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ask<'a> {
    pub(super) version: u32,
    pub(super) part: Part<'a>,
}

/// A part of bulk work.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part<'a> {
    /// Bytes to read and to compare with what was committed.
    Read(std::borrow::Cow<'a, ReadPart>),
    /// Files to merge.
    Merge(std::borrow::Cow<'a, MergePart>),
}

/// What came of a part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told {
    /// Bytes were read and compared.
    Read(ReadDone),
    /// Files were merged.
    Merged(Box<Prepared>),
    /// This process cannot do it, and says why.
    Failed(String),
}

/// `what` as a frame.
pub(super) fn frame<T: Serialize>(what: &T) -> Result<Bytes, String> {
    let json = serde_json::to_vec(what).map_err(|error| error.to_string())?;
    let mut frame = BytesMut::with_capacity(BULK.len() + json.len());
    frame.put_slice(BULK);
    frame.put_slice(&json);
    Ok(frame.freeze())
}

/// Whether a frame is one of bulk work.
pub(super) fn is_bulk(frame: &[u8]) -> bool {
    frame.starts_with(BULK)
}

/// What a frame says.
pub(super) fn unframe<T: DeserializeOwned>(frame: &[u8]) -> Result<T, String> {
    let json = frame.strip_prefix(BULK).ok_or("its frame is not one of bulk work")?;
    serde_json::from_slice(json).map_err(|error| format!("its frame says nothing that is understood: {error}"))
}
