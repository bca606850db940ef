//! Sound, wrong, odd and hostile messages; the grammar case by case; serde_json as the oracle.

mod evolve;
mod grammar;
mod oracle;
mod values;

use crate::{
    Array, Decode, Decoded, Input, Schema,
    json::{Json, Settings},
    schema_text,
};

/// Messages as they lie in memory.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bounds: Vec<u32>,
    bytes: Vec<u8>,
    pub(crate) nulls: Vec<u32>,
}

impl Messages {
    pub(crate) fn new<T: AsRef<[u8]>>(payloads: &[T]) -> Self {
        let mut messages = Self { bounds: vec![0], ..Self::default() };
        for payload in payloads {
            messages.bytes.extend_from_slice(payload.as_ref());
            messages.bounds.push(u32::try_from(messages.bytes.len()).unwrap());
        }
        messages
    }

    pub(crate) fn input(&self) -> Input<'_> {
        Input { bounds: &self.bounds, bytes: &self.bytes, nulls: &self.nulls, ..Input::default() }
    }
}

pub(crate) fn schema(text: &str) -> Schema {
    schema_text::parse(text).unwrap()
}

fn settings(text: &str) -> Settings<()> {
    serde_json::from_str(text).unwrap()
}

fn open(schema_text: &str, settings_text: &str) -> Json {
    let schema = (!schema_text.is_empty()).then(|| schema(schema_text));
    Json::new(&settings(settings_text), schema, None).unwrap()
}

fn decode<T: AsRef<[u8]>>(schema: &str, settings: &str, lines: &[T]) -> Decoded {
    open(schema, settings).decode(&Messages::new(lines).input()).unwrap()
}

fn column<'a>(decoded: &'a Decoded, name: &str) -> &'a Array {
    decoded.batch.column_by_name(name).unwrap()
}

fn codes(decoded: &Decoded) -> Vec<(u32, &str)> {
    decoded.faults.iter().map(|fault| (fault.message, &*fault.code)).collect()
}

fn reason(decoded: &Decoded, fault: usize) -> &str {
    &decoded.faults[fault].reason
}
