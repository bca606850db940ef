//! `spout move file`: a file or directory gets another path.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::Reference;

use super::{Global, changes::print_changes, error::Error, print::Printer};

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
        let What::File { from, to } = &self.what;
        let from: Reference = from.parse()?;
        if let Some((_, path)) = to.split_once(":/").filter(|_| !to.starts_with('/')) {
            let what = format!(
                "`{to}` is a reference, and files are moved within a branch: name the new path alone, as in `/{path}`; elsewhere they are copied"
            );
            return Err(Error::Usage { verb: "move file", what }.into());
        }
        print_changes(&global.api_to_write().await?.move_file(&from, to).await?, printer)
    }
}
