//! `csv`: one record of delimited text a message becomes one row.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{
    ArrayBuilder, Batch, DataType, Decoded, Decoder, Error, Field, Messages, Result, RowFault, Schema, register,
    schema_text,
};

mod value;

register! { name: "csv", summary: "one record of delimited text a message, by a given or inferred schema", decoder: Csv }

/// Settings of the decoder.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Columns and their types, as in `{"id": "int64", "name": "utf8"}`, in the order of the fields. Without it the types
    /// are inferred from the first messages.
    pub schema: Option<String>,
    /// Names of the fields, in order; without them and without a schema they are `c0`, `c1` and so on.
    pub columns: Vec<String>,
    /// The character between fields; a comma without it.
    pub delimiter: Option<char>,
    /// Messages at offset 0 hold names, not values, and become no row.
    pub header: bool,
    /// The text that stands for null, beside an empty field.
    pub null: Option<String>,
}

/// A running decoder.
#[derive(Debug)]
pub struct Csv {
    settings: Settings,
    reader: Reader,
    table: Option<(Schema, Vec<ArrayBuilder>)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Decoder for Csv {
    type Settings = Settings;

    fn open(_topic: &str, _fields: Option<Vec<String>>, settings: Settings) -> Result<Self> {
        let delimiter = match settings.delimiter {
            None => b',',
            Some(given) if given.is_ascii() && !matches!(given, '"' | '\r' | '\n') => given as u8,
            Some(given) => {
                let what =
                    format!("setting `delimiter` is {given:?}; it has to be one ASCII character, no quote or line end");
                return Err(Error::invalid_config(what));
            }
        };
        let table = settings.schema.as_deref().map(schema_text::parse).transpose()?.map(table).transpose()?;
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Ok(Self { settings, reader, table, bytes: vec![0; 1 << 10], ends: vec![0; 64] })
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        if self.table.is_none() {
            let schema = self.infer(messages);
            self.table = Some(table(schema)?);
        }
        let (mut origins, mut faults) = (Vec::new(), Vec::new());
        for index in 0..messages.len() as u32 {
            if self.skipped(messages, index) {
                continue;
            }
            match self.row(messages.value(index as usize)) {
                Ok(()) => origins.push(index),
                Err((code, reason)) => faults.push(RowFault { message: index, code: code.into(), reason }),
            }
        }
        let Some((schema, builders)) = &mut self.table else { return Err(Error::fatal("csv.schema", "no schema")) };
        let columns = builders.iter_mut().map(ArrayBuilder::finish).collect();
        Ok(Decoded { batch: Batch::new(schema.clone(), columns, origins.len())?, origins, faults })
    }
}

/// Builders for a schema of flat columns.
fn table(schema: Schema) -> Result<(Schema, Vec<ArrayBuilder>)> {
    let nested = |field: &&Field| !value::takes(&field.data_type);
    if let Some(field) = schema.fields().iter().find(nested) {
        let what = format!("column `{}` has a type that no field of delimited text has; use a flat type", field.name);
        return Err(Error::invalid_config(what));
    }
    let builders = ArrayBuilder::all(schema.fields());
    Ok((schema, builders))
}

type Wrong = (&'static str, String);

impl Csv {
    fn skipped(&self, messages: &Messages, index: u32) -> bool {
        messages.nulls().binary_search(&index).is_ok()
            || (self.settings.header && messages.offsets().get(index as usize) == Some(&0))
    }

    /// Splits one message into fields; how many there are.
    fn split(&mut self, message: &[u8]) -> std::result::Result<usize, Wrong> {
        self.reader.reset();
        let (mut input, mut closed) = (message, false);
        let (mut written, mut fields) = (0, 0);
        loop {
            let (result, read, wrote, ended) =
                self.reader.read_record(input, &mut self.bytes[written..], &mut self.ends[fields..]);
            (written, fields) = (written + wrote, fields + ended);
            input = input.get(read..).unwrap_or_default();
            match result {
                // An empty input says that nothing follows.
                ReadRecordResult::InputEmpty if closed => return Err(("csv.syntax", "the record does not end".into())),
                ReadRecordResult::InputEmpty => closed = true,
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record if input.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                    return Ok(fields);
                }
                ReadRecordResult::Record => return Err(("csv.syntax", "more than one record".into())),
                ReadRecordResult::End => return Err(("csv.syntax", "no record".into())),
            }
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let from = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|&to| self.bytes.get(from..to)).unwrap_or_default()
    }

    fn is_null(&self, field: &[u8]) -> bool {
        field.is_empty() || self.settings.null.as_deref().is_some_and(|null| null.as_bytes() == field)
    }

    /// Reads one message into the builders; a row that is wrong leaves no trace.
    fn row(&mut self, message: &[u8]) -> std::result::Result<(), Wrong> {
        let fields = self.split(message)?;
        let Some((schema, mut builders)) = self.table.take() else { return Err(("csv.type", "no schema".into())) };
        let rows = builders.first().map_or(0, ArrayBuilder::len);
        let outcome = self.fill(fields, &schema, &mut builders);
        if outcome.is_err() {
            builders.iter_mut().for_each(|builder| builder.truncate(rows));
        }
        self.table = Some((schema, builders));
        outcome
    }

    fn fill(&self, fields: usize, schema: &Schema, builders: &mut [ArrayBuilder]) -> std::result::Result<(), Wrong> {
        let wanted = schema.fields();
        if fields != wanted.len() {
            return Err(("csv.type", format!("{fields} fields, not {}", wanted.len())));
        }
        for (index, (column, builder)) in wanted.iter().zip(builders).enumerate() {
            let field = self.field(index);
            if self.is_null(field) {
                builder.push_null();
            } else if !value::push(&column.data_type, field, builder) {
                let (text, kind) = (String::from_utf8_lossy(field), &column.data_type);
                let text: String = text.chars().take(60).collect();
                return Err(("csv.type", format!("field `{}` is `{text}`, not a value of {kind:?}", column.name)));
            }
        }
        Ok(())
    }

    /// Columns of the first message that is a record, with types that all messages fit.
    fn infer(&mut self, messages: &Messages) -> Schema {
        let mut kinds: Vec<Option<DataType>> = Vec::new();
        let mut names = self.settings.columns.clone();
        for index in 0..messages.len() as u32 {
            let Ok(fields) = self.split(messages.value(index as usize)) else { continue };
            if self.skipped(messages, index) {
                if names.is_empty() {
                    names = (0..fields).map(|at| String::from_utf8_lossy(self.field(at)).into_owned()).collect();
                }
                continue;
            }
            if kinds.is_empty() {
                kinds.resize(if names.is_empty() { fields } else { names.len() }, None);
            }
            for (at, kind) in kinds.iter_mut().enumerate().take(fields) {
                if !self.is_null(self.field(at)) {
                    *kind = Some(value::wider(kind.take(), self.field(at)));
                }
            }
        }
        let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| format!("c{at}"));
        let columns = kinds.into_iter().enumerate();
        Schema::new(columns.map(|(at, kind)| Field::new(name(at), kind.unwrap_or(DataType::Utf8))).collect())
    }
}

#[cfg(test)]
mod tests;
