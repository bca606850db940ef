//! Where reading of a shard goes on.
//!
//! A sequence number has up to 186 bits, of which nothing is promised but that they rise, so an offset of 64 is not made of one: it
//! counts the messages of the shard that were read before. The token has the sequence number.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use spout_guest::{Position, Result};

/// Most digits of a sequence number that are believed.
const DIGITS: usize = 128;
/// What is younger is kept by every stream: the shortest retention is 24 hours. In milliseconds.
const KEPT: u64 = 23 * 3_600_000;

/// The number of a record, in decimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Sequence(String);

impl<'de> Deserialize<'de> for Sequence {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let digits = String::deserialize(from)?;
        let sound = !digits.is_empty() && digits.len() <= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        if sound { Ok(Self(digits)) } else { Err(D::Error::custom("a sequence number has decimal digits")) }
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other) = (self.0.trim_start_matches('0'), other.0.trim_start_matches('0'));
        one.len().cmp(&other.len()).then_with(|| one.cmp(other))
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a shard. Without anything it is before the oldest record that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Place {
    /// The next message has this offset.
    #[serde(skip)]
    pub(crate) offset: u64,
    /// Reading began at this time, in milliseconds since 1970: the shards that this one is split into begin there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<u64>,
    /// Records up to this one were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Sequence>,
    /// And if not all of that one, so many of its messages.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) read: usize,
    /// All that arrived before this time was read, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
    /// The shard is closed, and was read to its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended: bool,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Place {
    /// The place of a position; `None` if it has an offset without a token, from which nothing follows.
    pub(crate) fn parse(position: &Position) -> Result<Option<Self>> {
        let place = position.place::<Self>("kinesis.token", "a shard")?;
        Ok(place.map(|place| Self { offset: position.offset, ..place }))
    }

    pub(crate) fn position(&self) -> Position {
        Position::of(self, self.offset)
    }

    /// The oldest record that there is, at this offset.
    pub(crate) fn oldest(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// The first record at or after this time.
    pub(crate) fn since(offset: u64, ms: u64) -> Self {
        Self { offset, from: Some(ms), ..Self::default() }
    }

    /// Whether records that follow may have been removed unread, since they were kept long enough: nothing but the last record
    /// itself, if it is still there, shows that they were not.
    pub(crate) fn may_have_lost(&self, now: u64) -> bool {
        self.after.is_some() && self.at.is_none_or(|at| at.saturating_add(KEPT) < now)
    }
}

#[cfg(test)]
mod tests {
    use spout_guest::Error;

    use super::*;

    fn sequence(digits: &str) -> Sequence {
        serde_json::from_value(digits.into()).unwrap()
    }

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        let rising = ["0", "9", "10", "0011", "49680606399253778777909009071859213378099862365267820546"];
        let rising: Vec<Sequence> = rising.map(sequence).into();
        assert!(rising.windows(2).all(|pair| pair[0] < pair[1]), "{rising:?}");
        let long = "1".repeat(DIGITS + 1);
        for wrong in ["", "-1", "1.5", "x", " 1", long.as_str()] {
            assert!(serde_json::from_value::<Sequence>(wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_survives_its_token() {
        let all = Place {
            offset: 7,
            from: Some(5),
            after: Some(sequence("123456789012345678901234567890")),
            read: 3,
            at: Some(9),
            ended: true,
        };
        for place in [all, Place::oldest(3), Place::oldest(0), Place::since(0, 17)] {
            assert_eq!(Place::parse(&place.position()).unwrap(), Some(place));
        }
        assert_eq!(Place::default().position(), Position::at(0));
        assert_eq!(Place::parse(&Position::at(3)).unwrap(), None);
        for token in ["", "{", "{\"x\":1}", "{\"after\":\"x\"}", "[]"] {
            let position = Position { offset: 1, token: Some(token.into()) };
            assert!(matches!(Place::parse(&position), Err(Error::Fatal { .. })), "{token}");
        }
    }

    #[test]
    fn only_what_is_old_may_be_lost() {
        let place = |at| Place { after: Some(sequence("5")), at, ..Place::default() };
        assert!(!place(Some(1000)).may_have_lost(1000 + KEPT));
        assert!(place(Some(1000)).may_have_lost(1001 + KEPT));
        assert!(place(None).may_have_lost(0));
        assert!(!Place::since(0, 0).may_have_lost(u64::MAX));
    }
}
