//! `spout copy file`: a file or directory of any commit, put into a branch.

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use clap::{Args, Subcommand};
use spout_format::Encoded;
use spout_repo::{Commit, Edit, FileEntry, Header, OpenCommit, PutMode, Reference, Repo, Store, Tree, Upstream};

use super::{
    Global,
    busy::Busy,
    error::Error,
    names::join,
    print::{Printer, count},
    target::{Changes, Put, Target, how},
};

/// Copy files between commits, branches and repos.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout copy file pictures@master~1:/a.jpg pictures@master:/a.jpg
  spout copy file pictures@master:/2026 archive@master:/pictures/2026")]
pub(super) struct Copy {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Copy a file, or a directory with all that is below it, in one commit.
    #[command(after_help = "Examples:
  spout copy file pictures@master~1:/a.jpg pictures@master:/a.jpg     bring a file back
  spout copy file pictures@v1:/2026 pictures@master:/2026             a directory, as it was at a tag
  spout copy file pictures@master:/2026 archive@master:/pictures/     into another repo, as /pictures/2026
  spout copy file events@master:/a.parquet all@master:/all.parquet -a

Within a repo no byte is copied: both commits name the same data. A table stays a table.")]
    File {
        /// `repo@branch:/path`, `repo@branch~2:/path` or `repo@<commit id>:/path`.
        #[arg(value_name = "FROM")]
        from: String,
        /// `repo@branch:/path`, or `repo@<started commit>:/path`. A path that ends with / is a directory to copy into.
        #[arg(value_name = "TO")]
        to: String,
        /// Put files behind those that are there.
        #[arg(short, long)]
        append: bool,
        /// Put files in the place of those that are there, as is done without it.
        #[arg(short, long, conflicts_with = "append")]
        overwrite: bool,
    },
}

/// What is copied.
pub(super) struct From {
    pub(super) repo: Repo,
    pub(super) commit: Commit,
    pub(super) tree: Tree,
    pub(super) path: String,
}

impl Copy {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { from, to: text, append, .. } = &self.what;
        let (from, to): (Reference, Reference) = (from.parse()?, text.parse()?);
        let store = global.store_to_write().await?;
        let target = Target::in_store(&store, &to).await?;
        let from = From::of(&store, &from, "copy file").await?;
        let pairs = from.pairs(to.path.as_deref(), text.ends_with('/'))?;
        let (mut open, mut changes) = (target.open(), Changes::default());
        let busy = Busy::new(printer);
        for (file, to) in pairs {
            busy.say(format!("{} {}", file.path, count(changes.put.len() as u64, "file")));
            if from.repo.name() == target.repo.name() {
                open.copy_file(&from.tree, file, &to, how(*append))?
            } else {
                across(&from, file, &mut open, &to, how(*append)).await?
            }
            changes.put.push(Put { path: to, size: file.size, rows: file.rows });
        }
        drop(busy);
        let mut edit = Edit::new("copy file");
        edit.rows = changes.put.iter().filter_map(|file| file.rows).sum();
        if from.repo.name() != target.repo.name() {
            let Commit { header: Header { repo, branch, id, .. }, global, .. } = from.commit;
            edit.provenance = vec![Upstream::of(repo, branch, id)];
            edit.global = Some(global);
        }
        target.finish(open, edit, &changes, printer).await
    }
}

impl From {
    pub(super) async fn of(store: &Store, reference: &Reference, verb: &'static str) -> Result<Self> {
        let usage = || Error::Usage { verb, what: format!("`{reference}` names no file; add :/path") };
        let path = reference.path.clone().ok_or_else(usage)?;
        let (repo, commit) = store.resolve(reference).await?;
        let tree = repo.tree(&commit).await?;
        Ok(Self { repo, commit, tree, path })
    }

    /// Each file with the path it gets: `to` itself, or below it where that is a directory; `None` is where it was.
    pub(super) fn pairs(&self, to: Option<&str>, into: bool) -> Result<Vec<(&FileEntry, String)>> {
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
