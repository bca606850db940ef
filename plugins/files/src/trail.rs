//! Hashes of what stands before a place in a file: they tell whether a shorter file is the beginning of what was read. No IO.

use std::io;

use crate::{mark::Content, names::hash};

/// Windows of a step end at its multiples.
const STEPS: [u64; 5] = [64, 256, 1 << 10, 8 << 10, 64 << 10];

/// Windows kept of each step: the last before the place.
const KEPT: usize = 16;

/// Longest window; longer steps hash the bytes before their multiples.
const WINDOW: u64 = 512;

/// The last windows of each step before a place, the last first; 0 where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail([[u32; KEPT]; STEPS.len()]);

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
        let mut windows: Vec<(u64, u64, usize, usize)> = Vec::new();
        for (step, size) in STEPS.into_iter().enumerate() {
            for back in 0..KEPT {
                if let Some(end) = (at / size).checked_sub(back as u64).map(|count| count * size).filter(|end| *end > 0)
                {
                    windows.push((end, size.min(WINDOW), step, back));
                }
            }
        }
        // In the order of the file, so that a packed one is unpacked once.
        windows.sort_unstable();
        let mut trail = Self::default();
        for (end, length, step, back) in windows {
            let bytes = file.bytes(end - length, length as usize)?;
            if let Some(window) = trail.0.get_mut(step).and_then(|windows| windows.get_mut(back)) {
                *window = short(&bytes);
            }
        }
        Ok(trail)
    }

    /// Moves from `before` on to `at`; `between` gives the bytes of a range that ends behind `before`.
    pub(crate) fn advance(&mut self, before: u64, at: u64, between: impl Fn(u64, u64) -> Vec<u8>) {
        for (windows, size) in self.0.iter_mut().zip(STEPS) {
            let new = usize::try_from(at / size - before / size).unwrap_or(usize::MAX).min(KEPT);
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
        for (windows, size) in self.0.iter().zip(STEPS) {
            let end = length / size * size;
            let first = usize::try_from(at / size - length / size).unwrap_or(usize::MAX);
            if end == 0 || first >= KEPT {
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
        // Too short for a window: its first bytes have to do.
        Ok(if length < STEPS[1] { Common::Until { from: 0, end: length.min(head) } } else { Common::No })
    }

    /// All windows, for a token.
    pub(crate) fn windows(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flatten().copied()
    }

    /// All windows, from a token.
    pub(crate) fn windows_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        self.0.iter_mut().flatten()
    }
}

fn short(bytes: &[u8]) -> u32 {
    let hash = hash(bytes);
    (hash ^ (hash >> 32)) as u32
}
