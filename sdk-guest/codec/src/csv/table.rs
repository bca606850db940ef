//! Rows under construction: values into the columns of the schema.

use std::collections::HashMap;

use super::{Reader, Settings, Unknown, Value, names::Names};
use crate::{Array, ArrayBuilder, Batch, DataType, Field, Schema, UnknownField, reason::Misfit, text};

/// The typed columns, and the rows so far.
#[derive(Debug)]
pub(super) struct Table {
    schema: Schema,
    places: HashMap<String, usize>,
    builders: Vec<ArrayBuilder>,
    rows: usize,
    unknown: Vec<UnknownField>,
}

/// Where the columns of a table stand in records of one header.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) names: Names,
    /// By column of the table.
    sources: Vec<Option<usize>>,
    /// Names that are no column, as indices into `names`.
    unknown: Vec<usize>,
}

/// What is wrong with a record, and with which value of it.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It has so many values.
    Width(usize),
    /// The value in this cell, for this column.
    Value { cell: usize, column: usize, misfit: Misfit },
}

impl Table {
    pub(super) fn new(schema: Schema) -> Self {
        let builders = ArrayBuilder::all(schema.fields());
        let places = schema.fields().iter().enumerate().map(|(index, field)| (field.name.clone(), index)).collect();
        Self { schema, places, builders, rows: 0, unknown: Vec::new() }
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How records of these names become rows.
    ///
    /// # Errors
    /// No name is a column, or one is not and may not be.
    pub(super) fn layout(&self, names: Names, policy: Unknown) -> Result<Layout, String> {
        let mut sources = vec![None; self.schema.fields().len()];
        let mut unknown = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.places.get(name).and_then(|&column| sources.get_mut(column)) {
                Some(source) => *source = Some(index),
                None => unknown.push(index),
            }
        }
        let columns = || Names::new(self.schema.fields().iter().map(|field| field.name.clone()).collect());
        if sources.iter().all(Option::is_none) {
            return Err(format!(
                "the header names none of the columns: it is {names}, and the columns are {}; `header: false` if there is none",
                columns()
            ));
        }
        match unknown.first().and_then(|&index| names.get(index)) {
            Some(name) if policy == Unknown::Fail => {
                Err(format!("the header names `{}`, which is no column; the columns are {}", name.escape_debug(), columns()))
            }
            _ => Ok(Layout { names, sources, unknown }),
        }
    }

    /// Adds a record as a row, or nothing of it.
    pub(super) fn push(
        &mut self,
        layout: &Layout,
        settings: &Settings<()>,
        reader: &Reader,
        bytes: &[u8],
        record: usize,
    ) -> Result<(), Unfit> {
        let cells = reader.cells(record);
        if cells.len() != layout.names.len() {
            return Err(Unfit::Width(cells.len()));
        }
        let columns = self.schema.fields().iter().zip(&mut self.builders).zip(&layout.sources);
        for (column, ((field, builder), source)) in columns.enumerate() {
            let Some((cell, &at)) = source.and_then(|cell| Some((cell, cells.get(cell)?))) else {
                builder.push_null();
                continue;
            };
            let value = reader.value(bytes, at);
            if settings.is_null(value) {
                builder.push_null();
            } else if let Err(misfit) = push(builder, field, value, settings) {
                self.undo(self.rows);
                return Err(Unfit::Value { cell, column, misfit });
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Takes back all rows from `rows` on, and what was pushed of one that did not fit.
    pub(super) fn undo(&mut self, rows: usize) {
        self.builders.iter_mut().for_each(|builder| builder.truncate(rows));
        self.rows = rows;
    }

    /// Counts a message whose rows have columns that were left out.
    pub(super) fn count_unknown(&mut self, layout: &Layout) {
        for name in layout.unknown.iter().filter_map(|&index| layout.names.get(index)) {
            match self.unknown.iter_mut().find(|field| field.name == name) {
                Some(field) => field.count += 1,
                None => self.unknown.push(UnknownField { name: name.to_owned(), count: 1 }),
            }
        }
    }

    /// The rows since the last call, and the columns that were left out of them.
    pub(super) fn finish(&mut self) -> crate::Result<(Batch, Vec<UnknownField>)> {
        let columns: Vec<Array> = self.builders.iter_mut().map(ArrayBuilder::finish).collect();
        let batch = Batch::new(self.schema.clone(), columns, std::mem::take(&mut self.rows))?;
        Ok((batch, std::mem::take(&mut self.unknown)))
    }
}

#[inline]
fn push(builder: &mut ArrayBuilder, field: &Field, value: Value<'_>, settings: &Settings<()>) -> Result<(), Misfit> {
    if matches!(field.data_type, DataType::Utf8) {
        return if builder.push_bytes(value.bytes) { Ok(()) } else { Err(Misfit::Type) };
    }
    // The message was found to be UTF-8, and values are cut at ASCII.
    let text = std::str::from_utf8(value.bytes).map_err(|_| Misfit::Type)?;
    text::push(builder, &field.data_type, text, &settings.coerce)
}
