//! What a commit stores, and the form it is stored in: JSON that ends with a checksum of itself.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Error,
    format::{ColumnStatistics, Format, sha256, sha256_of},
};
use crate::data::{Marker, PartitionId};

/// The newest format version this build reads, and the one it writes.
pub(super) const VERSION: u32 = 1;
/// Every record ends with this, 64 digits, and [`TAIL_END`]. That rule is the same for all versions, so that a newer
/// record can be told from a damaged one.
const TAIL: &str = r#""checksum":""#;
const TAIL_END: &str = "\"}";
const DIGITS: usize = 64;

/// Whether a same-named file grows or is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PutMode {
    /// The bytes or rows are added after those that are there.
    Append,
    /// They take the place of those that are there.
    Overwrite,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// An object of this name in the repo's `data/`.
    Object(String),
    /// In the record itself.
    #[serde(with = "base64_text")]
    Inline(Bytes),
    /// In the record of this sequence; only in memory, never stored.
    Record(u64),
}

/// A run of bytes that a commit wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Where it is.
    pub place: Place,
    /// How long it is.
    pub size: u64,
    /// What it must hash to.
    pub sha256: String,
}

/// What is known of a piece that is a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its format.
    pub format: Format,
    /// Rows in it.
    pub rows: u64,
    /// Key of its schema in the `schemas` of this or an earlier record.
    pub schema: String,
    /// Statistics of its columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnStatistics>,
}

/// One put of one commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileAdded {
    /// Path in the repo.
    pub path: String,
    /// What it does to a file of that path.
    pub how: PutMode,
    /// The bytes.
    pub blob: Blob,
    /// Present for table files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableInfo>,
}

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// Files, marker and state.
    Commit,
    /// A writer taking over the branch.
    Claim,
}

/// A version of a branch: files, the position in every source partition, and the state of every handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// Format version.
    pub version: u32,
    /// Always `Commit`.
    pub kind: RecordKind,
    /// 32 hexadecimal digits, unique in the world.
    pub id: String,
    /// The commit before it; `None` for the first of a branch.
    pub parent: Option<String>,
    /// The repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// Place in the branch, counting claims too.
    pub sequence: u64,
    /// Epoch of the writer.
    pub epoch: u64,
    /// The writer.
    pub nonce: String,
    /// Checksum of the record before it.
    pub previous: String,
    /// When its first row was taken; for people.
    pub started_ms: i64,
    /// When the record was made; for people.
    pub finished_ms: i64,
    /// The pipeline that made it.
    pub pipeline: String,
    /// Digest of the pipeline's spec.
    pub spec_digest: String,
    /// Digests of the plugins that ran, by name.
    pub plugins: BTreeMap<String, String>,
    /// Puts, in order.
    pub files: Vec<FileAdded>,
    /// Files deleted before the puts.
    pub removed: Vec<String>,
    /// Arrow schemas (IPC, base64) that no earlier record of the branch has, by key.
    pub schemas: BTreeMap<String, String>,
    /// Where each partition goes on.
    pub marker: Marker,
    /// Where each partition that moved came from; null for a new one.
    pub advance: BTreeMap<PartitionId, Option<u64>>,
    /// Where a partition was entered anew because the source no longer had its offset: rows may be missing before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jumped: BTreeMap<PartitionId, u64>,
    /// Handler snapshots, by handler.
    pub state: BTreeMap<String, Blob>,
    /// Rows in the files, without dead letters.
    pub rows: u64,
    /// Messages set aside.
    pub dead_letters: u64,
    /// Why it was cut.
    pub reason: String,
    /// Commits of other repos that it was made from.
    pub provenance: Vec<String>,
    /// SHA-256 of the record with this field empty.
    pub checksum: String,
}

/// A writer taking over a branch: every writer of a lower epoch is fenced from here on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Format version.
    pub version: u32,
    /// Always `Claim`.
    pub kind: RecordKind,
    /// 32 hexadecimal digits.
    pub id: String,
    /// The repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// Place in the branch.
    pub sequence: u64,
    /// The new epoch.
    pub epoch: u64,
    /// The writer.
    pub nonce: String,
    /// Checksum of the record before it.
    pub previous: String,
    /// When; for people.
    pub at_ms: i64,
    /// The pipeline that writes from here on.
    pub pipeline: String,
    /// SHA-256 of the record with this field empty.
    pub checksum: String,
}

/// Either record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Commit(Box<Commit>),
    Claim(Claim),
}

impl Record {
    pub(super) fn branch(&self) -> &str {
        match self {
            Self::Commit(commit) => &commit.branch,
            Self::Claim(claim) => &claim.branch,
        }
    }

    pub(super) fn sequence(&self) -> u64 {
        match self {
            Self::Commit(commit) => commit.sequence,
            Self::Claim(claim) => claim.sequence,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        match self {
            Self::Commit(commit) => commit.epoch,
            Self::Claim(claim) => claim.epoch,
        }
    }

    pub(super) fn previous(&self) -> &str {
        match self {
            Self::Commit(commit) => &commit.previous,
            Self::Claim(claim) => &claim.previous,
        }
    }

    pub(super) fn checksum(&self) -> &str {
        match self {
            Self::Commit(commit) => &commit.checksum,
            Self::Claim(claim) => &claim.checksum,
        }
    }

    pub(super) fn pipeline(&self) -> &str {
        match self {
            Self::Commit(commit) => &commit.pipeline,
            Self::Claim(claim) => &claim.pipeline,
        }
    }
}

/// The bytes of a record whose checksum field is its last and empty, and the checksum that was put there.
pub(super) fn seal<T: Serialize>(object: &str, record: &T) -> Result<(Bytes, String), Error> {
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
struct Header {
    version: u32,
    kind: Option<RecordKind>,
}

/// The text of a sealed object whose checksum holds and whose version this build knows.
pub(super) fn unseal<'a>(object: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    opened(object, bytes).map(|(text, _)| text)
}

fn opened<'a>(object: &str, bytes: &'a [u8]) -> Result<(&'a str, Header), Error> {
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
    let header: Header = serde_json::from_str(text).map_err(|_| wrong("it has no format version"))?;
    match header.version > VERSION {
        true => Err(Error::NewerFormat { object: object.to_owned(), found: header.version, known: VERSION }),
        false => Ok((text, header)),
    }
}

/// Reads a record, its checksum verified.
pub(super) fn parse(object: &str, bytes: &[u8]) -> Result<Record, Error> {
    let wrong = |reason: String| Error::BadRecord { object: object.to_owned(), reason };
    let (text, header) = opened(object, bytes)?;
    let kind = header.kind.ok_or_else(|| wrong("it is no record".to_owned()))?;
    let wrong = |source: serde_json::Error| wrong(source.to_string());
    Ok(match kind {
        RecordKind::Commit => Record::Commit(Box::new(serde_json::from_str(text).map_err(wrong)?)),
        RecordKind::Claim => Record::Claim(serde_json::from_str(text).map_err(wrong)?),
    })
}

impl Commit {
    /// The commit with a reference to itself in the place of its inline bytes, so that a long history fits in memory.
    pub(super) fn light(mut self) -> Self {
        let sequence = self.sequence;
        let blobs = self.files.iter_mut().map(|file| &mut file.blob).chain(self.state.values_mut());
        for blob in blobs.filter(|blob| matches!(blob.place, Place::Inline(_))) {
            blob.place = Place::Record(sequence);
        }
        self
    }

    /// Bytes in the files this commit added.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.blob.size).sum()
    }
}

mod base64_text {
    //! Inline bytes as base64 text.

    use serde::{Deserializer, Serializer, de::Error as _};

    use super::{Bytes, Deserialize, Engine, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
