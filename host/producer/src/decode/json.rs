//! `json`: one JSON object a message, by the decoder of the core, which the plugin `json` runs too.

use arrow::datatypes::SchemaRef;
use spout_codec::json::Json;

use super::core::Core;
use crate::JsonSpec;

/// Opens it for rows of `schema`, or of what the first messages suggest.
///
/// # Errors
/// A setting that cannot work, a column of a type that JSON has no value for.
pub(super) fn open(spec: &JsonSpec, schema: Option<&SchemaRef>) -> Result<Core, String> {
    let schema = schema.map(|schema| spout_codec::Schema::try_from(&**schema)).transpose();
    let json = schema.and_then(|schema| Json::new(spec, schema, None));
    json.map(|json| Core::new("json", json)).map_err(|error| error.to_string())
}
