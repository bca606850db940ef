//! `csv`: the core's decoder, by the settings of a spec.

use arrow::datatypes::{DataType, Schema};
use spout_codec::csv::{Csv, Settings};

use super::core::Core;
use crate::SchemaText;

/// Settings of the native `csv` decoder.
pub type CsvSpec = Settings<SchemaText>;

/// A decoder with the columns that are declared, else those settled earlier.
pub(super) fn open(spec: &CsvSpec, declared: Option<&Schema>, settled: Option<&Schema>) -> Result<Core, String> {
    let schema = |schema: &Schema| spout_codec::Schema::try_from(schema).map_err(|error| error.to_string());
    let (declared, settled) = (declared.map(schema).transpose()?, settled.map(schema).transpose()?);
    Ok(Core::new("csv", Csv::new(spec, declared, settled).map_err(|error| error.to_string())?))
}

/// Whether columns are named and not yet typed.
pub(super) fn is_open(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| *field.data_type() == DataType::Null)
}
