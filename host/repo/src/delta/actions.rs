//! The actions of a log, one JSON object a line. Their bytes depend only on the commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spout_base::error::Cause;
use spout_format::sha256_of;

use super::{commits::Stamp, schema::DeltaField};
use crate::error::Error;

/// No writer but us knows it, so that every other one refuses the table. Readers need not know it.
const OURS: &str = "spoutPublished";
/// Stands in a description before the columns that are left out.
const WITHOUT: &str = "published by spout without ";
const WITHOUT_ZONE: &str = "timestampNtz";

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    CommitInfo(Box<CommitInfo>),
    Protocol(Protocol),
    MetaData(Box<MetaData>),
    Txn(Txn),
    Remove(Remove),
    Add(Add),
}

/// What a reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    min_reader_version: u32,
    min_writer_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// What `columns` need. What a table once needed it goes on needing: protocols do not shrink.
    pub(super) fn of(columns: &[DeltaField], before: Option<&Self>) -> Self {
        let known = before.is_some_and(|before| before.reader_features.is_some());
        if known || columns.iter().any(DeltaField::without_zone) {
            Self {
                min_reader_version: 3,
                min_writer_version: 7,
                reader_features: Some(vec![WITHOUT_ZONE.to_owned()]),
                writer_features: Some(vec![OURS.to_owned(), WITHOUT_ZONE.to_owned()]),
            }
        } else {
            Self {
                min_reader_version: 1,
                min_writer_version: 7,
                reader_features: None,
                writer_features: Some(vec![OURS.to_owned()]),
            }
        }
    }
}

/// Columns and partition columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    format: FileFormat,
    schema_string: String,
    pub(super) partition_columns: Vec<String>,
    configuration: BTreeMap<String, String>,
    created_time: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FileFormat {
    provider: String,
    options: BTreeMap<String, String>,
}

/// The schema as a log holds it: a struct.
#[derive(Serialize, Deserialize)]
struct SchemaText {
    r#type: String,
    fields: Vec<DeltaField>,
}

impl MetaData {
    /// The metadata of the table that people call `name`.
    pub(super) fn new(
        name: &str,
        columns: Vec<DeltaField>,
        partition_columns: &[String],
        left_out: &[String],
        created_ms: i64,
    ) -> Result<Self, Error> {
        let fields: Vec<_> =
            columns.into_iter().chain(partition_columns.iter().map(|column| DeltaField::text(column))).collect();
        let schema = SchemaText { r#type: "struct".into(), fields };
        let description = match left_out {
            [] => format!("{name}, published by spout"),
            left_out => format!("{name}, {WITHOUT}{}", left_out.join(", ")),
        };
        // Files of earlier versions are kept until the repo's own collection.
        let keep = ("delta.deletedFileRetentionDuration".to_owned(), "interval 5200 weeks".to_owned());
        Ok(Self {
            id: uuid(name),
            name: None,
            description: Some(description),
            format: FileFormat { provider: "parquet".into(), options: BTreeMap::new() },
            schema_string: json(&schema)?,
            partition_columns: partition_columns.to_vec(),
            configuration: [keep].into(),
            created_time: Some(created_ms),
        })
    }

    /// The columns that are in the files.
    pub(super) fn columns(&self) -> Vec<DeltaField> {
        let Ok(schema) = serde_json::from_str::<SchemaText>(&self.schema_string) else { return Vec::new() };
        let in_files = |field: &DeltaField| !self.partition_columns.contains(&field.name);
        schema.fields.into_iter().filter(in_files).collect()
    }

    /// The columns that are left out, as the description says it.
    pub(super) fn left_out(&self) -> Option<String> {
        Some(self.description.as_deref()?.split_once(WITHOUT)?.1.to_owned())
    }

    /// The same, made when the table was made.
    pub(super) fn created_like(mut self, before: &Self) -> Self {
        self.created_time = before.created_time;
        self
    }
}

/// How far a branch is in a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: u64,
    pub(super) last_updated: Option<i64>,
}

impl Txn {
    pub(super) fn new(app_id: &str, stamp: &Stamp) -> Self {
        Self { app_id: app_id.to_owned(), version: stamp.sequence, last_updated: Some(stamp.at_ms) }
    }
}

/// A file that is part of the table from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: String,
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    pub(super) size: u64,
    pub(super) modification_time: i64,
    pub(super) data_change: bool,
    pub(super) stats: String,
}

/// A file that no longer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    pub(super) deletion_timestamp: i64,
    pub(super) data_change: bool,
    pub(super) extended_file_metadata: bool,
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    pub(super) size: u64,
}

/// Which of our commits a version is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    timestamp: i64,
    operation: String,
    operation_parameters: BTreeMap<String, String>,
    is_blind_append: bool,
    engine_info: String,
    /// `repo@<commit id>`, as our own commands take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_metadata: Option<String>,
    pub(super) spout: Origin,
}

/// What a restarted publisher compares with the repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Id of the record.
    pub(super) record: String,
    pub(super) sequence: u64,
    /// Files in the table.
    pub(super) files: u64,
    /// Exclusive or of the hashes of their names.
    pub(super) digest: String,
    /// The version that says which columns hold.
    pub(super) described: u64,
}

/// Whether a version adds, removes, or moves rows without changing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Append,
    Overwrite,
    Delete,
    Compact,
}

impl CommitInfo {
    pub(super) fn new(stamp: &Stamp, operation: Operation, origin: Origin) -> Self {
        let (name, mode) = match operation {
            Operation::Append => ("WRITE", Some("Append")),
            Operation::Overwrite => ("WRITE", Some("Overwrite")),
            Operation::Delete => ("DELETE", None),
            Operation::Compact => ("OPTIMIZE", None),
        };
        let mode = mode.map(|mode| ("mode".to_owned(), mode.to_owned()));
        Self {
            timestamp: stamp.at_ms,
            operation: name.to_owned(),
            operation_parameters: mode.into_iter().collect(),
            is_blind_append: operation == Operation::Append,
            engine_info: concat!("spout ", env!("CARGO_PKG_VERSION")).to_owned(),
            user_metadata: stamp.commit.clone(),
            spout: origin,
        }
    }
}

/// A line that is read back; what we never write is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Line {
    pub(super) commit_info: Option<Value>,
    pub(super) protocol: Option<Protocol>,
    pub(super) meta_data: Option<MetaData>,
    pub(super) txn: Option<Txn>,
}

impl Line {
    /// What this line says, and else `older`.
    pub(super) fn or(self, older: Self) -> Self {
        Self {
            commit_info: self.commit_info.or(older.commit_info),
            protocol: self.protocol.or(older.protocol),
            meta_data: self.meta_data.or(older.meta_data),
            txn: self.txn.or(older.txn),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.protocol.is_some() && self.meta_data.is_some() && self.txn.is_some()
    }

    /// What the version says of itself, if we wrote it.
    pub(super) fn info(&self) -> Option<CommitInfo> {
        serde_json::from_value(self.commit_info.clone()?).ok()
    }

    /// The record that the version is, if we wrote it.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.info().map(|info| info.spout)
    }
}

/// The bytes of a version.
pub(super) fn lines(actions: &[Action]) -> Result<Bytes, Error> {
    let mut text = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut text, action).map_err(unwritable)?;
        text.push(b'\n');
    }
    Ok(text.into())
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(unwritable)
}

fn unwritable(source: impl Into<Cause>) -> Error {
    Error::encode("a Delta log", source)
}

/// A deterministic id in the form of a UUID.
fn uuid(identity: &str) -> String {
    let digits = sha256_of([identity]);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
