//! `json`: one JSON object a message becomes one row.
//!
//! The schema is given, or inferred from the first messages and then fixed. Messages are read in one pass, straight into
//! columns; a message that is wrong becomes a fault and is taken back, so its neighbours never notice.

mod infer;
mod rows;
mod scan;

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Decoded, Decoder, Messages, Opening, Result, RowFault, register, schema_text};

use rows::Rows;

/// Settings of the decoder.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Columns and their types, as in `{"id": "int64", "user": {"name": "utf8"}, "tags": ["utf8"]}`. Without it the schema
    /// is inferred from the first messages: whole numbers become int64, others float64, mixed kinds utf8 (their JSON text).
    pub schema: Option<String>,
    /// What a field outside the schema does to its message.
    pub unknown: Unknown,
}

/// What a field outside the schema does to its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// It is left out of the row.
    #[default]
    Ignore,
    /// The message becomes a fault.
    Fail,
}

/// A running decoder.
#[derive(Debug)]
pub struct Json {
    unknown: Unknown,
    rows: Option<Rows>,
}

/// What is wrong with one message.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// It is not JSON.
    Syntax(&'static str, usize),
    /// It is, and does not fit the schema.
    Type(String),
}

impl Decoder for Json {
    type Settings = Settings;

    fn open(settings: Settings, opening: Opening) -> Result<Self> {
        let schema = match settings.schema.as_deref() {
            Some(text) => Some(schema_text::parse(text)?),
            None => opening.schema,
        };
        Ok(Self { unknown: settings.unknown, rows: schema.map(|schema| Rows::new(schema, settings.unknown)) })
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        let mut rows = self.rows.take().unwrap_or_else(|| Rows::new(infer::schema(messages), self.unknown));
        let (mut origins, mut faults) = (Vec::new(), Vec::new());
        let mut nulls = messages.nulls().iter().copied().peekable();
        let tombstones = !messages.nulls().is_empty();
        for message in 0..messages.len() as u32 {
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            match rows.read(messages.value(message as usize)) {
                Ok(()) if tombstones => origins.push(message),
                Ok(()) => {}
                Err(wrong) => faults.push(fault(message, wrong)),
            }
        }
        let batch = rows.finish()?;
        // Messages that name no field settle no schema: those that follow do.
        self.rows = (!batch.schema().fields().is_empty()).then_some(rows);
        // With tombstones left out, rows and faults alone no longer say which row is which.
        Ok(Decoded { batch, origins, faults, unknown: Vec::new() })
    }
}

fn fault(message: u32, wrong: Wrong) -> RowFault {
    match wrong {
        Wrong::Syntax(what, at) => {
            RowFault { message, code: "json.syntax".into(), reason: format!("{what} at byte {at}") }
        }
        Wrong::Type(reason) => RowFault { message, code: "json.type".into(), reason },
    }
}

register! { name: "json", summary: "one JSON object a message, by a given or inferred schema", decoder: Json }

#[cfg(test)]
mod tests;
