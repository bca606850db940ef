//! `graphite`: Graphite's plaintext lines, by the decoder of the core.

use arrow::datatypes::SchemaRef;
use spout_codec::graphite::Graphite;

use super::{DecoderKind, Opening};
use crate::{
    SchemaText,
    decode::{
        Native,
        core::{self, Core},
    },
};

/// Settings of the native `graphite` decoder.
pub(super) type GraphiteSpec = spout_codec::graphite::Settings<SchemaText>;

impl DecoderKind for GraphiteSpec {
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

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Core::open("graphite", opening.schema.as_ref(), |schema| Graphite::new(self, schema))
    }
}
