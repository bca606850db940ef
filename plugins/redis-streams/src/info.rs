//! What the server says of a stream, and whether entries are gone that were not read.

use crate::{
    id::{Added, EntryId, Place},
    resp::Value,
};

/// What `XINFO STREAM` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) length: u64,
    /// Of the oldest entry there is.
    pub(crate) first: Option<EntryId>,
    /// Of the newest entry there is.
    pub(crate) last: Option<EntryId>,
    /// The newest id there ever was.
    pub(crate) newest: EntryId,
    /// The newest id that `XDEL` removed; trimming leaves it alone.
    deleted: EntryId,
    /// Entries that were ever added; none before Redis 7.
    added: Option<u64>,
}

impl Info {
    pub(crate) fn parse(reply: &Value) -> Option<Self> {
        let (pairs, mut info) = (reply.items()?, Self::default());
        let (mut length, mut newest) = (None, None);
        for pair in pairs.chunks_exact(2) {
            let [name, value] = pair else { continue };
            let id = |value: &Value| value.text()?.parse::<EntryId>().ok();
            match name.text() {
                Some("length") => length = value.count(),
                Some("last-generated-id") => newest = id(value),
                Some("max-deleted-entry-id") => info.deleted = id(value)?,
                Some("entries-added") => info.added = Some(value.count()?),
                Some("first-entry") => info.first = value.items().and_then(|entry| id(entry.first()?)),
                Some("last-entry") => info.last = value.items().and_then(|entry| id(entry.first()?)),
                _ => {}
            }
        }
        Some(Self { length: length?, newest: newest?, ..info })
    }

    /// The place of the oldest entry, for one who was at `place`.
    pub(crate) fn earliest(&self, place: Place) -> Place {
        let Some(first) = self.first else { return self.latest(place) };
        let goes_on = if place.after <= first.before() { place.offset } else { 0 };
        Place { offset: first.offset().max(goes_on), after: first.before(), added: Added::Unread, bare: false }
    }

    /// The place after the newest entry, for one who was at `place`.
    pub(crate) fn latest(&self, place: Place) -> Place {
        let goes_on = if place.after <= self.newest { place.offset } else { 0 };
        let after = if self.newest == EntryId::default() { 0 } else { self.newest.offset().saturating_add(1) };
        let added = self.added.map_or(Added::Unread, Added::Exactly);
        Place { offset: after.max(goes_on), after: self.newest, added, bare: false }
    }

    /// How many entries there were between `place` and those `read` from it that are not there any more, as far as that is
    /// known; `read` came before this was asked for.
    fn missing(&self, place: Place, read: &[EntryId]) -> Missing {
        let last_read = read.last().copied().unwrap_or(place.after);
        if self.newest < last_read {
            return if place.added == Added::Unread && read.is_empty() { Missing::Nothing } else { Missing::Replaced };
        }
        // Entries go from the front: if one that was read is still there, so was all after it.
        if self.first.is_some_and(|first| first <= place.after) || self.newest == place.after {
            return Missing::Nothing;
        }
        match place.added {
            Added::Unread => Missing::Nothing,
            Added::Unknown => Missing::Some,
            Added::Exactly(before) => {
                let Some(added) = self.added else { return Missing::Some };
                let gone = read.iter().filter(|id| self.first.is_none_or(|first| **id < first)).count();
                let seen = before.saturating_add(self.length).saturating_add(u64::try_from(gone).unwrap_or(u64::MAX));
                if added < before {
                    Missing::Replaced
                } else if added > seen {
                    Missing::Some
                } else {
                    Missing::Nothing
                }
            }
        }
    }

    /// Whether nothing is missing between `place` and those `read` from it.
    pub(crate) fn complete(&self, place: Place, read: &[EntryId]) -> bool {
        self.missing(place, read) == Missing::Nothing
    }

    /// How many entries had been added up to the last of those `taken` from `place`.
    pub(crate) fn count(&self, place: Place, taken: &[EntryId]) -> Added {
        let (Some(last), Some(added)) = (taken.last(), self.added) else {
            return if taken.is_empty() { place.added } else { Added::Unknown };
        };
        if *last == self.newest {
            return Added::Exactly(added);
        }
        let count = |taken: usize| u64::try_from(taken).unwrap_or(u64::MAX);
        match (place.added, self.first) {
            (Added::Exactly(before), _) => Added::Exactly(before.saturating_add(count(taken.len()))),
            // The place of the oldest entry follows from how many there are, if none was deleted after it.
            (_, Some(first))
                if self.deleted < first && taken.first().is_some_and(|id| *id <= first) && first <= *last =>
            {
                let before = added.saturating_sub(self.length);
                let from_first = taken.iter().filter(|id| **id >= first).count();
                Added::Exactly(before.saturating_add(count(from_first)))
            }
            _ => Added::Unknown,
        }
    }

    /// How many entries there are after `place`, if that is known.
    pub(crate) fn behind(&self, place: Place) -> Option<u64> {
        match (self.added, place.added) {
            _ if self.newest == place.after => Some(0),
            (Some(added), Added::Exactly(before)) => Some(added.saturating_sub(before)),
            _ => None,
        }
    }

    /// The offset after the newest entry, for one who is at `place`.
    pub(crate) fn high_watermark(&self, place: Place) -> u64 {
        match self.last {
            Some(last) if last > place.after => place.offset_of(last).saturating_add(1),
            _ => place.offset,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Some,
    /// The stream is another one, or went back to an earlier state.
    Replaced,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, sequence: 0 }
    }

    /// A stream of `added` entries, of which those from `first` on are there.
    fn info(first: u64, added: u64) -> Info {
        let there = |ms| Some(id(ms)).filter(|_| first <= added);
        Info {
            length: (added + 1).saturating_sub(first),
            first: there(first),
            last: there(added),
            newest: id(added),
            deleted: EntryId::default(),
            added: Some(added),
        }
    }

    fn place(after: u64, added: Added) -> Place {
        Place { offset: id(after).offset() + 1, after: id(after), added, bare: false }
    }

    #[test]
    fn trimmed_entries_are_missed_only_if_they_were_not_read() {
        let read = |from: u64, to: u64| (from..=to).map(id).collect::<Vec<_>>();
        let known = |after| place(after, Added::Exactly(after));
        for (info, place, read, complete) in [
            (info(1, 10), known(4), read(5, 10), true),
            (info(5, 10), known(4), read(5, 10), true),
            (info(6, 10), known(4), read(6, 10), false),
            // 5 and 6 were trimmed after they had been read.
            (info(7, 10), known(4), read(5, 10), true),
            (info(8, 10), known(4), read(7, 10), false),
            (info(11, 10), known(10), vec![], true),
            (info(11, 10), known(9), vec![], false),
            (info(11, 10), known(4), read(5, 10), true),
            (info(11, 12), known(10), vec![], true),
            // Another stream, or one that lost its newest entries.
            (info(1, 10), known(11), vec![], false),
            (Info { added: Some(3), ..info(20, 22) }, known(10), vec![], false),
            // Nothing was read: what was before does not matter.
            (info(6, 10), self::place(4, Added::Unread), read(6, 10), true),
            (info(6, 10), self::place(12, Added::Unread), vec![], true),
            // A server that does not count.
            (Info { added: None, ..info(1, 10) }, self::place(4, Added::Unknown), read(5, 10), true),
            (Info { added: None, ..info(5, 10) }, self::place(4, Added::Unknown), read(5, 10), false),
            (Info { added: None, ..info(11, 10) }, self::place(10, Added::Unknown), vec![], true),
        ] {
            assert_eq!(info.complete(place, &read), complete, "{info:?} {place:?} {read:?}");
        }
    }

    #[test]
    fn entries_are_counted_from_where_their_number_is_known() {
        let unread = place(0, Added::Unread);
        assert_eq!(info(4, 10).count(unread, &[id(4), id(5)]), Added::Exactly(5));
        assert_eq!(info(5, 10).count(unread, &[id(4), id(5)]), Added::Exactly(5));
        assert_eq!(info(1, 10).count(unread, &[id(4), id(5)]), Added::Unknown);
        assert_eq!(info(1, 10).count(unread, &[id(9), id(10)]), Added::Exactly(10));
        assert_eq!(info(1, 10).count(place(3, Added::Exactly(3)), &[id(4)]), Added::Exactly(4));
        assert_eq!(info(1, 10).count(place(3, Added::Unknown), &[]), Added::Unknown);
        assert_eq!(Info { deleted: id(7), ..info(4, 10) }.count(unread, &[id(4)]), Added::Unknown);
        assert_eq!(Info { added: None, ..info(4, 10) }.count(unread, &[id(4)]), Added::Unknown);
        assert_eq!(info(1, 10).behind(place(4, Added::Exactly(4))), Some(6));
        assert_eq!(info(1, 10).behind(place(10, Added::Unknown)), Some(0));
    }

    #[test]
    fn a_stream_offers_what_it_has() {
        let (at, new) = (place(4, Added::Exactly(4)), Place::default());
        assert_eq!(info(6, 10).earliest(at).after, id(6).before());
        assert_eq!(info(6, 10).earliest(new).offset, id(6).offset());
        assert_eq!(info(6, 10).latest(new), place(10, Added::Exactly(10)));
        assert_eq!(info(11, 10).earliest(new), info(11, 10).latest(new));
        assert_eq!((Info::default().earliest(new).offset, Info::default().latest(new).offset), (0, 0));
        assert_eq!(info(6, 10).high_watermark(at), id(10).offset() + 1);
        assert_eq!(info(11, 10).high_watermark(at), at.offset);
    }
}
