//! What the records of a branch say.
//!
//! A branch is a sequence of records: a [`Commit`] adds a version; a [`Claim`] is a writer taking the branch over; a
//! [`Point`] sets the branch to a commit of any branch, or deletes it; a [`Squash`] hides commits; a [`Sweep`] says that
//! objects are about to be collected.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spout_format::{ColumnStatistics, Format};

use super::{
    base::Base,
    holder::{Leader, Process},
    moved::Moved,
};
use crate::path::stored;
pub use spout_data::Upstream;
use spout_data::{Counts, Marker, PartitionId};

/// The newest format version this build reads, and the one it writes.
pub(crate) const VERSION: u32 = 1;
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
    /// An object, named from the repo's root: `data/…` or `tables/<branch>/<table>/…`.
    Object(#[serde(deserialize_with = "stored::object")] String),
    /// In the record itself.
    #[serde(with = "base64_text")]
    Inline(Bytes),
    /// Inline in that record.
    Record(Slot),
}

/// The place of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    /// The branch whose record it is.
    #[serde(deserialize_with = "stored::branch")]
    pub branch: String,
    /// Its sequence there.
    #[serde(deserialize_with = "stored::count")]
    pub sequence: u64,
}

/// A run of bytes that a commit wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Where it is.
    pub place: Place,
    /// How long it is.
    #[serde(deserialize_with = "stored::count")]
    pub size: u64,
    /// What it must hash to.
    pub sha256: String,
}

impl Blob {
    /// The object that the bytes are in, if they are in one.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match &self.place {
            Place::Object(name) => Some(name),
            Place::Inline(_) | Place::Record(_) => None,
        }
    }
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
    /// Whether types that readers lack are stored as ones that they have; files of earlier versions have them as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub portable: bool,
}

/// One put of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The bytes.
    pub blob: Blob,
    /// Present for table files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableInfo>,
}

/// One put of one commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileAdded {
    /// Path in the repo.
    #[serde(deserialize_with = "stored::path")]
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
    /// The branch set to a commit, or deleted.
    Point,
    /// Commits hidden from the history.
    Squash,
    /// Objects about to be collected.
    Sweep,
}

/// What every record begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Format version.
    pub version: u32,
    /// Which record it is.
    pub kind: RecordKind,
    /// 32 hexadecimal digits, unique in the world.
    pub id: String,
    /// The repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// Place in the branch, counting records of every kind.
    #[serde(deserialize_with = "stored::count")]
    pub sequence: u64,
    /// Epoch of the branch. A claim and a point raise it, a squash and a sweep do not.
    #[serde(deserialize_with = "stored::count")]
    pub epoch: u64,
    /// The writer.
    pub nonce: String,
    /// Checksum of the record before it.
    pub previous: String,
    /// When it was made; for people.
    pub at_ms: i64,
}

/// A version of a branch: files, the position in every source partition, and the state of every handler.
///
/// `M` is what it says of the marker: the whole, or in a record only what moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit<M = Marker> {
    /// What every record begins with.
    #[serde(flatten)]
    pub header: Header,
    /// The commit before it; `None` for the first of a branch.
    pub parent: Option<String>,
    /// How many commits lead to it, itself included.
    #[serde(deserialize_with = "stored::count")]
    pub number: u64,
    /// When its first row was taken; for people.
    pub started_ms: i64,
    /// The pipeline that made it.
    pub pipeline: String,
    /// Digest of the pipeline's spec.
    pub spec_digest: String,
    /// Digests of the plugins that ran, by name.
    pub plugins: BTreeMap<String, String>,
    /// What the files were before `removed` and `files`, where that is not what the parent left: a branch that was reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Box<Base>>,
    /// Puts, in order.
    pub files: Vec<FileAdded>,
    /// Files deleted before the puts.
    #[serde(deserialize_with = "stored::paths")]
    pub removed: Vec<String>,
    /// Arrow schemas (IPC, base64) that no earlier record of the branch has, by key.
    pub schemas: BTreeMap<String, String>,
    /// Where each partition goes on.
    pub marker: M,
    /// Where each partition that moved came from; null for a new one.
    pub advance: BTreeMap<PartitionId, Option<u64>>,
    /// Where a partition was re-entered because the source no longer had its offset: rows may be missing before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jumped: BTreeMap<PartitionId, u64>,
    /// Handler snapshots, by handler.
    pub state: BTreeMap<String, Blob>,
    /// What became of the messages that its offsets cover.
    pub counts: Counts,
    /// Why it was cut.
    pub reason: String,
    /// Whether it holds the same rows as its parent in other files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compaction: bool,
    /// Commits of other repos that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Upstream>,
    /// Shared by all commits that one commit led to, across repos: the id of the first of them.
    pub global: String,
    /// SHA-256 of the record with this field empty.
    pub checksum: String,
}

/// A writer taking over a branch: every writer of a lower epoch is fenced from here on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    #[serde(flatten)]
    pub(crate) header: Header,
    /// The pipeline that writes from here on.
    pub(crate) pipeline: String,
    /// The process that it runs in.
    pub(crate) process: Process,
    /// Who it is to the processes that share its work, if any do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<Leader>,
    /// SHA-256 of the record with this field empty.
    pub(crate) checksum: String,
}

/// A branch set to a commit of any branch, or deleted. It raises the epoch: writers of the branch are fenced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    #[serde(flatten)]
    pub(crate) header: Header,
    /// The commit the branch is at from here on; `None` for a branch without commits.
    pub(crate) target: Option<Box<Base>>,
    /// The branch does not exist from here on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    /// SHA-256 of the record with this field empty.
    pub(crate) checksum: String,
}

/// Commits hidden from a branch's history: what they changed belongs to the commit after them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Squash {
    #[serde(flatten)]
    pub(crate) header: Header,
    /// First and last number of the hidden commits.
    #[serde(deserialize_with = "stored::run")]
    pub(crate) hidden: (u64, u64),
    /// SHA-256 of the record with this field empty.
    pub(crate) checksum: String,
}

/// Written before objects are deleted: a writer about to publish a commit that names one of them loses this slot and sees why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    #[serde(flatten)]
    pub(crate) header: Header,
    /// The object that lists the names of what is deleted, one a line.
    pub(crate) list: String,
    /// SHA-256 of the record with this field empty.
    pub(crate) checksum: String,
}

/// Any record; one that was read alone knows only what moved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record<M = Moved> {
    Commit(Box<Commit<M>>),
    Claim(Claim),
    Point(Point),
    Squash(Squash),
    Sweep(Sweep),
}

impl<M> Record<M> {
    pub(crate) fn header(&self) -> &Header {
        match self {
            Self::Commit(commit) => &commit.header,
            Self::Claim(Claim { header, .. })
            | Self::Point(Point { header, .. })
            | Self::Squash(Squash { header, .. })
            | Self::Sweep(Sweep { header, .. }) => header,
        }
    }

    pub(crate) fn checksum(&self) -> &str {
        match self {
            Self::Commit(commit) => &commit.checksum,
            Self::Claim(Claim { checksum, .. })
            | Self::Point(Point { checksum, .. })
            | Self::Squash(Squash { checksum, .. })
            | Self::Sweep(Sweep { checksum, .. }) => checksum,
        }
    }

    /// The record without the bytes of inline files.
    pub(crate) fn light(self) -> Self {
        match self {
            Self::Commit(commit) => Self::Commit(Box::new(commit.light())),
            other => other,
        }
    }
}

impl<M> Commit<M> {
    /// The commit with a reference to itself in the place of its inline bytes, so that a long history fits in memory.
    pub(crate) fn light(mut self) -> Self {
        let slot = self.slot();
        let blobs = self.files.iter_mut().map(|file| &mut file.blob).chain(self.state.values_mut());
        for blob in blobs.filter(|blob| matches!(blob.place, Place::Inline(_))) {
            blob.place = Place::Record(slot.clone());
        }
        self
    }

    /// Where its record is.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot { branch: self.header.branch.clone(), sequence: self.header.sequence }
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

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
