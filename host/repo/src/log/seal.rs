//! The form that records and checkpoints are stored in: JSON that ends with a checksum of itself.

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spout_format::{sha256, sha256_of};

use super::record::{Record, RecordKind, VERSION};
use crate::{error::Error, layout::Layout, object::Objects};

/// Every record ends with this, 64 digits, and [`TAIL_END`]. That rule is the same for all versions, so that a newer
/// record can be distinguished from a damaged one.
const TAIL: &str = r#""checksum":""#;
const TAIL_END: &str = "\"}";
const DIGITS: usize = 64;

/// The bytes of a record whose checksum field is its last and empty, and the checksum that was put there.
pub(crate) fn seal<T: Serialize>(object: &str, record: &T) -> Result<(Bytes, String), Error> {
    let wrong = |reason: String| Error::BadRecord { object: object.to_owned(), reason };
    let mut text = serde_json::to_string(record).map_err(|source| wrong(format!("it cannot be written: {source}")))?;
    let checksum = sha256(text.as_bytes());
    if !text.ends_with(&format!("{TAIL}{TAIL_END}")) {
        return Err(wrong("it does not end with an empty checksum".to_owned()));
    }
    text.truncate(text.len() - TAIL_END.len());
    text.push_str(&checksum);
    text.push_str(TAIL_END);
    Ok((text.into(), checksum))
}

/// What a reader needs to know before it reads the rest.
#[derive(Deserialize)]
struct Begins {
    version: u32,
    kind: Option<RecordKind>,
}

/// The text of a sealed object whose checksum holds and whose version this build knows.
pub(crate) fn unseal<'a>(object: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    opened(object, bytes).map(|(text, _)| text)
}

fn opened<'a>(object: &str, bytes: &'a [u8]) -> Result<(&'a str, Begins), Error> {
    let wrong = |reason: &str| Error::BadRecord { object: object.to_owned(), reason: reason.to_owned() };
    if bytes.is_empty() {
        return Err(wrong("it is empty"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not text"))?;
    let cut = || wrong("it is cut short or not a record");
    let body = text.strip_suffix(TAIL_END).ok_or_else(cut)?;
    let (head, digits) = body.split_at_checked(body.len().saturating_sub(DIGITS)).ok_or_else(cut)?;
    if !head.ends_with(TAIL) {
        return Err(cut());
    }
    if sha256_of([head, TAIL_END]) != digits {
        return Err(wrong("its bytes do not match its checksum"));
    }
    let header: Begins = serde_json::from_str(text).map_err(|_| wrong("it has no format version"))?;
    if header.version > VERSION {
        Err(Error::NewerFormat { object: object.to_owned(), found: header.version, known: VERSION })
    } else {
        Ok((text, header))
    }
}

/// The newest of the numbered objects below `prefix`, if there is one.
pub(crate) async fn newest<T: DeserializeOwned>(objects: &Objects, prefix: &Path) -> Result<Option<T>, Error> {
    let listed = objects.list(prefix).await?;
    let Some((path, _)) = listed.into_iter().rfind(|(path, _)| Layout::sequence(path).is_some()) else {
        return Ok(None);
    };
    match objects.find(&path).await? {
        Some(bytes) => read(&objects.shown(&path), &bytes).map(Some),
        None => Ok(None),
    }
}

/// Reads a record, its checksum verified.
pub(crate) fn parse(object: &str, bytes: &[u8]) -> Result<Record, Error> {
    let wrong = |reason: String| Error::BadRecord { object: object.to_owned(), reason };
    let (text, header) = opened(object, bytes)?;
    let kind = header.kind.ok_or_else(|| wrong("it is not a record".to_owned()))?;
    let wrong = |source: serde_json::Error| wrong(source.to_string());
    Ok(match kind {
        RecordKind::Commit => Record::Commit(Box::new(serde_json::from_str(text).map_err(wrong)?)),
        RecordKind::Claim => Record::Claim(serde_json::from_str(text).map_err(wrong)?),
        RecordKind::Point => Record::Point(serde_json::from_str(text).map_err(wrong)?),
        RecordKind::Squash => Record::Squash(serde_json::from_str(text).map_err(wrong)?),
        RecordKind::Sweep => Record::Sweep(serde_json::from_str(text).map_err(wrong)?),
    })
}

/// Reads any other sealed object.
pub(crate) fn read<T: DeserializeOwned>(object: &str, bytes: &[u8]) -> Result<T, Error> {
    let text = unseal(object, bytes)?;
    serde_json::from_str(text)
        .map_err(|source| Error::BadRecord { object: object.to_owned(), reason: source.to_string() })
}
