//! `csv`: one CSV record a message becomes one row.
//!
//! Column names come from `columns`, from the first line of a file or from the schema; types from the schema, or from what
//! the first messages look like. A message that is wrong becomes a fault; its neighbours never notice. Read [`record`] for
//! how a message falls into fields, [`table`] for how fields become columns, [`infer`] for types nobody gave.

mod infer;
mod record;
mod table;

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Batch, Decoded, Decoder, Error, Messages, Opening, Result, RowFault, Schema, register, schema_text};

use self::{record::Record, table::Table};

/// Settings of the decoder.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Columns and their types, as in `{"id": "int64", "at": "timestamp(ms, UTC)"}`. Without it types are inferred from the
    /// first messages and then fixed.
    pub schema: Option<String>,
    /// Names of the fields of a message, in order. Needed where they are neither in a first line nor in `schema`.
    pub columns: Vec<String>,
    /// Whether the message at offset 0 of a partition, the first line of a file, has the names. All files must agree.
    pub header: bool,
    /// What stands between two fields: one character, or `tab`.
    pub delimiter: String,
    /// What a field may stand in; doubled within such a field it stands for itself.
    pub quote: char,
    /// What a field says, without quotes, when it has no value; one that is empty has none either.
    pub null: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { schema: None, columns: Vec::new(), header: false, delimiter: ",".into(), quote: '"', null: None }
    }
}

/// A running decoder.
#[derive(Debug)]
pub struct Csv {
    settings: Settings,
    record: Record,
    /// Names of the fields of a message, in order, once they are known.
    names: Option<Vec<String>>,
    table: Option<Table>,
}

/// What is wrong with one message: code and reason.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) &'static str, pub(crate) String);

impl Decoder for Csv {
    type Settings = Settings;

    fn open(settings: Settings, opening: Opening) -> Result<Self> {
        let record = Record::new(&settings.delimiter, settings.quote)?;
        let schema = match settings.schema.as_deref() {
            Some(text) => Some(schema_text::parse(text)?),
            None => opening.schema,
        };
        let named = (!settings.columns.is_empty()).then(|| settings.columns.clone());
        let of_schema = |schema: &Schema| schema.fields().iter().map(|field| field.name.clone()).collect();
        let names = named.or_else(|| schema.as_ref().map(of_schema));
        let table = match (schema, &names) {
            (Some(schema), Some(names)) => Some(Table::new(schema, names, settings.null.as_deref())?),
            _ => None,
        };
        Ok(Self { settings, record, names, table })
    }

    fn decode(&mut self, messages: &Messages) -> Result<Decoded> {
        let records = self.records(messages)?;
        if self.table.is_none() {
            self.table = self.infer(messages, &records)?;
        }
        let (mut origins, mut faults) = (Vec::new(), Vec::new());
        for message in records {
            let bytes = messages.value(message as usize);
            let read = self.record.read(bytes).and_then(|()| match &mut self.table {
                Some(table) => table.push(&self.record, bytes),
                // Only if no message at all could be read: what cannot be read has no row anyway.
                None => Ok(()),
            });
            match read {
                Ok(()) => origins.push(message),
                Err(Wrong(code, reason)) => faults.push(RowFault { message, code: code.into(), reason }),
            }
        }
        if origins.len() + faults.len() == messages.len() {
            // Nothing was left out: rows and faults alone say which row is which.
            origins.clear();
        }
        let batch = match &mut self.table {
            Some(table) => table.finish()?,
            None => Batch::new(Schema::default(), Vec::new(), 0)?,
        };
        Ok(Decoded { batch, origins, faults, unknown: Vec::new() })
    }
}

impl Csv {
    /// The messages that are records: not the first line with the names, not blank, not null.
    fn records(&mut self, messages: &Messages) -> Result<Vec<u32>> {
        let mut nulls = messages.nulls().iter().copied().peekable();
        let mut records = Vec::with_capacity(messages.len());
        for message in 0..messages.len() as u32 {
            let bytes = messages.value(message as usize);
            if nulls.next_if_eq(&message).is_some() || matches!(bytes, b"" | b"\r") {
                continue;
            }
            if self.settings.header && messages.offsets().get(message as usize) == Some(&0) {
                self.header(bytes)?;
            } else {
                records.push(message);
            }
        }
        Ok(records)
    }

    /// Takes the names from a first line, or holds it against those that are known.
    fn header(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.settings.columns.is_empty() {
            return Ok(());
        }
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let refused = |what: String| Error::fatal("csv.header", what);
        self.record.read(bytes).map_err(|Wrong(_, what)| refused(format!("the first line cannot be read: {what}")))?;
        let names: Vec<String> = self.record.texts(bytes).collect();
        match &self.names {
            None => self.names = Some(names),
            Some(known) if *known == names => {}
            Some(known) => {
                let (known, names) = (known.join(","), names.join(","));
                let what = format!(
                    "the first line says `{names}`, the table has `{known}`; files must have the same columns in the same order (setting `columns` names them all, whatever first lines say)"
                );
                return Err(refused(what));
            }
        }
        Ok(())
    }

    /// A table of the types that `records` suggest; `None` if none of them can be read.
    fn infer(&mut self, messages: &Messages, records: &[u32]) -> Result<Option<Table>> {
        if self.settings.header && self.names.is_none() && !records.is_empty() {
            let what = "the names of the columns stand in a first line that was read before the last stop; write them in setting `columns`";
            return Err(Error::fatal("csv.header", what));
        }
        let values = records.iter().map(|&message| messages.value(message as usize));
        let Some((names, schema)) =
            infer::schema(&mut self.record, self.names.as_deref(), values, self.settings.null.as_deref())
        else {
            return Ok(None);
        };
        Table::new(schema, &names, self.settings.null.as_deref()).map(Some)
    }
}

register! { name: "csv", summary: "one CSV record a message, by given or inferred types", decoder: Csv }

#[cfg(test)]
mod tests;
