//! `graphite`, `influx` and `syslog`: lines, by the decoders of the core.

use arrow::datatypes::SchemaRef;
use spout_codec::{graphite::Graphite, influx::Influx, syslog::Syslog};
pub use spout_codec::{
    influx::Precision,
    syslog::{Format as SyslogFormat, StructuredData},
};

use super::core::Core;
use crate::SchemaText;

/// Settings of the native `graphite` decoder.
pub type GraphiteSpec = spout_codec::graphite::Settings<SchemaText>;
/// Settings of the native `influx` decoder.
pub type InfluxSpec = spout_codec::influx::Settings<SchemaText>;
/// Settings of the native `syslog` decoder.
pub type SyslogSpec = spout_codec::syslog::Settings<SchemaText>;

/// Opens `graphite` for rows of `schema`, or of what the first messages suggest.
///
/// # Errors
/// A setting that cannot work, a column of a type that no value has.
pub(super) fn graphite(spec: &GraphiteSpec, schema: Option<&SchemaRef>) -> Result<Core, String> {
    let opened = of(schema).and_then(|schema| Graphite::new(spec, schema));
    opened.map(|decoder| Core::new("graphite", decoder)).map_err(|error| error.to_string())
}

/// Opens `influx` likewise.
///
/// # Errors
/// As [`graphite`].
pub(super) fn influx(spec: &InfluxSpec, schema: Option<&SchemaRef>) -> Result<Core, String> {
    let opened = of(schema).and_then(|schema| Influx::new(spec, schema));
    opened.map(|decoder| Core::new("influx", decoder)).map_err(|error| error.to_string())
}

/// Opens `syslog` for the columns of `schema`, or for all.
///
/// # Errors
/// As [`graphite`], and a column that syslog has not.
pub(super) fn syslog(spec: &SyslogSpec, schema: Option<&SchemaRef>) -> Result<Core, String> {
    let opened = of(schema).and_then(|schema| Syslog::new(spec, schema));
    opened.map(|decoder| Core::new("syslog", decoder)).map_err(|error| error.to_string())
}

fn of(schema: Option<&SchemaRef>) -> spout_codec::Result<Option<spout_codec::Schema>> {
    schema.map(|schema| spout_codec::Schema::try_from(&**schema)).transpose()
}
