//! The files that a table consists of, and what a commit changes about them.
//!
//! A file of the repo is made of pieces, and every piece is one file of the table. Its name there is a function of the
//! files of the commit and the partition columns alone, so that two publishers, or one that died and its successor, give
//! the same names.
//!
//! **Invariant**: the cost of a change is that of the puts in it, unless two pieces share an object or a partition column
//! is new; then all files of the table are looked at.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use object_store::path::Path;
use spout_format::{Format, sha256, sha256_of};

use super::{
    actions::Origin,
    commits::Stamp,
    home::{self, Home},
};
use crate::{
    layout::Layout,
    log::{Blob, Commit, FileAdded, Moved, Place, PutMode, TableInfo},
    tree::Tree,
};

/// What names of copies begin with; no other object's does.
pub(crate) const COPY: &str = "copy-";

/// A piece of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Held {
    pub(super) blob: Blob,
    pub(super) table: TableInfo,
}

/// One file of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) held: Arc<Held>,
    pub(super) values: BTreeMap<String, Option<String>>,
    /// Whether the bytes are already there under this name.
    pub(super) in_place: bool,
}

/// Files of a table by their names below its root.
pub(super) type Slots = BTreeMap<String, Slot>;

/// Paths that a commit changes, each with its first piece that is not as it was.
pub(super) type Touched = BTreeMap<String, usize>;

/// The columns of a piece: the key of its schema, and whether they are stored as readers have them.
pub(super) type Columns = (String, bool);

/// The files of one table.
#[derive(Clone, Debug)]
pub(super) struct Live {
    layout: Layout,
    root: Path,
    files: BTreeMap<String, Vec<Arc<Held>>>,
    /// Pieces by their columns.
    schemas: HashMap<Columns, usize>,
    /// Pieces by the hash of their object's name.
    objects: HashMap<u64, u32>,
    /// Objects with more than one piece.
    shared: usize,
}

impl Live {
    pub(super) fn new(layout: &Layout, root: Path) -> Self {
        let layout = layout.clone();
        Self { layout, root, files: BTreeMap::new(), schemas: HashMap::new(), objects: HashMap::new(), shared: 0 }
    }

    /// The files of `table` in `tree`.
    pub(super) fn of(layout: &Layout, root: Path, table: &str, tree: &Tree) -> Self {
        let mut live = Self::new(layout, root);
        for file in tree.files().filter(|file| Home::of(&file.path).table == table) {
            for piece in &file.pieces {
                live.push(&file.path, &piece.blob, piece.table.as_ref());
            }
        }
        live
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What `commit` changes about this table's paths.
    pub(super) fn touched<'a>(&self, commit: &'a Commit<Moved>, mine: impl Fn(&'a str) -> bool) -> Touched {
        let mut touched = Touched::new();
        for path in commit.removed.iter().filter(|path| mine(path) && self.files.contains_key(*path)) {
            touched.insert(path.clone(), 0);
        }
        for file in commit.files.iter().filter(|file| mine(&file.path)) {
            let there = self.files.get(&file.path).map_or(0, Vec::len);
            let first = touched.entry(file.path.clone()).or_insert(there);
            if file.how == PutMode::Overwrite {
                *first = 0;
            }
        }
        touched
    }

    /// Whether no file stays as it is.
    pub(super) fn is_replaced_by(&self, touched: &Touched) -> bool {
        let replaced = |path| touched.get(path).is_some_and(|from| *from == 0);
        self.files.keys().all(replaced)
    }

    /// Whether names of files that the commit does not touch may change by it.
    pub(super) fn entangled(&self, commit: &Commit<Moved>) -> bool {
        let mut seen = HashSet::new();
        let known = |file: &FileAdded| match object(&file.blob) {
            Some(object) => self.objects.contains_key(&object) || !seen.insert(object),
            None => false,
        };
        self.shared > 0 || commit.files.iter().any(known)
    }

    /// Applies what `commit` does to the paths in `touched`.
    pub(super) fn apply(&mut self, commit: &Commit<Moved>, touched: &Touched) {
        for path in commit.removed.iter().filter(|path| touched.contains_key(*path)) {
            self.remove(path);
        }
        for file in commit.files.iter().filter(|file| touched.contains_key(&file.path)) {
            if file.how == PutMode::Overwrite {
                self.remove(&file.path);
            }
            self.push(&file.path, &file.blob, file.table.as_ref());
        }
    }

    fn push(&mut self, path: &str, blob: &Blob, table: Option<&TableInfo>) {
        let Some(table) = table.filter(|table| table.format == Format::Parquet) else { return };
        *self.schemas.entry(columns(table)).or_default() += 1;
        if let Some(object) = object(blob) {
            let users = self.objects.entry(object).or_default();
            *users += 1;
            self.shared += usize::from(*users == 2);
        }
        let held = Held { blob: blob.clone(), table: table.clone() };
        self.files.entry(path.to_owned()).or_default().push(Arc::new(held));
    }

    fn remove(&mut self, path: &str) {
        for held in self.files.remove(path).into_iter().flatten() {
            if let Some(left) = self.schemas.get_mut(&columns(&held.table)) {
                *left -= 1;
            }
            let Some(object) = object(&held.blob) else { continue };
            if let Some(users) = self.objects.get_mut(&object) {
                *users -= 1;
                self.shared -= usize::from(*users == 1);
            }
        }
        self.schemas.retain(|_, left| *left > 0);
        self.objects.retain(|_, users| *users > 0);
    }

    /// A directory that no file system would make.
    pub(super) fn too_long(&self, columns: &[String]) -> Option<String> {
        let partitioned = self.files.keys().filter(|_| !columns.is_empty());
        partitioned.map(|path| Home::of(path)).find_map(|home| home.too_long(columns))
    }

    /// The columns of all files, as a set that can be compared.
    pub(super) fn schema_keys(&self) -> HashSet<Columns> {
        self.schemas.keys().cloned().collect()
    }

    /// The same in the order of the paths, each with the first path that has it.
    pub(super) fn schemas_in_order(&self) -> Vec<(Columns, String)> {
        let mut seen = HashSet::new();
        let pieces = self.files.iter().flat_map(|(path, pieces)| pieces.iter().map(move |held| (path, held)));
        let mut first = |held: &Held| seen.insert(columns(&held.table));
        pieces.filter(|(_, held)| first(held)).map(|(path, held)| (columns(&held.table), path.clone())).collect()
    }

    /// The partition columns: those that there were, then new ones in the order of the paths.
    pub(super) fn partition_columns(&self, before: &[String]) -> Vec<String> {
        self.columns_of(self.files.keys().map(String::as_str), before)
    }

    /// The same where only `paths` may bring new ones.
    pub(super) fn columns_of<'a>(&self, paths: impl Iterator<Item = &'a str>, before: &[String]) -> Vec<String> {
        let mut columns = before.to_vec();
        for (key, _) in paths.filter(|path| path.contains('=')).flat_map(|path| Home::of(path).values) {
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
        columns
    }

    /// All files of the table. An object that several pieces share is in place for the first of them.
    pub(super) fn slots(&self, columns: &[String]) -> Slots {
        let mut taken = HashSet::new();
        let mut slots = Slots::new();
        for (path, pieces) in &self.files {
            self.add_slots(&mut slots, (path, pieces, 0), columns, |object| taken.insert(object));
        }
        slots
    }

    /// The files of the table that `touched` names, where no object is shared.
    pub(super) fn slots_of(&self, touched: &Touched, columns: &[String]) -> Slots {
        let mut slots = Slots::new();
        for (path, from) in touched {
            if let Some(pieces) = self.files.get(path) {
                self.add_slots(&mut slots, (path, pieces, *from), columns, |_| true);
            }
        }
        slots
    }

    fn add_slots(
        &self,
        slots: &mut Slots,
        (path, pieces, from): (&String, &[Arc<Held>], usize),
        columns: &[String],
        mut take: impl FnMut(u64) -> bool,
    ) {
        let home = Home::of(path);
        let directory = home.partition(columns);
        let value = |column: &String| (column.clone(), home.value(column).map(str::to_owned));
        let values: BTreeMap<_, _> = columns.iter().map(value).collect();
        for (index, held) in pieces.iter().enumerate().skip(from) {
            let there = self.in_place(&held.blob, &directory).filter(|_| object(&held.blob).is_some_and(&mut take));
            let in_place = there.is_some();
            let name = there.unwrap_or_else(|| own_name(path, index, &held.blob, &directory));
            slots.insert(name, Slot { held: Arc::clone(held), values: values.clone(), in_place });
        }
    }

    /// The name of a piece whose object is where the table has it.
    fn in_place(&self, blob: &Blob, directory: &str) -> Option<String> {
        let Place::Object(name) = &blob.place else { return None };
        let object = self.layout.object(name);
        let relative = format!("{directory}{}", object.filename()?);
        (home::below(&self.root, &relative).ok()? == object).then_some(relative)
    }
}

/// The name under which a piece is put into the table. Pieces are only ever added at the end of a file.
fn own_name(path: &str, index: usize, blob: &Blob, directory: &str) -> String {
    let index = index.to_string();
    let mut name = sha256_of([path, "\n", &index, "\n", &blob.sha256]);
    name.truncate(32);
    format!("{directory}{COPY}{name}.parquet")
}

fn columns(table: &TableInfo) -> Columns {
    (table.schema.clone(), table.portable)
}

fn object(blob: &Blob) -> Option<u64> {
    match &blob.place {
        Place::Object(name) => Some(hash(name)),
        _ => None,
    }
}

fn hash(text: &str) -> u64 {
    let digits = sha256(text.as_bytes());
    digits.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// How many files a table has, and what their names come to: whether a log holds what we think it does can be told
/// without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) files: u64,
    pub(super) digest: u64,
}

impl Count {
    pub(super) fn of(slots: &Slots) -> Self {
        let mut count = Self::default();
        slots.keys().for_each(|name| count.add(name));
        count
    }

    /// What a version says of it.
    pub(super) fn origin(self, stamp: &Stamp, described: u64) -> Origin {
        let (record, sequence) = (stamp.id.clone(), stamp.sequence);
        Origin { record, sequence, files: self.files, digest: format!("{:016x}", self.digest), described }
    }

    pub(super) fn is_of(self, origin: &Origin) -> bool {
        self.files == origin.files && format!("{:016x}", self.digest) == origin.digest
    }

    pub(super) fn add(&mut self, name: &str) {
        self.files += 1;
        self.digest ^= hash(name);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.files = self.files.saturating_sub(1);
        self.digest ^= hash(name);
    }
}
