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
    Coerce, Decode, Decoded, Error, Input, Result, Schema,
    columns::{Columns, Fault, Placed, Source, Value, can_build},
    messages,
    number::Grammar,
    reason::{Place, quote},
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
    /// Whether a tag or field without a column makes its message a fault; else it is left out and counted.
    pub fail_unknown: bool,
    /// Looser choices.
    pub coerce: Coerce,
}

impl Default for GraphiteSettings {
    fn default() -> Self {
        Self {
            templates: vec!["measurement*".into()],
            separator: ".".into(),
            tags: BTreeMap::new(),
            fail_unknown: false,
            coerce: Coerce::default(),
        }
    }
}

const SYNTAX: &str = "graphite.syntax";
const TYPE: &str = "graphite.type";
const LIMIT: &str = "graphite.limit";
/// Numbers as Python's `float` takes them.
const NUMBERS: Grammar = Grammar { loose: true, blanks: false, words: true };

/// A running decoder.
#[derive(Debug)]
pub struct Graphite {
    templates: Templates,
    fail_unknown: bool,
    coerce: Coerce,
    columns: Option<Columns>,
}

impl Graphite {
    /// A decoder that keeps to `schema`; without one the first sound messages settle it.
    ///
    /// # Errors
    /// Templates that cannot work, or a column of a type that no value has.
    pub fn new(settings: GraphiteSettings, schema: Option<Schema>) -> Result<Self> {
        if let Some(field) = schema.iter().flat_map(Schema::fields).find(|field| !can_build(&field.data_type)) {
            return Err(Error::config(format!("column `{}` has a type that no value has; choose another", field.name)));
        }
        let GraphiteSettings { templates, separator, tags, fail_unknown, coerce } = settings;
        let templates = Templates::parse(&templates, &separator, &tags).map_err(Error::Config)?;
        let columns = schema.map(|schema| Columns::new(schema, coerce.clone()));
        Ok(Self { templates, fail_unknown, coerce, columns })
    }
}

impl Decode for Graphite {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        if self.columns.is_none() {
            let schema = settle::schema(input, &self.templates);
            self.columns = schema.map(|schema| Columns::new(schema, self.coerce.clone()));
        }
        // Without one sound message there is no schema, and nothing but faults.
        let mut none = Columns::new(Schema::default(), Coerce::default());
        let columns = self.columns.as_mut().unwrap_or(&mut none);
        let mut parts = Vec::new();
        messages::each(input, |index, message, value| {
            columns.begin();
            let sent = input.timestamp_ms(index);
            let rows = points(&self.templates, value, sent, &mut parts).and_then(|points| {
                points.iter().try_for_each(|point| row(point, self.fail_unknown, columns))
            });
            match rows {
                Ok(()) => columns.commit(message),
                Err((code, reason)) => columns.fail(message, code, reason),
            }
        });
        columns.finish()
    }

    fn schema(&self) -> Option<&Schema> {
        self.columns.as_ref().map(Columns::schema)
    }
}

fn row(point: &Point<'_>, fail_unknown: bool, columns: &mut Columns) -> std::result::Result<(), Fault> {
    let misfit = |reason| (TYPE, reason);
    let missing = |name: &str, place: Place| {
        misfit(format!("the schema has no column {},{place}; `unknown: fail` wants one", quote(name.as_bytes())))
    };
    if let Some(time) = &point.time {
        columns.set("time", Value::Time(time.nanos), Source::new(time.written, time.place)).map_err(misfit)?;
    }
    let place = point.place;
    let measurement = &point.measurement;
    columns.set("measurement", Value::Text(measurement), Source::new(measurement, place)).map_err(misfit)?;
    for (name, value) in &point.tags {
        let placed = columns.set(name, Value::Text(value), Source::new(value, place)).map_err(misfit)?;
        if placed == Placed::Nowhere && fail_unknown {
            return Err(missing(name, place));
        }
    }
    let mut known = false;
    for field in &point.fields {
        let value = Value::Word(field.value, NUMBERS);
        match columns.set(&field.name, value, Source::new(field.value, field.place)).map_err(misfit)? {
            Placed::Column => known = true,
            Placed::Nowhere if fail_unknown => return Err(missing(&field.name, field.place)),
            Placed::Nowhere => {}
        }
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
