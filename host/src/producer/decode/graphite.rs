//! `graphite`: lines `path value [time]`, whose paths templates take apart.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Native, Rows,
    cells::Cell,
    rows::{Parsed, Row, widen},
    template::{Taken, Templates},
};
use crate::{
    data::Messages,
    producer::{Error, SchemaText, UnknownFields},
};

/// Settings of the native `graphite` decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GraphiteSpec {
    /// How paths are taken apart, as in `servers.* .host.measurement.field* dc=eu`: a filter (without one it is a
    /// default), the parts (`measurement`, `field`, a tag, or nothing to skip one; a last `measurement*` or `field*`
    /// takes the rest) and tags to add. Where several filters match, the most specific one counts.
    pub templates: Vec<String>,
    /// What joins parts of the same name, as in `_`.
    pub separator: String,
    /// Tags of every row whose path and template have none of that name, as in `{dc: eu}`.
    pub tags: std::collections::BTreeMap<String, String>,
    /// Columns and their types, as in `{time: "timestamp(s, UTC)", measurement: utf8, host: utf8, value: float64}`.
    /// Without it: `time`, `measurement`, tags and fields of the first messages, which then stay.
    pub schema: Option<SchemaText>,
    /// What a tag or field outside the schema does to its message.
    pub unknown: UnknownFields,
}

impl Default for GraphiteSpec {
    fn default() -> Self {
        Self {
            templates: vec!["measurement*".into()],
            separator: ".".into(),
            tags: Default::default(),
            schema: None,
            unknown: UnknownFields::default(),
        }
    }
}

/// A running `graphite` decoder.
#[derive(Debug)]
pub(super) struct Graphite {
    templates: Templates,
    schema: Option<SchemaRef>,
    unknown: UnknownFields,
}

impl Graphite {
    pub(super) fn new(spec: &GraphiteSpec, schema: Option<SchemaRef>) -> Result<Self, String> {
        let templates = Templates::parse(&spec.templates, &spec.separator, &spec.tags)?;
        Ok(Self { templates, schema, unknown: spec.unknown })
    }
}

impl Native for Graphite {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let mut tags = self.templates.tags();
        let parsed = Parsed::all(messages, |value, sent| {
            let points = points(&self.templates, value, sent).map_err(|reason| ("graphite.syntax", reason))?;
            points.iter().flat_map(|point| &point.tags).for_each(|(name, _)| tags.push(name.clone()));
            Ok(points.into_iter().map(Point::row).collect())
        });
        if self.schema.is_none() && parsed.rows().next().is_some() {
            self.schema = Some(infer(tags, &parsed));
        }
        match &self.schema {
            Some(schema) => parsed.fit("graphite", schema, self.unknown, "graphite.type"),
            None => Ok(parsed.unsettled()),
        }
    }
}

/// One row as it grows.
#[derive(Debug)]
struct Point {
    time: Option<i128>,
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, String)>,
}

impl Point {
    fn row(self) -> Row {
        let mut cells = vec![
            ("time".to_owned(), self.time.map_or(Cell::Null, Cell::Time)),
            ("measurement".to_owned(), Cell::Text(self.measurement)),
        ];
        cells.extend(self.tags.into_iter().map(|(name, value)| (name, Cell::Text(value))));
        let fields = cells.len();
        cells.extend(self.fields.into_iter().map(|(name, value)| (name, Cell::Word(value))));
        Row { cells, fields }
    }
}

/// The rows of one message, by time; lines of the same time, measurement and tags are one.
fn points(templates: &Templates, value: &[u8], sent: Option<i64>) -> Result<Vec<Point>, String> {
    let text = std::str::from_utf8(value).map_err(|_| "the message is not UTF-8".to_owned())?;
    let sent = sent.map(|ms| i128::from(ms) * 1_000_000);
    let mut points: Vec<Point> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_ascii_whitespace();
        let (Some(path), Some(value), time, None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(format!("`{line}` is not `path value [time]`"));
        };
        let time = time.map_or(Ok(None), seconds)?.or(sent);
        let Taken { measurement, tags, field } = templates.take(path)?;
        let at = *known.entry((time, measurement.clone(), tags.clone())).or_insert_with(|| {
            points.push(Point { time, measurement, tags, fields: Vec::new() });
            points.len() - 1
        });
        // The first value of a field counts.
        if points[at].fields.iter().all(|(name, _)| *name != field) {
            points[at].fields.push((field, value.to_owned()));
        }
    }
    points.sort_by_key(|point| (point.time.is_none(), point.time));
    Ok(points)
}

/// Nanoseconds of a time in seconds; -1 means that the sender has none.
fn seconds(text: &str) -> Result<Option<i128>, String> {
    let wrong = || format!("the time `{text}` is no number of seconds since 1970");
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(whole) => Ok(Some(i128::from(whole) * 1_000_000_000)),
        Err(_) => match text.parse::<f64>() {
            // Milliseconds are what a float of this size can hold.
            Ok(part) if part.abs() < 1e12 => Ok(Some((part * 1e3).round() as i128 * 1_000_000)),
            _ => Err(wrong()),
        },
    }
}

fn infer(mut tags: Vec<String>, parsed: &Parsed) -> SchemaRef {
    tags.sort_unstable();
    tags.dedup();
    let mut fields = Vec::new();
    for row in parsed.rows() {
        row.cells[row.fields..].iter().for_each(|(name, cell)| widen(&mut fields, name, cell));
    }
    fields.retain(|(name, _)| !tags.contains(name));
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let columns = [("time".to_owned(), time), ("measurement".to_owned(), DataType::Utf8)]
        .into_iter()
        .chain(tags.into_iter().map(|tag| (tag, DataType::Utf8)))
        .chain(fields);
    Arc::new(Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).collect::<Vec<_>>()))
}
