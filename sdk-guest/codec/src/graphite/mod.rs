//! `graphite`: lines `path value [time]`, whose paths templates take apart.
//!
//! Lines of one message that have time, measurement and tags in common are one row, a field each. Both values of a field that
//! comes twice are kept: the n-th value of a field is in the n-th row of its point. Rows of a message are sorted by time.
//! Values are numbers as Carbon takes them, so `+5`, `007`, `.5`, `nan` and `inf` too; times are seconds since 1970, exactly, and
//! `-1` is the time of the message.

mod points;
mod settle;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::{
    points::{Point, points},
    template::Templates,
};
use crate::{
    Coerce, Decode, Decoded, Error, Input, Result, Schema, Unknown,
    columns::{Columns, Fault, Placed, Rest, Source, Value},
    messages,
    number::Grammar,
    reason::quote,
};

/// Settings of the decoder.
#[derive(Clone, Debug)]
pub struct GraphiteSettings {
    /// How paths are taken apart.
    pub templates: Vec<String>,
    /// What joins parts of the same name.
    pub separator: String,
    /// Tags of every row whose path and template have none of that name.
    pub tags: BTreeMap<String, String>,
    /// What tags and fields without a column do.
    pub unknown: Unknown,
    /// The column of those that are captured.
    pub unknown_column: String,
    /// Looser choices.
    pub coerce: Coerce,
}

impl Default for GraphiteSettings {
    fn default() -> Self {
        Self {
            templates: vec!["measurement*".into()],
            separator: ".".into(),
            tags: BTreeMap::new(),
            unknown: Unknown::default(),
            unknown_column: "_unknown".into(),
            coerce: Coerce::default(),
        }
    }
}

const SYNTAX: &str = "graphite.syntax";
const TYPE: &str = "graphite.type";
/// Numbers as Python's `float` takes them.
const NUMBERS: Grammar = Grammar { loose: true, blanks: false, words: true };

/// A running decoder.
#[derive(Debug)]
pub struct Graphite {
    settings: GraphiteSettings,
    templates: Templates,
    columns: Option<Columns>,
}

impl Graphite {
    /// A decoder that keeps to `schema`; without one the first sound messages settle it.
    ///
    /// # Errors
    /// Templates that cannot work, or a column of a type that no value has.
    pub fn new(settings: GraphiteSettings, schema: Option<Schema>) -> Result<Self> {
        let GraphiteSettings { templates, separator, tags, .. } = &settings;
        let templates = Templates::parse(templates, separator, tags).map_err(Error::Config)?;
        let columns = schema.map(|schema| settings.columns(schema)).transpose()?;
        Ok(Self { settings, templates, columns })
    }
}

impl GraphiteSettings {
    fn columns(&self, schema: Schema) -> Result<Columns> {
        Columns::new(schema, self.coerce.clone(), Rest::Unknown(self.unknown, self.unknown_column.clone()))
    }
}

impl Decode for Graphite {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        if self.columns.is_none() {
            let schema = settle::schema(input, &self.templates);
            self.columns = schema.map(|schema| self.settings.columns(schema)).transpose()?;
        }
        // Without one sound message there is no schema, and nothing but faults.
        let mut none = Columns::new(Schema::default(), Coerce::default(), Rest::Unwanted)?;
        let capture = self.settings.unknown == Unknown::Capture;
        let columns = self.columns.as_mut().unwrap_or(&mut none);
        let mut parts = Vec::new();
        messages::each(input, |index, message, value| {
            columns.begin();
            let sent = input.timestamp_ms(index);
            let rows = points(&self.templates, value, sent, &mut parts)
                .and_then(|points| points.iter().try_for_each(|point| row(point, capture, columns)));
            match rows {
                Ok(()) => columns.commit(message),
                Err(fault) => columns.fail(message, fault),
            }
        });
        columns.finish()
    }

    fn schema(&self) -> Option<&Schema> {
        self.columns.as_ref().map(Columns::schema)
    }
}

fn row(point: &Point<'_>, capture: bool, columns: &mut Columns) -> std::result::Result<(), Fault> {
    let misfit = |reason| (TYPE, reason);
    if let Some(time) = &point.time {
        columns.set("time", Value::Time(time.nanos), Source::new(time.written, time.place)).map_err(misfit)?;
    }
    let place = point.place;
    let measurement = &point.measurement;
    columns.set("measurement", Value::Text(measurement), Source::new(measurement, place)).map_err(misfit)?;
    for (name, value) in &point.tags {
        columns.set(name, Value::Text(value), Source::new(value, place)).map_err(misfit)?;
    }
    let mut known = capture;
    for field in &point.fields {
        let value = Value::Word(field.value, NUMBERS);
        let placed = columns.set(&field.name, value, Source::new(field.value, field.place)).map_err(misfit)?;
        known |= placed == Placed::Column;
    }
    if let (false, Some(first)) = (known, point.fields.first()) {
        return Err(misfit(format!(
            "none of the fields (the first is {}) has a column; declare `schema` with the columns you want",
            quote(first.name.as_bytes())
        )));
    }
    columns.end_row();
    Ok(())
}
