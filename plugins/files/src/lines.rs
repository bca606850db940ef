//! The lines of the logs of one reader.

use std::collections::{BTreeMap, btree_map::Entry};

use spout_guest::{Answered, Fetched, Limits, Pauses, Position, Progress, Result, SharedReader};

use crate::{directory::Directory, log::Log, open_files::OpenFiles};

/// The lines of any number of logs.
///
/// A look at logs that have nothing costs one look at the name of each. Their names are looked at first; only then is the
/// directory listed, once for all, if one of them has to know what else is there.
#[derive(Debug)]
pub struct Lines {
    pub(crate) directory: Directory,
    pub(crate) logs: BTreeMap<u32, Log>,
    open: OpenFiles,
    pauses: Pauses,
}

impl Lines {
    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory: directory.quiet(),
            logs: BTreeMap::new(),
            open: OpenFiles::default(),
            pauses: Pauses::default(),
        }
    }

    /// One look at each, without waiting; whether any has something to say.
    fn look(&mut self, wanted: &[(u32, Position)], limits: Limits, answers: &mut Vec<Answered>) -> bool {
        answers.clear();
        for (partition, start) in wanted {
            match self.log(*partition, start) {
                Ok(log) => log.peek(),
                Err(error) => answers.push((*partition, Err(error))),
            }
        }
        let (mut left, mut any) = (limits, !answers.is_empty());
        for (partition, start) in wanted {
            if left.messages == 0 || left.bytes == 0 {
                break;
            }
            let Some(log) = self.logs.get_mut(partition) else { continue };
            let fetched = log.read(start, left);
            self.open.used(*partition, log);
            let logs = &mut self.logs;
            self.open.spare(&self.directory.catalog, |id, act| {
                if let Some(log) = logs.get_mut(&id) {
                    act(log);
                }
            });
            if let Ok(Fetched { messages, .. }) = &fetched {
                left.messages = left.messages.saturating_sub(messages.len());
                left.bytes = left.bytes.saturating_sub(messages.bytes());
            }
            // Of one that has ended nothing is asked any more, and its position says all.
            if fetched.as_ref().is_ok_and(|one| one.progress == Progress::Ended) {
                self.logs.remove(partition);
                self.open.remove(*partition);
            }
            any |= fetched.as_ref().map_or(true, |one| says(one, start));
            answers.push((*partition, fetched));
        }
        any
    }

    fn log(&mut self, partition: u32, start: &Position) -> Result<&mut Log> {
        match self.logs.entry(partition) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            // Where no file has its name any more, a position says it.
            Entry::Vacant(entry) => Ok(entry.insert(self.directory.find(partition, Some(start))?)),
        }
    }
}

/// Whether a fetch from `start` came to anything; what is undecided is waited for.
fn says(fetched: &Fetched, start: &Position) -> bool {
    fetched.progress == Progress::Ended || !fetched.messages.is_empty() || fetched.next != *start
}

impl SharedReader for Lines {
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        let (mut pauses, mut answers) = (std::mem::take(&mut self.pauses), Vec::with_capacity(wanted.len()));
        let waited = pauses.wait(limits.timeout, || Ok(self.look(wanted, limits, &mut answers)));
        self.pauses = pauses;
        waited.map(|()| answers)
    }
}
