//! What is in the directory, listed once for all logs that are read.
//!
//! A listing that is a little old is good enough to see that nothing changed. Whoever decides something asks for one that is
//! younger than what was noticed. A directory whose date is the same as when it was listed has the same names.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use spout_folder::{DEEP, join};
use spout_guest::{Result, now};

use crate::{
    disk::{Disk, Kind},
    family::{Member, unreadable},
    mark::{Content as _, HEAD, Mark},
    names::{Name, Packing},
    reading::is_fresh,
    text::Text,
};

/// Files that may be open: the host's own limit is often 1024 for all its readers.
const ROOM: usize = 256;

/// The share of the time that goes into listings where nothing is known to have changed is one in so many.
const SHARE: u32 = 50;

/// How old a listing may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Age {
    /// It was begun then, or later.
    Since(Instant),
    /// So old, or a little older where listing takes long; or begun then, or later.
    Within(Duration, Instant),
}

impl Age {
    fn admits(self, taken: Instant, took: Duration) -> bool {
        match self {
            Self::Since(instant) => taken >= instant,
            Self::Within(age, instant) => taken >= instant || taken.elapsed() <= (took * SHARE).clamp(age, age * 4),
        }
    }
}

/// The granted directory, and what was seen in it.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) disk: Disk,
    /// Each file is a log of its own.
    alone: bool,
    folders: RefCell<BTreeMap<String, Rc<Folder>>>,
    tree: RefCell<Option<Rc<Tree>>>,
    /// Files of its logs that may be open.
    pub(crate) room: Cell<usize>,
}

/// One directory.
#[derive(Debug)]
pub(crate) struct Folder {
    taken: Cell<Instant>,
    took: Duration,
    /// Its date then, if a change since would show in it.
    modified: Option<u64>,
    pub(crate) entries: Vec<(String, Kind)>,
    /// Names that are not UTF-8, as far as they can be shown.
    pub(crate) unnamed: Vec<String>,
    /// The paths of each log's files.
    logs: BTreeMap<String, Vec<String>>,
}

/// All files of all directories, except empty ones.
#[derive(Debug)]
pub(crate) struct Tree {
    taken: Instant,
    took: Duration,
    files: Vec<Member>,
    /// By number.
    numbers: Vec<(u64, usize)>,
    /// The first bytes of those that were looked at.
    heads: RefCell<BTreeMap<usize, Option<Vec<u8>>>>,
}

impl Catalog {
    pub(crate) fn new(disk: Disk, alone: bool) -> Self {
        Self { disk, alone, folders: RefCell::default(), tree: RefCell::default(), room: Cell::new(ROOM) }
    }

    /// Whether as many files are open as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.disk.open_files() > self.room.get()
    }

    pub(crate) fn name(&self, path: &str) -> Name {
        if self.alone { Name::alone(path) } else { Name::parse(path) }
    }

    /// What is in a directory.
    pub(crate) fn folder(&self, below: &str, age: Age) -> io::Result<Rc<Folder>> {
        let known = self.folders.borrow().get(below).cloned();
        if let Some(folder) = known.filter(|one| age.admits(one.taken.get(), one.took) || self.is_same(below, one)) {
            return Ok(folder);
        }
        let taken = now();
        let modified = self.modified(below).filter(|&modified| !is_fresh(modified));
        let listing = self.disk.list(below).inspect_err(|_| drop(self.folders.borrow_mut().remove(below)))?;
        let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, _) in listing.entries.iter().filter(|(_, kind)| *kind != Kind::Directory) {
            let path = join(below, name);
            logs.entry(self.name(&path).log).or_default().push(path);
        }
        let (entries, unnamed) = (listing.entries, listing.unnamed);
        let folder =
            Rc::new(Folder { taken: Cell::new(taken), took: taken.elapsed(), modified, entries, unnamed, logs });
        self.folders.borrow_mut().insert(below.to_owned(), Rc::clone(&folder));
        Ok(folder)
    }

    /// Whether nothing came to a directory, or went, since it was listed.
    fn is_same(&self, below: &str, folder: &Folder) -> bool {
        let at = now();
        let same = folder.modified.is_some() && folder.modified == self.modified(below);
        if same {
            folder.taken.set(at);
        }
        same
    }

    fn modified(&self, below: &str) -> Option<u64> {
        let path = if below.is_empty() { "." } else { below };
        self.disk.stat(path).ok().map(|stat| stat.hints.modified)
    }

    /// The paths of a log's files.
    pub(crate) fn paths(&self, log: &str, age: Age) -> Result<Vec<String>> {
        if self.alone {
            return Ok(vec![log.to_owned()]);
        }
        let below = log.rsplit_once('/').map_or("", |(below, _)| below);
        match self.folder(below, age) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            folder => {
                let folder = folder.map_err(|error| unreadable(below, &error))?;
                Ok(folder.logs.get(log).cloned().unwrap_or_default())
            }
        }
    }

    /// All files.
    pub(crate) fn tree(&self, age: Age) -> Result<Rc<Tree>> {
        if let Some(tree) = self.tree.borrow().as_ref().filter(|tree| age.admits(tree.taken, tree.took)) {
            return Ok(Rc::clone(tree));
        }
        let taken = now();
        let mut files = Vec::new();
        self.walk("", 0, taken, &mut files)?;
        let mut numbers: Vec<(u64, usize)> =
            files.iter().enumerate().map(|(index, one)| (one.stat.hints.inode, index)).collect();
        numbers.sort_unstable();
        let tree = Rc::new(Tree { taken, took: taken.elapsed(), files, numbers, heads: RefCell::default() });
        *self.tree.borrow_mut() = Some(Rc::clone(&tree));
        Ok(tree)
    }

    fn walk(&self, below: &str, depth: usize, since: Instant, files: &mut Vec<Member>) -> Result<()> {
        let folder = self.folder(below, Age::Since(since)).map_err(|error| unreadable(below, &error))?;
        for (entry, kind) in &folder.entries {
            let path = join(below, entry);
            if *kind == Kind::Directory && depth < DEEP {
                self.walk(&path, depth + 1, since, files)?;
            } else if *kind == Kind::File
                && let Ok(stat) = self.disk.stat(&path)
                && stat.length > 0
            {
                files.push(Member { name: self.name(&path), path, stat });
            }
        }
        Ok(())
    }
}

impl Tree {
    /// The files with that number.
    pub(crate) fn numbered(&self, inode: u64) -> impl Iterator<Item = &Member> {
        let from = self.numbers.partition_point(|(number, _)| *number < inode);
        let same = self.numbers.iter().skip(from).take_while(move |(number, _)| *number == inode);
        same.filter_map(|(_, index)| self.files.get(*index))
    }

    /// The files that may hold what `mark` says was read: long enough, and with its first bytes.
    pub(crate) fn like<'a>(&'a self, mark: &'a Mark, disk: &'a Disk) -> impl Iterator<Item = &'a Member> {
        let long = |one: &Member| one.name.packing != Packing::Plain || one.stat.length >= mark.at;
        let like = move |(index, one): &(usize, &Member)| long(one) && self.begins(*index, one, mark, disk);
        self.files.iter().enumerate().filter(like).map(|(_, one)| one)
    }

    fn begins(&self, index: usize, member: &Member, mark: &Mark, disk: &Disk) -> bool {
        let mut heads = self.heads.borrow_mut();
        let head = heads.entry(index).or_insert_with(|| {
            let text = disk.open_file(&member.path).map(|handle| Text::new(handle, member.name.packing));
            text.and_then(|mut text| text.bytes(0, HEAD)).ok()
        });
        head.as_ref().is_none_or(|head| mark.begins_with(head))
    }
}
