//! `csv`: the decoding core's CSV decoder, in the sandbox. The same code as `{type: csv}`, with the same settings.

use spout_codec::{Decode as _, csv};
use spout_guest::{Decoded, Decoder, Messages, Opening, Result, Schema, register, schema_text, warn};

/// A running decoder.
#[derive(Debug)]
pub struct Csv {
    decoder: csv::Csv,
    /// The columns, where the settings or earlier commits say which.
    columns: Option<Schema>,
}

impl Decoder for Csv {
    type Settings = csv::Settings<String>;

    fn open(settings: Self::Settings, opening: Opening) -> Result<Self> {
        let declared = settings.schema.as_deref().map(schema_text::parse).transpose()?;
        let columns = declared.clone().or_else(|| opening.schema.clone());
        Ok(Self { decoder: csv::Csv::new(&settings, declared, opening.schema)?, columns })
    }

    fn output(&self) -> Option<Schema> {
        self.columns.clone()
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        let decoded = self.decoder.decode(&messages.input())?;
        if let Some(advice) = self.decoder.take_advice() {
            warn!("{advice}");
        }
        Ok(decoded)
    }
}

register! { name: "csv", summary: "CSV: one record a message, or a whole document, by given or inferred types", decoder: Csv }

#[cfg(test)]
mod tests;
