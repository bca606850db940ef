//! What one array can hold: offsets of texts, bytes and lists are 32 bits wide, and the builders of Arrow panic beyond them.

use arrow::error::ArrowError;

/// Most bytes, or items, of one array.
pub const ARRAY: usize = i32::MAX as usize;

/// Whether `lengths` together are no more than one array can hold.
///
/// # Errors
/// They are more.
pub fn within_an_array(lengths: impl IntoIterator<Item = usize>) -> Result<(), ArrowError> {
    match lengths.into_iter().fold(0_usize, usize::saturating_add) {
        all if all > ARRAY => Err(ArrowError::OffsetOverflowError(all)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_holds_no_more_than_its_offsets_can_say() {
        assert!(within_an_array([]).is_ok() && within_an_array([ARRAY - 1, 1]).is_ok());
        for beyond in [vec![ARRAY, 1], vec![1 << 30; 3], vec![usize::MAX, usize::MAX]] {
            assert!(matches!(within_an_array(beyond), Err(ArrowError::OffsetOverflowError(_))));
        }
    }
}
