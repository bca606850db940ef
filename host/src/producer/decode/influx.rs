//! `influx`: InfluxDB's line protocol, one point a row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use influxdb_line_protocol::{FieldValue, ParsedLine, parse_lines, split_lines};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Native, Rows,
    cells::Cell,
    rows::{Parsed, Row, widen},
};
use crate::{
    data::Messages,
    producer::{Error, SchemaText, UnknownFields},
};

/// Settings of the native `influx` decoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InfluxSpec {
    /// Unit of the times in the lines, as in `s`; `ns` without it.
    pub precision: Precision,
    /// Columns and their types, as in `{time: "timestamp(ns, UTC)", measurement: utf8, host: utf8, usage: float64}`.
    /// Without it: `time`, `measurement`, tags and fields of the first messages, which then stay.
    pub schema: Option<SchemaText>,
    /// What a tag or field outside the schema does to its message.
    pub unknown: UnknownFields,
}

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

/// A running `influx` decoder.
#[derive(Debug)]
pub(super) struct Influx {
    precision: Precision,
    schema: Option<SchemaRef>,
    unknown: UnknownFields,
}

impl Influx {
    pub(super) fn new(spec: &InfluxSpec, schema: Option<SchemaRef>) -> Self {
        Self { precision: spec.precision, schema, unknown: spec.unknown }
    }
}

impl Native for Influx {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let precision = self.precision;
        let parsed = Parsed::all(messages, |value, sent| {
            let text = std::str::from_utf8(value).map_err(|_| ("influx.syntax", "the message is not UTF-8".into()))?;
            // Lines are told apart first, because some writers end them in \r\n, which the parser does not take.
            let lines = split_lines(text).flat_map(|line| parse_lines(line.trim_end_matches('\r')));
            let rows = lines.map(|line| row(&line.map_err(|error| error.to_string())?, precision, sent));
            rows.collect::<Result<_, String>>().map_err(|reason| ("influx.syntax", reason))
        });
        if self.schema.is_none() && parsed.rows().next().is_some() {
            self.schema = Some(infer(&parsed));
        }
        match &self.schema {
            Some(schema) => parsed.fit("influx", schema, self.unknown, "influx.type"),
            None => Ok(parsed.unsettled()),
        }
    }
}

fn row(line: &ParsedLine<'_>, precision: Precision, sent: Option<i64>) -> Result<Row, String> {
    let own = line.timestamp.map(|time| i128::from(time) * precision.nanos());
    let time = own.or(sent.map(|ms| i128::from(ms) * 1_000_000));
    let mut cells = vec![
        ("time".to_owned(), time.map_or(Cell::Null, Cell::Time)),
        ("measurement".to_owned(), Cell::Text(line.series.measurement.to_string())),
    ];
    let tags = line.series.tag_set.iter().flatten();
    cells.extend(tags.map(|(name, value)| (name.to_string(), Cell::Text(value.to_string()))));
    let fields = cells.len();
    for (name, value) in &line.field_set {
        let value = match value {
            FieldValue::I64(value) => Cell::Int((*value).into()),
            FieldValue::U64(value) => Cell::Int((*value).into()),
            FieldValue::F64(value) => Cell::Float(*value),
            FieldValue::String(value) => Cell::Text(value.to_string()),
            FieldValue::Boolean(value) => Cell::Bool(*value),
        };
        cells.push((name.to_string(), value));
    }
    let mut names: Vec<&str> = cells.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("there are two values for the column `{}`", pair[0])),
        None => Ok(Row { cells, fields }),
    }
}

fn infer(parsed: &Parsed) -> SchemaRef {
    let (mut tags, mut fields) = (Vec::new(), Vec::new());
    for row in parsed.rows() {
        row.cells[2..row.fields].iter().for_each(|(name, cell)| widen(&mut tags, name, cell));
        row.cells[row.fields..].iter().for_each(|(name, cell)| widen(&mut fields, name, cell));
    }
    fields.retain(|(name, _)| tags.iter().all(|(tag, _)| tag != name));
    tags.sort_by(|a, b| a.0.cmp(&b.0));
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let first = [("time".to_owned(), time), ("measurement".to_owned(), DataType::Utf8)];
    let columns = first.into_iter().chain(tags).chain(fields);
    Arc::new(Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).collect::<Vec<_>>()))
}
