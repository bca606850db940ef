//! Truths: combined after Kleene, as SQL does.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    compute,
};

use crate::{Error, Result};

/// Whether each row is null; null in none.
///
/// # Errors
/// None but those of Arrow.
pub fn is_null(column: &dyn Array) -> Result<ArrayRef> {
    made(compute::is_null(column))
}

/// Both hold.
///
/// # Errors
/// A column is not of booleans, or they differ in length.
pub fn both(one: &dyn Array, other: &dyn Array) -> Result<ArrayRef> {
    made(compute::and_kleene(booleans(one)?, booleans(other)?))
}

/// At least one holds.
///
/// # Errors
/// A column is not of booleans, or they differ in length.
pub fn either(one: &dyn Array, other: &dyn Array) -> Result<ArrayRef> {
    made(compute::or_kleene(booleans(one)?, booleans(other)?))
}

/// It does not hold.
///
/// # Errors
/// The column is not of booleans.
pub fn not(column: &dyn Array) -> Result<ArrayRef> {
    made(compute::not(booleans(column)?))
}

/// Which rows hold: null does not.
///
/// # Errors
/// The column is not of booleans.
pub fn chosen(column: &dyn Array) -> Result<BooleanArray> {
    let held = booleans(column)?;
    Ok(if held.null_count() == 0 { held.clone() } else { compute::prep_null_mask_filter(held) })
}

fn booleans(column: &dyn Array) -> Result<&BooleanArray> {
    let wrong = || Error::of_type(format!("a column of booleans is needed, this one is of {}", column.data_type()));
    column.as_boolean_opt().ok_or_else(wrong)
}

fn made(computed: std::result::Result<BooleanArray, arrow::error::ArrowError>) -> Result<ArrayRef> {
    let array = computed.map_err(|error| Error::of_type(error.to_string()))?;
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truths(values: &[Option<bool>]) -> ArrayRef {
        Arc::new(BooleanArray::from(values.to_vec()))
    }

    #[test]
    fn null_is_neither() {
        let one = truths(&[Some(true), Some(false), None, None]);
        let other = truths(&[None, None, Some(true), None]);
        assert_eq!(&both(&one, &other).unwrap(), &truths(&[None, Some(false), None, None]));
        assert_eq!(&either(&one, &other).unwrap(), &truths(&[Some(true), None, Some(true), None]));
        assert_eq!(&not(&one).unwrap(), &truths(&[Some(false), Some(true), None, None]));
        assert_eq!(chosen(&one).unwrap(), BooleanArray::from(vec![true, false, false, false]));
        assert_eq!(&is_null(&one).unwrap(), &truths(&[Some(false), Some(false), Some(true), Some(true)]));
    }

    #[test]
    fn other_columns_are_refused() {
        let texts = arrow::array::StringArray::from(vec!["a"]);
        assert_eq!(not(&texts).unwrap_err().code, "kernel.type");
        assert_eq!(both(&truths(&[None]), &truths(&[])).unwrap_err().code, "kernel.type");
    }
}
