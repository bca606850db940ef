//! Rows of named values become a batch of a schema.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema, SchemaRef},
};
use spout_codec::Coerce;
use spout_data::{Messages, Origins};
use spout_plugin::RowFault;

use super::{
    Rows,
    cells::{self, Cell},
    fault,
};
use crate::Error;

/// Named values of one row.
pub(super) type Row = Vec<(String, Cell)>;

/// What a decoder made of one run of messages, a row each.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    rows: Vec<(u32, Row)>,
    faults: Vec<RowFault>,
}

impl Parsed {
    /// Parses all messages but tombstones; an error is a code and a reason.
    pub(super) fn all(
        messages: &Messages,
        mut parse: impl FnMut(&[u8]) -> Result<Row, (&'static str, String)>,
    ) -> Self {
        let mut parsed = Self::default();
        let mut nulls = messages.nulls.iter().copied().peekable();
        for index in 0..messages.len() {
            let message = u32::try_from(index).unwrap_or(u32::MAX);
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            match parse(messages.values.get(index)) {
                Ok(row) => parsed.rows.push((message, row)),
                Err((code, reason)) => parsed.faults.push(fault(message, code, &reason)),
            }
        }
        parsed
    }

    /// The rows as a batch of `schema`; `code` is that of a message that does not fit it.
    pub(super) fn fit(self, decoder: &str, schema: &SchemaRef, code: &str, coerce: &Coerce) -> Result<Rows, Error> {
        let mut columns: Vec<Vec<Cell>> = vec![Vec::new(); schema.fields().len()];
        let (mut origins, mut faults) = (Vec::new(), self.faults);
        for (message, row) in self.rows {
            match cells::named(row, schema.fields(), "", coerce) {
                Ok(row) => {
                    origins.push(message);
                    columns.iter_mut().zip(row).for_each(|(column, (_, cell))| column.push(cell));
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
