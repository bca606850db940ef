//! A schema with all that it refers to, as a registry has it.

use serde::{Deserialize, Serialize};

/// What a schema describes, in the registry's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Format {
    /// A registry names it only where it is another.
    #[default]
    Avro,
    Protobuf,
    Json,
}

impl Format {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::Json => "JSON",
        }
    }
}

/// A schema and all that it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Registration {
    pub(super) format: Format,
    /// JSON; of a Protobuf schema its descriptor in Base64, or its text.
    pub(super) schema: String,
    /// What it refers to, and what these refer to: each after those that it needs itself.
    pub(super) references: Vec<Referred>,
}

/// What a schema refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Referred {
    /// What it is called where it is referred to: a full name, a path, or an address.
    pub(super) name: String,
    /// As [`Registration::schema`].
    pub(super) schema: String,
}

impl Registration {
    /// The room that it takes.
    pub(super) fn size(&self) -> usize {
        let referred = |one: &Referred| one.name.len() + one.schema.len() + size_of::<Referred>();
        self.schema.len() + size_of::<Self>() + self.references.iter().map(referred).sum::<usize>()
    }
}

/// What a registry answers of a schema.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    pub(super) schema: String,
    /// Absent for Avro.
    #[serde(default)]
    pub(super) schema_type: Option<String>,
    #[serde(default)]
    pub(super) references: Option<Vec<Pointer>>,
}

impl Described {
    /// Whether it can be what a registry has: all that is no Protobuf was JSON when it was registered.
    pub(super) fn is_sound(&self) -> bool {
        let json = !matches!(self.format(), Ok(Format::Protobuf) | Err(_));
        !json || serde_json::from_str::<serde::de::IgnoredAny>(&self.schema).is_ok()
    }

    /// # Errors
    /// A format that nobody here reads.
    pub(super) fn format(&self) -> Result<Format, String> {
        match self.schema_type.as_deref() {
            None | Some("AVRO") => Ok(Format::Avro),
            Some("PROTOBUF") => Ok(Format::Protobuf),
            Some("JSON") => Ok(Format::Json),
            Some(other) => Err(format!("its schema is `{other}`; only AVRO, PROTOBUF and JSON are read")),
        }
    }
}

/// Where something that a schema refers to is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pointer {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i32,
}
