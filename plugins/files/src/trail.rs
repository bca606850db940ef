//! Hashes of what stands before a place in a file: they tell whether a shorter file is the beginning of what was read. No IO.

use std::{io, ops::Range};

use crate::{mark::Content, names::hash};

/// Windows of a step end at its multiples. Kept of each step are the last before the place, the last first. The finest reach
/// back for 4 KiB: of a copy that ends there, less than [`crate::family::TELLING`] bytes are not compared.
const STEPS: [(u64, Range<usize>); 4] = [(64, 0..64), (1 << 10, 64..80), (8 << 10, 80..96), (64 << 10, 96..KEPT)];

/// Windows kept of all steps.
const KEPT: usize = 112;

/// Longest window; longer steps hash the bytes before their multiples.
const WINDOW: u64 = 512;

/// Of a shorter file that has no window the first bytes have to do.
const SHORT: u64 = 256;

/// The windows before a place, by step; 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trail([u32; KEPT]);

impl Default for Trail {
    fn default() -> Self {
        Self([0; KEPT])
    }
}

/// What a shorter file has in common with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Common {
    /// It has other bytes, or too little is known.
    No,
    /// Everything that can be compared, which is the bytes up to `end`; those from `from` on are compared without a gap.
    Until { from: u64, end: u64 },
}

impl Trail {
    /// The trail of `file` before `at`.
    pub(crate) fn of(file: &mut impl Content, at: u64) -> io::Result<Self> {
        let mut windows: Vec<(u64, u64, usize)> = Vec::new();
        for (size, kept) in STEPS {
            for (back, index) in kept.enumerate() {
                if let Some(end) = (at / size).checked_sub(back as u64).map(|count| count * size).filter(|end| *end > 0)
                {
                    windows.push((end, size.min(WINDOW), index));
                }
            }
        }
        // In the order of the file, so that a packed one is unpacked once.
        windows.sort_unstable();
        let mut trail = Self::default();
        for (end, length, index) in windows {
            let bytes = file.bytes(end - length, length as usize)?;
            if let Some(window) = trail.0.get_mut(index) {
                *window = short(&bytes);
            }
        }
        Ok(trail)
    }

    /// Moves from `before` on to `at`; `between` gives the bytes of a range that ends behind `before`.
    pub(crate) fn advance(&mut self, before: u64, at: u64, between: impl Fn(u64, u64) -> Vec<u8>) {
        for (size, kept) in STEPS {
            let windows = self.0.get_mut(kept).unwrap_or_default();
            let new = usize::try_from(at / size - before / size).unwrap_or(usize::MAX).min(windows.len());
            windows.rotate_right(new);
            for (back, window) in windows.iter_mut().enumerate().take(new) {
                let end = (at / size).saturating_sub(back as u64) * size;
                *window = if end == 0 { 0 } else { short(&between(end - size.min(WINDOW), end)) };
            }
        }
    }

    /// What `file`, whose `length` bytes are fewer than the `at` that were read and begin as they do with `head` bytes, has in
    /// common with them.
    pub(crate) fn common(&self, at: u64, head: u64, file: &mut impl Content, length: u64) -> io::Result<Common> {
        for (size, kept) in STEPS {
            let windows = self.0.get(kept).unwrap_or_default();
            let end = length / size * size;
            let first = usize::try_from(at / size - length / size).unwrap_or(usize::MAX);
            if end == 0 || first >= windows.len() {
                continue;
            }
            let mut from = end;
            for (back, window) in windows.iter().enumerate().skip(first) {
                let Some(end) = (at / size).checked_sub(back as u64).map(|count| count * size).filter(|end| *end > 0)
                else {
                    break;
                };
                let start = end - size.min(WINDOW);
                if short(&file.bytes(start, (end - start) as usize)?) != *window {
                    return Ok(Common::No);
                }
                if end == from {
                    from = start;
                }
            }
            return Ok(Common::Until { from, end });
        }
        Ok(if length < SHORT { Common::Until { from: 0, end: length.min(head) } } else { Common::No })
    }

    /// All windows, for a token.
    pub(crate) fn windows(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// All windows, from a token.
    pub(crate) fn windows_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        self.0.iter_mut()
    }
}

fn short(bytes: &[u8]) -> u32 {
    let hash = hash(bytes);
    (hash ^ (hash >> 32)) as u32
}
