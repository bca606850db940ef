//! The whole directory as one stream: its logs in turn, a checkpoint with a position for each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{
    Checkpoint, Error, Known, Limits, Messages, Position, Progress, Result, Start, StreamConsumer, now, pause,
};

use crate::{Settings, directory::Directory, log::Log};

/// Time between two looks for new files.
const LOOK: Duration = Duration::from_secs(1);

/// The logs of a directory, in turn.
#[derive(Debug)]
pub struct WholeDirectory {
    directory: Directory,
    follow: bool,
    logs: BTreeMap<u32, OneLog>,
    /// The log whose turn it was last.
    last: Option<u32>,
    looked: Option<Instant>,
    skip_existing: bool,
}

#[derive(Debug)]
struct OneLog {
    log: Log,
    label: String,
    next: Position,
    ended: bool,
}

impl WholeDirectory {
    /// Looks for logs that are not known yet.
    fn look(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        let known = |(&id, one): (&u32, &OneLog)| Known { id, label: one.label.clone(), position: one.next.clone() };
        let known: Vec<Known> = self.logs.iter().map(known).collect();
        for (id, label) in self.directory.logs(&known)? {
            if !self.logs.contains_key(&id) {
                let mut log = self.directory.log(id)?;
                let next = if self.skip_existing { log.end()? } else { Position::at(0) };
                self.logs.insert(id, OneLog { log, label, next, ended: false });
            }
        }
        self.skip_existing = false;
        self.looked = Some(now());
        Ok(())
    }

    /// What the next log in turn has to give, if any has something.
    fn turn(&mut self, limits: Limits) -> Result<Option<Messages>> {
        let at_once = Limits { timeout: Duration::ZERO, ..limits };
        let last = self.last.unwrap_or(u32::MAX);
        let mut order: Vec<u32> = self.logs.keys().copied().collect();
        let after = order.partition_point(|&id| id <= last);
        let turn = after % order.len().max(1);
        order.rotate_left(turn);
        for id in order {
            let Some(one) = self.logs.get_mut(&id).filter(|one| !one.ended) else { continue };
            let fetched = one.log.fetch(&one.next, at_once).map_err(|error| match error {
                // The host knows one position for the whole stream, so it cannot say where this log goes on.
                Error::OutOfRange { .. } => Error::fatal("files.replaced", replaced(&one.label)),
                other => other,
            })?;
            one.next = fetched.next;
            one.ended = fetched.progress == Progress::Ended;
            if !fetched.messages.is_empty() {
                let mut messages = fetched.messages;
                (0..messages.len()).for_each(|_| messages.partition(id));
                self.last = Some(id);
                return Ok(Some(messages));
            }
        }
        Ok(None)
    }
}

fn replaced(path: &str) -> String {
    format!(
        "{path} was replaced or cut short, and what it had is gone; read the directory by partition (`consumerType: lowlevel`), where `onOutOfRange` says how to go on"
    )
}

impl StreamConsumer for WholeDirectory {
    type Settings = Settings;

    fn open(topic: &str, _group: &str, start: Start, settings: Settings) -> Result<Self> {
        let directory = Directory::open(topic, &settings)?;
        let mut logs = BTreeMap::new();
        let skip_existing = start == Start::Latest;
        if let Start::Checkpoint(checkpoint) = start {
            // The names stand beside the positions: a log may have no file just now.
            let names = checkpoint.extra.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            for (label, (id, next)) in names.split('\n').zip(checkpoint.positions) {
                let log = directory.named(label);
                logs.insert(id, OneLog { log, label: label.to_owned(), next, ended: false });
            }
        }
        Ok(Self { directory, follow: settings.follow, logs, last: None, looked: None, skip_existing })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let begun = now();
        loop {
            self.look()?;
            if let Some(messages) = self.turn(limits)? {
                return Ok((messages, Progress::More));
            }
            if !self.follow && self.logs.values().all(|one| one.ended) {
                return Ok((Messages::default(), Progress::Ended));
            }
            if begun.elapsed() >= limits.timeout || !pause(Duration::from_millis(20)) {
                return Ok((Messages::default(), Progress::Idle));
            }
        }
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let positions = self.logs.iter().map(|(&id, one)| (id, one.next.clone())).collect();
        let names: Vec<&str> = self.logs.values().map(|one| one.label.as_str()).collect();
        Ok(Checkpoint { positions, extra: Some(names.join("\n").into_bytes()) })
    }
}
