//! Finds columns by name, and says which there are.

use arrow::datatypes::{DataType, Field, Schema};

use super::Error;

/// The column `name`, which is there for `purpose`, as in `to group by`.
///
/// # Errors
/// [`Error::Spec`] naming it and those there are.
pub(super) fn field<'a>(handler: &str, schema: &'a Schema, name: &str, purpose: &str) -> Result<&'a Field, Error> {
    schema.field_with_name(name).map_err(|_| missing(handler, schema, name, &format!(" {purpose}")))
}

/// The index of the column `name`.
///
/// # Errors
/// As [`field`].
pub(super) fn at(handler: &str, schema: &Schema, name: &str) -> Result<usize, Error> {
    schema.index_of(name).map_err(|_| missing(handler, schema, name, ""))
}

/// The index of the column `name`, which has to be of numbers.
///
/// # Errors
/// As [`at`], and [`Error::Spec`] if it is of something else.
pub(super) fn number(handler: &str, schema: &Schema, name: &str) -> Result<usize, Error> {
    let at = at(handler, schema, name)?;
    let kind = schema.field(at).data_type();
    if kind.is_numeric() || *kind == DataType::Null {
        return Ok(at);
    }
    Err(Error::spec(
        handler,
        format!(
            "column `{name}` is {kind}, but it must be a number; cast it in a map first, as in `{name}: \"cast({name} as double)\"`"
        ),
    ))
}

/// Refuses a new column of a name that is taken.
///
/// # Errors
/// [`Error::Spec`] naming it.
pub(super) fn free(handler: &str, schema: &Schema, name: &str) -> Result<(), Error> {
    match schema.index_of(name) {
        Err(_) if !name.is_empty() => Ok(()),
        Err(_) => Err(Error::spec(handler, "its new column needs a name")),
        Ok(_) => Err(Error::spec(
            handler,
            format!("there is a column `{name}` already; choose another name for the new one"),
        )),
    }
}

fn missing(handler: &str, schema: &Schema, name: &str, purpose: &str) -> Error {
    let reason = format!("there is no column `{name}`{purpose}; the columns are {}", names(schema));
    Error::spec(handler, reason)
}

/// All columns, for messages.
pub(super) fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
