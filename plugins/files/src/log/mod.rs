//! The lines of one log from a position on: which of its files are read, in which order, and which are done.

mod blank;
mod fetch;
mod identify;
mod look;
mod lost;
mod rest;
mod stand;
mod strays;
mod turn;

use std::{
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};

use spout_guest::{Position, now};

use self::stand::Missing;
pub(crate) use self::stand::beginning;
use crate::{
    Settings,
    disk::Stat,
    family::Family,
    listing::{Age, Catalog},
    mark::{MOVED, Mark, Places},
    reading::{ReadOptions, Reading},
    text::Text,
};

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tempo {
    /// Time between two looks at whether the log's name still means the same file.
    pub(crate) look: Duration,
    /// Time between two looks at all files of the log, where nothing says that there is a new one; longer where there are
    /// many.
    pub(crate) scan: Duration,
    /// A copy, or a packed file, that was written at most so long ago may not be complete.
    pub(crate) settled: Duration,
    /// Time between two looks for files of the log that were moved to other names; longer each time.
    pub(crate) away: Duration,
    /// How long a file that was read is remembered after it was seen last.
    pub(crate) forget: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(250),
            scan: Duration::from_secs(5),
            settled: Duration::from_secs(10),
            away: Duration::from_secs(60),
            forget: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Reads one log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) family: Family,
    settings: Rc<Settings>,
    options: ReadOptions,
    /// Files that are read, the oldest first.
    readings: Vec<Reading>,
    closed: Vec<Closed>,
    /// Files of which nothing was read yet, as far as they are not read.
    blanks: Vec<Mark>,
    /// What the log's name meant when all files were looked at.
    live: Option<u64>,
    /// Bytes read of all files: the offset.
    offset: u64,
    /// The position that stands for all this.
    last: Option<Position>,
    /// Its positions say its name, also where there is nothing else to say.
    tells: bool,
    /// Something was read before: files that its live one became since are read whatever their names.
    known: Option<u64>,
    looked: Option<Instant>,
    scanned: Option<Instant>,
    scan_every: Duration,
    /// When files that are gone were looked for under other names, and when that is done again.
    strayed: Option<Instant>,
    stray_every: Duration,
    /// There are files about which nothing can be said yet.
    waiting: bool,
    /// Since when something is not decided, whatever it is.
    undecided: Option<Instant>,
    pub(crate) tempo: Tempo,
    unpacking: Option<(Stat, Text)>,
    said: BTreeSet<String>,
    peek: Option<Peek>,
    /// Files that a position says are read, and that are not found yet.
    missing: Option<Missing>,
}

/// What the log's name meant at the beginning of a look.
#[derive(Clone, Copy, Debug)]
struct Peek {
    at: Instant,
    live: Option<Stat>,
}

/// A file that was read to its end.
#[derive(Debug)]
struct Closed {
    mark: Mark,
    missed: Option<Instant>,
    /// The name outside of the log that it has now.
    away: Option<String>,
}

impl Log {
    pub(crate) fn new(catalog: Rc<Catalog>, log: String, settings: &Rc<Settings>) -> Self {
        let family = Family { catalog, log };
        let options = ReadOptions { framer: settings.framer(), header: settings.header, whole: settings.whole };
        Self {
            family,
            settings: Rc::clone(settings),
            options,
            readings: Vec::new(),
            closed: Vec::new(),
            blanks: Vec::new(),
            live: None,
            offset: 0,
            last: None,
            tells: false,
            known: None,
            looked: None,
            scanned: None,
            scan_every: Duration::ZERO,
            strayed: None,
            stray_every: Duration::ZERO,
            tempo: Tempo::default(),
            waiting: false,
            undecided: None,
            unpacking: None,
            said: BTreeSet::new(),
            peek: None,
            missing: None,
        }
    }

    /// The same, and its positions say its name from the beginning.
    pub(crate) fn telling(self) -> Self {
        Self { tells: true, ..self }
    }

    /// What stands for the place where this is now.
    pub(crate) fn position(&mut self) -> Position {
        let open = self.readings.iter().filter(|one| one.at() > 0 || self.is_kept_blank(one)).map(|one| {
            let mut mark = one.mark();
            if one.rotated && one.path == self.family.log {
                mark.named = MOVED;
            }
            mark
        });
        let open: Vec<Mark> = open.chain(self.blanks.iter().cloned()).collect();
        let closed: Vec<Mark> = self.closed.iter().map(|one| one.mark.clone()).collect();
        let told = self.tells || self.offset > 0 || !open.is_empty() || !closed.is_empty();
        let token = told.then(|| Places { log: self.family.log.clone(), open, closed }.write());
        let position = Position { offset: self.offset, token };
        self.last = Some(position.clone());
        position
    }

    fn reset(&mut self, offset: u64) {
        self.readings.clear();
        self.closed.clear();
        self.blanks.clear();
        self.live = None;
        self.offset = offset;
        (self.last, self.known, self.looked, self.scanned, self.unpacking) = (None, None, None, None, None);
        self.missing = None;
    }

    /// Notes what the log's name means now. Where several logs are looked at, this is done for all of them first: a listing
    /// that is made then says what became of them.
    pub(crate) fn peek(&mut self) {
        let at = now();
        self.peek = Some(Peek { at, live: self.family.stat(&self.family.log) });
    }

    pub(crate) fn is_peeked(&self) -> bool {
        self.peek.is_some()
    }

    /// How young a listing has to be to say what happened to the files of this log. One that is younger than the peek will do
    /// if the name has not got another meaning since; with `exactly`, if nothing was written to the file either.
    fn since(&self, exactly: bool) -> Instant {
        let at = now();
        let live = self.family.stat(&self.family.log);
        let inode = |live: Option<Stat>| live.map(|stat| stat.hints.inode);
        let same = |peek: &Peek| if exactly { peek.live == live } else { inode(peek.live) == inode(live) };
        self.peek.filter(same).map_or(at, |peek| peek.at)
    }

    /// How young a listing has to be to say that nothing happened.
    fn lately(&self) -> Age {
        Age::Within(self.tempo.look, self.peek.map_or_else(now, |peek| peek.at))
    }

    fn inodes(&self) -> BTreeSet<u64> {
        self.readings.iter().filter(|one| one.missed.is_none()).map(|one| one.hints().inode).collect()
    }
}

impl From<Mark> for Closed {
    fn from(mark: Mark) -> Self {
        Self { mark, missed: None, away: None }
    }
}
