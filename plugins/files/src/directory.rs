//! Which logs a directory has, and their numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use spout_folder::{DEEP, join};
use spout_guest::{Error, Known, Position, Result, now, warn};

use crate::{
    Settings,
    disk::{Disk, Kind},
    family::{Family, Member, unreadable},
    listing::{Age, Catalog},
    log::{Log, beginning},
    mark::{Content as _, Places},
    names::{matches, number, numbers},
    numbers::Numbers,
    read::Read,
    text::Text,
};

/// Where there are more logs, their first bytes are not kept.
const MANY: usize = 2000;

/// Time between two looks for the names of logs that are asked for by number.
const LISTED: Duration = Duration::from_millis(250);

/// First bytes that tell what has an inode from what had it before.
const HEAD: usize = 64;

/// A granted directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) catalog: Rc<Catalog>,
    topic: String,
    settings: Rc<Settings>,
    numbers: Numbers,
    /// Which log a file was seen in, with its first bytes.
    owners: BTreeMap<u64, (String, Vec<u8>)>,
    said: BTreeSet<String>,
    /// Somebody else says what there is to say about the directory.
    quiet: bool,
    looked: bool,
    /// The names of all logs that were there when one was asked for by its number, by the first of their numbers.
    there: BTreeMap<u32, Vec<String>>,
    listed: Option<Instant>,
}

/// A file that the pattern names.
struct Found {
    path: String,
    link: bool,
}

impl Directory {
    pub(crate) fn open(topic: &str, settings: &Settings) -> Result<Self> {
        settings.check()?;
        let disk = Disk::open(topic);
        match disk {
            Ok(disk) => Ok(Self {
                catalog: Rc::new(Catalog::new(disk, settings.whole)),
                topic: topic.to_owned(),
                settings: Rc::new(settings.clone()),
                numbers: Numbers::default(),
                there: BTreeMap::new(),
                listed: None,
                owners: BTreeMap::new(),
                said: BTreeSet::new(),
                quiet: false,
                looked: false,
            }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                Err(Error::invalid_config(format!(
                    "the topic `{topic}` is not a granted directory; add `grants: {{files: {{dirs: {{{topic}: PATH}}}}}}` to the spec"
                )))
            }
            Err(error) => Err(unreadable("", &error)),
        }
    }

    /// The logs there are, by number. A log keeps its number, whatever else comes and goes.
    /// A file that holds what one of `known` has read, and was only moved, makes no log; its old one goes on with it.
    pub(crate) fn logs(&mut self, known: &[Known]) -> Result<BTreeMap<u32, String>> {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        let begun = Age::Since(now());
        self.walk("", (begun, 0), &mut found, &mut others)?;
        if !std::mem::replace(&mut self.looked, true) && found.is_empty() {
            self.no_match(&others);
        }
        let mut logs: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for file in found {
            logs.entry(self.catalog.name(&file.path).log).or_default().push(file);
        }
        self.numbers.learn(known);
        let new: BTreeSet<String> = logs.keys().filter(|log| self.numbers.is_new(log)).cloned().collect();
        let aliases = if new.is_empty() { BTreeSet::new() } else { self.aliases(&logs, &new) };
        let mut read = Read::new(known);
        // What is left of a log under names that the pattern has not is still read to its end.
        let left: BTreeSet<String> = others.iter().map(|path| self.catalog.name(path).log).collect();
        for one in known.iter().filter(|one| left.contains(&one.label)) {
            logs.entry(one.label.clone()).or_default();
        }
        let mut numbers: BTreeMap<u32, String> = BTreeMap::new();
        let mut owners = BTreeSet::new();
        for log in logs.into_keys() {
            if aliases.contains(&log) {
                continue;
            }
            // One that was left is not new.
            if new.contains(&log)
                && let Some(theirs) = self.owners_of(&log, &mut read, begun)?
            {
                owners.extend(theirs);
                continue;
            }
            numbers.insert(self.numbers.give(&log)?, log);
        }
        // Others than those that a commit knows are read already.
        for one in known.iter().filter(|one| owners.contains(&one.label)) {
            self.numbers.put(one.id, one.label.clone());
            numbers.insert(one.id, one.label.clone());
        }
        self.remember(&numbers);
        Ok(numbers)
    }

    /// For a reader of one log: what there is to say about the directory is said by who lists its logs.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Where the log of that number begins.
    pub(crate) fn start(&self, partition: u32) -> Position {
        beginning(self.numbers.log(partition))
    }

    /// The log of that number, which says its name in all positions.
    pub(crate) fn log(&mut self, partition: u32) -> Result<Log> {
        self.find(partition, None).map(Log::telling)
    }

    /// The log of that number; where no file has its name any more, the position says it.
    pub(crate) fn find(&mut self, partition: u32, position: Option<&Position>) -> Result<Log> {
        let places = position.and_then(|position| position.token.as_deref()).and_then(Places::read);
        if let Some(places) = places.filter(|places| numbers(&places.log).any(|number| number == partition)) {
            return Ok(self.named(&places.log));
        }
        if let Some(name) = self.numbers.log(partition) {
            return Ok(self.named(name));
        }
        if !self.there.contains_key(&partition) && self.listed.is_none_or(|at| at.elapsed() >= LISTED) {
            self.list()?;
        }
        match self.there.get(&partition).map(Vec::as_slice) {
            Some([log]) => Ok(self.named(log)),
            Some([log, other, ..]) => {
                let message = format!(
                    "the files `{log}` and `{other}` have the same number, and the position does not say which of them it is of; rename one of them"
                );
                Err(Error::fatal("files.collision", message))
            }
            _ => {
                let message = format!("no file of {} has the number {partition} any more", self.topic);
                Err(Error::retriable("files.missing", message))
            }
        }
    }

    /// Looks for the names of all logs.
    fn list(&mut self) -> Result<()> {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        self.listed = Some(now());
        self.walk("", (Age::Since(now()), 0), &mut found, &mut others)?;
        let paths = found.into_iter().map(|file| file.path).chain(others);
        let logs: BTreeSet<String> = paths.map(|path| self.catalog.name(&path).log).collect();
        self.there.clear();
        for log in logs {
            self.there.entry(number(&log)).or_default().push(log);
        }
        Ok(())
    }

    /// The log of that name.
    pub(crate) fn named(&self, log: &str) -> Log {
        Log::new(Rc::clone(&self.catalog), log.to_owned(), &self.settings)
    }

    fn family(&self, log: &str) -> Family {
        Family { catalog: Rc::clone(&self.catalog), log: log.to_owned() }
    }

    fn walk(
        &mut self,
        below: &str,
        (age, depth): (Age, usize),
        found: &mut Vec<Found>,
        others: &mut Vec<String>,
    ) -> Result<()> {
        let listing = match self.catalog.folder(below, age) {
            Err(error) if !below.is_empty() => {
                self.say(below, &format!("the directory {below} cannot be read and is passed over: {error}"));
                return Ok(());
            }
            listing => listing.map_err(|error| unreadable(below, &error))?,
        };
        if !listing.unnamed.is_empty() {
            let (count, names) = (listing.unnamed.len(), listing.unnamed.join(", ").escape_default().to_string());
            let place = if below.is_empty() { &self.topic } else { below };
            let text = format!(
                "names in `{place}` that are not UTF-8: {count}; their files are passed over, rename them ({names})"
            );
            self.say(&format!("{below}/?"), &text);
        }
        for (entry, kind) in &listing.entries {
            let (path, kind) = (join(below, entry), *kind);
            let link = kind == Kind::Link;
            let wanted = matches(&self.settings.pattern, &path);
            let kind = match link {
                false => kind,
                // Where a link leads is looked at where it matters.
                true if !wanted && !self.settings.recursive => Kind::Other,
                true => self.target(&path, wanted),
            };
            if kind == Kind::Directory && self.settings.recursive && depth < DEEP {
                self.walk(&path, (age, depth + 1), found, others)?;
            } else if kind == Kind::File && wanted {
                found.push(Found { path, link });
            } else if kind == Kind::File {
                others.push(path);
            }
        }
        Ok(())
    }

    /// What a symbolic link leads to, within the directory.
    fn target(&mut self, path: &str, wanted: bool) -> Kind {
        match self.catalog.disk.stat(path) {
            Ok(stat) => stat.kind,
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::NotFound => "to nothing".to_owned(),
                    io::ErrorKind::PermissionDenied => "out of the granted directory".to_owned(),
                    _ => format!("nowhere ({error})"),
                };
                if wanted {
                    self.say(path, &format!("{path} is a symbolic link that leads {why}; it is passed over"));
                }
                Kind::Other
            }
        }
    }

    /// Says something once.
    fn say(&mut self, about: &str, text: &str) {
        if self.said.insert(about.to_owned()) && !self.quiet {
            warn!("{text}");
        }
    }

    fn no_match(&self, others: &[String]) {
        let shown: Vec<&str> = others.iter().take(5).map(String::as_str).collect();
        let there = match others.len() {
            0 => "it has no files".to_owned(),
            count if count > shown.len() => format!("it has {count} files, such as {}", shown.join(", ")),
            _ => format!("it has {}", shown.join(", ")),
        };
        let (pattern, topic) = (&self.settings.pattern, &self.topic);
        let hint = if self.settings.recursive { "" } else { "; directories below are read with `recursive: true`" };
        warn!("no file of {topic} matches the pattern `{pattern}`: {there}{hint}");
    }

    /// Logs whose file is that of another one: by a link, or by a second name.
    fn aliases(&self, logs: &BTreeMap<String, Vec<Found>>, new: &BTreeSet<String>) -> BTreeSet<String> {
        let mut aliases = BTreeSet::new();
        let mut by_inode: BTreeMap<u64, Vec<(bool, bool, &String)>> = BTreeMap::new();
        for (log, files) in logs {
            for file in files.iter().filter(|file| file.path == *log) {
                if let Ok(stat) = self.catalog.disk.stat(&file.path) {
                    by_inode.entry(stat.hints.inode).or_default().push((new.contains(log), file.link, log));
                }
            }
        }
        for mut names in by_inode.into_values() {
            names.sort_unstable();
            // Those that were told stay, whatever comes later.
            aliases.extend(names.into_iter().skip(1).filter(|(new, ..)| *new).map(|(.., log)| log.clone()));
        }
        aliases
    }

    /// The logs that all files of a log that is new belong to, where those do not have them under their names any more; none
    /// yet for a file that cannot be read, whose log shows when it can.
    fn owners_of(&mut self, log: &str, read: &mut Read<'_>, age: Age) -> Result<Option<BTreeSet<String>>> {
        if read.is_empty() && self.owners.is_empty() {
            return Ok(None);
        }
        let family = self.family(log);
        let mut owners = BTreeSet::new();
        let members = family.members(age)?;
        for member in &members {
            match family.try_open(member) {
                Ok(None) => return Ok(None),
                Ok(Some((text, stat))) => {
                    match self.owner(&family, text, &Member { stat, ..member.clone() }, read, age)? {
                        Some(owner) => drop(owners.insert(owner)),
                        None => return Ok(None),
                    }
                }
                Err(error) => {
                    let path = &member.path;
                    let text = format!("cannot read {path}: {error}; the file is passed over until it can be read");
                    self.say(path, &text);
                }
            }
        }
        Ok((!members.is_empty()).then_some(owners))
    }

    fn owner(
        &self,
        family: &Family,
        mut text: Text,
        member: &Member,
        read: &mut Read<'_>,
        age: Age,
    ) -> Result<Option<String>> {
        let inode = member.stat.hints.inode;
        if let Some((owner, head)) = self.owners.get(&inode)
            && *owner != family.log
            && text.bytes(0, head.len()).is_ok_and(|first| first == *head)
            && !self.family(owner).members(age)?.iter().any(|one| one.stat.hints.inode == inode)
        {
            return Ok(Some(owner.clone()));
        }
        for (label, mark) in read.held_by(&family.log, &mut text, member) {
            // A copy, whose original is still there, is a file of its own.
            let theirs = self.family(label);
            if theirs.find(mark, theirs.members(age)?.iter(), &BTreeSet::new())?.is_none() {
                return Ok(Some(label.to_owned()));
            }
        }
        Ok(None)
    }

    /// Remembers which file is of which log, for when it is moved before its log has told where it is.
    fn remember(&mut self, logs: &BTreeMap<u32, String>) {
        if logs.len() > MANY {
            return;
        }
        for log in logs.values() {
            let Ok(stat) = self.catalog.disk.stat(log) else { continue };
            let inode = stat.hints.inode;
            if stat.length == 0
                || self.owners.get(&inode).is_some_and(|(owner, head)| owner == log && head.len() == HEAD)
            {
                continue;
            }
            if let Ok(handle) = self.catalog.disk.open_file(log)
                && handle.stat().is_ok_and(|now| now.hints.inode == inode)
                && let Ok(head) = (&mut &handle).bytes(0, HEAD)
            {
                self.owners.insert(inode, (log.clone(), head));
            }
        }
        while self.owners.len() > 2 * MANY {
            self.owners.pop_first();
        }
    }
}
