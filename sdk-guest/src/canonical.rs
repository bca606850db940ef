//! Bytes of a state that are equal for equal states: JSON whose maps are sorted.
//!
//! Where [`Handler::snapshot`](crate::Handler::snapshot) serializes a `HashMap` as it iterates, the same state has other
//! bytes in every run, and each commit writes all of it. Here a `HashMap` is sorted by key. A `HashSet` is not: use a
//! `BTreeSet`. [`testing::conformance`](crate::testing::conformance) finds both.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};

/// The bytes of `state`.
///
/// # Errors
/// It has no JSON form, such as a map whose keys are neither strings nor numbers.
pub fn to_vec<T: Serialize + ?Sized>(state: &T) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::fatal("state.json", error.to_string());
    let mut value = serde_json::to_value(state).map_err(failed)?;
    value.sort_all_objects();
    serde_json::to_vec(&value).map_err(failed)
}

/// The state that [`to_vec`] turned into `bytes`.
///
/// # Errors
/// The bytes are not a state of this type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let what = |error| format!("the stored state cannot be read: {error}; start with an empty one");
    serde_json::from_slice(bytes).map_err(|error| Error::fatal("state.json", what(error)))
}
