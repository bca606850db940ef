//! `syslog`: RFC 5424 and RFC 3164, by syslog_loose.

use std::{cell::Cell as Flag, sync::Arc};

use arrow::{
    array::timezone::Tz,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use syslog_loose::{Message, Protocol, Variant, parse_message_with_year_exact_tz};

use super::{
    Native, Rows,
    cells::{Cell, map_of},
    rows::{Parsed, Row},
};
use crate::{
    data::Messages,
    producer::{Error, SchemaText, UnknownFields},
};

/// Settings of the native `syslog` decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyslogSpec {
    /// Which of the two formats is taken, as in `rfc5424`.
    pub format: SyslogFormat,
    /// How structured data is kept, as in `map`.
    #[serde(alias = "structured_data")]
    pub structured_data: StructuredData,
    /// Offset of times that name none (RFC 3164), as in `+02:00`.
    pub timezone: String,
    /// The columns you want, as in `{timestamp: "timestamp(us, UTC)", hostname: utf8, message: utf8}`. Without it: `timestamp`,
    /// `facility`, `severity`, `hostname`, `appname`, `procid`, `msgid`, `structured_data`, `message`.
    pub schema: Option<SchemaText>,
}

impl Default for SyslogSpec {
    fn default() -> Self {
        Self {
            format: SyslogFormat::default(),
            structured_data: StructuredData::default(),
            timezone: "+00:00".into(),
            schema: None,
        }
    }
}

/// Formats of syslog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    /// Either, as each message is.
    #[default]
    Auto,
    /// The newer one, with a version.
    Rfc5424,
    /// The older one, with a date that has no year: the year is that of the message's timestamp.
    Rfc3164,
}

/// How structured data is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StructuredData {
    /// As JSON text, `{"id":{"name":"value"}}`.
    #[default]
    Json,
    /// As a map of `id.name` to value.
    Map,
}

impl SyslogSpec {
    fn zone(&self) -> Result<Tz, String> {
        let wrong = |_| format!("the timezone `{}` is no offset; write it like +02:00", self.timezone);
        self.timezone.parse().map_err(wrong)
    }
}

/// A running `syslog` decoder.
#[derive(Debug)]
pub(super) struct Syslog {
    variant: Variant,
    structured: StructuredData,
    zone: Tz,
    schema: SchemaRef,
}

impl Syslog {
    pub(super) fn new(spec: &SyslogSpec, schema: Option<SchemaRef>) -> Result<Self, String> {
        let variant = match spec.format {
            SyslogFormat::Auto => Variant::Either,
            SyslogFormat::Rfc5424 => Variant::RFC5424,
            SyslogFormat::Rfc3164 => Variant::RFC3164,
        };
        let schema = schema.unwrap_or_else(|| columns(spec.structured_data));
        Ok(Self { variant, structured: spec.structured_data, zone: spec.zone()?, schema })
    }

    fn row(&self, value: &[u8], sent: Option<i64>) -> Result<Row, String> {
        let text = std::str::from_utf8(value).map_err(|_| "the message is not UTF-8".to_owned())?;
        let sent = sent.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let sent = sent.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
        let asked = Flag::new(false);
        // Sent in December and arrived in January: the year before. Without a timestamp nothing says which year it is.
        let year = |(month, ..): (u32, u32, u32, u32, u32)| {
            asked.set(true);
            sent.map_or(1970, |sent| match (month, sent.month()) {
                (12, 1) => i32::from(sent.year()) - 1,
                (1, 12) => i32::from(sent.year()) + 1,
                _ => sent.year().into(),
            })
        };
        let text = text.trim_end_matches(['\r', '\n', '\0']);
        let message = parse_message_with_year_exact_tz(text, year, Some(self.zone), self.variant)?;
        let dated = !(asked.get() && sent.is_none() && message.protocol == Protocol::RFC3164);
        let time = message
            .timestamp
            .filter(|_| dated)
            .map(|at| Cell::Time(i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos())));
        let text = |text: Option<&str>| text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()));
        let cells = [
            ("timestamp", time.unwrap_or(Cell::Null)),
            ("facility", text(message.facility.map(|facility| facility.as_str()))),
            ("severity", text(message.severity.map(|severity| severity.as_str()))),
            ("hostname", text(message.hostname)),
            ("appname", text(message.appname)),
            ("procid", message.procid.as_ref().map_or(Cell::Null, |procid| Cell::Text(procid.to_string()))),
            ("msgid", text(message.msgid)),
            ("structured_data", self.structured(&message)),
            ("message", text(Some(message.msg))),
        ];
        let cells: Vec<_> = cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect();
        Ok(Row { fields: cells.len(), cells })
    }

    fn structured(&self, message: &Message<&str>) -> Cell {
        if message.structured_data.is_empty() {
            return Cell::Null;
        }
        match self.structured {
            StructuredData::Json => {
                let params = |element: &syslog_loose::StructuredElement<&str>| {
                    let params = element.params().map(|(name, value)| ((*name).to_owned(), value.into()));
                    params.collect::<serde_json::Map<_, _>>()
                };
                let elements = message.structured_data.iter();
                let elements = elements.map(|element| (element.id.to_owned(), params(element).into()));
                Cell::Text(serde_json::Value::Object(elements.collect()).to_string())
            }
            StructuredData::Map => {
                let mut entries = Vec::new();
                for element in &message.structured_data {
                    for (name, value) in element.params() {
                        entries.push((Cell::Text(format!("{}.{name}", element.id)), Cell::Text(value)));
                    }
                }
                Cell::Map(entries)
            }
        }
    }
}

impl Native for Syslog {
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let parsed = Parsed::all(messages, |value, sent| {
            let row = self.row(value, sent).map_err(|reason| ("syslog.syntax", reason))?;
            Ok(vec![row])
        });
        parsed.fit("syslog", &self.schema, UnknownFields::Ignore, "syslog.type")
    }
}

fn columns(structured: StructuredData) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let structured = match structured {
        StructuredData::Json => DataType::Utf8,
        StructuredData::Map => map_of(DataType::Utf8, DataType::Utf8),
    };
    let names = ["facility", "severity", "hostname", "appname", "procid", "msgid"];
    let mut fields = vec![Field::new("timestamp", time, true)];
    fields.extend(names.map(|name| Field::new(name, DataType::Utf8, true)));
    fields.push(Field::new("structured_data", structured, true));
    fields.push(Field::new("message", DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}
