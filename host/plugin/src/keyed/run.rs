//! A sorted run: pieces one behind the other, each small enough to be written, read and checked at once.

use std::sync::Arc;

use spout_base::spill::Unspilled;

use super::{
    Entry,
    filter::Hash,
    piece::{Columns, Piece},
};

/// Entries that never change. Copies share their pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// None is empty, and the keys rise from each to the next.
    pieces: Vec<Arc<Piece>>,
}

impl Run {
    /// A run of these entries, whose keys rise, in pieces that are full at so many bytes.
    ///
    /// # Errors
    /// [`Unspilled`] if there is no room for it.
    pub(super) fn of<'a>(entries: impl Iterator<Item = Entry<'a>>, full: usize) -> Result<Self, Unspilled> {
        let (mut run, mut columns) = (Self::default(), Columns::default());
        for entry in entries {
            columns.push(entry);
            if columns.size() >= full {
                run.pieces.push(Arc::new(std::mem::take(&mut columns).piece()?));
            }
        }
        if columns.count() > 0 {
            run.pieces.push(Arc::new(columns.piece()?));
        }
        Ok(run)
    }

    /// Adds the next piece.
    ///
    /// # Errors
    /// Why it is not that.
    pub(super) fn push(&mut self, piece: Piece) -> Result<(), String> {
        if self.pieces.last().is_some_and(|before| before.last() >= piece.first()) {
            return Err("its keys are not behind those of the piece before it".into());
        }
        self.pieces.push(Arc::new(piece));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn pieces(&self) -> &[Arc<Piece>] {
        &self.pieces
    }

    /// Bytes as it is stored.
    pub(super) fn stored(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes().len()).sum()
    }

    /// What it takes, in memory or not.
    pub(super) fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.size()).sum()
    }

    /// The value of `key`, whose hash is `hash`: `None` if this run does not have the key, `Some(None)` if it was removed.
    pub(super) fn get(&self, key: &[u8], hash: Hash) -> Option<Option<&[u8]>> {
        self.pieces.get(self.piece_of(key))?.get(key, hash)
    }

    /// Its entries from `key` on.
    pub(super) fn from<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut pieces = self.pieces.get(self.piece_of(key)..).unwrap_or_default().iter();
        let first = pieces.next().map(|piece| piece.from(key));
        first.into_iter().flatten().chain(pieces.flat_map(|piece| piece.from(&[])))
    }

    /// The first piece that does not end before `key`.
    fn piece_of(&self, key: &[u8]) -> usize {
        self.pieces.partition_point(|piece| piece.last() < key)
    }
}
