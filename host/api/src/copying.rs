//! Files copied between commits, branches and repos.

use arrow::datatypes::SchemaRef;
use spout_format::Encoded;
use spout_repo::{Commit, Edit, FileEntry, Header, OpenCommit, PutMode, Reference, Repo, Store, Tree, Upstream};

use crate::{Changes, Error, Put, Result, Target, join};

/// What is copied.
struct From {
    repo: Repo,
    commit: Commit,
    tree: Tree,
    path: String,
}

/// A file or directory gets another path of the same branch; `to` as it was written.
pub(crate) async fn relocate(store: &Store, reference: &Reference, text: &str) -> Result<Changes> {
    let to: Reference = format!("{}@{}:{text}", reference.repo, reference.target).parse()?;
    let target = Target::of(store, reference).await?;
    if target.started.is_some() {
        let why = "files can be moved only in a branch; in a started commit, put and delete them".to_owned();
        return Err(Error::NotWritable { reference: reference.to_string(), why });
    }
    let from = From::of(store, reference, "move file").await?;
    let pairs = from.pairs(to.path.as_deref(), text.ends_with('/'))?;
    if pairs.iter().any(|(file, to)| file.path == *to) {
        return Err(Error::Usage { verb: "move file", what: format!("{} already exists", from.path) });
    }
    let (mut open, mut edit) = (target.open(), Edit::new("move file"));
    let (mut put, mut deleted) = (Vec::new(), Vec::new());
    // All deletes first: a directory may move into itself, where one file takes the place of another.
    for (file, _) in &pairs {
        open.delete_file(&file.path)?;
        edit.unchanged.push((file.path.clone(), Some(file.sha256.clone())));
        deleted.push(file.path.clone());
    }
    for (file, to) in pairs {
        open.copy_file(&from.tree, file, &to, PutMode::Overwrite)?;
        edit.rows += file.rows.unwrap_or_default();
        put.push(Put { path: to, size: file.size, rows: file.rows });
    }
    target.finish(open, edit, put, deleted).await
}

pub(crate) async fn copy(store: &Store, from: &Reference, to: &Reference, into: bool, how: PutMode) -> Result<Changes> {
    let target = Target::of(store, to).await?;
    let from = From::of(store, from, "copy file").await?;
    let pairs = from.pairs(to.path.as_deref(), into)?;
    let (mut open, mut put) = (target.open(), Vec::new());
    for (file, to) in pairs {
        if from.repo.name() == target.repo.name() {
            open.copy_file(&from.tree, file, &to, how)?;
        } else {
            across(&from, file, &mut open, &to, how).await?;
        }
        put.push(Put { path: to, size: file.size, rows: file.rows });
    }
    let mut edit = Edit::new("copy file");
    edit.rows = put.iter().filter_map(|file| file.rows).sum();
    if from.repo.name() != target.repo.name() {
        let Commit { header: Header { repo, branch, id, .. }, global, .. } = from.commit;
        edit.provenance = vec![Upstream::of(repo, branch, id)];
        edit.global = Some(global);
    }
    target.finish(open, edit, put, Vec::new()).await
}

impl From {
    async fn of(store: &Store, reference: &Reference, verb: &'static str) -> Result<Self> {
        let usage = || Error::Usage { verb, what: format!("`{reference}` names no file; add :/path") };
        let path = reference.path.clone().ok_or_else(usage)?;
        let (repo, commit) = store.resolve(reference).await?;
        let tree = repo.tree(&commit).await?;
        Ok(Self { repo, commit, tree, path })
    }

    /// Each file with the path it gets: `to` itself, or below it where that is a directory; `None` is where it was.
    fn pairs(&self, to: Option<&str>, into: bool) -> Result<Vec<(&FileEntry, String)>> {
        let from = self.path.trim_end_matches('/');
        let name = from.rsplit('/').next().unwrap_or_default();
        let to = match to {
            None => self.path.clone(),
            Some(to) if into || to == "/" => join(to, name),
            Some(to) => to.to_owned(),
        };
        if self.tree.get(&self.path).is_none() && self.tree.below(&self.path).next().is_none() {
            self.tree.file(&self.path)?;
        }
        let pair = |file| -> (&FileEntry, String) {
            let file: &FileEntry = file;
            match file.path.strip_prefix(from).unwrap_or_default() {
                "" => (file, to.clone()),
                below => (file, join(&to, below)),
            }
        };
        Ok(self.tree.below(&self.path).map(pair).collect())
    }
}

/// Puts the pieces of a file of another repo, one after the other, so that memory holds one of them.
async fn across(from: &From, file: &FileEntry, open: &mut OpenCommit, to: &str, how: PutMode) -> Result<()> {
    for (index, piece) in file.pieces.iter().enumerate() {
        let how = if index == 0 { how } else { PutMode::Append };
        let bytes = from.repo.piece(file, piece).await?;
        match piece.table.as_ref().zip(from.tree.schema(piece)) {
            None => open.put_file(to, how, bytes).await?,
            Some((table, schema)) => {
                let (sha256, columns) = (piece.blob.sha256.clone(), table.columns.clone());
                let schema = SchemaRef::clone(schema);
                let (format, rows, portable) = (table.format, table.rows, table.portable);
                let table = Encoded { bytes, format, schema, rows, sha256, columns, portable };
                open.put_table(to, how, table).await?;
            }
        }
    }
    Ok(())
}
