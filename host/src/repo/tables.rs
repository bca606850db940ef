//! The tables of a tree: the directories that hold rows, and the columns of those.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use super::{Error, delta, repository::table_schema, tree::FileEntry, tree::Tree};

/// A directory of a tree that holds rows.
#[derive(Debug)]
pub struct TreeTable {
    /// The directory, without the segments `key=value`.
    pub name: String,
    /// Its files.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// The columns that hold the rows of all of them, or which two files do not fit.
    pub columns: Result<SchemaRef, Error>,
}

impl Tree {
    /// Its tables, sorted by name.
    #[must_use]
    pub fn tables(&self) -> Vec<TreeTable> {
        let mut tables: BTreeMap<String, Vec<&FileEntry>> = BTreeMap::new();
        for file in self.files().filter(|file| file.format.is_some()) {
            tables.entry(delta::table_of(&file.path)).or_default().push(file);
        }
        let table = |(name, files): (String, Vec<&FileEntry>)| TreeTable {
            name,
            files: files.len(),
            rows: files.iter().filter_map(|file| file.rows).sum(),
            columns: table_schema(self, files),
        };
        tables.into_iter().map(table).collect()
    }
}
