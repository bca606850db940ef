//! `influx`: InfluxDB's line protocol, by the decoder of the core.

use arrow::datatypes::SchemaRef;
use spout_codec::influx::Influx;

use super::{DecoderKind, Opening};
use crate::{
    SchemaText,
    decode::{
        Native,
        core::{self, Core},
    },
};

/// Settings of the native `influx` decoder.
pub(super) type InfluxSpec = spout_codec::influx::Settings<SchemaText>;

impl DecoderKind for InfluxSpec {
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
        Core::open("influx", opening.schema.as_ref(), |schema| Influx::new(self, schema))
    }
}
