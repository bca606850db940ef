//! What tells a file from all others: its content up to where it was read. No IO.
//!
//! A mark grows with the file. It keeps the first bytes, a hash of the last 4 KiB before the place, and a trail of hashes
//! further back; checking one costs two short reads, however large the file. Inode, time and size are hints: they say where
//! to look first, and tell apart files whose content is the same.

use std::io;

pub(crate) use spout_folder::Hints;

use crate::{
    names::hash,
    trail::{Common, Trail},
};

/// First bytes kept as they are.
pub(crate) const HEAD: usize = 16;

/// Bytes before the place that are hashed.
pub(crate) const TAIL: usize = 4096;

/// Instead of the number of a name: it had the log's when it was read, and has one by now that is not known.
pub(crate) const MOVED: u32 = 0;

/// Something that can be read at any place.
pub(crate) trait Content {
    /// `length` bytes from `from` on, fewer at the end.
    fn bytes(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>>;
}

/// A place in a file, and what tells the file from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Bytes that were read.
    pub(crate) at: u64,
    /// The largest size that was seen.
    pub(crate) seen: u64,
    /// Where to look first.
    pub(crate) hints: Hints,
    /// The number of the name it had last, or [`MOVED`]: of two files with one inode after the other, only one has it.
    pub(crate) named: u32,
    /// It was packed. Nothing is packed in place: a number that a packed file has and a plain one had was given again.
    pub(crate) packed: bool,
    /// The place is in the middle of a line that is passed over.
    pub(crate) skipping: bool,
    /// Nothing of the file can be read: it is passed over.
    pub(crate) refused: bool,
    head: [u8; HEAD],
    tail: u64,
    trail: Trail,
}

impl Mark {
    /// A mark at `at`, from the file itself.
    pub(crate) fn of(file: &mut impl Content, at: u64, hints: Hints) -> io::Result<Self> {
        let trail = Trail::of(file, at)?;
        Ok(Self { hints, trail, ..Self::bare(file, at)? })
    }

    /// A mark at `at` that is compared at once and never kept.
    pub(crate) fn bare(file: &mut impl Content, at: u64) -> io::Result<Self> {
        let mut mark = Self { at, seen: at, ..Self::default() };
        mark.begin(&file.bytes(0, HEAD)?, at);
        let from = at.saturating_sub(TAIL as u64);
        mark.tail = hash(&file.bytes(from, (at - from) as usize)?);
        Ok(mark)
    }

    /// A mark of a file of which nothing was read.
    pub(crate) fn blank(hints: Hints, seen: u64) -> Self {
        Self { hints, seen, ..Self::default() }
    }

    /// Takes the file's first bytes, of which `at` count.
    fn begin(&mut self, first: &[u8], at: u64) {
        let count = HEAD.min(usize::try_from(at).unwrap_or(HEAD)).min(first.len());
        self.head = [0; HEAD];
        if let (Some(to), Some(from)) = (self.head.get_mut(..count), first.get(..count)) {
            to.copy_from_slice(from);
        }
    }

    /// Whether `file` has, up to the place, what was read.
    pub(crate) fn fits(&self, file: &mut impl Content) -> io::Result<bool> {
        if !self.begins(file)? {
            return Ok(false);
        }
        let from = self.at.saturating_sub(TAIL as u64);
        let tail = file.bytes(from, (self.at - from) as usize)?;
        Ok(tail.len() as u64 == self.at - from && hash(&tail) == self.tail)
    }

    /// What the whole of `file`, which has `length` bytes, fewer than were read, has in common with the beginning of what was
    /// read: everything, if it is a copy that was made before the last lines came.
    pub(crate) fn covers(&self, file: &mut impl Content, length: u64) -> io::Result<Common> {
        if length == 0 || length > self.at || !self.begins(&mut Short { file, length })? {
            return Ok(Common::No);
        }
        if length == self.at {
            return Ok(if self.fits(file)? { Common::Until { from: 0, end: length } } else { Common::No });
        }
        self.trail.common(self.at, HEAD as u64, file, length)
    }

    fn begins(&self, file: &mut impl Content) -> io::Result<bool> {
        Ok(self.begins_with(&file.bytes(0, HEAD)?))
    }

    /// Whether a file with these first bytes, [`HEAD`] of them or all, can be this one.
    pub(crate) fn begins_with(&self, first: &[u8]) -> bool {
        let count = HEAD.min(usize::try_from(self.at).unwrap_or(HEAD)).min(first.len());
        count > 0 && first.get(..count) == self.head.get(..count)
    }
}

impl Mark {
    /// The first bytes, if so many were read.
    pub(crate) fn whole_head(&self) -> Option<[u8; HEAD]> {
        (self.at >= HEAD as u64).then_some(self.head)
    }
}

/// The beginning of a file.
struct Short<'a, C> {
    file: &'a mut C,
    length: u64,
}

impl<C: Content> Content for Short<'_, C> {
    fn bytes(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(from)).unwrap_or(usize::MAX);
        self.file.bytes(from, length.min(left))
    }
}

/// A mark that moves on with what is read, with the last bytes themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moving {
    mark: Mark,
    recent: Vec<u8>,
    /// The last bytes are not kept: the mark has their hash.
    resting: bool,
}

impl Moving {
    /// Goes on at `mark` of `file`, whose content fits.
    pub(crate) fn resume(mark: Mark, file: &mut impl Content) -> io::Result<Self> {
        let from = mark.at.saturating_sub(TAIL as u64);
        let recent = file.bytes(from, (mark.at - from) as usize)?;
        Ok(Self { mark, recent, resting: false })
    }

    /// Lets go of the last bytes, until [`Moving::wake`].
    pub(crate) fn rest(&mut self) {
        if !self.resting {
            self.mark.tail = hash(&self.recent);
            (self.recent, self.resting) = (Vec::new(), true);
        }
    }

    /// Takes the last bytes from `file` again; whether it still has what was read.
    pub(crate) fn wake(&mut self, file: &mut impl Content) -> io::Result<bool> {
        let from = self.mark.at.saturating_sub(TAIL as u64);
        let recent = file.bytes(from, (self.mark.at - from) as usize)?;
        let same = if self.resting { hash(&recent) == self.mark.tail } else { recent == self.recent };
        let whole = recent.len() as u64 == self.mark.at - from && same;
        let fits = self.mark.at == 0 || whole && self.mark.begins(file)?;
        if fits {
            (self.recent, self.resting) = (recent, false);
        }
        Ok(fits)
    }

    /// What was seen behind the place is gone.
    pub(crate) fn forget_seen(&mut self) {
        self.mark.seen = self.mark.at;
    }

    /// The largest size that was seen.
    pub(crate) fn seen(&self) -> u64 {
        self.mark.seen
    }

    /// Moves on over `bytes`.
    pub(crate) fn advance(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let before = self.mark.at;
        if before < HEAD as u64 {
            let known = before as usize;
            let mut first = self.mark.head.get(..known).unwrap_or_default().to_vec();
            first.extend(bytes.iter().take(HEAD - known));
            self.mark.begin(&first, before + bytes.len() as u64);
        }
        let at = before + bytes.len() as u64;
        let base = before - self.recent.len() as u64;
        let recent = &self.recent;
        let range = |place: u64| (place.saturating_sub(base)) as usize;
        self.mark.trail.advance(before, at, |from, to| between(recent, bytes, range(from), range(to)));
        let total = self.recent.len() + bytes.len();
        self.recent = between(&self.recent, bytes, total.saturating_sub(TAIL), total);
        self.mark.at = at;
        self.mark.seen = self.mark.seen.max(at);
    }

    /// Whether a file with these first bytes can be this one.
    pub(crate) fn begins_with(&self, first: &[u8]) -> bool {
        self.mark.begins_with(first)
    }

    /// Bytes that were read.
    pub(crate) fn at(&self) -> u64 {
        self.mark.at
    }

    /// The last bytes that were read.
    pub(crate) fn recent(&self) -> &[u8] {
        &self.recent
    }

    /// Notes the size of the file.
    pub(crate) fn saw(&mut self, length: u64) {
        self.mark.seen = self.mark.seen.max(length);
    }

    /// The mark of this place.
    pub(crate) fn mark(&self, hints: Hints) -> Mark {
        let tail = if self.resting { self.mark.tail } else { hash(&self.recent) };
        Mark { hints, tail, ..self.mark.clone() }
    }
}

/// Bytes `from..to` of `first` and `second`, one after the other.
fn between(first: &[u8], second: &[u8], from: usize, to: usize) -> Vec<u8> {
    let middle = first.len();
    let mut out = first.get(from.min(middle)..to.min(middle)).unwrap_or_default().to_vec();
    let (from, to) = (from.saturating_sub(middle), to.saturating_sub(middle));
    out.extend_from_slice(second.get(from..to).unwrap_or_default());
    out
}

/// Where each file of a log is, as the token of a position holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// The log's name: whoever goes on needs it, also where no file has it any more.
    pub(crate) log: String,
    /// Files that are read, the oldest first.
    pub(crate) open: Vec<Mark>,
    /// Files that were read to their end and are still there.
    pub(crate) closed: Vec<Mark>,
}

/// The form of tokens.
const VERSION: u8 = 3;

impl Places {
    /// As a token.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        // Longer than any name can be.
        let length = u16::try_from(self.log.len()).unwrap_or(0);
        out.extend(length.to_le_bytes());
        out.extend(self.log.as_bytes().get(..length.into()).unwrap_or_default());
        out.extend(u32::try_from(self.open.len()).unwrap_or(u32::MAX).to_le_bytes());
        for mark in &self.open {
            mark.write(&mut out);
            out.extend(mark.seen.to_le_bytes());
            mark.trail.windows().for_each(|window| out.extend(window.to_le_bytes()));
        }
        self.closed.iter().for_each(|mark| mark.write(&mut out));
        out
    }

    /// From a token; `None` if it is none.
    pub(crate) fn read(token: &[u8]) -> Option<Self> {
        let (&version, mut rest) = token.split_first()?;
        if version != VERSION {
            return None;
        }
        let length = u16::from_le_bytes(take(&mut rest)?);
        let (log, mut rest) = rest.split_at_checked(length.into())?;
        let mut places = Self { log: String::from_utf8(log.to_vec()).ok()?, ..Self::default() };
        let count = u32::from_le_bytes(take(&mut rest)?);
        for _ in 0..count {
            let mut mark = Mark::read(&mut rest)?;
            mark.seen = u64::from_le_bytes(take(&mut rest)?);
            for window in mark.trail.windows_mut() {
                *window = u32::from_le_bytes(take(&mut rest)?);
            }
            places.open.push(mark);
        }
        while !rest.is_empty() {
            places.closed.push(Mark::read(&mut rest)?);
        }
        Some(places)
    }
}

impl Mark {
    fn write(&self, out: &mut Vec<u8>) {
        for number in [self.at, self.tail, self.hints.inode, self.hints.modified] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.named.to_le_bytes());
        out.push(u8::from(self.skipping) | u8::from(self.refused) << 1 | u8::from(self.packed) << 2);
        out.extend(self.head);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let mut number = || take(from).map(u64::from_le_bytes);
        let (at, tail, inode, modified) = (number()?, number()?, number()?, number()?);
        let named = u32::from_le_bytes(take(from)?);
        let [flags] = take(from)?;
        let (skipping, refused, packed) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        let (head, hints) = (take(from)?, Hints { inode, modified });
        Some(Self { at, seen: at, tail, head, named, skipping, refused, packed, hints, ..Self::default() })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (&chunk, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Content for &[u8] {
        fn bytes(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>> {
            Ok(self.iter().copied().skip(from as usize).take(length).collect())
        }
    }

    fn content(length: usize, seed: u32) -> Vec<u8> {
        (0..length as u32).map(|n| (n.wrapping_add(seed << 24).wrapping_mul(2_654_435_761) >> 21) as u8).collect()
    }

    #[test]
    fn a_mark_is_the_same_however_the_file_is_read() {
        let file = content(700_000, 1);
        for steps in [vec![1, 15, 1, 600, 5000, 300_000], vec![305_617], vec![4096; 74], vec![511, 1, 511, 1, 40_000]] {
            let mut moving = Moving::default();
            let mut at = 0;
            for step in steps {
                moving.advance(&file[at..at + step]);
                at += step;
                let whole = Mark::of(&mut &file[..], at as u64, Hints::default()).unwrap();
                assert_eq!(moving.mark(Hints::default()), whole, "{at}");
                let resumed = Moving::resume(whole, &mut &file[..]).unwrap();
                assert_eq!(resumed.recent(), moving.recent());
            }
        }
    }

    #[test]
    fn a_file_fits_if_it_has_what_was_read() {
        let file = content(20_000, 1);
        let mark = Mark::of(&mut &file[..], 10_000, Hints::default()).unwrap();
        let check = |other: &[u8], expected| assert_eq!(mark.fits(&mut &other[..]).unwrap(), expected);
        check(&file, true);
        check(&file[..10_000], true);
        check(&file[..9_999], false);
        check(&content(20_000, 2), false);
        // The same beginning beyond the first KiB, and other lines after it.
        let mut same_beginning = file.clone();
        same_beginning[8_000..].copy_from_slice(&content(12_000, 3));
        check(&same_beginning, false);
        let empty = Mark::default();
        assert!(!empty.fits(&mut &file[..]).unwrap(), "nothing read fits nothing");
    }

    #[test]
    fn a_shorter_copy_is_covered() {
        for at in [10, 500, 9_000, 700_000_usize] {
            let file = content(at, 1);
            let mark = Mark::of(&mut &file[..], at as u64, Hints::default()).unwrap();
            for length in [at, at - 1, at - at / 50, at.saturating_sub(4000).max(1)] {
                let copy = &file[..length];
                let coarse = if at - length > 4000 { at - length } else { 0 };
                assert!(
                    matches!(mark.covers(&mut &copy[..], length as u64).unwrap(), Common::Until { end, .. } if length < 64 || end as usize + 64 + coarse > length),
                    "{length} of {at}"
                );
                let other = content(length, 9);
                assert_eq!(mark.covers(&mut &other[..], length as u64).unwrap(), Common::No, "{length} of {at}");
            }
            let longer = content(at + 1, 1);
            assert_eq!(mark.covers(&mut &longer[..], at as u64 + 1).unwrap(), Common::No);
        }
        // The same beginning is not enough where there is more to compare.
        let file = content(50_000, 1);
        let mark = Mark::of(&mut &file[..], 50_000, Hints::default()).unwrap();
        let mut other = file[..49_990].to_vec();
        other[30_000..].copy_from_slice(&content(19_990, 5));
        assert_eq!(mark.covers(&mut &other[..], 49_990).unwrap(), Common::No);
    }

    #[test]
    fn places_come_back_from_their_token() {
        let file = content(9_000, 1);
        let hints = Hints { inode: 7, modified: 1 << 60 };
        let mut one = Mark::of(&mut &file[..], 8_000, hints).unwrap();
        (one.seen, one.skipping, one.named, one.packed) = (9_000, true, 3, true);
        let mut two = Mark::of(&mut &file[..], 10, hints).unwrap();
        two.trail = Trail::default();
        let places = Places { log: "a.log".into(), open: vec![one], closed: vec![two.clone(), two] };
        let token = places.write();
        assert!(token.len() < 700, "{}", token.len());
        assert_eq!(Places::read(&token), Some(places));
        assert_eq!(Places::read(&token[..token.len() - 1]), None);
        assert_eq!(Places::read(b""), None);
    }
}
