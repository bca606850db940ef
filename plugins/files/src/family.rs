//! The files of one log: which there are, and which of them hold what was read before.

use std::{cmp::Ordering, collections::BTreeSet, io, rc::Rc, time::Duration};

use spout_guest::{Error, Result, now};

use crate::{
    disk::{Kind, Stat},
    listing::{Age, Catalog},
    mark::Mark,
    names::{Name, Packing, number},
    text::Text,
};

/// How long one look may unpack.
pub(crate) const UNPACK: Duration = Duration::from_secs(2);

/// Fewer bytes say too little to take one file for another because of them.
pub(crate) const TELLING: u64 = 64;

/// A file of a log.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Below the directory.
    pub(crate) path: String,
    pub(crate) name: Name,
    pub(crate) stat: Stat,
}

/// Where the files of a log are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) catalog: Rc<Catalog>,
    /// The log's name.
    pub(crate) log: String,
}

impl Family {
    pub(crate) fn name(&self, path: &str) -> Name {
        self.catalog.name(path)
    }

    /// What has that name now.
    pub(crate) fn stat(&self, path: &str) -> Option<Stat> {
        self.catalog.disk.stat(path).ok()
    }

    /// The files there are, the oldest first, each once, however many names it has. Empty ones have nothing to say yet.
    pub(crate) fn members(&self, age: Age) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for path in self.catalog.paths(&self.log, age)? {
            if let Some(stat) = self.stat(&path)
                && stat.kind == Kind::File
                && stat.length > 0
            {
                members.push(Member { name: self.name(&path), path, stat });
            }
        }
        members.sort_by_key(|member| (member.stat.hints.modified, member.name.order));
        let mut seen = BTreeSet::new();
        members.retain(|member| seen.insert(member.stat.hints.inode));
        Ok(members)
    }

    /// Opens what has that name now; `None` if nothing has.
    pub(crate) fn open(&self, member: &Member) -> Result<Option<(Text, Stat)>> {
        self.try_open(member).map_err(|error| unreadable(&member.path, &error))
    }

    /// As [`Family::open`], where what is wrong matters.
    pub(crate) fn try_open(&self, member: &Member) -> io::Result<Option<(Text, Stat)>> {
        self.open_path(&member.path, member.name.packing)
    }

    /// As [`Family::try_open`].
    pub(crate) fn open_path(&self, path: &str, packing: Packing) -> io::Result<Option<(Text, Stat)>> {
        let opened = self.catalog.disk.open_file(path).and_then(|handle| {
            let text = Text::new(handle, packing);
            text.stat().map(|stat| (text, stat))
        });
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// The file that holds what `mark` says was read, among `members` that `others` do not read already. The hint goes first.
    pub(crate) fn find<'a>(
        &self,
        mark: &Mark,
        members: impl Iterator<Item = &'a Member>,
        others: &BTreeSet<u64>,
    ) -> Result<Option<(Member, Text)>> {
        let mut candidates: Vec<&Member> = members.filter(|one| !others.contains(&one.stat.hints.inode)).collect();
        let packed = |one: &Member| one.name.packing != Packing::Plain;
        candidates.sort_by_key(|one| (!mark.is_of(one), packed(one)));
        for member in candidates {
            // One that is damaged may be a file in the making; not the one that was read itself.
            if let Ok(Some((mut text, stat))) = self.open(member)
                && (!packed(member) || mark.is_of(member) || text.reach(u64::MAX, now() + UNPACK).is_ok())
                && holds(mark, &mut text)
            {
                return Ok(Some((Member { stat, ..member.clone() }, text)));
            }
        }
        Ok(None)
    }

    /// The files of that number that have names outside of the log.
    pub(crate) fn strangers(&self, inode: u64, age: Age) -> Result<Vec<Member>> {
        let tree = self.catalog.tree(age)?;
        let mut found = Vec::new();
        for one in tree.numbered(inode).filter(|one| one.name.log != self.log) {
            // The tree may be older than what was written since.
            if let Some(stat) = self.stat(&one.path) {
                found.push(Member { stat, ..one.clone() });
            }
        }
        Ok(found)
    }

    /// The files outside of the log that may hold what was read of it.
    pub(crate) fn strangers_like(&self, mark: &Mark, age: Age) -> Result<Vec<Member>> {
        let tree = self.catalog.tree(age)?;
        Ok(tree.like(mark, &self.catalog.disk).filter(|one| one.name.log != self.log).cloned().collect())
    }
}

impl Mark {
    /// Whether a file can be the one that was read itself.
    pub(crate) fn is_of(&self, member: &Member) -> bool {
        self.hints.inode == member.stat.hints.inode && self.packed == (member.name.packing != Packing::Plain)
    }

    /// Notes the name of the file.
    pub(crate) fn note_name(&mut self, path: &str, name: &Name) {
        (self.named, self.packed) = (number(path), name.packing != Packing::Plain);
    }

    /// Reading goes on in another file: what the first one had more is gone, and that was said.
    pub(crate) fn saw_at_most(&mut self, member: &Member) {
        if member.name.packing == Packing::Plain {
            self.seen = self.seen.min(member.stat.length).max(self.at);
        }
    }
}

/// Whether `text` holds what was read; one that cannot be unpacked does not.
pub(crate) fn holds(mark: &Mark, text: &mut Text) -> bool {
    mark.fits(text).unwrap_or(false)
}

/// Whether `text`, the file of `member`, is what was read to its end: the same bytes and none beside them, or a file that has
/// grown since. Bytes alone do not tell: two files of a log may well say the same. `gone`: no other file holds them any more.
pub(crate) fn is_closed(mark: &Mark, text: &mut Text, member: &Member, gone: impl FnOnce() -> bool) -> bool {
    let stat = &member.stat;
    let same = mark.is_of(member);
    let moved = mark.at >= TELLING;
    let likely = match stat.length.cmp(&mark.at) {
        _ if text.plain().is_none() => return holds(mark, text) && (same || at_end(mark, text) || moved && gone()),
        Ordering::Less => false,
        Ordering::Equal if mark.hints.modified == stat.hints.modified => true,
        Ordering::Equal if same && mark.named == number(&member.path) => true,
        Ordering::Equal => return moved && !member.name.live && holds(mark, text) && gone(),
        Ordering::Greater if same => true,
        Ordering::Greater => return moved && holds(mark, text) && gone(),
    };
    likely && holds(mark, text)
}

/// Whether nothing stands behind `mark`.
pub(crate) fn at_end(mark: &Mark, text: &mut Text) -> bool {
    let mut more = Vec::new();
    text.fill(mark.at, 1, &mut more).is_ok_and(|more| more == 0)
}

pub(crate) fn unreadable(path: &str, error: &io::Error) -> Error {
    let path = if path.is_empty() { "the directory" } else { path };
    Error::retriable("files.unreadable", format!("cannot read {path}: {error}"))
}
