//! Readers of one stream: each message goes to one of them, and where the source gives it to two, nothing of that is committed.
//!
//! A reader leaves out what others have committed before (`redelivered.rs`). What another has taken since it cannot know: the source has given
//! that up for lost, and given it to a second reader while the first has it still. So whoever puts their messages into one commit compares
//! the ids in their positions, which must not be the same in two of them.

use std::collections::{BTreeMap, HashSet};

use spout_data::{PartitionId, Position};

use super::redelivered::{Id, ids};

/// What each reader of a stream has taken.
#[derive(Debug, Default)]
pub struct Readers {
    /// By reader; also of those that there were once.
    taken: BTreeMap<PartitionId, HashSet<Id>>,
}

/// A message that two readers have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice {
    /// Who has taken it now.
    pub reader: PartitionId,
    /// Who has taken it before.
    pub other: PartitionId,
}

impl Readers {
    /// A reader goes on here, or has been here once and reads no more.
    pub fn add(&mut self, reader: PartitionId, at: &Position) {
        self.taken.insert(reader, ids(at));
    }

    /// Takes note of where a reader is now. Of partitions that are no readers there is nothing to note.
    ///
    /// # Errors
    /// If it has taken a message that another has taken too.
    pub fn moves(&mut self, reader: PartitionId, to: &Position) -> Result<(), Twice> {
        // One that is alone is compared with nobody.
        let Some(before) = self.taken.get(&reader).filter(|_| self.taken.len() > 1) else { return Ok(()) };
        let now = ids(to);
        for id in now.difference(before) {
            let others = self.taken.iter().filter(|(other, _)| other.producer == reader.producer);
            let mut others = others.filter(|(other, _)| **other != reader);
            if let Some((&other, _)) = others.find(|(_, taken)| taken.contains(id)) {
                return Err(Twice { reader, other });
            }
        }
        self.taken.insert(reader, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use spout_data::Messages;
    use spout_plugin::Checkpoint;

    use super::{
        super::{DedupeSpec, redelivered::Seen, whole::StreamToken},
        *,
    };

    fn messages(numbers: &[u64]) -> Messages {
        let mut messages = Messages { offsets: numbers.to_vec(), ..Messages::default() };
        numbers.iter().for_each(|number| messages.values.push(&number.to_le_bytes()));
        messages
    }

    /// What a reader is given, where it is then, and how many of them are new to it.
    fn take(seen: &mut Seen, at: &mut Position, numbers: &[u64]) -> usize {
        let fresh = seen.take(messages(numbers), at.offset).len();
        *at = StreamToken::write(at.offset + numbers.len() as u64, Checkpoint::default(), Some(seen));
        fresh
    }

    fn both(first: &Position, second: &Position) -> Readers {
        let mut readers = Readers::default();
        readers.add(0.into(), first);
        readers.add(1.into(), second);
        readers
    }

    #[test]
    fn a_message_that_two_have_taken_is_noticed_and_one_that_another_has_committed_is_left_out() {
        let (mut one, mut two) = (Seen::new(DedupeSpec::default()), Seen::new(DedupeSpec::default()));
        let (mut first, mut second) = (Position::default(), Position::default());
        let mut readers = both(&first, &second);
        assert_eq!((take(&mut one, &mut first, &[1, 2]), take(&mut two, &mut second, &[3])), (2, 1));
        assert_eq!((readers.moves(0.into(), &first), readers.moves(1.into(), &second)), (Ok(()), Ok(())));
        // The source gives up 2, which the first still has; nothing of it may be committed.
        let mut gone_on = second.clone();
        assert_eq!(take(&mut two, &mut gone_on, &[2, 4]), 2);
        assert_eq!(readers.moves(1.into(), &gone_on), Err(Twice { reader: 1.into(), other: 0.into() }));
        // Both begin again from the head, and know of each other.
        let mut readers = both(&first, &second);
        let mut two = Seen::read(DedupeSpec::default(), &second);
        two.other(0.into(), &first);
        assert_eq!(take(&mut two, &mut second, &[2, 4, 2]), 1);
        assert_eq!(readers.moves(1.into(), &second), Ok(()));
        // What it has left out is not its own: the other one may take it again, and leaves it out as well.
        assert_eq!(take(&mut one, &mut first, &[2, 5]), 1);
        one.acknowledged(first.offset);
        assert_eq!(readers.moves(0.into(), &first), Ok(()));
        // A later position replaces what was known of a reader.
        two.other(0.into(), &first);
        assert_eq!(take(&mut two, &mut second, &[5, 1, 6]), 1);
        assert_eq!(readers.moves(1.into(), &second), Ok(()));
    }
}
