//! Sparse files: which parts of them are stored, and the zeros between these.

use super::{error::Fault, header::LARGEST};

/// Pieces that one file may have.
pub(super) const MOST_PIECES: usize = 100_000;

pub(super) fn many_pieces() -> Fault {
    Fault::refused(format!("a sparse file in more than {MOST_PIECES} pieces"))
}

/// How many times larger than what is stored a file may be, beyond an allowance that any may have.
const MOST_ZEROS: u64 = 100;
const ALLOWANCE: u64 = 64 << 20;

/// A stored part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Where in a sparse file its reader stands.
#[derive(Debug)]
pub(super) struct Holes {
    pieces: std::vec::IntoIter<Piece>,
    piece: Option<Piece>,
    at: u64,
    real: u64,
}

/// What comes next of a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Zeros(u64),
    Stored(u64),
    Over,
}

impl Holes {
    /// A file of `real` bytes, of which `stored` are in the archive.
    pub(super) fn new(pieces: Vec<Piece>, real: u64, stored: u64) -> Result<Self, Fault> {
        let (mut end, mut sum) = (0, 0);
        for piece in &pieces {
            let fits = piece.offset >= end && piece.offset <= LARGEST && piece.length <= LARGEST;
            if !fits || piece.offset + piece.length > real {
                return Err(Fault::broken("the map of a sparse file whose pieces overlap or lie outside the file"));
            }
            end = piece.offset + piece.length;
            sum += piece.length;
        }
        if sum != stored {
            return Err(Fault::broken(format!("a sparse file whose map has {sum} bytes, and {stored} are stored")));
        }
        if real > stored.saturating_mul(MOST_ZEROS).saturating_add(ALLOWANCE) {
            return Err(Fault::refused(format!("a sparse file of {real} bytes, of which only {stored} are stored")));
        }
        let mut pieces = pieces.into_iter();
        Ok(Self { piece: pieces.next(), pieces, at: 0, real })
    }

    pub(super) fn next(&mut self) -> Next {
        while self.piece.is_some_and(|piece| piece.offset + piece.length <= self.at) {
            self.piece = self.pieces.next();
        }
        match self.piece {
            Some(piece) if piece.offset <= self.at => Next::Stored(piece.offset + piece.length - self.at),
            Some(piece) => Next::Zeros(piece.offset - self.at),
            None if self.at < self.real => Next::Zeros(self.real - self.at),
            None => Next::Over,
        }
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.at += bytes;
    }
}
