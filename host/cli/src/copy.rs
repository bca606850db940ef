//! `spout copy file`: a file or directory of any commit, put into a branch.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::Reference;

use super::{Global, busy::Busy, changes::print_changes, print::Printer, put::how};

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

impl Copy {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { from, to: text, append, .. } = &self.what;
        let (from, to): (Reference, Reference) = (from.parse()?, text.parse()?);
        let api = global.api_to_write().await?;
        let busy = Busy::new(printer);
        busy.say(format!("copying {from}"));
        let copied = api.copy_file(&from, &to, text.ends_with('/'), how(*append)).await;
        drop(busy);
        print_changes(&copied?, printer)
    }
}
