//! `csv`: the decoding core's CSV decoder, in the sandbox. The same code as `{type: csv}`, with the same settings.

use spout_codec::{Decode as _, csv};
use spout_guest::{Decoded, Decoder, Messages, Opening, Result, register, schema_text, warn};

/// A running decoder.
#[derive(Debug)]
pub struct Csv(csv::Csv);

impl Decoder for Csv {
    type Settings = csv::Settings<String>;

    fn open(settings: Self::Settings, opening: Opening) -> Result<Self> {
        let declared = settings.schema.as_deref().map(schema_text::parse).transpose()?;
        Ok(Self(csv::Csv::new(&settings, declared, opening.schema)?))
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        let decoded = self.0.decode(&messages.input())?;
        if let Some(advice) = self.0.take_advice() {
            warn!("{advice}");
        }
        Ok(decoded)
    }
}

register! { name: "csv", summary: "CSV: one record a message, or a whole document, by given or inferred types", decoder: Csv }

#[cfg(test)]
mod tests;
