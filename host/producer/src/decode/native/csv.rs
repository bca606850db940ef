//! `csv`: one record a message, or a whole document, by the decoder of the core.

use arrow::datatypes::{DataType, Schema};
use spout_codec::{
    Evolve,
    csv::{Csv, Header, Settings},
};

use super::{DecoderKind, Named, Opening};
use crate::{
    CsvStyle, SchemaText,
    decode::{
        Native,
        core::{self, Core},
    },
};

/// Settings of the native `csv` decoder.
pub(super) type CsvSpec = Settings<SchemaText>;

impl DecoderKind for CsvSpec {
    fn named(&self) -> Option<Named<'_>> {
        let (schema, capture) = (self.schema.as_ref(), self.unknown_column.as_str());
        Some(Named { schema, unknown: self.unknown, capture, evolve: Evolve::None })
    }

    fn csv(&self) -> Option<CsvStyle> {
        let header = match self.header {
            Header::Given(given) => Some(given),
            Header::Names(_) => None,
        };
        Some(CsvStyle { delimiter: self.delimiter, quote: self.quote, header })
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        let declared = core::columns(opening.declared.as_ref())?;
        Core::open("csv", opening.settled, |settled| Csv::new(self, declared, settled))
    }
}

/// Whether columns are named and not yet typed.
pub(super) fn is_open(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| *field.data_type() == DataType::Null)
}
