//! `influx`: InfluxDB's line protocol, one row per point.
//!
//! A point has the columns `time` and `measurement`, one for each tag (utf8) and one for each field. Line protocol
//! keeps tags and fields apart, but a table has one column per name: a point with the same name twice, or with a tag or
//! field called `time` or `measurement`, is a fault, so nothing is overwritten. If a name is a tag in one line and a
//! field in another, each value only has to fit the column. Without a schema the first valid messages settle one; tags
//! come before fields.

mod line;
mod settle;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::line::{Kind, Lines, Point};
use crate::{
    Coerce, Decode, Decoded, Evolve, Input, Result, Schema, Unknown, UnknownField,
    columns::{Columns, Fault, MOST_COLUMNS, Placed, Refusal, Rest, Source, Value},
    evolve, messages,
    reason::{Place, quote},
};

/// Unit of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Nanoseconds.
    #[default]
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl Precision {
    fn nanos(self) -> i128 {
        match self {
            Self::Ns => 1,
            Self::Us => 1_000,
            Self::Ms => 1_000_000,
            Self::S => 1_000_000_000,
        }
    }
}

/// Settings of the `influx` decoder; `S` is the type of a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "InfluxSettings")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, bound(deserialize = "S: Deserialize<'de>"))]
pub struct Settings<S> {
    /// Unit of the times in the lines, as in `s`; `ns` by default.
    pub precision: Precision,
    /// Columns and their types, as in `{time: "timestamp(ns, UTC)", measurement: utf8, host: utf8, usage: float64}`.
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
            precision: Precision::default(),
            schema: None,
            unknown: Unknown::default(),
            unknown_column: "_unknown".into(),
            evolve: Evolve::default(),
            coerce: Coerce::default(),
        }
    }
}

impl<S> Settings<S> {
    fn bare(&self) -> Settings<()> {
        Settings {
            precision: self.precision,
            schema: None,
            unknown: self.unknown,
            unknown_column: self.unknown_column.clone(),
            evolve: self.evolve,
            coerce: self.coerce.clone(),
        }
    }

    fn columns(&self, schema: Schema) -> Result<Columns> {
        Columns::new(schema, self.coerce.clone(), Rest::Unknown(self.unknown, self.unknown_column.clone()))
    }
}

const SYNTAX: &str = "influx.syntax";
const TYPE: &str = "influx.type";
const UNKNOWN: &str = "influx.unknown";
/// Columns of a point besides its tags and fields.
const OWN: [&str; 2] = ["time", "measurement"];

/// A running decoder.
#[derive(Debug)]
pub struct Influx {
    settings: Settings<()>,
    columns: Option<Columns>,
    names: Names,
    /// What the columns of one call may take.
    most: usize,
}

impl Influx {
    /// A decoder for `schema`; without one, the first valid messages settle it.
    ///
    /// # Errors
    /// A column type that no value has.
    pub fn new<S>(settings: &Settings<S>, schema: Option<Schema>) -> Result<Self> {
        settings.evolve.check(settings.unknown)?;
        let columns = schema.map(|schema| settings.columns(schema)).transpose()?;
        Ok(Self { settings: settings.bare(), columns, names: Names::default(), most: usize::MAX })
    }
}

impl Decode for Influx {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        if self.columns.is_none() {
            let schema = settle::schema(input, self.settings.precision, &mut self.names);
            self.columns = schema.map(|schema| self.settings.columns(schema)).transpose()?;
        }
        let Self { settings, columns, names, most } = self;
        // Without one sound message there is no schema, and nothing but faults.
        let mut none = Columns::new(Schema::default(), Coerce::default(), Rest::Unwanted)?;
        let columns = columns.as_mut().unwrap_or(&mut none);
        columns.limit(*most);
        let mut point = Point::default();
        messages::each(input, |index, message, value| {
            columns.begin();
            match rows(value, input.timestamp_ms(index), settings, names, &mut point, columns) {
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
        let Some(columns) = self.columns.as_ref().filter(|_| self.settings.evolve.adds()) else {
            return Ok(Schema::default());
        };
        let found = settle::schema(input, self.settings.precision, &mut self.names).unwrap_or_default();
        Ok(evolve::added(columns.schema(), &found, MOST_COLUMNS))
    }
}

/// The rows of one message.
fn rows<'a>(
    value: &'a [u8],
    sent_ms: Option<i64>,
    settings: &Settings<()>,
    names: &mut Names,
    point: &mut Point<'a>,
    columns: &mut Columns,
) -> std::result::Result<(), Fault> {
    let syntax = |reason| (SYNTAX, reason);
    let mut lines = Lines::new(messages::text(value).map_err(syntax)?);
    // A line of another type is told only where all lines are sound, so that the code does not depend on the schema.
    let mut misfit = Ok(());
    while lines.next(point).map_err(syntax)? {
        names.check(point)?;
        if misfit.is_ok() {
            let row = row(point, sent_ms, settings, columns).and_then(|()| columns.end_row());
            misfit = row.map_err(|refusal| refusal.fault(TYPE, UNKNOWN));
        }
    }
    misfit
}

fn row(
    point: &Point<'_>,
    sent_ms: Option<i64>,
    settings: &Settings<()>,
    columns: &mut Columns,
) -> std::result::Result<(), Refusal> {
    if let Some((count, written, place)) = point.time {
        let nanos = i128::from(count) * settings.precision.nanos();
        columns.set("time", Value::Time(nanos), Source::new(written, place))?;
    } else if let Some(sent) = sent_ms.filter(|_| columns.find("time").is_some()) {
        let source = Source::new("the time of the message", Place::Message);
        columns.set("time", Value::Time(i128::from(sent) * 1_000_000), source)?;
    }
    let measurement = &point.measurement;
    columns.set("measurement", Value::Text(&measurement.text), Source::new(&measurement.text, measurement.place))?;
    for (name, value) in &point.tags {
        columns.set(&name.text, Value::Text(&value.text), Source::new(&value.text, value.place))?;
    }
    let mut known = false;
    for (name, value) in &point.fields {
        let typed = match &value.kind {
            Kind::Float(number) => Value::Float(*number),
            Kind::Int(number) | Kind::UInt(number) => Value::Whole(*number),
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Text(text) => Value::Text(text),
        };
        known |= columns.set(&name.text, typed, Source::new(value.written, value.place))? == Placed::Column;
    }
    match (known || settings.unknown == Unknown::Capture, point.fields.first()) {
        (false, Some((first, _))) => Err(Refusal::Misfit(format!(
            "none of the fields (the first is {}) has a column; declare `schema` with the columns you want",
            quote(first.text.as_bytes())
        ))),
        _ => Ok(()),
    }
}

/// Detects repeated names in a point.
#[derive(Debug, Default)]
struct Names {
    order: Vec<usize>,
}

impl Names {
    /// # Errors
    /// Two values would share a column.
    fn check(&mut self, point: &Point<'_>) -> std::result::Result<(), Fault> {
        let tags = point.tags.len();
        let name = |at: usize| match at.checked_sub(tags) {
            None => point.tags.get(at).map(|(name, _)| name),
            Some(at) => point.fields.get(at).map(|(name, _)| name),
        };
        let text = |at: usize| name(at).map_or("", |name| &*name.text);
        let told = |at: usize| {
            let what = if at < tags { "tag" } else { "field" };
            let place = name(at).map_or(Place::Message, |name| name.place);
            (what, quote(text(at).as_bytes()), place)
        };
        self.order.clear();
        self.order.extend(0..tags + point.fields.len());
        if let Some(&own) = self.order.iter().find(|&&at| OWN.contains(&text(at))) {
            let (what, name, place) = told(own);
            let reason = format!("a {what} cannot be called {name}, which every point has already,{place}");
            return Err((SYNTAX, reason));
        }
        self.order.sort_unstable_by(|&a, &b| text(a).cmp(text(b)).then(a.cmp(&b)));
        let twice = self.order.windows(2).find(|pair| matches!(pair, [a, b] if text(*a) == text(*b)));
        match twice {
            Some([first, second]) => {
                let ((one, name, _), (other, _, place)) = (told(*first), told(*second));
                Err((SYNTAX, format!("there are two values for the column {name}: a {one} and a {other},{place}")))
            }
            _ => Ok(()),
        }
    }
}
