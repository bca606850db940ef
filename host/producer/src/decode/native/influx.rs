//! `influx`: InfluxDB's line protocol, by the decoder of the core.

use spout_codec::influx::Influx;

use super::{DecoderKind, Named, Opening};
use crate::{
    SchemaText,
    decode::{Native, core::Core},
};

/// Settings of the native `influx` decoder.
pub(super) type InfluxSpec = spout_codec::influx::Settings<SchemaText>;

impl DecoderKind for InfluxSpec {
    fn named(&self) -> Option<Named<'_>> {
        let (schema, capture) = (self.schema.as_ref(), self.unknown_column.as_str());
        Some(Named { schema, unknown: self.unknown, capture, evolve: self.evolve })
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        Core::open("influx", opening.schema.as_ref(), |schema| Influx::new(self, schema))
    }
}
