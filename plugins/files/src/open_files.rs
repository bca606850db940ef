//! Which logs have open files, and which of them close theirs when there are too many.

use std::collections::BTreeMap;

use crate::{listing::Catalog, log::Log};

/// Bytes that all logs together may have read ahead.
const AHEAD: usize = 32 << 20;

/// The logs that have open files, the one that was read longest ago first.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    turn: u64,
    turns: BTreeMap<u32, u64>,
    /// Each with the bytes that it has read ahead.
    logs: BTreeMap<u64, (u32, usize)>,
    ahead: usize,
}

impl OpenFiles {
    /// A log was read.
    pub(crate) fn used(&mut self, id: u32, log: &Log) {
        self.remove(id);
        if log.open_files() > 0 {
            self.turn += 1;
            self.turns.insert(id, self.turn);
            self.logs.insert(self.turn, (id, log.held()));
            self.ahead += log.held();
        }
    }

    /// A log has no open files any more.
    pub(crate) fn remove(&mut self, id: u32) {
        if let Some((_, held)) = self.turns.remove(&id).and_then(|turn| self.logs.remove(&turn)) {
            self.ahead -= held;
        }
    }

    /// Closes files where too many are open, a quarter more than needed: first of logs that have nothing more just now. Lets go
    /// of what was read ahead, too, where it is too much.
    pub(crate) fn spare(&mut self, catalog: &Catalog, mut with: impl FnMut(u32, &mut dyn FnMut(&mut Log))) {
        for all in [false, true] {
            if !catalog.is_full() {
                break;
            }
            let ids: Vec<u32> = self.logs.values().map(|(id, _)| *id).collect();
            for id in ids {
                if catalog.disk.open_files() <= catalog.room.get() / 4 * 3 {
                    break;
                }
                with(id, &mut |log| {
                    log.rest(all);
                    if log.open_files() == 0 {
                        self.remove(id);
                    }
                });
            }
        }
        while self.ahead > AHEAD {
            let Some((turn, (id, held))) = self.logs.iter().find(|(_, (_, held))| *held > 0).map(|(t, one)| (*t, *one))
            else {
                break;
            };
            with(id, &mut Log::free);
            self.logs.insert(turn, (id, 0));
            self.ahead -= held;
        }
    }
}
