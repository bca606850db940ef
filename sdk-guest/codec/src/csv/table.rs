//! Rows under construction: puts values into the columns of the schema.

use std::collections::HashMap;

use super::{Cell, Reader, Settings, Value, names::Names, record::Texts};
use crate::{
    Array, ArrayBuilder, Batch, DataType, Field, Schema, Unknown, UnknownField,
    budget::{Budget, RESERVED},
    number::{short_float, short_integer},
    reason::Misfit,
    text,
    unknown::Counter,
};

/// The typed columns, and the rows so far.
#[derive(Debug)]
pub(super) struct Table {
    schema: Schema,
    places: HashMap<String, usize>,
    builders: Vec<ArrayBuilder>,
    /// The capture column.
    capture: Option<usize>,
    rows: usize,
    counter: Counter,
    /// Counter slots, by name.
    slots: HashMap<String, u32>,
    budget: Budget,
}

/// Where the columns of a table are in records of one header.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) names: Names,
    /// By column of the table.
    sources: Vec<Option<usize>>,
    /// Names without a column: where they are, and where they are counted.
    unknown: Vec<(usize, u32)>,
}

/// What is wrong with a record, and with which of its values.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It has this many values.
    Width(usize),
    /// The value in this cell, for this column.
    Value { cell: usize, column: usize, misfit: Misfit },
}

impl Table {
    /// A table of `schema`, optionally with a capture column.
    pub(super) fn new(schema: Schema, capture: Option<&str>) -> Self {
        let mut fields = schema.fields().to_vec();
        if let Some(name) = capture.filter(|name| fields.iter().all(|field| field.name != *name)) {
            fields.push(Field::new(name, DataType::Utf8));
        }
        let capture = capture.and_then(|name| fields.iter().position(|field| field.name == name));
        let named = fields.iter().enumerate().filter(|(index, _)| Some(*index) != capture);
        let places = named.map(|(index, field)| (field.name.clone(), index)).collect();
        let builders = ArrayBuilder::all(&fields);
        let (counter, slots) = (Counter::default(), HashMap::new());
        let budget = Budget::default();
        Self { schema: Schema::new(fields), places, builders, capture, rows: 0, counter, slots, budget }
    }

    /// The names of the columns, without the capture column.
    pub(super) fn names(&self) -> Names {
        let fields = self.schema.fields().iter().enumerate().filter(|(index, _)| Some(*index) != self.capture);
        Names::new(fields.map(|(_, field)| field.name.clone()).collect())
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What the columns of one call may take.
    pub(super) fn limit(&mut self, bytes: usize) {
        self.budget = Budget::of(bytes);
    }

    /// How records with these names become rows.
    ///
    /// # Errors
    /// No name is a column, or one has no column but must have one.
    pub(super) fn layout(&mut self, names: Names, policy: Unknown) -> Result<Layout, String> {
        let mut sources = vec![None; self.schema.fields().len()];
        let mut unknown = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.places.get(name).and_then(|&column| sources.get_mut(column)) {
                Some(source) => *source = Some(index),
                None => {
                    let counter = &mut self.counter;
                    let slot = self.slots.entry(name.to_owned()).or_insert_with(|| counter.slot(name.to_owned()));
                    unknown.push((index, *slot));
                }
            }
        }
        if sources.iter().all(Option::is_none) {
            return Err(format!(
                "the header names none of the columns: it is {names}, and the columns are {}; `header: false` if there is none",
                self.names()
            ));
        }
        match unknown.first().and_then(|&(index, _)| names.get(index)) {
            Some(name) if policy == Unknown::Fail => Err(format!(
                "the header names `{}`, which is no column; the columns are {}",
                name.escape_debug(),
                self.names()
            )),
            _ => Ok(Layout { names, sources, unknown }),
        }
    }

    /// Reserves space for this many rows.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn try_reserve(&mut self, rows: usize) -> crate::Result<()> {
        let rows = rows.min(RESERVED / self.builders.len().max(1));
        self.builders.iter_mut().try_for_each(|builder| builder.try_reserve(rows))
    }

    /// Adds a record as a row, or nothing of it.
    pub(super) fn push(
        &mut self,
        layout: &Layout,
        settings: &Settings<()>,
        reader: &Reader,
        texts: &Texts<'_>,
        record: usize,
    ) -> Result<(), Unfit> {
        let cells = reader.cells(record);
        if cells.len() != layout.names.len() {
            return Err(Unfit::Width(cells.len()));
        }
        if !self.budget.admits((self.rows + 1).saturating_mul(self.builders.len())) {
            return Ok(());
        }
        let columns = self.schema.fields().iter().zip(&mut self.builders).zip(&layout.sources);
        for (column, ((field, builder), source)) in columns.enumerate() {
            let Some((cell, &at)) = source.and_then(|cell| Some((cell, cells.get(cell)?))) else {
                if self.capture == Some(column) && !layout.unknown.is_empty() {
                    capture(builder, layout, settings, reader, texts.bytes, cells);
                } else {
                    builder.push_null();
                }
                continue;
            };
            let value = reader.value(texts.bytes, at);
            if settings.is_null(value) {
                builder.push_null();
            } else if let Err(misfit) = push(builder, field, value, || texts.text(at, value), settings) {
                self.undo(self.rows);
                return Err(Unfit::Value { cell, column, misfit });
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Removes all rows from `rows` on, and values pushed for one that did not fit.
    pub(super) fn undo(&mut self, rows: usize) {
        self.builders.iter_mut().for_each(|builder| builder.truncate(rows));
        self.rows = rows;
    }

    /// Counts a message whose rows have columns outside the schema.
    pub(super) fn count_unknown(&mut self, layout: &Layout) {
        if !layout.unknown.is_empty() {
            layout.unknown.iter().for_each(|&(_, slot)| self.counter.touch(slot));
            self.counter.end(true);
        }
    }

    /// The rows since the last call, and the columns outside the schema.
    pub(super) fn finish(&mut self) -> crate::Result<(Batch, Vec<UnknownField>)> {
        if let Err(error) = self.budget.settle(&mut self.builders, self.rows) {
            self.rows = 0;
            drop(self.counter.take());
            return Err(error);
        }
        let columns: Vec<Array> = self.builders.iter_mut().map(ArrayBuilder::finish).collect();
        let batch = Batch::new(self.schema.clone(), columns, std::mem::take(&mut self.rows))?;
        Ok((batch, self.counter.take()))
    }
}

/// Adds the values without a column, by name, as JSON text.
fn capture(
    builder: &mut ArrayBuilder,
    layout: &Layout,
    settings: &Settings<()>,
    reader: &Reader,
    bytes: &[u8],
    cells: &[Cell],
) {
    let value = |index: usize| {
        cells.get(index).map(|&cell| reader.value(bytes, cell)).filter(|value| !settings.is_null(*value))
    };
    let text = |value: Value<'_>| serde_json::Value::from(String::from_utf8_lossy(value.bytes).into_owned());
    let named = layout.unknown.iter().filter_map(|&(index, _)| Some((layout.names.get(index)?, index)));
    builder.write_bytes(|out| {
        for (count, (name, index)) in named.enumerate() {
            let value = value(index).map_or(serde_json::Value::Null, text);
            let begin = if count == 0 { '{' } else { ',' };
            out.extend_from_slice(format!("{begin}{}:{value}", serde_json::Value::from(name)).as_bytes());
        }
        out.push(b'}');
        true
    });
}

/// Adds a value, as the string that `text` returns.
#[inline]
fn push<'a>(
    builder: &mut ArrayBuilder,
    field: &Field,
    value: Value<'_>,
    text: impl FnOnce() -> Option<&'a str>,
    settings: &Settings<()>,
) -> Result<(), Misfit> {
    // The types that almost all columns have take the short way.
    let pushed = match field.data_type {
        DataType::Utf8 => Some(builder.push_bytes(value.bytes)),
        DataType::Int64 => short_integer(value.bytes).map(|value| builder.push_fixed(value.to_le_bytes())),
        DataType::Int32 => {
            let value = short_integer(value.bytes).and_then(|value| i32::try_from(value).ok());
            value.map(|value| builder.push_fixed(value.to_le_bytes()))
        }
        DataType::Boolean => match value.bytes {
            b"true" => Some(builder.push_bool(true)),
            b"false" => Some(builder.push_bool(false)),
            _ => None,
        },
        DataType::Float64 => short_float(value.bytes).map(|value| builder.push_fixed(value.to_le_bytes())),
        _ => None,
    };
    match pushed {
        Some(true) => Ok(()),
        _ => text::push(builder, &field.data_type, text().ok_or(Misfit::Type)?, &settings.coerce),
    }
}
