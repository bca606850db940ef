//! A file that nobody reads just now: it is closed, and opened again when there is more in it.

use std::io;

use super::{Reading, Seen, more::RECHECK};
use crate::{disk::Stat, names::Packing, text::Text};

impl Reading {
    pub(crate) fn is_resting(&self) -> bool {
        self.text.is_none()
    }

    /// Closes the file, and lets go of what can be read again.
    pub(crate) fn rest(&mut self) {
        (self.text, self.header, self.first) = (None, None, None);
        self.free();
    }

    /// Lets go of the last bytes, too, of a file that rests: until now they could tell what a copy is that was made of it.
    pub(crate) fn settle(&mut self) {
        if self.is_resting() {
            self.place.rest();
        }
    }

    /// Lets go of what was read ahead.
    pub(crate) fn free(&mut self) {
        if self.name.packing != Packing::Plain {
            // Its length does not tell that there is more.
            self.end = None;
        }
        (self.buffer, self.used, self.hole) = (Vec::new(), 0, 0);
    }

    /// Bytes that are held.
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether the place is where the file ended when it was looked at last.
    pub(super) fn is_done(&self) -> bool {
        self.name.packing == Packing::Plain && self.end.is_some_and(|end| end.length == self.at())
    }

    /// What was seen behind the place is gone, and that was said.
    pub(crate) fn forget_seen(&mut self) {
        self.place.forget_seen();
    }

    /// Takes the file again, which may be another one than before; whether it has what was read.
    pub(crate) fn wake(&mut self, mut text: Text) -> io::Result<bool> {
        let Stat { hints, length, .. } = text.stat()?;
        let cut = text.plain().is_some() && self.end.is_some_and(|end| length < end.length);
        if cut || !self.place.wake(&mut text)? {
            return Ok(false);
        }
        if hints.inode != self.hints.inode {
            self.end = None;
        }
        // One that is packed is read as it is now.
        if text.plain().is_none() {
            self.hints.modified = hints.modified;
        }
        (self.hints.inode, self.text, self.missed) = (hints.inode, Some(text), None);
        Ok(true)
    }

    /// Whether `stat`, of the file, says that it is as it was when its end was met, and all was given.
    pub(crate) fn is_unchanged(&self, stat: &Stat) -> bool {
        let same = |end: Seen| (end.length, end.modified) == (stat.length, stat.hints.modified);
        let sure = |end: Seen| !end.fresh || end.checked.elapsed() < RECHECK;
        self.drained && stat.hints.inode == self.hints.inode && self.end.is_some_and(|end| same(end) && sure(end))
    }
}
