//! Rows of named values, from several decoders, become a batch of the settled schema.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::{
    Rows,
    cells::{self, Cell},
    fault,
};
use crate::{
    data::{Messages, Origins},
    plugin::RowFault,
    producer::{Error, UnknownFields},
};

/// Named values of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) cells: Vec<(String, Cell)>,
    /// Where the measured fields begin: a row none of whose fields is in the schema would say nothing. Rows of other
    /// kinds have this at their end.
    pub(super) fields: usize,
}

/// What a decoder made of one run of messages, before a schema.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    rows: Vec<(u32, Vec<Row>)>,
    faults: Vec<RowFault>,
}

impl Parsed {
    /// Parses all messages but tombstones; an error is a code and a reason.
    pub(super) fn all(
        messages: &Messages,
        mut parse: impl FnMut(&[u8], Option<i64>) -> Result<Vec<Row>, (&'static str, String)>,
    ) -> Self {
        let mut parsed = Self::default();
        let mut nulls = messages.nulls.iter().copied().peekable();
        for index in 0..messages.len() {
            let message = u32::try_from(index).unwrap_or(u32::MAX);
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            match parse(messages.values.get(index), messages.timestamps_ms.get(index).copied()) {
                Ok(rows) => parsed.rows.push((message, rows)),
                Err((code, reason)) => parsed.faults.push(fault(message, code, &reason)),
            }
        }
        parsed
    }

    /// All rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flat_map(|(_, rows)| rows)
    }

    /// The rows as a batch of `schema`; `code` is that of a message that does not fit it.
    pub(super) fn fit(
        self,
        decoder: &str,
        schema: &SchemaRef,
        unknown: UnknownFields,
        code: &str,
    ) -> Result<Rows, Error> {
        let strict = unknown == UnknownFields::Fail;
        let mut columns: Vec<Vec<Cell>> = vec![Vec::new(); schema.fields().len()];
        let (mut origins, mut faults) = (Vec::new(), self.faults);
        for (message, rows) in self.rows {
            let fitted: Result<Vec<_>, String> = rows.into_iter().map(|row| row.fit(schema, strict)).collect();
            match fitted {
                Ok(rows) => {
                    for row in rows {
                        origins.push(message);
                        columns.iter_mut().zip(row).for_each(|(column, (_, cell))| column.push(cell));
                    }
                }
                Err(reason) => faults.push(fault(message, code, &reason)),
            }
        }
        faults.sort_by_key(|fault| fault.message);
        let kernel = |source| Error::Kernel { decoder: decoder.into(), rows: origins.len(), source };
        let column = |(field, cells): (&Arc<Field>, &Vec<Cell>)| cells::array(field.data_type(), cells);
        let arrays = schema.fields().iter().zip(&columns).map(column).collect::<Result<_, _>>().map_err(kernel)?;
        let options = RecordBatchOptions::new().with_row_count(Some(origins.len()));
        let records = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(kernel)?;
        Ok(Rows { records, origins: Origins::Taken(origins.into()), faults, unknown: Vec::new(), open: None })
    }

    /// What is left where no message was sound: faults, and no schema.
    pub(super) fn unsettled(self) -> Rows {
        Rows { faults: self.faults, ..Rows::none() }
    }
}

impl Row {
    fn fit(self, schema: &Schema, strict: bool) -> Result<Vec<(String, Cell)>, String> {
        let mut fields = self.cells[self.fields.min(self.cells.len())..].iter().map(|(name, _)| name.as_str());
        if let Some(first) = fields.next()
            && std::iter::once(first).chain(fields).all(|name| schema.column_with_name(name).is_none())
        {
            return Err(format!(
                "none of the fields (the first is `{first}`) is in the schema; declare `schema` with the columns you want"
            ));
        }
        cells::named(self.cells, schema.fields(), "", strict)
    }
}

/// Adds a column to `columns`, or widens the type of the one that is there: whole numbers become floats, nothing else changes.
pub(super) fn widen(columns: &mut Vec<(String, DataType)>, name: &str, cell: &Cell) {
    let Some(found) = cells::type_of(cell) else { return };
    match columns.iter_mut().find(|(known, _)| known == name) {
        None => columns.push((name.to_owned(), found)),
        Some((_, known)) => {
            let whole = |data_type: &DataType| matches!(data_type, DataType::Int64 | DataType::UInt64);
            if whole(known) && (found == DataType::Float64 || whole(&found) && *known != found) {
                *known = DataType::Float64;
            } else if matches!(cell, Cell::Word(_)) && found == DataType::Utf8 {
                *known = DataType::Utf8;
            }
        }
    }
}

/// Whether [`Parsed::fit`] can make all columns of `schema`.
///
/// # Errors
/// The first that it cannot.
pub(super) fn buildable(schema: &Schema) -> Result<(), String> {
    match schema.fields().iter().find(|field| !cells::can_build(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(format!("column `{}` cannot be {}; choose another type", field.name(), field.data_type())),
    }
}
