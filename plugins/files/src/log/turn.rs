//! Lets the files of a log give what they have.

use spout_guest::{Error, Limits, Result, warn};

use super::{Closed, Log, rest::Woken};
use crate::{
    family::unreadable,
    framing::Out,
    names::Packing,
    reading::{Step, age},
};

impl Log {
    /// Lets the oldest file that has something give it; whether one had.
    pub(super) fn turn(&mut self, limits: Limits, out: &mut Out) -> Result<bool> {
        let (mut index, mut moved) = (0, false);
        while index < self.readings.len() {
            match self.wake(index, moved)? {
                Woken::Open => {}
                Woken::Rests => {
                    index += 1;
                    continue;
                }
                Woken::Gone => continue,
                Woken::Later => return Ok(true),
            }
            let ends = self.ends(index);
            let Some(reading) = self.readings.get_mut(index) else { break };
            let stays = !reading.rotated && reading.name.packing == Packing::Plain && !self.settings.whole;
            let step = reading.step(self.options, limits, self.offset, ends, out);
            if let Some(nuls) = reading.hole() {
                let (path, at) = (&reading.path, reading.at());
                warn!(
                    "{path}: {nuls} NUL bytes before byte {at} passed over: a hole, as a cut under a writer without O_APPEND leaves it"
                );
            }
            match step {
                Ok(Step::Moved(bytes)) => {
                    self.offset += bytes;
                    let full = out.messages.bytes() >= limits.bytes || out.messages.len() >= limits.messages;
                    // Small files are given together.
                    if full || !reading.at_end() {
                        return Ok(true);
                    }
                    if self.family.catalog.is_full() {
                        reading.rest();
                    }
                    (moved, index) = (true, index + 1);
                }
                // What was taken is given first.
                Ok(Step::Full) => return Ok(true),
                Ok(Step::Replaced) | Err(_) if moved => return Ok(true),
                Ok(Step::Nothing) => {
                    if self.family.catalog.is_full() {
                        reading.rest();
                    }
                    index += 1;
                }
                // More may be written to it, now or until the next run.
                Ok(Step::Over) if stays => {
                    reading.over = true;
                    index += 1;
                }
                Ok(Step::Over) => {
                    let reading = self.readings.remove(index);
                    if reading.at() > 0 {
                        let away = (reading.name.log != self.family.log).then(|| reading.path.clone());
                        self.closed.push(Closed { away, ..Closed::from(reading.mark()) });
                    }
                }
                Ok(Step::Replaced) => {
                    self.replaced(index)?;
                    index = 0;
                }
                Err(error) => {
                    let before = self.readings.len();
                    if self.damaged(index, &error, out)? {
                        return Ok(true);
                    }
                    index += usize::from(self.readings.len() == before);
                }
            }
        }
        Ok(moved)
    }

    /// Whether nothing will be added to a file: its last line counts.
    pub(super) fn ends(&self, index: usize) -> bool {
        let Some(reading) = self.readings.get(index) else { return false };
        let quiet = reading.quiet();
        !self.settings.follow
            || reading.name.packing != Packing::Plain
            || reading.rotated && quiet >= self.settings.rotate_wait.0
            || reading.pending() && self.settings.last_line.0.is_some_and(|after| quiet >= after)
    }

    /// A packed file that is damaged, or not complete yet; whether that was said.
    fn damaged(&mut self, index: usize, error: &std::io::Error, out: &mut Out) -> Result<bool> {
        let Some(reading) = self.readings.get_mut(index) else { return Ok(false) };
        let path = reading.path.clone();
        if error.kind() == std::io::ErrorKind::FileTooLarge {
            return Err(Error::fatal("files.line", format!("{path}: {error}")));
        }
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        if denied {
            self.pass_over(&path, error);
            return Ok(false);
        }
        let Some(text) = reading.text().filter(|text| text.plain().is_none()) else {
            return Err(unreadable(&path, error));
        };
        let modified = text.stat().map_or(0, |stat| stat.hints.modified);
        if age(modified) < self.tempo.settled {
            return Ok(false);
        }
        // Written since it was opened: that is looked at first.
        let opened = reading.hints().modified;
        if modified != opened {
            let mark = self.readings.remove(index).mark();
            self.closed.push(Closed::from(mark));
            (self.looked, self.scanned) = (None, None);
            return Ok(false);
        }
        let reason = format!("{path} cannot be unpacked behind byte {}: {error}", reading.at());
        out.messages.attribute("file", path.as_bytes());
        out.fault(self.offset, b"", "file.damaged", &reason);
        self.offset += 1;
        let mark = self.readings.remove(index).mark();
        self.closed.push(Closed::from(mark));
        Ok(true)
    }
}
