//! `graphite`: lines `path value [time]`, with templates to split the path.
//!
//! Lines of one message with the same time, measurement and tags are one row, one field each. If a field is repeated,
//! both values are kept: its n-th value is in the n-th row of the point. Rows of a message are sorted by time. Values
//! are numbers as Carbon accepts them, including `+5`, `007`, `.5`, `nan` and `inf`; times are seconds since 1970,
//! exactly, and `-1` is the time of the message.

mod points;
mod settle;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    points::{Point, points},
    template::Templates,
};
use crate::{
    Coerce, Decode, Decoded, Error, Evolve, Input, Result, Schema, Unknown, UnknownField,
    columns::{Columns, Fault, MOST_COLUMNS, Placed, Refusal, Rest, Source, Value},
    evolve, messages,
    number::Grammar,
    reason::{Place, quote},
};

/// Settings of the `graphite` decoder; `S` is the type of a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GraphiteSettings")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, bound(deserialize = "S: Deserialize<'de>"))]
pub struct Settings<S> {
    /// How to split paths, as in `servers.* .host.measurement.field* dc=eu`: a filter (a template without one is a
    /// default), the parts (`measurement`, `field`, a tag, or nothing to skip one; a last `measurement*` or `field*`
    /// takes the rest) and tags to add. If several filters match, the most specific one counts.
    pub templates: Vec<String>,
    /// The separator between parts with the same name, as in `_`.
    pub separator: String,
    /// Default tags for rows whose path and template do not set them, as in `{dc: eu}`.
    pub tags: BTreeMap<String, String>,
    /// Columns and their types, as in `{time: "timestamp(s, UTC)", measurement: utf8, host: utf8, value: float64}`.
    /// Without it: `time`, `measurement`, and the tags and fields of the first messages, which are then fixed.
    pub schema: Option<S>,
    /// What to do with a message that has a tag or field outside the schema.
    pub unknown: Unknown,
    /// The JSON text column that `unknown: capture` adds: `{"host": "a", "usage": 7}`.
    pub unknown_column: String,
    /// `add-columns`: tags and fields outside the schema become nullable columns, from the commit with their first
    /// values on. Not with `unknown`.
    #[serde(skip_serializing_if = "Evolve::is_none")]
    pub evolve: Evolve,
    /// Looser choices, each by name and off by default.
    pub coerce: Coerce,
}

impl<S> Default for Settings<S> {
    fn default() -> Self {
        Self {
            templates: vec!["measurement*".into()],
            separator: ".".into(),
            tags: BTreeMap::new(),
            schema: None,
            unknown: Unknown::default(),
            unknown_column: "_unknown".into(),
            evolve: Evolve::default(),
            coerce: Coerce::default(),
        }
    }
}

const SYNTAX: &str = "graphite.syntax";
const TYPE: &str = "graphite.type";
const UNKNOWN: &str = "graphite.unknown";
/// Numbers as accepted by Python's `float`.
const NUMBERS: Grammar = Grammar { loose: true, blanks: false, words: true };

/// A running decoder.
#[derive(Debug)]
pub struct Graphite {
    templates: Templates,
    columns: Option<Columns>,
    settled: Settled,
    /// What the columns of one call may take.
    most: usize,
}

/// What the schema does not say about the columns.
#[derive(Clone, Debug)]
struct Settled {
    unknown: Unknown,
    unknown_column: String,
    evolve: Evolve,
    coerce: Coerce,
}

impl Graphite {
    /// A decoder for `schema`; without one, the first valid messages settle it.
    ///
    /// # Errors
    /// Invalid templates, or a column type that no value has.
    pub fn new<S>(settings: &Settings<S>, schema: Option<Schema>) -> Result<Self> {
        let Settings { templates, separator, tags, unknown, unknown_column, evolve, coerce, .. } = settings;
        evolve.check(*unknown)?;
        let templates = Templates::parse(templates, separator, tags).map_err(Error::Config)?;
        let (unknown_column, coerce) = (unknown_column.clone(), coerce.clone());
        let settled = Settled { unknown: *unknown, unknown_column, evolve: *evolve, coerce };
        let columns = schema.map(|schema| settled.columns(schema)).transpose()?;
        Ok(Self { templates, columns, settled, most: usize::MAX })
    }
}

impl Settled {
    fn columns(&self, schema: Schema) -> Result<Columns> {
        Columns::new(schema, self.coerce.clone(), Rest::Unknown(self.unknown, self.unknown_column.clone()))
    }
}

impl Decode for Graphite {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        if self.columns.is_none() {
            let schema = settle::schema(input, &self.templates);
            self.columns = schema.map(|schema| self.settled.columns(schema)).transpose()?;
        }
        // Without one sound message there is no schema, and nothing but faults.
        let mut none = Columns::new(Schema::default(), Coerce::default(), Rest::Unwanted)?;
        let capture = self.settled.unknown == Unknown::Capture;
        let columns = self.columns.as_mut().unwrap_or(&mut none);
        columns.limit(self.most);
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

    fn limit(&mut self, bytes: usize) {
        self.most = bytes;
    }

    fn schema(&self) -> Option<&Schema> {
        self.columns.as_ref().map(Columns::schema)
    }

    fn added(&mut self, input: &Input<'_>, _: &[UnknownField]) -> Result<Schema> {
        let Some(columns) = self.columns.as_ref().filter(|_| self.settled.evolve.adds()) else {
            return Ok(Schema::default());
        };
        let found = settle::schema(input, &self.templates).unwrap_or_default();
        Ok(evolve::added(columns.schema(), &found, MOST_COLUMNS))
    }
}

fn row(point: &Point<'_>, capture: bool, columns: &mut Columns) -> std::result::Result<(), Fault> {
    let refused = |refusal: Refusal| refusal.fault(TYPE, UNKNOWN);
    // The time of the message is asked for by a column alone.
    let time = point.time.as_ref().filter(|time| time.place != Place::Message || columns.find("time").is_some());
    if let Some(time) = time {
        columns.set("time", Value::Time(time.nanos), Source::new(time.written, time.place)).map_err(refused)?;
    }
    let place = point.place;
    let measurement = &point.measurement;
    columns.set("measurement", Value::Text(measurement), Source::new(measurement, place)).map_err(refused)?;
    for (name, value) in &point.tags {
        columns.set(name, Value::Text(value), Source::new(value, place)).map_err(refused)?;
    }
    let mut known = capture;
    for field in &point.fields {
        let value = Value::Word(field.value, NUMBERS);
        let placed = columns.set(&field.name, value, Source::new(field.value, field.place)).map_err(refused)?;
        known |= placed == Placed::Column;
    }
    if let (false, Some(first)) = (known, point.fields.first()) {
        let reason = format!(
            "none of the fields (the first is {}) has a column; declare `schema` with the columns you want",
            quote(first.name.as_bytes())
        );
        return Err((TYPE, reason));
    }
    columns.end_row().map_err(refused)
}
