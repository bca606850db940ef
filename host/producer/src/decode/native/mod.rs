//! Native decoders by their word in a spec, one file or folder each.
//!
//! To add one, write its file, with its [`DecoderKind`], and name it here.

mod arrow;
mod avro;
mod csv;
mod graphite;
mod influx;
mod json;
mod protobuf;
mod raw;
mod registry;
mod syslog;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use spout_base::{bounded, reach::Reach};
use spout_codec::{Evolve, Unknown};

pub(super) use self::registry::{Patience, Shelf};
pub use self::{
    arrow::ArrowSpec,
    json::JsonSpec,
    registry::{RegistryError, RegistrySpec, Schemas},
};
use self::{csv::is_open, raw::RawSpec};
use super::{Native, evolve::with_added};
use crate::{CsvStyle, SchemaText};

/// Bytes that a file of a schema or of descriptors may have.
pub(super) const LARGEST_FILE: u64 = 64 << 20;

/// What users write of one kind of native decoder.
///
/// All of a decoder is in its own file: what can be written of it, this, and how it runs ([`Native`]). Besides, it has a line
/// in the list below.
pub(crate) trait DecoderKind: Debug + Sync {
    /// What its settings say of named fields, where it infers a column from what messages have in each.
    fn named(&self) -> Option<Named<'_>> {
        None
    }

    /// The columns that its settings name.
    fn declared(&self) -> Option<&SchemaText> {
        self.named()?.schema
    }

    /// The columns of its rows, where the settings say.
    fn schema(&self) -> Option<SchemaRef> {
        let declared = self.declared()?.parse().ok()?;
        Some(Arc::new(match self.named() {
            Some(Named { unknown: Unknown::Capture, capture, .. }) => with_capture(declared, capture),
            _ => declared,
        }))
    }

    /// The columns of its rows where neither the settings nor an earlier commit say.
    fn usual(&self) -> Option<SchemaRef> {
        None
    }

    /// As [`NativeDecoder::nests`].
    fn nests(&self) -> bool {
        false
    }

    /// How it tells CSV fields apart, if it reads CSV.
    fn csv(&self) -> Option<CsvStyle> {
        None
    }

    /// The file that the settings name, from the directory of the spec.
    fn file(&self) -> Option<&PathBuf> {
        None
    }

    /// Whether columns may be added while it runs.
    fn evolves(&self) -> bool {
        self.named().is_some_and(|named| named.evolve.adds())
    }

    /// The registry that has the schemas of its messages.
    fn registry(&self) -> Option<&RegistrySpec> {
        None
    }

    /// What of the machine it reaches.
    fn reach(&self) -> Vec<Reach> {
        self.file().map(|_| Reach::Files).into_iter().collect()
    }

    /// The directory that it writes to, from the directory of the spec.
    fn keeps(&self) -> Option<&Path> {
        None
    }

    /// The running decoder.
    ///
    /// # Errors
    /// What is wrong with the settings, and what to do.
    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String>;
}

/// What settings say of named fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// The columns that have a type.
    schema: Option<&'a SchemaText>,
    /// What becomes of fields that have no column.
    unknown: Unknown,
    /// The column that captures them.
    capture: &'a str,
    /// Whether they become columns.
    evolve: Evolve,
}

/// What a decoder is opened with.
#[derive(Debug, Default)]
pub(crate) struct Opening<'a> {
    /// The content of [`DecoderKind::file`].
    file: Option<&'a [u8]>,
    /// The columns that the settings name.
    declared: Option<SchemaRef>,
    /// The columns that earlier messages have settled.
    settled: Option<&'a SchemaRef>,
    /// The columns to keep to: those declared, with what was added to them, or else those settled.
    schema: Option<SchemaRef>,
    /// The schemas of [`DecoderKind::registry`], where messages are to come.
    schemas: Option<&'a Arc<Shelf>>,
}

/// The kinds of native decoders by their word in a spec, each with a sentence for those who choose one: it goes into the JSON
/// schema.
macro_rules! decoders {
    ($($word:literal => $kind:ident($spec:ty), $sentence:literal,)*) => {
        /// Native decoders.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "type")]
        pub enum NativeDecoder {
            $(
                #[doc = $sentence]
                #[serde(rename = $word)]
                $kind($spec),
            )*
        }

        impl NativeDecoder {
            /// What it is called in a spec.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $word,)*
                }
            }

            fn kind(&self) -> &dyn DecoderKind {
                match self {
                    $(Self::$kind(spec) => spec,)*
                }
            }
        }
    };
}

decoders! {
    "json" => Json(JsonSpec), "One JSON object a message.",
    "csv" => Csv(csv::CsvSpec), "CSV: one record a message, or a whole document.",
    "graphite" => Graphite(graphite::GraphiteSpec), "Graphite's plaintext lines, taken apart by templates.",
    "influx" => Influx(influx::InfluxSpec), "InfluxDB's line protocol.",
    "arrow" => Arrow(ArrowSpec), "One Arrow IPC stream a message.",
    "avro" => Avro(avro::AvroSpec), "Avro: containers, or single records.",
    "protobuf" => Protobuf(protobuf::ProtobufSpec), "One Protobuf message a message.",
    "registry" => Registry(RegistrySpec), "Avro, Protobuf or JSON, by the schemas of a schema registry.",
    "syslog" => Syslog(syslog::SyslogSpec), "Syslog, RFC 5424 and RFC 3164.",
    "raw" => Raw(RawSpec), "Payloads as they are: columns `value` (Binary) and `key` (Binary).",
}

impl NativeDecoder {
    /// Payloads as they are.
    pub const RAW: Self = Self::Raw(RawSpec {});

    /// Whether the settings can work; files they name start at `base`.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&self, base: &Path) -> Result<(), String> {
        let file = match self.file() {
            None => None,
            Some(path) => {
                let path = base.join(path);
                Some(
                    bounded::read_regular(&path, LARGEST_FILE)
                        .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
                )
            }
        };
        self.open(file.as_deref(), None, None).map(|_| ())
    }

    /// Whether columns may be added while it runs.
    #[must_use]
    pub fn evolves(&self) -> bool {
        self.kind().evolves()
    }

    /// What of the machine it reaches.
    #[must_use]
    pub fn reach(&self) -> Vec<Reach> {
        self.kind().reach()
    }

    /// The directory that it writes to, from the directory of the spec.
    #[must_use]
    pub fn keeps(&self) -> Option<&Path> {
        self.kind().keeps()
    }

    /// The registry that has the schemas of its messages.
    pub(super) fn registry(&self) -> Option<&RegistrySpec> {
        self.kind().registry()
    }

    /// Whether the columns that it adds may be lists and structs.
    #[must_use]
    pub fn nests(&self) -> bool {
        self.kind().nests()
    }

    pub(crate) fn csv(&self) -> Option<CsvStyle> {
        self.kind().csv()
    }

    /// The columns of its rows, where the settings say.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.kind().schema()
    }

    /// The columns of its rows where neither the settings nor an earlier commit say.
    pub(super) fn usual(&self) -> Option<SchemaRef> {
        self.kind().usual()
    }

    /// Whether more messages make for a better schema.
    pub(super) fn infers(&self) -> bool {
        self.kind().named().is_some_and(|named| named.schema.is_none())
    }

    /// The file that the settings name.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        self.kind().file()
    }

    /// Opens it with the content of [`Self::file`], the schema to keep to, if there is one, and the schemas of its registry.
    pub(super) fn open(
        &self,
        file: Option<&[u8]>,
        settled: Option<&SchemaRef>,
        schemas: Option<&Arc<Shelf>>,
    ) -> Result<Box<dyn Native>, String> {
        let declared = self.kind().declared().map(SchemaText::parse).transpose()?.map(Arc::new);
        if let Some(field) = declared.as_ref().and_then(|schema| schema.fields().iter().find(is_null)) {
            return Err(format!("column `{}` has the type null, which holds no values; choose another", field.name()));
        }
        let schema = match declared.clone() {
            Some(declared) if self.evolves() => Some(with_added(declared, settled)),
            declared => declared.or(settled.cloned()),
        };
        self.kind().open(&Opening { file, declared, settled, schema, schemas })
    }
}

/// Whether later messages have a schema to keep to. Columns can be named before they are typed.
pub(super) fn is_settled(schema: Option<&SchemaRef>) -> bool {
    schema.is_some_and(|schema| !is_open(schema))
}

/// The columns that are declared, and the one that captures what has none.
fn with_capture(declared: Schema, capture: &str) -> Schema {
    if declared.column_with_name(capture).is_some() {
        return declared;
    }
    let capture = Field::new(capture, DataType::Utf8, true);
    Schema::new(declared.fields().iter().cloned().chain([capture.into()]).collect::<Vec<_>>())
}

fn is_null(field: &&FieldRef) -> bool {
    *field.data_type() == DataType::Null
}
