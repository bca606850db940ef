//! Columns of another type.

use arrow::{
    array::{Array, ArrayRef},
    compute::{CastOptions, can_cast_types, cast_with_options},
    datatypes::{DataType, Schema},
    util::display::FormatOptions,
};
use spout_codec::schema_text;

use crate::{Error, Result};

/// The column as the type of this name, written as in a spec: `int64`, `timestamp(ms, UTC)`. Fractions are cut off, as `cast` of
/// SQL does.
///
/// # Errors
/// There is no such type, or no way there; a value that does not fit, with its row.
pub fn cast(column: &dyn Array, to: &str) -> Result<ArrayRef> {
    let to = named(to)?;
    if !can_cast_types(column.data_type(), &to) {
        return Err(Error::of_type(format!("a column of {} cannot become one of {to}", column.data_type())));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, &to, &options).map_err(|error| match first_wrong(column, &to) {
        Some(row) => Error::value(format!("row {row}: {error}")),
        None => Error::value(error.to_string()),
    })
}

/// The type of this name.
fn named(name: &str) -> Result<DataType> {
    let wrong = || Error::of_type(format!("`{name}` is no type; those of `types.data-type` are, such as `int64`"));
    let text = format!("{{\"column\":\"{}\"}}", name.replace(['"', '\\'], "?"));
    let schema = schema_text::parse(&text).map_err(|_| wrong())?;
    Schema::from(&schema).fields().first().map(|field| field.data_type().clone()).ok_or_else(wrong)
}

/// The first row that is lost when what does not fit becomes null.
fn first_wrong(column: &dyn Array, to: &DataType) -> Option<usize> {
    let lossy = cast_with_options(column, to, &CastOptions::default()).ok()?;
    (0..column.len()).find(|&row| column.is_valid(row) && lossy.is_null(row))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn texts_become_numbers_and_times() {
        let texts = StringArray::from(vec![Some("12"), None]);
        assert_eq!(&cast(&texts, "int64").unwrap(), &(Arc::new(Int64Array::from(vec![Some(12), None])) as ArrayRef));
        let times = StringArray::from(vec!["1970-01-01T00:00:01Z"]);
        let made: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1000]).with_timezone("UTC"));
        assert_eq!(&cast(&times, "timestamp(ms, UTC)").unwrap(), &made);
    }

    #[test]
    fn what_does_not_fit_names_its_row() {
        let texts = StringArray::from(vec![Some("1"), None, Some("x")]);
        let error = cast(&texts, "int8").unwrap_err();
        assert_eq!(error.code, "kernel.value");
        assert!(error.message.starts_with("row 2: "), "{error}");
        let error = cast(&Int64Array::from(vec![1, 300]), "uint8").unwrap_err();
        assert!(error.message.starts_with("row 1: "), "{error}");
    }

    #[test]
    fn types_that_are_none_are_refused() {
        for name in ["int65", "", "\"", "utf8\",\"b\":\"int64"] {
            assert_eq!(cast(&Int64Array::from(vec![1]), name).unwrap_err().code, "kernel.type", "{name}");
        }
    }
}
