//! The files of a granted directory as objects.
//!
//! A file is an object once it is complete: it was not written for a while. A name is read once. What is written to a file afterwards
//! is told from a new file by what the position keeps: by time, time and name of each file that is still there; by name, the newest
//! time of a file that was read, which whatever is written later exceeds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spout_folder::{DEEP, File, Kind, Root, Stat, join};
use spout_guest::{Backoff, Error, Fnv, Result, now, warn};

use crate::{
    listing::{New, Object},
    place::Place,
    settings::{Changed, DirectorySettings, Order},
    store::{CHUNK, Failed, LISTING, Store},
};

/// Most files whose names the position keeps.
const MOST: usize = 10_000;
/// How long a file that is gone is remembered, in milliseconds before the newest that was read.
const REMEMBERED: u64 = 3_600_000;

/// A directory, and what was seen in it.
#[derive(Debug)]
pub(crate) struct Folder {
    root: Root,
    prefix: String,
    suffix: String,
    order: Order,
    changed: Changed,
    settle: Duration,
    /// The file that is being read, and its version.
    open: Option<(Object, File)>,
    /// Versions of files that do not look complete, and since when they have been so.
    watched: BTreeMap<String, (Stat, Instant)>,
    /// There is one that is not complete.
    waiting: bool,
    /// Hashes of the names that were listed last.
    listed: Option<BTreeSet<u64>>,
    said: BTreeSet<String>,
    backoff: Backoff,
}

impl Folder {
    pub(crate) fn new(settings: &DirectorySettings, topic: &str) -> Result<Self> {
        let (name, prefix) = topic.split_once('/').unwrap_or((topic, ""));
        Self::open(name, prefix, settings).map_err(|error| {
            Error::invalid_config(format!(
                "`{name}`, with which the topic begins, is not a granted directory ({error}); add `grants: {{objects: {{dirs: {{{name}: PATH}}}}}}` to the spec"
            ))
        })
    }

    pub(crate) fn open(name: &str, prefix: &str, settings: &DirectorySettings) -> io::Result<Self> {
        Ok(Self {
            root: Root::open(name)?,
            prefix: prefix.to_owned(),
            suffix: settings.suffix.clone(),
            order: settings.order,
            changed: settings.changed,
            settle: Duration::try_from_secs_f64(settings.settle).unwrap_or_default(),
            open: None,
            watched: BTreeMap::new(),
            waiting: false,
            listed: None,
            said: BTreeSet::new(),
            backoff: Backoff::default(),
        })
    }

    /// All files below the prefix.
    fn walk(&mut self, below: &str, (depth, until): (usize, Instant), files: &mut Vec<(String, Stat)>) -> Result<()> {
        if now() >= until || files.len() > MOST && self.order == Order::Modified {
            let hint = if self.order == Order::Modified { ", or use `order: name`" } else { "" };
            let what = format!("there are too many files to look at again and again; move those that were read{hint}");
            return Err(Error::fatal("objects.many", what));
        }
        let listing = match self.root.list(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !below.is_empty() => return Ok(()),
            listing => listing.map_err(|error| self.unreadable(below, &error))?,
        };
        if !listing.unnamed.is_empty() {
            let count = listing.unnamed.len();
            self.say(
                &format!("{below}/"),
                &format!("names in `{below}` that are not UTF-8: {count}; their files are not read"),
            );
        }
        for (name, kind) in listing.entries {
            let path = join(below, &name);
            // Those who copy files use such names until a file is complete.
            if name.starts_with('.') {
                continue;
            }
            if kind == Kind::Directory {
                let inner = format!("{path}/");
                if depth < DEEP && (inner.starts_with(&self.prefix) || self.prefix.starts_with(&inner)) {
                    self.walk(&path, (depth + 1, until), files)?;
                }
            } else if kind != Kind::Other && path.starts_with(&self.prefix) && path.ends_with(&self.suffix) {
                files.extend(self.found(&path, kind == Kind::Link)?.map(|stat| (path, stat)));
            }
        }
        Ok(())
    }

    /// What a name leads to, if that is a file with content.
    fn found(&mut self, path: &str, link: bool) -> Result<Option<Stat>> {
        match self.root.stat(path) {
            Ok(stat) if stat.kind == Kind::File => Ok(Some(stat).filter(|stat| stat.length > 0)),
            Ok(_) => {
                self.say(path, &format!("`{path}` is a link to a directory, which is not followed"));
                Ok(None)
            }
            Err(error) if link => {
                self.say(
                    path,
                    &format!("`{path}` is a link that leads nowhere in the directory ({error}); it is not read"),
                );
                Ok(None)
            }
            // Gone between its listing and now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(path, &error)),
        }
    }

    fn unreadable(&mut self, path: &str, error: &io::Error) -> Error {
        self.backoff.again(Error::retriable("objects.unreadable", format!("`{path}` cannot be read: {error}")))
    }

    /// Says something once.
    fn say(&mut self, about: &str, text: &str) {
        if self.said.insert(about.to_owned()) {
            warn!("{text}");
        }
    }

    /// The files of `files` that were not written for a while, and those that were.
    fn settled(&mut self, files: Vec<(String, Stat)>) -> (Vec<Object>, Vec<Object>) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut complete, mut open, mut watched) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (path, stat) in files {
            let age = time.checked_sub(Duration::from_nanos(stat.hints.modified));
            let object = object(&path, &stat);
            if age.is_some_and(|age| age >= self.settle) {
                complete.push(object);
                continue;
            }
            // Whoever writes may have another clock than we.
            let since = self.watched.get(&path).filter(|(known, _)| *known == stat).map_or_else(now, |(_, at)| *at);
            let quiet = now().saturating_duration_since(since);
            if quiet >= self.settle {
                complete.push(object)
            } else {
                open.push(object)
            }
            watched.insert(path, (stat, since));
        }
        self.watched = watched;
        self.waiting = !open.is_empty();
        (complete, open)
    }

    /// What becomes of a file that was read, or passed over, and was written since.
    fn again(&self, object: Object) -> New {
        let what = match self.order {
            Order::Modified => "it was changed after it was read, and is not read again",
            Order::Name => "it came, or was changed, after files behind it were read, and is not read",
        };
        let aside = (self.changed == Changed::DeadLetter).then(|| format!("objects.changed {what}"));
        New { object, aside }
    }

    fn by_time(&self, place: &Place, complete: Vec<Object>) -> VecDeque<New> {
        let seen: BTreeSet<(u64, u64)> = place.seen.iter().copied().collect();
        let names: BTreeSet<u64> = seen.iter().map(|(_, name)| *name).collect();
        let mut new: Vec<Object> = complete.into_iter().filter(|object| !seen.contains(&mark(object))).collect();
        new.sort_by(|one, other| (one.modified, &one.key).cmp(&(other.modified, &other.key)));
        let one = |object: Object| if names.contains(&mark(&object).1) { self.again(object) } else { object.into() };
        new.into_iter().map(one).collect()
    }

    fn by_name(&mut self, place: &Place, complete: Vec<Object>, open: &[Object]) -> VecDeque<New> {
        let is_after = |object: &Object| place.after.as_ref().is_none_or(|after| object.key > *after);
        let (mut new, before): (Vec<Object>, Vec<Object>) = complete.into_iter().partition(is_after);
        // One that is not complete keeps back those behind it.
        let until = open.iter().filter(|object| is_after(object)).map(|object| &object.key).min();
        new.retain(|object| until.is_none_or(|until| object.key < *until));
        new.sort_by(|one, other| one.key.cmp(&other.key));
        let is_later = |object: &Object| place.upto.is_none_or(|upto| mark(object) > upto);
        let (mut later, before): (Vec<Object>, Vec<Object>) = before.into_iter().partition(is_later);
        // In this order each exceeds those before it.
        later.sort_by_key(mark);
        for object in before {
            let name = mark(&object).1;
            if self.listed.as_ref().is_some_and(|listed| !listed.contains(&name)) {
                let text = format!(
                    "`{}` came with a name and a time before those that were read, and is not read",
                    object.key
                );
                self.say(&object.key, &text);
            }
        }
        later.into_iter().map(|object| self.again(object)).chain(new.into_iter().map(New::from)).collect()
    }
}

impl Store for Folder {
    fn begin(&mut self, _: Duration) {}

    fn look(&mut self, place: &mut Place) -> Result<VecDeque<New>> {
        let mut files = Vec::new();
        self.walk("", (0, now() + LISTING), &mut files)?;
        self.backoff.reset();
        let names = files.iter().map(|(path, _)| name(path)).collect();
        let (complete, open) = self.settled(files);
        let new = match self.order {
            Order::Modified => self.by_time(place, complete),
            Order::Name => self.by_name(place, complete, &open),
        };
        self.listed = Some(names);
        Ok(new)
    }

    fn is_waiting(&self) -> bool {
        self.waiting
    }

    fn passed(&self, mut place: Place, object: &Object) -> Place {
        place.within = None;
        let mark = mark(object);
        match self.order {
            Order::Name => {
                place.after = place.after.max(Some(object.key.clone()));
                place.upto = place.upto.max(Some(mark));
            }
            Order::Modified => {
                let newest = place.newest.unwrap_or(0).max(object.modified);
                let is_there = |name: &u64| self.listed.as_ref().is_none_or(|listed| listed.contains(name));
                place.newest = Some(newest);
                // One version of a name is enough.
                place.seen.retain(|(at, name)| {
                    *name != mark.1 && (at.saturating_add(REMEMBERED) >= newest || is_there(name))
                });
                place.seen.push(mark);
            }
        }
        place
    }

    fn read(&mut self, object: &Object, from: u64) -> std::result::Result<Vec<u8>, Failed> {
        let failed = |folder: &mut Self, error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Failed::Gone,
            _ => Failed::Other(folder.unreadable(&object.key, &error)),
        };
        let file = match self.open.take().filter(|(open, _)| open == object) {
            Some((_, file)) => file,
            None => self.root.open_file(&object.key).map_err(|error| failed(self, error))?,
        };
        let length = CHUNK.min(object.size.saturating_sub(from));
        let mut bytes = Vec::new();
        let read = file.fill(from, usize::try_from(length).unwrap_or(usize::MAX), &mut bytes);
        read.map_err(|error| failed(self, error))?;
        // What was read is of the version that is meant, if it still is that version now.
        let stat = file.stat().map_err(|error| failed(self, error))?;
        if stat.kind != Kind::File || version(&stat) != object.etag || bytes.len() as u64 != length {
            return Err(Failed::Gone);
        }
        self.backoff.reset();
        self.open = Some((object.clone(), file));
        Ok(bytes)
    }
}

fn object(path: &str, stat: &Stat) -> Object {
    let modified = stat.hints.modified / 1_000_000;
    Object { key: path.to_owned(), modified, etag: version(stat), size: stat.length }
}

fn version(stat: &Stat) -> String {
    format!("{:x}-{:x}", stat.hints.modified, stat.length)
}

fn name(path: &str) -> u64 {
    Fnv::default().and(path.bytes()).0
}

/// What a version of a file is known by: its time, and a hash of its name.
fn mark(object: &Object) -> (u64, u64) {
    (object.modified, name(&object.key))
}
