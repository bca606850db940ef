//! The whole directory as one stream: the files in turn, a checkpoint with a position for each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{Checkpoint, Error, Limits, Messages, Position, Progress, Result, Start, StreamConsumer, now, pause};

use crate::{Settings, directory::Directory, lines::Lines, root};

/// Time between two looks for new files.
const LOOK: Duration = Duration::from_secs(1);

/// The files of a directory, in turn.
#[derive(Debug)]
pub struct Files {
    directory: Directory,
    settings: Settings,
    files: BTreeMap<u32, OneFile>,
    /// The file whose turn it was last.
    last: Option<u32>,
    looked: Option<Instant>,
    skip_existing: bool,
}

#[derive(Debug)]
struct OneFile {
    lines: Lines,
    next: Position,
    ended: bool,
}

impl Files {
    /// Looks for files that are not known yet.
    fn look(&mut self) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        for id in self.directory.files()?.into_keys() {
            if !self.files.contains_key(&id) {
                let lines = Lines::new(self.directory.path(id)?, &self.settings);
                let next = if self.skip_existing { lines.end()? } else { Position::at(0) };
                self.files.insert(id, OneFile { lines, next, ended: false });
            }
        }
        self.skip_existing = false;
        self.looked = Some(now());
        Ok(())
    }

    /// What the next file in turn has to give, if any has something.
    fn turn(&mut self, limits: Limits) -> Result<Option<Messages>> {
        let at_once = Limits { timeout: Duration::ZERO, ..limits };
        let last = self.last.unwrap_or(u32::MAX);
        let mut order: Vec<u32> = self.files.keys().copied().collect();
        let after = order.partition_point(|&id| id <= last);
        let turn = after % order.len().max(1);
        order.rotate_left(turn);
        for id in order {
            let Some(file) = self.files.get_mut(&id).filter(|file| !file.ended) else { continue };
            let fetched = file.lines.fetch(file.next.clone(), at_once).map_err(|error| match error {
                // The host knows one position for the whole stream, so it cannot say where this file goes on.
                Error::OutOfRange { .. } => Error::fatal("files.replaced", self.directory.replaced(id)),
                other => other,
            })?;
            file.next = fetched.next;
            file.ended = fetched.progress == Progress::Ended;
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

impl StreamConsumer for Files {
    type Settings = Settings;

    fn open(topic: &str, _group: &str, start: Start, settings: Settings) -> Result<Self> {
        let directory = Directory::open(root(topic), &settings)?;
        let mut files = BTreeMap::new();
        let skip_existing = start == Start::Latest;
        if let Start::Checkpoint(checkpoint) = start {
            for (id, next) in checkpoint.positions {
                let lines = Lines::new(directory.path(id)?, &settings);
                files.insert(id, OneFile { lines, next, ended: false });
            }
        }
        Ok(Self { directory, settings, files, last: None, looked: None, skip_existing })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let begun = now();
        loop {
            self.look()?;
            if let Some(messages) = self.turn(limits)? {
                return Ok((messages, Progress::More));
            }
            if !self.settings.follow && self.files.values().all(|file| file.ended) {
                return Ok((Messages::default(), Progress::Ended));
            }
            if begun.elapsed() >= limits.timeout || !pause(Duration::from_millis(20)) {
                return Ok((Messages::default(), Progress::Idle));
            }
        }
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let positions = self.files.iter().map(|(&id, file)| (id, file.next.clone())).collect();
        Ok(Checkpoint { positions, extra: None })
    }
}
