//! `csv`: records of named columns. A message is one record or a whole document.
//!
//! Records are told apart here and typed by arrow's own text casts: arrow-csv's decoder takes a stream, so it cannot say
//! which message a bad record is of, nor go on behind it. Types are inferred by arrow-csv.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringBuilder},
    compute::{cast, filter},
    csv::reader::Format,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Native, Rows, fault,
    records::{Records, Style},
};
use crate::{
    data::{Messages, Origins},
    plugin::RowFault,
    producer::{Error, SchemaText, UnknownFields},
};

/// Settings of the native `csv` decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CsvSpec {
    /// `true`: the first record names the columns, and any record equal to it is left out; `false`: columns are `column_1`, …;
    /// or the names, as in `[id, name]`.
    pub header: CsvHeader,
    /// Columns and their types, in the order of the values, as in `{id: int64, name: utf8}`. Without it types are inferred from
    /// the first messages and then stay as they are for the life of the branch.
    pub schema: Option<SchemaText>,
    /// What stands between two values, as in `;`.
    pub delimiter: char,
    /// What quotes a value, as in `'`; doubled it stands for itself.
    pub quote: char,
    /// Values that mean null where they are not quoted, as in `["", NA]`.
    pub nulls: Vec<String>,
    /// What values after the last column do to their message.
    pub unknown: UnknownFields,
}

impl Default for CsvSpec {
    fn default() -> Self {
        Self {
            header: CsvHeader::Line(true),
            schema: None,
            delimiter: ',',
            quote: '"',
            nulls: vec![String::new()],
            unknown: UnknownFields::default(),
        }
    }
}

/// Where the names of columns come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CsvHeader {
    /// Whether there is a header line.
    Line(bool),
    /// The names.
    Names(Vec<String>),
}

impl CsvSpec {
    fn style(&self) -> Result<Style, String> {
        let byte = |key: &str, given: char| match u8::try_from(given) {
            Ok(byte) if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(byte),
            _ => Err(format!("`{key}` must be one ASCII character, and no line end")),
        };
        let (delimiter, quote) = (byte("delimiter", self.delimiter)?, byte("quote", self.quote)?);
        match delimiter == quote {
            true => Err("`delimiter` and `quote` are the same; choose two".into()),
            false => Ok(Style { delimiter, quote }),
        }
    }

    pub(super) fn check(&self, schema: Option<&Schema>) -> Result<(), String> {
        self.style()?;
        if let CsvHeader::Names(names) = &self.header {
            let distinct: BTreeSet<&String> = names.iter().collect();
            if distinct.len() != names.len() || names.is_empty() {
                return Err("`header` names no column, or one twice".into());
            }
            if schema.is_some_and(|schema| schema.fields().iter().map(|field| field.name()).ne(names)) {
                return Err("`header` and `schema` name different columns; leave out `header`'s list".into());
            }
        }
        let nested = |field: &&Arc<Field>| field.data_type().is_nested();
        match schema.and_then(|schema| schema.fields().iter().find(nested)) {
            Some(field) => Err(format!("column `{}` is {}, which no CSV value is", field.name(), field.data_type())),
            None => Ok(()),
        }
    }
}

/// A running `csv` decoder.
#[derive(Debug)]
pub(super) struct Csv {
    style: Style,
    header: CsvHeader,
    nulls: Vec<String>,
    unknown: UnknownFields,
    /// Columns of type null are named and not yet typed.
    schema: Option<SchemaRef>,
}

impl Csv {
    pub(super) fn new(spec: &CsvSpec, schema: Option<SchemaRef>) -> Result<Self, String> {
        let (header, nulls) = (spec.header.clone(), spec.nulls.clone());
        Ok(Self { style: spec.style()?, header, nulls, unknown: spec.unknown, schema })
    }

    /// Takes the records of all messages apart; messages that are none become faults.
    fn split(&self, messages: &Messages, faults: &mut Vec<RowFault>) -> Records {
        let mut records = Records::default();
        let mut nulls = messages.nulls.iter().copied().peekable();
        for index in 0..messages.len() {
            let message = u32::try_from(index).unwrap_or(u32::MAX);
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            match std::str::from_utf8(messages.values.get(index)) {
                Ok(text) => {
                    if let Err(reason) = records.split(message, text, self.style) {
                        faults.push(fault(message, "csv.syntax", &reason));
                    }
                }
                Err(_) => faults.push(fault(message, "csv.syntax", "the message is not UTF-8")),
            }
        }
        records
    }

    /// Names the columns, if nothing has yet.
    fn name(&self, records: &Records) -> Option<SchemaRef> {
        if let Some(schema) = &self.schema {
            return Some(Arc::clone(schema));
        }
        let names = match &self.header {
            CsvHeader::Names(names) => names.clone(),
            CsvHeader::Line(true) => distinct(records.values(records.first()?).map(|(text, _)| text)),
            CsvHeader::Line(false) => distinct(records.values(records.first()?).map(|_| "")),
        };
        let open = |name| Field::new(name, DataType::Null, true);
        Some(Arc::new(Schema::new(names.into_iter().map(open).collect::<Vec<_>>())))
    }

    /// Leaves out header lines, and messages with records of another number of values.
    fn sound(&self, schema: &Schema, records: &Records, faults: &mut Vec<RowFault>) -> Vec<usize> {
        let width = schema.fields().len();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let is_header = |record: usize| {
            self.header == CsvHeader::Line(true)
                && records.len_of(record) == width
                // The first value tells almost all records from a header, at no cost.
                && records.value(record, 0).is_some_and(|(text, _)| text.is_empty() || names.first() == Some(&text))
                && distinct(records.values(record).map(|(text, _)| text)).iter().eq(names.iter())
        };
        let mut bad = BTreeSet::new();
        for record in 0..records.len() {
            let (message, values) = (records.message(record), records.len_of(record));
            let wrong = values < width || values > width && self.unknown == UnknownFields::Fail;
            if wrong && bad.insert(message) {
                let reason = format!("a record has {values} values, and there are {width} columns");
                faults.push(fault(message, "csv.width", &reason));
            }
        }
        (0..records.len()).filter(|&record| !bad.contains(&records.message(record)) && !is_header(record)).collect()
    }

    fn is_null(&self, text: &str, quoted: bool) -> bool {
        !quoted && self.nulls.iter().any(|null| null == text)
    }

    /// Types the columns that have none, by arrow-csv over all values of the first messages.
    fn infer(&self, schema: &Schema, records: &Records, sound: &[usize]) -> Result<Schema, String> {
        let width = schema.fields().len();
        let mut sample = String::new();
        for &record in sound {
            for (index, (text, quoted)) in records.values(record).take(width).enumerate() {
                sample.push_str(if index == 0 { "" } else { "," });
                if !self.is_null(text, quoted) && !text.is_empty() {
                    sample.extend(["\"", &text.replace('"', "\"\""), "\""]);
                }
            }
            // A record of one empty value would be a blank line, which is no record.
            sample.push_str(if width == 1 { ",\n" } else { "\n" });
        }
        let inferred = Format::default().infer_schema(sample.as_bytes(), None).map_err(|error| error.to_string())?.0;
        let typed = |(open, inferred): (&Arc<Field>, &Arc<Field>)| {
            let data_type = match (open.data_type(), inferred.data_type()) {
                (DataType::Null, DataType::Null) => DataType::Utf8,
                (DataType::Null, found) => found.clone(),
                (settled, _) => settled.clone(),
            };
            Field::new(open.name(), data_type, true)
        };
        Ok(Schema::new(schema.fields().iter().zip(inferred.fields()).map(typed).collect::<Vec<_>>()))
    }

    fn column(
        &self,
        index: usize,
        data_type: &DataType,
        records: &Records,
        sound: &[usize],
    ) -> Result<(ArrayRef, ArrayRef), Error> {
        let mut text = StringBuilder::new();
        let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8);
        for &record in sound {
            match records.value(record, index) {
                Some((value, quoted)) if !self.is_null(value, quoted) && (is_text || !value.is_empty()) => {
                    text.append_value(value)
                }
                _ => text.append_null(),
            }
        }
        let text: ArrayRef = Arc::new(text.finish());
        let typed = cast(&text, data_type).map_err(|source| kernel(sound.len(), source))?;
        Ok((text, typed))
    }
}

impl Native for Csv {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let mut faults = Vec::new();
        let records = self.split(messages, &mut faults);
        let Some(named) = self.name(&records) else { return Ok(Rows { faults, ..Rows::none() }) };
        let sound = self.sound(&named, &records, &mut faults);
        if is_open(&named) && sound.is_empty() {
            // Names alone: they are pinned, so that the header counts also if the records come after a restart.
            self.schema = Some(Arc::clone(&named));
            return Ok(Rows { faults, unknown: Vec::new(), open: Some(named), ..Rows::none() });
        }
        let schema = match is_open(&named) {
            true => Arc::new(
                self.infer(&named, &records, &sound)
                    .map_err(|reason| Error::Schema { decoder: "csv".into(), reason })?,
            ),
            false => named,
        };
        self.schema = Some(Arc::clone(&schema));
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut bad = BTreeSet::new();
        for (index, field) in schema.fields().iter().enumerate() {
            let (text, typed) = self.column(index, field.data_type(), &records, &sound)?;
            for row in (0..typed.len()).filter(|&row| typed.is_null(row) && !text.is_null(row)) {
                let message = records.message(sound[row]);
                if bad.insert(message) {
                    let value = records.value(sound[row], index).map_or("", |(text, _)| text);
                    let reason =
                        format!("column `{}` is {}, and the value is `{value}`", field.name(), field.data_type());
                    faults.push(fault(message, "csv.type", &reason));
                }
            }
            columns.push(typed);
        }
        faults.sort_by_key(|fault| fault.message);
        let keep: Vec<bool> = sound.iter().map(|&record| !bad.contains(&records.message(record))).collect();
        let origins: Vec<u32> =
            sound.iter().map(|&record| records.message(record)).filter(|message| !bad.contains(message)).collect();
        if !bad.is_empty() {
            let mask = BooleanArray::from(keep);
            let kept: Result<Vec<ArrayRef>, _> = columns.iter().map(|column| filter(column, &mask)).collect();
            columns = kept.map_err(|source| kernel(sound.len(), source))?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(origins.len()));
        let records = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|source| kernel(sound.len(), source))?;
        Ok(Rows { records, origins: Origins::Taken(origins.into()), faults, unknown: Vec::new(), open: None })
    }
}

/// Whether columns are named and not yet typed.
pub(super) fn is_open(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| *field.data_type() == DataType::Null)
}

/// Names of columns: an empty one gets its number, a second one of the same name too.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for (index, name) in names.enumerate() {
        let mut name = if name.is_empty() { format!("column_{}", index + 1) } else { name.to_owned() };
        while seen.contains(&name) {
            name = format!("{name}_{}", index + 1);
        }
        seen.push(name);
    }
    seen
}

fn kernel(rows: usize, source: arrow::error::ArrowError) -> Error {
    Error::Kernel { decoder: "csv".into(), rows, source }
}
