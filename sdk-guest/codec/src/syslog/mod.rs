//! `syslog`: RFC 5424 strictly, and RFC 3164 as senders write it.
//!
//! Columns: `timestamp`, `facility`, `severity`, `hostname`, `appname`, `procid`, `msgid`, `structured_data`,
//! `message`; absent parts are null. A time without a zone gets that of the settings, a fixed offset: there is no zone
//! database here. A time without a year gets that of the settings, or the newest year in which it is at most a day
//! after its message was sent or, in files, after its file was written (the attribute `modified`); if neither is known,
//! the message is a fault.

mod message;
mod rfc3164;
mod rfc5424;
mod structured;
#[cfg(test)]
mod tests;
mod time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    message::{Message, Part, parse, told},
    time::Missing,
};
use crate::{
    Coerce, DataType, Decode, Decoded, Error, Field, Input, Result, Schema, TimeUnit,
    columns::{Columns, Fault, Rest, Source, Value},
    messages,
    number::Grammar,
    reason::Place,
};

/// The syslog formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SyslogFormat")]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Either, decided per message.
    #[default]
    Auto,
    /// The newer one, with a version.
    Rfc5424,
    /// The older one, whose date usually has no year.
    Rfc3164,
}

/// How to store structured data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StructuredData {
    /// As JSON text, `{"id":{"name":"value"}}`; a repeated name has a list.
    #[default]
    Json,
    /// As a map of `id.name` to value.
    Map,
}

/// Settings of the `syslog` decoder; `S` is the type of a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SyslogSettings")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, bound(deserialize = "S: Deserialize<'de>"))]
pub struct Settings<S> {
    /// Which of the two formats to accept, as in `rfc5424`.
    pub format: Format,
    /// How to store structured data, as in `map`.
    #[serde(alias = "structured_data")]
    pub structured_data: StructuredData,
    /// Offset of times without one (RFC 3164), as in `+02:00`; zone names are not supported.
    pub timezone: String,
    /// Year of times without one (RFC 3164), as in `2026`. Without it: the newest year in which the time is at most a
    /// day after its message was sent or, if that is not known, after its file was written.
    pub year: Option<u16>,
    /// The columns wanted, as in `{timestamp: "timestamp(us, UTC)", hostname: utf8, message: utf8}`. Without it:
    /// `timestamp`, `facility`, `severity`, `hostname`, `appname`, `procid`, `msgid`, `structured_data`, `message`.
    pub schema: Option<S>,
    /// Looser choices, each by name and off by default.
    pub coerce: Coerce,
}

impl<S> Default for Settings<S> {
    fn default() -> Self {
        Self {
            format: Format::default(),
            structured_data: StructuredData::default(),
            timezone: "+00:00".into(),
            year: None,
            schema: None,
            coerce: Coerce::default(),
        }
    }
}

const SYNTAX: &str = "syslog.syntax";
const TYPE: &str = "syslog.type";
const YEAR: &str = "syslog.year";

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clockd", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// A running decoder.
#[derive(Debug)]
pub struct Syslog {
    format: Format,
    structured: StructuredData,
    zone: i32,
    year: Option<u16>,
    columns: Columns,
    /// Buffer for structured data.
    json: Vec<u8>,
}

impl Syslog {
    /// A decoder for the columns of `schema`, or for all.
    ///
    /// # Errors
    /// An invalid setting or column.
    pub fn new<S>(settings: &Settings<S>, schema: Option<Schema>) -> Result<Self> {
        let zone = time::offset(&settings.timezone).ok_or_else(|| {
            Error::config(format!("the timezone `{}` is no offset; write it like +02:00", settings.timezone))
        })?;
        if settings.year.is_some_and(|year| !(1..=9999).contains(&year)) {
            return Err(Error::config("`year` must be from 1 to 9999"));
        }
        let all = columns(settings.structured_data);
        let schema = schema.unwrap_or_else(|| all.clone());
        if let Some(field) = schema.fields().iter().find(|field| all.position(&field.name).is_err()) {
            let names: Vec<&str> = all.fields().iter().map(|field| field.name.as_str()).collect();
            return Err(Error::config(format!("syslog has no column `{}`; it has {}", field.name, names.join(", "))));
        }
        Ok(Self {
            format: settings.format,
            structured: settings.structured_data,
            zone,
            year: settings.year,
            columns: Columns::new(schema, settings.coerce.clone(), Rest::Unwanted)?,
            json: Vec::new(),
        })
    }

    fn row(&mut self, value: &[u8], written_ms: Option<i64>) -> std::result::Result<(), Fault> {
        let syntax = |reason| (SYNTAX, reason);
        // What senders put behind a message to end it is no part of it.
        let end = value.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n' | 0)).map_or(0, |last| last + 1);
        let (text, start) = messages::text(value.get(..end).unwrap_or_default()).map_err(syntax)?;
        let message = parse(text, start, self.format).map_err(syntax)?;
        self.time(&message, written_ms)?;
        let name = |names: &[&'static str], at: u8| names.get(usize::from(at)).copied();
        let facility = message.priority.and_then(|priority| name(&FACILITIES, priority / 8));
        let severity = message.priority.and_then(|priority| name(&SEVERITIES, priority % 8));
        for (column, text) in [("facility", facility), ("severity", severity)] {
            self.part(column, text.map(|text| Part { text, at: start }), Value::Text)?;
        }
        self.part("hostname", message.hostname, Value::Text)?;
        self.part("appname", message.appname, Value::Text)?;
        self.part("procid", message.procid, |text| Value::Word(text, Grammar::TEXT))?;
        self.part("msgid", message.msgid, Value::Text)?;
        self.structured(&message, text)?;
        self.part("message", message.message, Value::Text)?;
        self.columns.end_row().map_err(|refusal| refusal.fault(TYPE, TYPE))
    }

    fn part<'a>(
        &mut self,
        column: &str,
        part: Option<Part<'a>>,
        value: impl FnOnce(&'a str) -> Value<'a>,
    ) -> std::result::Result<(), Fault> {
        let Some(part) = part else { return Ok(()) };
        let source = Source::new(part.text, Place::Byte(part.at));
        self.columns.set(column, value(part.text), source).map(drop).map_err(|refusal| refusal.fault(TYPE, TYPE))
    }

    fn time(&mut self, message: &Message<'_>, written_ms: Option<i64>) -> std::result::Result<(), Fault> {
        // A year that no column needs is not missed.
        let Some(time) = message.time.filter(|_| self.columns.find("timestamp").is_some()) else { return Ok(()) };
        let missing = Missing { zone: self.zone, year: self.year, written_ms };
        let nanos = time.stamp.resolve(&missing).map_err(|wrong| {
            let code = if wrong == time::Wrong::Year { YEAR } else { SYNTAX };
            (code, told(wrong, time.written))
        })?;
        self.part("timestamp", Some(time.written), |_| Value::Time(nanos))
    }

    fn structured(&mut self, message: &Message<'_>, text: &str) -> std::result::Result<(), Fault> {
        if message.structured.is_empty() || self.columns.find("structured_data").is_none() {
            return Ok(());
        }
        let part = Part::new(text, message.structured_at, text.len());
        match self.structured {
            StructuredData::Json => {
                let mut json = std::mem::take(&mut self.json);
                json.clear();
                structured::json(&message.structured, &mut json);
                let set = self.part("structured_data", Some(part), |_| {
                    Value::Text(std::str::from_utf8(&json).unwrap_or_default())
                });
                self.json = json;
                set
            }
            StructuredData::Map => {
                let pairs = structured::pairs(&message.structured).map_err(|reason| (TYPE, reason))?;
                let source = Source::new(part.text, Place::Byte(part.at));
                let set = self.columns.set("structured_data", Value::Pairs(&pairs), source);
                set.map(drop).map_err(|refusal| refusal.fault(TYPE, TYPE))
            }
        }
    }
}

impl Decode for Syslog {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        let mut attributes = input.attributes.iter().peekable();
        let mut modified = None;
        messages::each(input, |index, message, value| {
            while let Some(attribute) = attributes.next_if(|attribute| attribute.first as usize <= index) {
                if attribute.name == "modified" {
                    modified = std::str::from_utf8(&attribute.value).ok().and_then(|text| text.parse::<i64>().ok());
                }
            }
            self.columns.begin();
            match self.row(value, input.timestamp_ms(index).or(modified)) {
                Ok(()) => self.columns.commit(message),
                Err(fault) => self.columns.fail(message, fault),
            }
        });
        self.columns.finish()
    }

    fn limit(&mut self, bytes: usize) {
        self.columns.limit(bytes);
    }

    fn schema(&self) -> Option<&Schema> {
        Some(self.columns.schema())
    }
}

/// The columns of rows without a declared schema.
#[must_use]
pub fn columns(structured: StructuredData) -> Schema {
    // Nanoseconds, because that is what senders send; a column of another unit is a matter of the schema.
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let structured = match structured {
        StructuredData::Json => DataType::Utf8,
        StructuredData::Map => {
            let key = Field { nullable: false, ..Field::new("key", DataType::Utf8) };
            let entry = DataType::Struct(vec![key, Field::new("value", DataType::Utf8)]);
            DataType::Map(Box::new(Field { nullable: false, ..Field::new("entries", entry) }))
        }
    };
    let mut fields = vec![Field::new("timestamp", time)];
    let names = ["facility", "severity", "hostname", "appname", "procid", "msgid"];
    fields.extend(names.map(|name| Field::new(name, DataType::Utf8)));
    fields.push(Field::new("structured_data", structured));
    fields.push(Field::new("message", DataType::Utf8));
    Schema::new(fields)
}
