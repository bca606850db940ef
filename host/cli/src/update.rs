//! `spout update`: how much history a repo keeps; the specs of pipelines.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::Retention;
use spout_data::Period;

use super::{Global, managed, print::Printer};

/// Change how much history a repo keeps, or what a pipeline does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout update repo github-events --keep 100 --keep-for 30d
  spout update repo github-events --keep-all
  spout update pipeline -f my.yaml")]
pub(super) struct Update {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set how much history a repo keeps.
    #[command(after_help = "Examples:
  spout update repo github-events --keep 100
  spout update repo github-events --keep 100 --keep-for 30d    whatever either rule keeps
  spout update repo github-events --keep-all                   the default

Nothing is removed before the next `spout gc`. The head of each branch and every tag are always kept. The new rules replace
the earlier ones.")]
    Repo {
        /// Name of the repo.
        repo: String,
        /// Keep this many of the newest commits of each branch.
        #[arg(long, value_name = "COUNT")]
        keep: Option<u64>,
        /// Keep commits no older than this: `12h`, `30d`.
        #[arg(long, value_name = "TIME")]
        keep_for: Option<Period>,
        /// Keep every commit.
        #[arg(long, conflicts_with_all = ["keep", "keep_for"], required_unless_present_any = ["keep", "keep_for"])]
        keep_all: bool,
    },
    /// Give pipelines of the store another spec.
    #[command(after_help = "Examples:
  spout update pipeline -f my.yaml

  spout update pipeline -f my.yaml --reprocess      and makes everything anew

A pipeline that runs commits what it has read, and goes on from there with the new spec. One that is stopped stays so. With
--reprocess it begins anew: every source is read again from its beginning, files, marker and handlers' state of its branch begin
anew with one commit, and history keeps what was there. To keep the old results beside the new ones instead, give the spec another
`commit.branch`: a new branch begins at the beginning by itself.")]
    Pipeline {
        /// Spec file; may be repeated.
        #[arg(short = 'f', long = "file", required = true, value_name = "SPEC")]
        files: Vec<PathBuf>,
        /// Read every source from its beginning again.
        #[arg(long)]
        reprocess: bool,
    },
}

impl Update {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (repo, keep, keep_for) = match &self.what {
            What::Pipeline { files, reprocess } => return managed::update(files, *reprocess, global, printer).await,
            What::Repo { repo, keep, keep_for, .. } => (repo, keep, keep_for),
        };
        let for_ms = keep_for.map(|period| u64::try_from(period.0.as_millis()).unwrap_or(u64::MAX));
        let rules = Retention { commits: *keep, for_ms };
        let kept = global.api_to_write().await?.retain(repo, rules).await?;
        if printer.json() {
            printer.value(&kept)
        } else {
            printer.line(format!("{repo} keeps {rules}; `spout gc {repo}` removes the rest"))
        }
    }
}
