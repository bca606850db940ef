//! `json`: one JSON object a message, by the decoder of the core, which the plugin `json` runs too.

use spout_codec::json::Json;

use super::{DecoderKind, Named, Opening};
use crate::{
    SchemaText,
    decode::{Native, core::Core},
};

/// Settings of the native `json` decoder: those of the plugin `json`.
pub type JsonSpec = spout_codec::json::Settings<SchemaText>;

impl DecoderKind for JsonSpec {
    fn named(&self) -> Option<Named<'_>> {
        let (schema, capture) = (self.schema.as_ref(), self.unknown_column.as_str());
        Some(Named { schema, unknown: self.unknown, capture, evolve: self.evolve })
    }

    fn nests(&self) -> bool {
        true
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Core::open("json", opening.schema.as_ref(), |schema| Json::new(self, schema, None))
    }
}
