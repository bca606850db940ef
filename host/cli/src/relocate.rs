//! `spout move file`: a file or directory gets another path.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_repo::{Edit, PutMode, Reference};

use super::{
    Global,
    copy::From,
    error::Error,
    print::Printer,
    target::{Changes, Put, Target},
};

/// Move or rename files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spout move file pictures@master:/a.jpg /2026/a.jpg")]
pub(super) struct Move {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give a file, or a directory with all that is below it, another path, in one commit.
    #[command(after_help = "Examples:
  spout move file pictures@master:/a.jpg /2026/a.jpg
  spout move file pictures@master:/2026 /archive/          as /archive/2026

No byte is copied. What is at the new path is replaced. If someone changes a file at the same moment, nothing is moved and the
command says so.")]
    File {
        /// `repo@branch:/path`.
        #[arg(value_name = "FROM")]
        from: String,
        /// The new path in the same branch. One that ends with / is a directory to move into.
        #[arg(value_name = "PATH")]
        to: String,
    },
}

impl Move {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { from, to: text } = &self.what;
        let usage = |what: String| Error::Usage { verb: "move file", what };
        let reference: Reference = from.parse()?;
        let to: Reference = format!("{}@{}:{text}", reference.repo, reference.target).parse()?;
        let store = global.store_to_write().await?;
        let target = Target::in_store(&store, &reference).await?;
        if target.started.is_some() {
            let why = "files can be moved only in a branch; in a started commit, put and delete them".to_owned();
            return Err(Error::NotWritable { reference: from.clone(), why }.into());
        }
        let from = From::of(&store, &reference, "move file").await?;
        let pairs = from.pairs(to.path.as_deref(), text.ends_with('/'))?;
        if pairs.iter().any(|(file, to)| file.path == *to) {
            return Err(usage(format!("{} already exists", from.path)).into());
        }
        let (mut open, mut changes, mut edit) = (target.open(), Changes::default(), Edit::new("move file"));
        // All deletes first: a directory may move into itself, where one file takes the place of another.
        for (file, _) in &pairs {
            open.delete_file(&file.path)?;
            edit.unchanged.push((file.path.clone(), Some(file.sha256.clone())));
            changes.deleted.push(file.path.clone());
        }
        for (file, to) in pairs {
            open.copy_file(&from.tree, file, &to, PutMode::Overwrite)?;
            edit.rows += file.rows.unwrap_or_default();
            changes.put.push(Put { path: to, size: file.size, rows: file.rows });
        }
        target.finish(open, edit, &changes, printer).await
    }
}
