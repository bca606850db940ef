//! `graphite`: Graphite's plaintext lines, by the decoder of the core.

use spout_codec::graphite::Graphite;

use super::{DecoderKind, Named, Opening};
use crate::{
    SchemaText,
    decode::{Native, core::Core},
};

/// Settings of the native `graphite` decoder.
pub(super) type GraphiteSpec = spout_codec::graphite::Settings<SchemaText>;

impl DecoderKind for GraphiteSpec {
    fn named(&self) -> Option<Named<'_>> {
        let (schema, capture) = (self.schema.as_ref(), self.unknown_column.as_str());
        Some(Named { schema, unknown: self.unknown, capture, evolve: self.evolve })
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Core::open("graphite", opening.schema.as_ref(), |schema| Graphite::new(self, schema))
    }
}
