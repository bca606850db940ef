//! `spout delete`: repos, branches, tags, files.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_repo::{Edit, FileAdded, Reference, Tree};

use super::{
    Global,
    error::Error,
    names::pair,
    print::{Printer, count},
    target::{Changes, Target},
};

/// Delete a repo, a branch, a tag or files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout delete file pictures@master:/2026/01/a.jpg
  spout delete branch github-events@try
  spout delete tag github-events@v1
  spout delete repo pictures --force")]
pub(super) struct Delete {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Delete a repo with its whole history. This cannot be undone.
    #[command(after_help = "Examples:
  spout delete repo empty
  spout delete repo pictures --force")]
    Repo {
        /// Name of the repo.
        name: String,
        /// Delete it even if it contains commits.
        #[arg(long)]
        force: bool,
    },
    /// Delete a branch. Its commits stay until garbage collection, or as long as another branch or a tag needs them.
    #[command(after_help = "Examples:
  spout delete branch github-events@try

A pipeline that writes to the branch stops.")]
    Branch {
        /// `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        branch: String,
    },
    /// Delete a tag. The commit stays if a branch leads to it.
    #[command(after_help = "Examples:\n  spout delete tag github-events@v1")]
    Tag {
        /// `repo@tag`.
        #[arg(value_name = "REPO@TAG")]
        tag: String,
    },
    /// Delete files, all in one commit. Earlier commits keep them.
    #[command(after_help = "Examples:
  spout delete file pictures@master:/2026/01/a.jpg pictures@master:/2026/01/b.jpg
  spout delete file pictures@master:/2025 -r
  spout delete file pictures@0123456789ab:/a.jpg     in a started commit")]
    File {
        /// `repo@branch:/path`, or `repo@<started commit>:/path`; all of one branch.
        #[arg(required = true, value_name = "REFERENCE")]
        references: Vec<String>,
        /// Delete directories and everything below them.
        #[arg(short, long)]
        recursive: bool,
    },
}

impl Delete {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = global.store_to_write().await?;
        match &self.what {
            What::Repo { name, force } => {
                store.delete_repo(name, *force).await?;
                report("repo", name, printer)
            }
            What::Branch { branch } => {
                let (repo, name) = pair(branch, "delete branch", "branch")?;
                store.repo(repo).await?.delete_branch(name).await?;
                report("branch", branch, printer)
            }
            What::Tag { tag } => {
                let (repo, name) = pair(tag, "delete tag", "tag")?;
                store.repo(repo).await?.delete_tag(name).await?;
                report("tag", tag, printer)
            }
            What::File { references, recursive } => {
                let references = references.iter().map(|text| text.parse()).collect::<Result<Vec<Reference>, _>>()?;
                let target = Target::in_store(&store, one_target(&references)?).await?;
                files(&target, &references, *recursive, printer).await
            }
        }
    }
}

fn report(what: &str, name: &str, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        printer.value(&json!({"deleted": what, "name": name}))
    } else {
        printer.line(format!("deleted {what} {name}"))
    }
}

/// One commit has one branch.
fn one_target(references: &[Reference]) -> Result<&Reference, Error> {
    let usage = |what: String| Error::Usage { verb: "delete file", what };
    let same = |a: &Reference, b: &Reference| (&a.repo, &a.target) == (&b.repo, &b.target);
    let Some((first, others)) = references.split_first() else { return Err(usage("no file is named".into())) };
    match others.iter().find(|other| !same(first, other)) {
        Some(other) => Err(usage(format!("{first} and {other} are on different branches; delete them separately"))),
        None => Ok(first),
    }
}

async fn files(target: &Target, references: &[Reference], recursive: bool, printer: &mut Printer) -> Result<()> {
    let there = There::of(target).await?;
    let mut paths = BTreeSet::new();
    for reference in references {
        paths.extend(there.below(reference, recursive)?);
    }
    let mut open = target.open();
    paths.iter().try_for_each(|path| open.delete_file(path))?;
    let changes = Changes { deleted: paths.into_iter().collect(), ..Changes::default() };
    target.finish(open, Edit::new("delete file"), &changes, printer).await
}

/// The files that can be deleted: those of the head, and those that a started commit has put.
struct There {
    tree: Tree,
    put: Vec<FileAdded>,
}

impl There {
    async fn of(target: &Target) -> Result<Self> {
        let branches = target.repo.branches().await?;
        let head = branches.into_iter().find(|branch| branch.name == target.branch).and_then(|branch| branch.head);
        if head.is_none() && target.started.is_none() {
            // The branch, or that it has no commit, is named by this.
            target.repo.resolve(&Reference::head(target.repo.name(), &target.branch)).await?;
        }
        let tree = match head {
            Some(head) => target.repo.tree(&head).await?,
            None => Tree::default(),
        };
        Ok(Self { tree, put: target.pending().await?.0 })
    }

    /// The file, or with `recursive` the files below the directory, that `reference` names.
    fn below(&self, reference: &Reference, recursive: bool) -> Result<Vec<String>> {
        let usage = |what: String| Error::Usage { verb: "delete file", what };
        let path = reference.path.as_deref();
        let path = path.ok_or_else(|| usage(format!("`{reference}` names no file; add :/path")))?;
        let directory = format!("{}/", path.trim_end_matches('/'));
        let put = self.put.iter().map(|file| &file.path);
        let put = put.filter(|there| *there == path || there.starts_with(&directory));
        let mut paths: Vec<String> = self.tree.below(path).map(|file| &file.path).chain(put).cloned().collect();
        paths.sort_unstable();
        paths.dedup();
        match paths.iter().any(|there| there == path) {
            true => Ok(vec![path.to_owned()]),
            false if paths.is_empty() && path == "/" => Err(usage(format!("`{reference}` has no file")).into()),
            false if paths.is_empty() => match self.tree.file(path) {
                Err(unknown) => Err(unknown.into()),
                Ok(file) => Ok(vec![file.path.clone()]),
            },
            false if recursive => Ok(paths),
            false => {
                let files = count(paths.len() as u64, "file");
                Err(usage(format!("`{path}` is a directory with {files}; add -r to delete them all")).into())
            }
        }
    }
}
