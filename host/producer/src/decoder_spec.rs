//! How a spec names a decoder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_plugin::Settings;

use spout_plugin::PluginRef;

use super::{CsvStyle, NativeDecoder};

/// What turns messages into rows: a native decoder, or a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DecoderSpec {
    /// A native one, by `type`.
    Native(Box<NativeDecoder>),
    /// One from the plugins directory.
    Plugin(PluginDecoder),
}

impl From<NativeDecoder> for DecoderSpec {
    fn from(native: NativeDecoder) -> Self {
        Self::Native(Box::new(native))
    }
}

impl DecoderSpec {
    /// Whether the first record of a file, body or stream may describe all others.
    #[must_use]
    pub fn uses_first_record(&self) -> bool {
        match self {
            Self::Native(native) => native.csv().is_some_and(|csv| csv.header == Some(true)),
            Self::Plugin(_) => true,
        }
    }

    /// Whether columns may be added while its decoders run.
    #[must_use]
    pub fn evolves(&self) -> bool {
        match self {
            Self::Native(native) => native.evolves(),
            Self::Plugin(_) => false,
        }
    }

    /// How it tells CSV fields apart, if it reads CSV.
    #[must_use]
    pub fn csv(&self) -> Option<CsvStyle> {
        match self {
            Self::Native(native) => native.csv(),
            Self::Plugin(plugin) if PluginRef::parse(&plugin.plugin).plugin == "csv" => CsvStyle::of(&plugin.settings),
            Self::Plugin(_) => None,
        }
    }
}

/// What a field outside the schema does to its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// It is left out of the row.
    #[default]
    Ignore,
    /// The message is treated as undecodable.
    Fail,
}

/// A decoder from the plugins directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginDecoder {
    /// Name of the plugin, `json`, or of one of its decoders, `weblog/access`; `json@sha256:…` pins its digest too.
    pub plugin: String,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
}

impl PluginDecoder {
    /// Whether its settings say the columns, as those of `json` and `csv` may.
    pub(crate) fn says_columns(&self) -> bool {
        self.settings.0.contains_key("schema")
    }
}
