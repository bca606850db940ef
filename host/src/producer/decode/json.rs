//! `json`: one JSON object a message, by arrow-json. Slow paths exist only for messages that are wrong.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    error::ArrowError,
    json::{
        ReaderBuilder,
        reader::{Decoder, infer_json_schema_from_iterator},
    },
};
use serde_json::Value;

use super::{Native, Rows, fault};
use crate::{
    data::{Messages, Origins},
    plugin::RowFault,
    producer::{Error, UnknownFields},
};

/// Messages looked at for the schema where none is declared.
const SAMPLE: usize = 8192;

/// A running `json` decoder.
#[derive(Debug)]
pub(super) struct JsonDecoder {
    schema: SchemaRef,
    unknown: UnknownFields,
}

impl JsonDecoder {
    pub(super) fn new(schema: SchemaRef, unknown: UnknownFields) -> Result<Self, Error> {
        let decoder = Self { schema, unknown };
        decoder.reader(1).map_err(|source| decoder.kernel(1, source))?;
        Ok(decoder)
    }
}

impl Native for JsonDecoder {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let count = messages.len();
        if messages.nulls.is_empty() {
            // Every message is one whole object and fits the schema: the way almost all batches take.
            let all: Vec<u32> = Vec::new();
            if let Some(records) = self.attempt(messages, &all, count).map_err(|e| self.kernel(count, e))? {
                return Ok(Rows {
                    records,
                    origins: Origins::Each,
                    faults: Vec::new(),
                    unknown: Vec::new(),
                    open: None,
                });
            }
        }
        let mut faults = Vec::new();
        let sound = self.well_formed(messages, &mut faults);
        let mut batches = Vec::new();
        let mut rows = Vec::new();
        self.halve(messages, &sound, &mut batches, &mut rows, &mut faults)?;
        let records = arrow::compute::concat_batches(&self.schema, &batches).map_err(|e| self.kernel(count, e))?;
        faults.sort_by_key(|fault| fault.message);
        Ok(Rows { records, origins: Origins::Taken(rows.into()), faults, unknown: Vec::new(), open: None })
    }
}

impl JsonDecoder {
    fn reader(&self, rows: usize) -> Result<Decoder, ArrowError> {
        ReaderBuilder::new(Arc::clone(&self.schema))
            .with_batch_size(rows)
            .with_coerce_primitive(true)
            .with_strict_mode(self.unknown == UnknownFields::Fail)
            .build_decoder()
    }

    /// The rows of the `chosen` messages (all of them if it is empty), or `None` if any of them is wrong.
    fn attempt(&self, messages: &Messages, chosen: &[u32], count: usize) -> Result<Option<RecordBatch>, ArrowError> {
        let mut decoder = self.reader(count)?;
        for done in 0..count {
            let index = chosen.get(done).map_or(done, |&index| index as usize);
            let value = messages.values.get(index);
            // One message must be one record: two halves in two messages would otherwise pass as a whole one.
            match decoder.decode(value) {
                Ok(used) if decoder.len() == done + 1 && !decoder.has_partial_record() && blank(&value[used..]) => {}
                _ => return Ok(None),
            }
        }
        match decoder.flush() {
            Ok(Some(records)) if records.num_rows() == count => Ok(Some(records)),
            Ok(None) if count == 0 => Ok(Some(RecordBatch::new_empty(Arc::clone(&self.schema)))),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// The messages that are one JSON object each; the others become faults, tombstones nothing.
    fn well_formed(&self, messages: &Messages, faults: &mut Vec<RowFault>) -> Vec<u32> {
        let mut sound = Vec::with_capacity(messages.len());
        let mut nulls = messages.nulls.iter().copied().peekable();
        for message in 0..u32::try_from(messages.len()).unwrap_or(u32::MAX) {
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            let value = messages.values.get(message as usize);
            match serde_json::from_slice::<serde::de::IgnoredAny>(value) {
                Ok(_) if value.trim_ascii_start().first() == Some(&b'{') => sound.push(message),
                Ok(_) => faults.push(fault(message, "json.type", "the message is not a JSON object")),
                Err(error) => faults.push(fault(message, "json.syntax", &error.to_string())),
            }
        }
        sound
    }

    /// Decodes `chosen`, in halves where a message does not fit the schema, until that message is alone.
    fn halve(
        &self,
        messages: &Messages,
        chosen: &[u32],
        batches: &mut Vec<RecordBatch>,
        rows: &mut Vec<u32>,
        faults: &mut Vec<RowFault>,
    ) -> Result<(), Error> {
        if chosen.is_empty() {
            return Ok(());
        }
        let attempt = self.attempt(messages, chosen, chosen.len());
        if let Some(records) = attempt.map_err(|source| self.kernel(chosen.len(), source))? {
            batches.push(records);
            rows.extend_from_slice(chosen);
            return Ok(());
        }
        if let [message] = chosen {
            faults.push(fault(*message, "json.type", &self.reason(messages.values.get(*message as usize))));
            return Ok(());
        }
        let (first, second) = chosen.split_at(chosen.len() / 2);
        self.halve(messages, first, batches, rows, faults)?;
        self.halve(messages, second, batches, rows, faults)
    }

    /// Why one well-formed message does not fit the schema.
    fn reason(&self, value: &[u8]) -> String {
        let decoded = self.reader(1).and_then(|mut decoder| {
            decoder.decode(value)?;
            decoder.flush()
        });
        match decoded {
            Err(error) => error.to_string(),
            Ok(_) => "the message is not exactly one JSON object".into(),
        }
    }

    fn kernel(&self, rows: usize, source: ArrowError) -> Error {
        Error::Kernel { decoder: "json".into(), rows, source }
    }
}

fn blank(rest: &[u8]) -> bool {
    rest.iter().all(u8::is_ascii_whitespace)
}

/// The schema of the first messages; what they leave open (only nulls, empty lists, mixed kinds) becomes text.
pub(super) fn infer(messages: &Messages) -> Schema {
    let objects = (0..messages.len().min(SAMPLE))
        .filter_map(|index| serde_json::from_slice::<Value>(messages.values.get(index)).ok())
        .filter(Value::is_object);
    let mut sound: Vec<Value> = objects.collect();
    let schema = match infer_json_schema_from_iterator(sound.iter().map(Ok)) {
        Ok(schema) => schema,
        Err(_) => {
            // Some field is an object here and a scalar there: keep what agrees with the messages before it.
            let mut agreed: Vec<Value> = Vec::new();
            for value in sound.drain(..) {
                agreed.push(value);
                if infer_json_schema_from_iterator(agreed.iter().map(Ok)).is_err() {
                    agreed.pop();
                }
            }
            infer_json_schema_from_iterator(agreed.iter().map(Ok)).unwrap_or_else(|_| Schema::empty())
        }
    };
    Schema::new(schema.fields().iter().map(|field| settled(field)).collect::<Fields>())
}

fn settled(field: &Field) -> Field {
    Field::new(field.name(), settled_type(field.data_type()), true)
}

fn settled_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Struct(fields) if fields.is_empty() => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| settled(field)).collect()),
        DataType::List(item) => DataType::List(Arc::new(Field::new_list_field(settled_type(item.data_type()), true))),
        other => other.clone(),
    }
}
