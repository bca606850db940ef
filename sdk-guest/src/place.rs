//! Places of a source's own: tokens of positions as JSON, and what goes into them.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Position, Result};

impl Position {
    /// A position whose token is `place`, from which [`Position::place`] reads it. The beginning has none.
    #[must_use]
    pub fn of<P: Serialize + Default + PartialEq>(place: &P, offset: u64) -> Self {
        let token = serde_json::to_vec(place).ok().filter(|_| offset > 0 || *place != P::default());
        Self { offset, token }
    }

    /// The place that is its token, or the default one at the beginning; `None` if it has an offset without a token, from which nothing
    /// follows where offsets only count: [`Position::nowhere`] is the answer to that.
    ///
    /// # Errors
    /// The token is none of this source, which `within` names: `a bucket`. The error has this `code`.
    pub fn place<P: DeserializeOwned + Default>(&self, code: &str, within: &str) -> Result<Option<P>> {
        let Some(token) = &self.token else { return Ok(Some(P::default()).filter(|_| self.offset == 0)) };
        // A list would be taken for the fields in their order.
        let place = serde_json::from_slice(token).ok().filter(|_| token.starts_with(b"{"));
        place.map(Some).ok_or_else(|| {
            let token = String::from_utf8_lossy(token);
            Error::fatal(code, format!("`{token}` at offset {} is no place in {within}", self.offset))
        })
    }

    /// What is said of an offset from which nothing follows: there is only the beginning.
    #[must_use]
    pub fn nowhere() -> Error {
        Error::OutOfRange { earliest: Self::at(0), latest: Self::at(0) }
    }
}

/// A hash (FNV-1a) for tokens: the same for the same bytes in every version. It protects against chance and not against malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(pub u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// The hash of what was hashed so far and these bytes.
    #[must_use]
    pub fn and(self, bytes: impl IntoIterator<Item = u8>) -> Self {
        let one = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.into_iter().fold(self.0, one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Place {
        after: u32,
    }

    #[test]
    fn places_survive_their_tokens() {
        for (after, offset) in [(0, 0), (0, 3), (7, 0), (7, 3)] {
            let position = Position::of(&Place { after }, offset);
            assert_eq!(position.token.is_none(), after == 0 && offset == 0);
            assert_eq!(position.place("x", "y").unwrap(), Some(Place { after }));
        }
        assert_eq!(Position::at(3).place::<Place>("x", "y").unwrap(), None);
        for token in ["", "[]", "[1]", "{", "{\"x\":1}", "null"] {
            let position = Position { offset: 3, token: Some(token.into()) };
            let said = position.place::<Place>("x.token", "a shop").unwrap_err().to_string();
            assert_eq!(said, format!("x.token: `{token}` at offset 3 is no place in a shop"));
        }
    }

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(Fnv::default().and(*b"foo").and(*b"bar"), Fnv(0x8594_4171_f739_67e8));
    }
}
