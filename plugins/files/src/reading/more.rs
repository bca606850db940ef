//! Reading more of a file, and making sure that it is still the one that was read so far.

use std::{io, time::Duration};

use spout_guest::now;

use super::{CHUNK, More, Reading, Seen, is_fresh};
use crate::{
    framing::nuls,
    mark::{Content as _, TAIL},
    text::Text,
};

/// Time between two looks at the content of a file that was changed just now.
pub(super) const RECHECK: Duration = Duration::from_millis(500);

impl Reading {
    /// Reads more behind what is there.
    pub(super) fn more(&mut self, wanted: usize) -> io::Result<More> {
        let Some(text) = &mut self.text else { return Ok(More::End) };
        let stat = text.stat()?;
        let plain = text.plain().is_some();
        let from = self.place.at() + self.hole + (self.buffer.len() - self.used) as u64;
        if plain && stat.length < from {
            return Ok(More::Replaced);
        }
        let unchanged = self.end.filter(|end| (end.length, end.modified) == (stat.length, stat.hints.modified));
        // Bytes that wait for their end may have been let go.
        if let Some(end) = unchanged.filter(|end| !plain || from >= end.length) {
            return if end.fresh && end.checked.elapsed() >= RECHECK { self.recheck(end) } else { Ok(More::End) };
        }
        let grown = unchanged.is_none();
        if self.end.take().is_some() && self.hole > 0 {
            // What was a hole may have been written since.
            (self.hole, self.used) = (0, 0);
            self.buffer.clear();
            return Ok(More::Bytes);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let before = self.buffer.len();
        // What is there, in one read; what comes meanwhile is seen next time.
        let there = usize::try_from(stat.length - from.min(stat.length)).unwrap_or(usize::MAX);
        let asked = if plain { wanted.min(there) } else { wanted };
        let read = match text.fill(from, asked, &mut self.buffer) {
            Ok(read) => read,
            Err(error) => {
                self.buffer.truncate(before);
                return Err(error);
            }
        };
        if plain && !self.is_intact(from + read as u64, before)? {
            self.buffer.truncate(before);
            return Ok(More::Replaced);
        }
        if plain {
            self.place.saw(stat.length);
        }
        // One that is packed is unpacked as it was when it was opened: had it grown since, its date tells.
        if plain {
            self.hints.modified = stat.hints.modified;
        }
        if read > 0 && grown {
            self.grew = now();
        }
        let damaged = self.text.as_ref().is_some_and(|text| text.damage().is_some());
        if (read < wanted || plain && asked == there) && !damaged {
            let (length, modified) = (stat.length, stat.hints.modified);
            self.end = Some(Seen { length, modified, checked: now(), fresh: plain && is_fresh(modified) });
        }
        self.drop_hole();
        Ok(if read > 0 { More::Bytes } else { More::End })
    }

    /// Whether the file still has what was read before, now that more was read: it was not cut in between, then. The first
    /// `known` bytes of the buffer were read earlier.
    fn is_intact(&mut self, end: u64, known: usize) -> io::Result<bool> {
        let recent = self.place.recent();
        let (from, expected) = if recent.is_empty() {
            (self.hole, self.buffer.get(..known.min(TAIL)).unwrap_or_default())
        } else {
            (self.place.at() - recent.len() as u64, recent)
        };
        if expected.is_empty() {
            return Ok(true);
        }
        let Some(handle) = self.text.as_ref().and_then(Text::plain) else { return Ok(true) };
        let there = (&mut &*handle).bytes(from, expected.len())?;
        let intact = there == expected;
        Ok(intact && handle.stat()?.length >= end)
    }

    /// Whether the file, which is open, still has what was read.
    pub(crate) fn is_whole(&mut self) -> bool {
        let at = self.at();
        self.text.as_ref().is_none_or(|text| text.plain().is_none())
            || self.is_intact(at, self.buffer.len()).unwrap_or(false)
    }

    fn recheck(&mut self, end: Seen) -> io::Result<More> {
        let known = self.buffer.len();
        if !self.is_intact(end.length, known)? {
            return Ok(More::Replaced);
        }
        self.end = Some(Seen { checked: now(), fresh: is_fresh(end.modified), ..end });
        Ok(More::End)
    }

    /// Lets go of a buffer that has nothing but NULs.
    fn drop_hole(&mut self) {
        let pending = self.buffer.get(self.used..).unwrap_or_default();
        if pending.len() >= CHUNK && !self.state.skipping && !self.refused && nuls(pending) == pending.len() {
            self.hole += pending.len() as u64;
            self.buffer.clear();
            self.used = 0;
        }
    }
}
