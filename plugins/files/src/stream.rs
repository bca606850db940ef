//! The whole directory as one stream: its logs in turn, a checkpoint with a position for each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{
    Checkpoint, Error, Known, Limits, Messages, Pauses, Position, Progress, Result, Start, StreamConsumer, now,
};

use crate::{Settings, directory::Directory, log::Log, open_files::OpenFiles};

/// Time between two looks for new files.
const LOOK: Duration = Duration::from_secs(1);

/// Logs whose names are looked at together.
const PEEKED: usize = 64;

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
    pauses: Pauses,
    open: OpenFiles,
    /// In the last turn a log could not say yet whether it has more.
    undecided: bool,
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

    /// Looks at the names of the next logs, so that one listing will do for all.
    fn peek(&mut self, next: &[u32]) {
        let peeked = |id: &u32| self.logs.get(id).is_some_and(|one| one.ended || one.log.is_peeked());
        if next.first().is_none_or(peeked) {
            return;
        }
        for id in next.iter().take(PEEKED) {
            if let Some(one) = self.logs.get_mut(id).filter(|one| !one.ended) {
                one.log.peek();
            }
        }
    }

    /// What the next log in turn has to give, if any has something.
    fn turn(&mut self, limits: Limits) -> Result<Option<Messages>> {
        let last = self.last.unwrap_or(u32::MAX);
        self.undecided = false;
        let mut order: Vec<u32> = self.logs.keys().copied().collect();
        let after = order.partition_point(|&id| id <= last);
        let turn = after % order.len().max(1);
        order.rotate_left(turn);
        for (index, &id) in order.iter().enumerate() {
            self.peek(order.get(index..).unwrap_or_default());
            let Some(one) = self.logs.get_mut(&id).filter(|one| !one.ended) else { continue };
            let fetched = one.log.read(&one.next, limits).map_err(|error| match error {
                // The host knows one position for the whole stream, so it cannot say where this log goes on.
                Error::OutOfRange { .. } => Error::fatal("files.replaced", replaced(&one.label)),
                other => other,
            })?;
            one.next = fetched.next;
            one.ended = fetched.progress == Progress::Ended;
            self.undecided |= fetched.progress == Progress::More;
            self.open.used(id, &one.log);
            let logs = &mut self.logs;
            self.open.spare(&self.directory.catalog, |id, act| {
                if let Some(one) = logs.get_mut(&id) {
                    act(&mut one.log);
                }
            });
            if !fetched.messages.is_empty() {
                let mut messages = fetched.messages;
                messages.all_from(id);
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
        Ok(Self {
            directory,
            follow: settings.follow,
            logs,
            last: None,
            looked: None,
            skip_existing,
            pauses: Pauses::default(),
            open: OpenFiles::default(),
            undecided: false,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let (mut pauses, mut answer) = (std::mem::take(&mut self.pauses), (Messages::default(), Progress::Idle));
        let waited = pauses.wait(limits.timeout, || {
            self.look()?;
            if let Some(messages) = self.turn(limits)? {
                answer = (messages, Progress::More);
            } else if !self.follow && self.logs.values().all(|one| one.ended) {
                answer.1 = Progress::Ended;
            }
            Ok(answer.1 != Progress::Idle)
        });
        self.pauses = pauses;
        if answer.1 == Progress::Idle && self.undecided {
            answer.1 = Progress::More;
        }
        waited.map(|()| answer)
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let positions = self.logs.iter().map(|(&id, one)| (id, one.next.clone())).collect();
        let names: Vec<&str> = self.logs.values().map(|one| one.label.as_str()).collect();
        Ok(Checkpoint { positions, extra: Some(names.join("\n").into_bytes()) })
    }
}
