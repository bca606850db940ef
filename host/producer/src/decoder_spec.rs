//! How a spec names a decoder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_plugin::Settings;

use super::{
    decode::{ArrowSpec, AvroSpec, CsvSpec, GraphiteSpec, InfluxSpec, ProtobufSpec, SyslogSpec},
    schema_text::SchemaText,
};

/// What turns messages into rows: a native decoder, or a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DecoderSpec {
    /// A native one, by `type`.
    Native(NativeDecoder),
    /// One from the plugins directory.
    Plugin(PluginDecoder),
}

impl DecoderSpec {
    /// Whether the first record of a file, body or stream may tell it what is in all others.
    #[must_use]
    pub fn heeds_first(&self) -> bool {
        match self {
            Self::Native(NativeDecoder::Csv(csv)) => csv.header == spout_codec::csv::Header::Given(true),
            Self::Native(_) => false,
            Self::Plugin(_) => true,
        }
    }
}

/// Native decoders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum NativeDecoder {
    /// One JSON object a message.
    Json(JsonSpec),
    /// CSV: one record a message, or a whole document.
    Csv(CsvSpec),
    /// Graphite's plaintext lines, taken apart by templates.
    Graphite(GraphiteSpec),
    /// InfluxDB's line protocol.
    Influx(InfluxSpec),
    /// One Arrow IPC stream a message.
    Arrow(ArrowSpec),
    /// Avro: containers, or single records.
    Avro(AvroSpec),
    /// One Protobuf message a message.
    Protobuf(ProtobufSpec),
    /// Syslog, RFC 5424 and RFC 3164.
    Syslog(SyslogSpec),
    /// Payloads as they are: columns `value` (Binary) and `key` (Binary).
    Raw,
}

/// Settings of the native `json` decoder: those of the plugin `json`.
pub type JsonSpec = spout_codec::json::Settings<SchemaText>;

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
    /// Name of the plugin, `json`; one of several decoders that it offers, `weblog/access`; or with its digest,
    /// `json@sha256:…`.
    pub plugin: String,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
}
