//! The schema that Avro messages are read with, whatever they were written with.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spout_base::bounded;
use tokio::sync::OnceCell;

use super::{
    RegistryError, avro,
    schemas::{Format, Registration},
};
use crate::decode::native::{
    LARGEST_FILE,
    avro::{self as records, AvroFile},
};

/// Where a reader's schema is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AvroReader {
    /// In the registry.
    Registered(Registered),
    /// In a file.
    File(AvroFile),
    /// Here.
    Inline(Value),
}

/// Which schema of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Registered {
    /// The latest one when the pipeline starts.
    Latest,
}

impl AvroReader {
    /// The file that it is in.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(AvroFile { file }) => Some(file),
            _ => None,
        }
    }
}

/// A reader's schema, as far as it is known.
#[derive(Debug)]
pub(super) enum Reader {
    /// Each message is read with its writer's.
    None,
    /// That of the subject, once it was fetched.
    Latest(OnceCell<Arc<Value>>),
    /// It stands in the spec.
    Given(Arc<Value>),
}

impl Reader {
    /// That of a spec, in whose directory files are.
    ///
    /// # Errors
    /// It is no Avro record.
    pub(super) fn open(reader: Option<&AvroReader>, base: &Path) -> Result<Self, RegistryError> {
        let value = match reader {
            None => return Ok(Self::None),
            Some(AvroReader::Registered(Registered::Latest)) => return Ok(Self::Latest(OnceCell::new())),
            Some(AvroReader::Inline(schema)) => schema.clone(),
            Some(AvroReader::File(AvroFile { file })) => {
                let unread = |why: String| RegistryError::Reader { what: format!("{}: {why}", file.display()) };
                let text =
                    bounded::read_regular(&base.join(file), LARGEST_FILE).map_err(|error| unread(error.to_string()))?;
                serde_json::from_slice(&text).map_err(|error| unread(format!("it is not JSON: {error}")))?
            }
        };
        columns(&value)?;
        Ok(Self::Given(Arc::new(value)))
    }

    /// The schema, if there is one and it is known.
    pub(super) fn get(&self) -> Option<Arc<Value>> {
        match self {
            Self::None => None,
            Self::Latest(latest) => latest.get().cloned(),
            Self::Given(schema) => Some(Arc::clone(schema)),
        }
    }
}

/// What messages are read with if it is the subject's latest schema.
///
/// # Errors
/// It is no Avro record.
pub(super) fn latest(schema: &Registration) -> Result<Arc<Value>, RegistryError> {
    if schema.format != Format::Avro {
        let what = format!("the subject's latest schema is of {}", schema.format.word());
        return Err(RegistryError::Reader { what });
    }
    let value = avro::writer(schema).map_err(|what| RegistryError::Reader { what })?;
    columns(&value)?;
    Ok(Arc::new(value))
}

/// The columns of a reader's schema.
///
/// # Errors
/// It is no Avro record, or has what no column can hold.
pub(super) fn columns(schema: &Value) -> Result<SchemaRef, RegistryError> {
    // What a registry made up may trip over an assertion in a library.
    let columns = std::panic::catch_unwind(|| records::columns_of(schema));
    columns.unwrap_or_else(|_| Err("it cannot be read".into())).map_err(|what| RegistryError::Reader { what })
}
