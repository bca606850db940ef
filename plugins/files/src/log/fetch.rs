//! Answers a fetch: what there is, or that there is nothing, which costs one look at the log's name.

use spout_guest::{Fetched, Limits, Messages, Position, Progress, Result, now};

use super::Log;
use crate::{framing::Out, names::Packing, reading::Reading};

impl Log {
    /// The lines from `start` on that are there now.
    pub(crate) fn read(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        if self.peek.is_none() {
            self.peek();
        }
        let read = self.read_peeked(start, limits);
        self.peek = None;
        read
    }

    /// Whether files that a position says are read are still looked for.
    #[cfg(test)]
    pub(crate) fn is_searching(&self) -> bool {
        self.missing.is_some()
    }

    /// The next look is at all files.
    #[cfg(test)]
    pub(crate) fn scan_now(&mut self) {
        (self.looked, self.scanned) = (None, None);
    }

    fn read_peeked(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        if self.last.as_ref() != Some(start) && !self.stand_at(start)? {
            return Ok(Fetched { progress: Progress::More, ..self.nothing(start.clone()) });
        }
        if self.is_idle() {
            let settled = self.tempo.settled;
            self.readings.iter_mut().filter(|one| one.quiet() >= settled).for_each(Reading::settle);
            return Ok(self.nothing(start.clone()));
        }
        loop {
            let mut out = Out::default();
            let moved = self.turn(limits, &mut out)?;
            if !moved && self.look()? {
                continue;
            }
            let over = !moved && !self.settings.follow && !self.waiting && self.readings.iter().all(|one| one.over);
            let progress = match (moved, over) {
                (false, true) => Progress::Ended,
                (false, false) if !self.is_undecided() => Progress::Idle,
                _ => Progress::More,
            };
            if moved {
                self.undecided = None;
            }
            let next = self.position();
            return Ok(Fetched { messages: out.messages, progress, ..self.nothing(next) });
        }
    }

    fn nothing(&self, next: Position) -> Fetched {
        let behind: u64 = self.readings.iter().map(|one| one.lag()).sum();
        let high_watermark = self.missing.is_none().then_some(self.offset + behind);
        Fetched { messages: Messages::default(), next, high_watermark, progress: Progress::Idle }
    }

    /// Whether more may come as soon as it is known what the files are. That does not take for ever.
    fn is_undecided(&mut self) -> bool {
        if !self.waiting && self.readings.iter().all(|one| one.missed.is_none()) {
            self.undecided = None;
            return false;
        }
        let most = self.tempo.settled * 2 + self.settings.rotate_wait.0;
        self.undecided.get_or_insert_with(now).elapsed() < most
    }

    /// Whether the peek says all there is to say: nothing happened.
    fn is_idle(&self) -> bool {
        let Some(peek) = self.peek.filter(|_| self.settings.follow && !self.waiting && !self.is_due()) else {
            return false;
        };
        match self.readings.as_slice() {
            [] => match peek.live {
                Some(live) if live.length > 0 => self.closed.iter().any(|one| one.mark.hints == live.hints),
                live => self.is_same_blank(live.as_ref()),
            },
            [one] => {
                let plain = one.name.packing == Packing::Plain && one.path == self.family.log && !one.rotated;
                let due = one.pending() && self.settings.last_line.0.is_some_and(|after| one.quiet() >= after);
                plain && !due && !self.settings.whole && peek.live.is_some_and(|live| one.is_unchanged(&live))
            }
            _ => false,
        }
    }
}
