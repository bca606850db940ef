//! Values as bytes: equal values have equal bytes.

use serde::{Serialize, de::DeserializeOwned};

use super::Key;
use crate::canonical;

/// A value of a [`Keyed`](crate::Keyed): anything that can be a [`Key`], and with [`Json`] whatever serde knows.
pub trait Value: Sized {
    /// Appends the value's bytes.
    fn write(&self, to: &mut Vec<u8>);

    /// The value with these bytes; `None` if they are not a value.
    fn read(from: &[u8]) -> Option<Self>;
}

impl<K: Key> Value for K {
    fn write(&self, to: &mut Vec<u8>) {
        self.encode(to);
    }

    fn read(mut from: &[u8]) -> Option<Self> {
        let value = K::decode(&mut from)?;
        from.is_empty().then_some(value)
    }
}

/// A value as [canonical](crate::canonical) JSON, for structs and maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T: Serialize + DeserializeOwned> Value for Json<T> {
    fn write(&self, to: &mut Vec<u8>) {
        // A value that has no JSON form is written as no bytes, which `read` refuses.
        to.append(&mut canonical::to_vec(&self.0).unwrap_or_default());
    }

    fn read(from: &[u8]) -> Option<Self> {
        canonical::from_slice(from).ok().map(Self)
    }
}
