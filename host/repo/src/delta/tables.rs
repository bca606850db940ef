//! The tables of a tree: the directories that hold rows, and the columns of those.

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use spout_format::{Clash, merge};

use super::home::table_of;
use crate::{
    error::Error,
    log::Commit,
    path::is_aside,
    repo::Repo,
    tree::{FileEntry, Tree},
};

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
            tables.entry(table_of(&file.path)).or_default().push(file);
        }
        let table = |(name, files): (String, Vec<&FileEntry>)| TreeTable {
            name,
            files: files.len(),
            rows: files.iter().filter_map(|file| file.rows).sum(),
            columns: self.columns(files),
        };
        tables.into_iter().map(table).collect()
    }
}

impl Repo {
    /// The first column of `schema` that cannot be read as one table with the rows that `commit` has below `directory`: its type
    /// there, and in `schema`. The file `replaced` does not count, nor does what was set aside. Types that reading widens go together.
    ///
    /// # Errors
    /// Those of reading the commit's files.
    pub async fn conflict(
        &self,
        commit: &Commit,
        directory: &str,
        replaced: Option<&str>,
        schema: &Schema,
    ) -> Result<Option<Clash>, Error> {
        let tree = self.tree(commit).await?;
        let below = format!("{}/", directory.trim_end_matches('/'));
        let files = tree.files().filter(|file| {
            let path = file.path.as_str();
            file.format.is_some() && path.starts_with(&below) && !is_aside(path) && replaced != Some(path)
        });
        // Where rows do not go together already, nothing is made worse.
        let Ok(there) = tree.columns(files) else { return Ok(None) };
        Ok(merge(&there, schema).err())
    }
}
