//! Opens native decoders: settings, the file they name and the schema to keep to become one that runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::{
    Native, arrow_ipc::ArrowStreams, conform::Conforming, core, csv, evolve::with_added, json, lines,
    protobuf::Protobuf, raw, raw::RawDecoder, rows,
};
use crate::{NativeDecoder, SchemaText};

impl NativeDecoder {
    /// What it is called in a spec.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Raw => "raw",
            Self::Csv(_) => "csv",
            Self::Graphite(_) => "graphite",
            Self::Influx(_) => "influx",
            Self::Arrow(_) => "arrow",
            Self::Avro(_) => "avro",
            Self::Protobuf(_) => "protobuf",
            Self::Syslog(_) => "syslog",
        }
    }

    /// Whether the settings can work; files they name start at `base`.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&self, base: &Path) -> Result<(), String> {
        let file = match self.file() {
            None => None,
            Some(path) => {
                let path = base.join(path);
                Some(std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
            }
        };
        self.open(file.as_deref(), None).map(|_| ())
    }

    fn declared(&self) -> Option<&SchemaText> {
        match self {
            Self::Json(spec) => spec.schema.as_ref(),
            Self::Raw => None,
            Self::Csv(spec) => spec.schema.as_ref(),
            Self::Graphite(spec) => spec.schema.as_ref(),
            Self::Influx(spec) => spec.schema.as_ref(),
            Self::Arrow(spec) => spec.schema.as_ref(),
            Self::Avro(spec) => spec.schema.as_ref(),
            Self::Protobuf(spec) => spec.schema.as_ref(),
            Self::Syslog(spec) => spec.schema.as_ref(),
        }
    }

    /// The columns of its rows, where the settings say.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        let declared = || self.declared()?.parse().ok();
        Some(Arc::new(match self {
            Self::Raw => return Some(raw::schema()),
            Self::Json(spec) => core::captured(spec.unknown, &spec.unknown_column, declared()?),
            Self::Csv(spec) => core::captured(spec.unknown, &spec.unknown_column, declared()?),
            Self::Graphite(spec) => core::captured(spec.unknown, &spec.unknown_column, declared()?),
            Self::Influx(spec) => core::captured(spec.unknown, &spec.unknown_column, declared()?),
            _ => declared()?,
        }))
    }

    /// The columns of its rows where neither the settings nor an earlier commit say.
    pub(super) fn usual(&self) -> Option<SchemaRef> {
        match self {
            Self::Syslog(spec) => Some(Arc::new((&spout_codec::syslog::columns(spec.structured_data)).into())),
            _ => None,
        }
    }

    /// Whether more messages make for a better schema.
    pub(super) fn infers(&self) -> bool {
        let inferring = matches!(self, Self::Json(_) | Self::Csv(_) | Self::Graphite(_) | Self::Influx(_));
        inferring && self.declared().is_none()
    }

    /// The file that the settings name.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Avro(spec) => spec.file(),
            Self::Protobuf(spec) => Some(&spec.descriptor),
            _ => None,
        }
    }

    /// Opens it with the content of [`Self::file`] and the schema to keep to, if there is one.
    pub(super) fn open(&self, file: Option<&[u8]>, pinned: Option<&SchemaRef>) -> Result<Box<dyn Native>, String> {
        let declared = self.declared().map(SchemaText::parse).transpose()?.map(Arc::new);
        if let Some(field) = declared.as_ref().and_then(|schema| schema.fields().iter().find(is_null)) {
            return Err(format!("column `{}` has the type null, which holds no values; choose another", field.name()));
        }
        let schema = match declared.clone() {
            Some(declared) if self.evolves() => Some(with_added(declared, pinned)),
            declared => declared.or(pinned.cloned()),
        };
        if let (Self::Protobuf(_), Some(schema)) = (self, &schema) {
            rows::buildable(schema)?;
        }
        Ok(match self {
            Self::Raw => Box::new(RawDecoder::default()),
            Self::Json(spec) => Box::new(json::open(spec, schema.as_ref())?),
            Self::Csv(spec) => Box::new(csv::open(spec, declared.as_deref(), pinned.map(AsRef::as_ref))?),
            Self::Graphite(spec) => Box::new(lines::graphite(spec, schema.as_ref())?),
            Self::Influx(spec) => Box::new(lines::influx(spec, schema.as_ref())?),
            Self::Arrow(spec) => {
                let unpack = ArrowStreams { compression: spec.compression };
                Box::new(Conforming { unpack, schema, unknown: spec.unknown, pieces: Vec::new(), strange: Vec::new() })
            }
            Self::Avro(spec) => Box::new(Conforming {
                unpack: spec.unpack(file)?,
                schema,
                unknown: spec.unknown,
                pieces: Vec::new(),
                strange: Vec::new(),
            }),
            Self::Protobuf(spec) => Box::new(Protobuf::new(spec, file.unwrap_or_default(), schema)?),
            Self::Syslog(spec) => Box::new(lines::syslog(spec, schema.as_ref())?),
        })
    }
}

fn is_null(field: &&FieldRef) -> bool {
    *field.data_type() == DataType::Null
}
