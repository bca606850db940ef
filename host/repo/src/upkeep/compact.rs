//! Compaction: many small Parquet files of a directory become few, as an ordinary commit.
//!
//! Older commits keep the files they had, until they are collected. The rows and their order within a directory stay the
//! same; a pipeline that appends to one of the files meanwhile wins, and the compaction is given up.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::ByteSize;
use spout_format::Format;

use super::merging::{Group, Here, MergesParts, parts};
use crate::{
    edit::{Edit, Finished},
    error::Error,
    log::Piece,
    path,
    repo::Repo,
    tree::{FileEntry, Tree, encode_schema},
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

impl Repo {
    /// Compacts the Parquet files of `branch` into files of about `target`.
    ///
    /// # Errors
    /// Those of reading and writing; [`Error::NotNext`] where others changed the files meanwhile.
    pub async fn compact(&self, branch: &str, target: ByteSize) -> Result<Compacted, Error> {
        self.compact_by(branch, target, &Here(self)).await
    }

    /// The same, where `mergers` merge the files.
    ///
    /// # Errors
    /// As [`compact`](Self::compact), and those of `mergers`.
    pub async fn compact_by<M: MergesParts>(
        &self,
        branch: &str,
        target: ByteSize,
        mergers: &M,
    ) -> Result<Compacted, M::Error> {
        let state = self.known(branch).await?;
        let tree = Tree::of(&state).await?;
        let neighbours = neighbours(&tree, target);
        let mut done = Compacted::default();
        if neighbours.is_empty() {
            return Ok(done);
        }
        let mut editor = self.edit(branch).await?;
        let mut open = self.open_commit_on(branch);
        let mut edit = Edit { compaction: true, ..Edit::new("compaction") };
        let (mut groups, mut schemas) = (Vec::with_capacity(neighbours.len()), BTreeMap::new());
        for (number, files) in neighbours.iter().enumerate() {
            edit.unchanged.extend(files.iter().map(|file| (file.path.clone(), Some(file.sha256.clone()))));
            let group = group(&tree, files, (open.id(), number), &mut schemas)?;
            done.before += group.pieces.len() as u64;
            done.after += 1;
            done.rows += group.rows();
            groups.push(group);
        }
        let parts = parts(self, branch, groups, &schemas, mergers.most());
        for prepared in mergers.merge(&parts).await? {
            open.join(prepared)?;
        }
        match Box::pin(editor.finish(open, edit)).await? {
            Finished::Committed(commit) => Ok(Compacted { commit: Some(commit.header.id), ..done }),
            Finished::Lost(head) => Err(Error::NotNext {
                branch: branch.to_owned(),
                what: "a file that was compacted",
                expected: "as it was".to_owned(),
                found: format!("another one in commit {}", head.header.id),
            })?,
            Finished::Unknown(error) => Err(*error)?,
        }
    }
}

/// What is to become of `files`. One that has several pieces keeps its name; several become one with a name that sorts where the first
/// was, with the number that the group has in the commit `id`.
fn group(
    tree: &Tree,
    files: &[&FileEntry],
    (id, number): (&str, usize),
    schemas: &mut BTreeMap<String, String>,
) -> Result<Group, Error> {
    let first = files.first().map(|file| file.path.as_str()).unwrap_or_default();
    let to = match files.len() {
        1 => first.to_owned(),
        _ => {
            let stem = first.strip_suffix(".parquet").unwrap_or(first);
            format!("{stem}-compact-{}-{number}.parquet", id.get(..8).unwrap_or_default())
        }
    };
    let gone = files.iter().filter(|file| file.path != to).map(|file| file.path.clone()).collect();
    let schema = files.first().and_then(|file| one_schema(file)).unwrap_or_default();
    let known = files.iter().flat_map(|file| &file.pieces).find_map(|piece| tree.schema(piece));
    if let Some(known) = known.filter(|_| !schemas.contains_key(schema)) {
        let (_, text) = encode_schema(known).map_err(|source| Error::encode(Format::Parquet.extension(), source))?;
        schemas.insert(schema.to_owned(), text);
    }
    let pieces = files.iter().flat_map(|file| file.pieces.iter().map(|piece| (file.path.clone(), light(piece))));
    Ok(Group { to, gone, schema: schema.to_owned(), pieces: pieces.collect() })
}

/// The piece without what is known of its values: nobody needs that to merge it.
fn light(piece: &Piece) -> Piece {
    let mut piece = piece.clone();
    piece.table.iter_mut().for_each(|table| table.columns.clear());
    piece
}

/// Neighbours of one directory and schema, together no larger than `target`.
fn neighbours(tree: &Tree, target: ByteSize) -> Vec<Vec<&FileEntry>> {
    let mut open: BTreeMap<(&str, &str), Vec<&FileEntry>> = BTreeMap::new();
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

fn size(group: &[&FileEntry]) -> u64 {
    group.iter().map(|file| file.size).sum()
}

/// The schema of all pieces of a file, if they have the same.
fn one_schema(file: &FileEntry) -> Option<&str> {
    let mut schemas = file.pieces.iter().map(|piece| piece.table.as_ref().map(|table| table.schema.as_str()));
    let first = schemas.next()??;
    schemas.all(|schema| schema == Some(first)).then_some(first)
}
