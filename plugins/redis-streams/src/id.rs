//! What an entry's id of 128 bits is as an offset of 64, and what a position remembers besides.
//!
//! An offset is the id's milliseconds and 22 bits of its sequence: four million entries a millisecond, until the year 2109. So it
//! follows from the id alone, and any earlier offset finds its entry. An id that does not fit (a clock that was set back, ids of an
//! author's own) gets the next free offset instead; there the token, which is the id itself, says where to go on.

use std::{fmt, str::FromStr};

use spout_guest::{Error, Position, Result};

/// Bits of an offset for the sequence.
const SEQUENCE: u32 = 22;
const MOST_SEQUENCE: u64 = (1 << SEQUENCE) - 1;
const MOST_MS: u64 = u64::MAX >> SEQUENCE;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId {
    pub(crate) ms: u64,
    pub(crate) sequence: u64,
}

impl EntryId {
    /// The smallest id at this offset.
    pub(crate) fn at(offset: u64) -> Self {
        Self { ms: offset >> SEQUENCE, sequence: offset & MOST_SEQUENCE }
    }

    /// The offset of this id, if it is not too far back.
    pub(crate) fn offset(self) -> u64 {
        self.ms.min(MOST_MS) << SEQUENCE | self.sequence.min(MOST_SEQUENCE)
    }

    /// Whether the offset follows from the id alone.
    pub(crate) fn fits(self) -> bool {
        self.ms <= MOST_MS && self.sequence <= MOST_SEQUENCE
    }

    /// The id before this one; the first id is `0-1`, and before it there is `0-0`, which no entry has.
    pub(crate) fn before(self) -> Self {
        match (self.ms, self.sequence) {
            (0, 0) => self,
            (ms, 0) => Self { ms: ms - 1, sequence: u64::MAX },
            (ms, sequence) => Self { ms, sequence: sequence - 1 },
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let (ms, sequence) = text.split_once('-').ok_or(())?;
        Ok(Self { ms: number(ms).ok_or(())?, sequence: number(sequence).ok_or(())? })
    }
}

/// How many entries had been added to the stream up to a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Added {
    /// Nothing was read yet: what was before does not matter.
    #[default]
    Unread,
    /// So many.
    Exactly(u64),
    /// Something was read, but the server does not count (before Redis 7), or the count was not known where reading began.
    Unknown,
}

/// A place in a stream: after an entry, or before them all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The next entry gets this offset, or a higher one.
    pub(crate) offset: u64,
    /// Entries up to this id were read.
    pub(crate) after: EntryId,
    pub(crate) added: Added,
    /// It was made of an offset alone.
    pub(crate) bare: bool,
}

impl Place {
    pub(crate) fn parse(position: &Position) -> Result<Self> {
        let Some(token) = &position.token else {
            let after = EntryId::at(position.offset).before();
            return Ok(Self { offset: position.offset, after, added: Added::Unread, bare: position.offset > 0 });
        };
        let read = || {
            let text = std::str::from_utf8(token).ok()?;
            let (id, added) = text.split_once(' ').map_or((text, None), |(id, added)| (id, Some(added)));
            let added = match added {
                None => Added::Unread,
                Some("?") => Added::Unknown,
                Some(number) => Added::Exactly(number.parse().ok()?),
            };
            Some(Self { offset: position.offset, after: id.parse().ok()?, added, bare: false })
        };
        read().ok_or_else(|| {
            let token = String::from_utf8_lossy(token);
            Error::fatal("redis.token", format!("`{token}` at offset {} is not a place in a stream", position.offset))
        })
    }

    pub(crate) fn position(self) -> Position {
        let token = match self.added {
            Added::Unread => self.after.to_string(),
            Added::Unknown => format!("{} ?", self.after),
            Added::Exactly(count) => format!("{} {count}", self.after),
        };
        Position { offset: self.offset, token: Some(token.into_bytes()) }
    }

    /// The offset that an entry here has: its own, or the next free one.
    pub(crate) fn offset_of(self, id: EntryId) -> u64 {
        self.offset.max(id.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_offsets_rise_together() {
        let ids =
            ["0-1", "0-2", "1-0", "1-4194303", "2-0", "1767225600000-0", "1767225600000-7", "4398046511103-4194303"];
        let ids: Vec<EntryId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1] && pair[0].offset() < pair[1].offset()));
        for id in ids {
            assert!(id.fits() && EntryId::at(id.offset()) == id, "{id}");
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(id.before() < id);
        }
        assert!(!EntryId { ms: 1, sequence: 1 << 22 }.fits() && !EntryId { ms: 1 << 42, sequence: 0 }.fits());
        assert_eq!(EntryId { ms: 5, sequence: 0 }.before(), EntryId { ms: 4, sequence: u64::MAX });
        for wrong in ["", "1", "1-", "-1", "+1-1", "1-1-1", "1-18446744073709551616", "a-b"] {
            assert_eq!(wrong.parse::<EntryId>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_place_survives_its_token() {
        for added in [Added::Unread, Added::Unknown, Added::Exactly(42)] {
            let place = Place { offset: 9, after: EntryId { ms: 7, sequence: 3 }, added, bare: false };
            assert_eq!(Place::parse(&place.position()).unwrap(), place);
        }
        let bare = Place::parse(&Position::at(EntryId { ms: 7, sequence: 0 }.offset())).unwrap();
        assert_eq!((bare.after, bare.bare), (EntryId { ms: 6, sequence: u64::MAX }, true));
        assert!(!Place::parse(&Position::at(0)).unwrap().bare);
        let broken = Position { offset: 1, token: Some(b"nonsense".to_vec()) };
        assert!(matches!(Place::parse(&broken), Err(Error::Fatal { .. })));
    }
}
