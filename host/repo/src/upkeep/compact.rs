//! Compaction: many small Parquet files of a directory become few, as an ordinary commit.
//!
//! Older commits keep the files they had, until they are collected. The rows and their order within a directory stay the
//! same; a pipeline that appends to one of the files meanwhile wins, and the compaction is given up.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::ByteSize;
use spout_format::{Encoded, Format, TableWriter, decode};

use crate::{
    edit::{Edit, Finished, OpenCommit},
    error::Error,
    log::PutMode,
    path,
    repo::Repo,
    tree::{FileEntry, Tree},
};

/// Files of this size are made; those of more than half of it are left alone.
pub const TARGET: ByteSize = ByteSize(64 << 20);
/// Fewer files are not worth a commit.
const FEWEST: usize = 4;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compacted {
    /// Files that were there, with pieces counted one by one.
    pub before: u64,
    /// Files that took their place.
    pub after: u64,
    /// Rows in them.
    pub rows: u64,
    /// The commit; `None` if there was nothing to do.
    pub commit: Option<String>,
}

/// Files that become one.
type Group<'a> = Vec<&'a FileEntry>;

impl Repo {
    /// Compacts the Parquet files of `branch` into files of about `target`.
    ///
    /// # Errors
    /// Those of reading and writing; [`Error::NotNext`] where others changed the files meanwhile.
    pub async fn compact(&self, branch: &str, target: ByteSize) -> Result<Compacted, Error> {
        let state = self.known(branch).await?;
        let tree = Tree::of(&state).await?;
        let groups = groups(&tree, target);
        let mut done = Compacted::default();
        if groups.is_empty() {
            return Ok(done);
        }
        let mut editor = self.edit(branch).await?;
        let mut open = self.open_commit_on(branch);
        let mut edit = Edit { compaction: true, ..Edit::new("compaction") };
        for (number, group) in groups.into_iter().enumerate() {
            let table = self.together(&tree, &group).await?;
            edit.unchanged.extend(group.iter().map(|file| (file.path.clone(), Some(file.sha256.clone()))));
            done.before += group.iter().map(|file| file.pieces.len() as u64).sum::<u64>();
            done.after += 1;
            done.rows += table.rows;
            replace(&mut open, &group, number, table).await?;
        }
        match Box::pin(editor.finish(open, edit)).await? {
            Finished::Committed(commit) => Ok(Compacted { commit: Some(commit.header.id), ..done }),
            Finished::Lost(head) => Err(Error::NotNext {
                branch: branch.to_owned(),
                what: "a file that was compacted",
                expected: "as it was".to_owned(),
                found: format!("another one in commit {}", head.header.id),
            }),
            Finished::Unknown(error) => Err(*error),
        }
    }

    async fn together(&self, tree: &Tree, group: &Group<'_>) -> Result<Encoded, Error> {
        let mut writer: Option<TableWriter> = None;
        let mut pieces = Vec::new();
        group.iter().for_each(|file| pieces.extend(file.pieces.iter().map(|piece| (*file, piece))));
        for (file, piece) in pieces {
            let Some(schema) = tree.schema(piece) else { continue };
            let bytes = self.piece(file, piece).await?;
            for batch in decode(&file.path, Format::Parquet, schema, bytes, None)? {
                let to = match &mut writer {
                    Some(to) => to,
                    None => writer.insert(TableWriter::new(Format::Parquet, SchemaRef::clone(schema))?),
                };
                to.write(&batch?)?;
            }
        }
        let writer = match writer {
            Some(writer) => writer,
            None => TableWriter::new(Format::Parquet, schema_of(tree, group))?,
        };
        Ok(writer.finish()?)
    }
}

fn schema_of(tree: &Tree, group: &Group<'_>) -> SchemaRef {
    let first = group.iter().flat_map(|file| &file.pieces).find_map(|piece| tree.schema(piece));
    first.cloned().unwrap_or_else(|| SchemaRef::new(arrow::datatypes::Schema::empty()))
}

/// A file that had several pieces keeps its name; several files become one with a name that sorts where the first was.
async fn replace(open: &mut OpenCommit, group: &Group<'_>, number: usize, table: Encoded) -> Result<(), Error> {
    let Some(first) = group.first() else { return Ok(()) };
    let to = match group.len() {
        1 => first.path.clone(),
        _ => {
            let stem = first.path.strip_suffix(".parquet").unwrap_or(&first.path);
            let id = open.id().get(..8).unwrap_or_default().to_owned();
            format!("{stem}-compact-{id}-{number}.parquet")
        }
    };
    for file in group.iter().filter(|file| file.path != to) {
        open.delete_file(&file.path)?;
    }
    open.put_table(&to, PutMode::Overwrite, table).await
}

/// Neighbours of one directory and schema, together no larger than `target`.
fn groups(tree: &Tree, target: ByteSize) -> Vec<Group<'_>> {
    let mut open: BTreeMap<(&str, &str), Group<'_>> = BTreeMap::new();
    let mut done = Vec::new();
    for file in tree.files().filter(|file| file.format == Some(Format::Parquet)) {
        let Some(schema) = one_schema(file) else { continue };
        if file.pieces.len() == 1 && file.size > target.0 / 2 {
            continue;
        }
        let directory = path::directories(&file.path).last().unwrap_or("/");
        let group = open.entry((directory, schema)).or_default();
        if size(group) + file.size > target.0 && !group.is_empty() {
            done.push(std::mem::take(group));
        }
        group.push(file);
    }
    done.extend(open.into_values());
    done.retain(|group| group.iter().map(|file| file.pieces.len()).sum::<usize>() >= FEWEST);
    done
}

fn size(group: &Group<'_>) -> u64 {
    group.iter().map(|file| file.size).sum()
}

/// The schema of all pieces of a file, if they have the same.
fn one_schema(file: &FileEntry) -> Option<&str> {
    let mut schemas = file.pieces.iter().map(|piece| piece.table.as_ref().map(|table| table.schema.as_str()));
    let first = schemas.next()??;
    schemas.all(|schema| schema == Some(first)).then_some(first)
}
