//! `json`: one JSON object a message, by the decoder of the core, which the plugin `json` runs too.

use arrow::datatypes::SchemaRef;
use spout_codec::json::Json;

use super::{DecoderKind, Opening};
use crate::{
    SchemaText,
    decode::{
        Native,
        core::{self, Core},
    },
};

/// Settings of the native `json` decoder: those of the plugin `json`.
pub type JsonSpec = spout_codec::json::Settings<SchemaText>;

impl DecoderKind for JsonSpec {
    fn declared(&self) -> Option<&SchemaText> {
        self.schema.as_ref()
    }

    fn schema(&self) -> Option<SchemaRef> {
        core::captured(self.unknown, &self.unknown_column, self.declared())
    }

    fn infers(&self) -> bool {
        true
    }

    fn evolves(&self) -> bool {
        self.evolve.adds()
    }

    fn nests(&self) -> bool {
        true
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Core::open("json", opening.schema.as_ref(), |schema| Json::new(self, schema, None))
    }
}
