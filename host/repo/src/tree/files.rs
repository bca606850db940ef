//! The files of a commit: what all puts and deletes up to it add up to.

use std::collections::{BTreeMap, HashMap};

use arrow::{
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use spout_format::{Clash, Format, merge, sha256, sha256_of};

use crate::{
    error::Error,
    log::{Entry, FileAdded, Piece, PutMode, State},
    path,
};
use spout_base::near::did_you_mean;

/// A file of a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct FileEntry {
    /// Path in the repo.
    pub path: String,
    /// Format, for table files.
    pub format: Option<Format>,
    /// Bytes of all pieces.
    pub size: u64,
    /// Rows of all pieces, for table files.
    pub rows: Option<u64>,
    /// Hash of the bytes; for a file that grew, of its pieces' hashes.
    pub sha256: String,
    /// The puts it is made of, oldest first.
    pub pieces: Vec<Piece>,
}

/// The files of a commit, by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Repo whose files they are.
    pub(crate) repo: String,
    pub(crate) commit: String,
    files: BTreeMap<String, FileEntry>,
    schemas: HashMap<String, SchemaRef>,
}

impl Tree {
    pub(crate) fn new(repo: &str) -> Self {
        Self { repo: repo.to_owned(), ..Self::default() }
    }

    /// The files of the head of `state`.
    pub(crate) async fn of(state: &State) -> Result<Self, Error> {
        let mut tree = Self::new(&state.repo);
        tree.learn(&|| state.shown(), &state.schemas)?;
        let files = state.files.all().await?.into_values().filter_map(FileEntry::of_entry);
        tree.files = files.map(|file| (file.path.clone(), file)).collect();
        if let Some(commit) = &state.head.commit {
            tree.commit.clone_from(&commit.header.id);
        }
        Ok(tree)
    }

    /// The part of the tree of `state` that decides whether `files` and `removed` fit: those files, whatever is above or below them,
    /// and one neighbour of every directory they are in.
    pub(crate) async fn around(state: &State, files: &[FileAdded], removed: &[String]) -> Result<Self, Error> {
        let mut tree = Self::new(&state.repo);
        let gone = |entry: &Entry| removed.contains(&entry.path);
        for path in removed {
            state.files.get(&path::folded(path)).await?.into_iter().for_each(|entry| tree.insert(entry));
        }
        for file in files {
            let key = path::folded(&file.path);
            state.files.get(&key).await?.into_iter().for_each(|entry| tree.insert(entry));
            for directory in path::directories(&key) {
                state.files.get(directory).await?.into_iter().for_each(|entry| tree.insert(entry));
                let inside = state.files.first(&format!("{directory}/"), |_, entry| !gone(entry)).await?;
                inside.into_iter().for_each(|(_, entry)| tree.insert(entry));
            }
            let below = state.files.first(&format!("{key}/"), |_, entry| !gone(entry)).await?;
            below.into_iter().for_each(|(_, entry)| tree.insert(entry));
        }
        Ok(tree)
    }

    /// Id of the commit.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// All files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.values()
    }

    /// The files below directory `prefix` (`/` is all), or the file of that name.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a FileEntry> {
        let directory = format!("{}/", prefix.trim_end_matches('/'));
        self.files.values().filter(move |file| file.path == prefix || file.path.starts_with(&directory))
    }

    /// Takes out the files that are `wanted`, sorted by path; what is known of their columns stays.
    pub fn take(&mut self, wanted: impl Fn(&FileEntry) -> bool) -> Vec<FileEntry> {
        let mut taken = Vec::with_capacity(self.files.len());
        let left = std::mem::take(&mut self.files).into_iter().filter_map(|(path, file)| {
            if wanted(&file) {
                taken.push(file);
                None
            } else {
                Some((path, file))
            }
        });
        self.files = left.collect();
        taken
    }

    /// The file at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&FileEntry> {
        self.files.get(path)
    }

    /// The file at `path`.
    ///
    /// # Errors
    /// [`Error::UnknownFile`], which names the nearest one.
    pub fn file(&self, path: &str) -> Result<&FileEntry, Error> {
        self.files.get(path).ok_or_else(|| Error::UnknownFile {
            path: path.to_owned(),
            commit: format!("{}@{}", self.repo, self.commit),
            nearest: did_you_mean(path, self.files.keys().map(String::as_str)),
        })
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files whose paths fit `pattern`, in which `*` and `?` stay within a directory and `**` does not.
    ///
    /// # Errors
    /// [`Error::BadPattern`].
    pub fn glob(&self, pattern: &str) -> Result<Vec<&FileEntry>, Error> {
        let matcher = path::pattern(pattern)?;
        Ok(self.files.values().filter(|file| matcher.is_match(&file.path)).collect())
    }

    /// The columns of a table piece.
    #[must_use]
    pub fn schema(&self, piece: &Piece) -> Option<&SchemaRef> {
        self.schemas.get(&piece.table.as_ref()?.schema)
    }

    /// The columns that hold the rows of all `files`.
    ///
    /// # Errors
    /// [`Error::MixedTypes`] where two files, or two pieces of one, do not fit.
    pub fn columns<'a>(&self, files: impl IntoIterator<Item = &'a FileEntry>) -> Result<SchemaRef, Error> {
        let mut merged: Option<(SchemaRef, &str)> = None;
        for file in files {
            for schema in file.pieces.iter().filter_map(|piece| self.schema(piece)) {
                merged = Some(match merged {
                    None => (SchemaRef::clone(schema), &file.path),
                    Some((there, from)) if there == *schema => (there, from),
                    Some((there, from)) => {
                        let both =
                            merge(&there, schema).map_err(|Clash { column, left, right }| Error::MixedTypes {
                                column,
                                left: left.to_string(),
                                left_file: from.to_owned(),
                                right: right.to_string(),
                                right_file: file.path.clone(),
                            })?;
                        (both.into(), &file.path)
                    }
                });
            }
        }
        Ok(merged.map_or_else(|| SchemaRef::new(Schema::empty()), |(schema, _)| schema))
    }

    /// A file that makes `path` impossible because one of the two would be a directory; files that are `gone` do not count.
    pub(crate) fn clash(&self, path: &str, gone: impl Fn(&str) -> bool) -> Option<&str> {
        let above = path.match_indices('/').skip(1).filter_map(|(at, _)| self.files.get(&path[..at]));
        let directory = format!("{path}/");
        let below = self.files.range(directory.clone()..).map(|(_, file)| file);
        above
            .chain(below.take_while(|file| file.path.starts_with(&directory)))
            .map(|file| file.path.as_str())
            .find(|other| !gone(other))
    }

    /// Takes over what the columns of tables are.
    pub(crate) fn learn(
        &mut self,
        object: &dyn Fn() -> String,
        schemas: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        for (key, text) in schemas {
            let schema = decode_schema(text).map_err(|source| Error::BadRecord {
                object: object(),
                reason: format!("schema {key} cannot be read: {source}"),
            })?;
            self.schemas.insert(key.clone(), schema);
        }
        Ok(())
    }

    /// A file as the index has it.
    pub(crate) fn insert(&mut self, entry: Entry) {
        if let Some(file) = FileEntry::of_entry(entry) {
            self.files.insert(file.path.clone(), file);
        }
    }

    pub(crate) fn put(&mut self, file: &FileAdded) {
        let piece = Piece { blob: file.blob.clone(), table: file.table.clone() };
        match self.files.get_mut(&file.path) {
            Some(there) if file.how == PutMode::Append => there.grow(piece),
            _ => {
                self.files.insert(file.path.clone(), FileEntry::of(file.path.clone(), piece));
            }
        }
    }
}

impl FileEntry {
    /// A file as the index has it; `None` for one that was deleted.
    pub(crate) fn of_entry(entry: Entry) -> Option<Self> {
        let mut pieces = entry.pieces.into_iter();
        let mut file = Self::of(entry.path, pieces.next()?);
        pieces.for_each(|piece| file.grow(piece));
        Some(file)
    }

    fn of(path: String, piece: Piece) -> Self {
        Self {
            path,
            format: piece.table.as_ref().map(|table| table.format),
            size: piece.blob.size,
            rows: piece.table.as_ref().map(|table| table.rows),
            sha256: piece.blob.sha256.clone(),
            pieces: vec![piece],
        }
    }

    fn grow(&mut self, piece: Piece) {
        self.size += piece.blob.size;
        self.rows = self.rows.zip(piece.table.as_ref()).map(|(rows, table)| rows + table.rows);
        self.sha256 = sha256_of([self.sha256.as_str(), &piece.blob.sha256]);
        self.pieces.push(piece);
    }
}

/// A schema as text, and the key it is known by.
pub(crate) fn encode_schema(schema: &SchemaRef) -> Result<(String, String), ArrowError> {
    let mut writer = ipc::writer::StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    let bytes = writer.into_inner()?;
    let mut key = sha256(&bytes);
    key.truncate(16);
    Ok((key, STANDARD.encode(bytes)))
}

pub(crate) fn decode_schema(text: &str) -> Result<SchemaRef, ArrowError> {
    let bytes = STANDARD.decode(text).map_err(|source| ArrowError::ExternalError(source.into()))?;
    Ok(ipc::reader::StreamReader::try_new(bytes.as_slice(), None)?.schema())
}
