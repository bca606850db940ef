//! Files deleted in one commit.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::counted::counted as count;
use spout_repo::{Edit, FileAdded, Reference, Store, Tree};

use crate::{Changes, Error, Result, Target};

/// Files to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// Each as `repo@branch:/path`, or `repo@<started commit>:/path`; all of one branch.
    pub files: Vec<String>,
    /// Whether directories are deleted with everything below them.
    #[serde(default)]
    pub recursive: bool,
}

impl Deletion {
    /// What is named.
    ///
    /// # Errors
    /// That of a wrong reference.
    pub fn references(&self) -> Result<Vec<Reference>> {
        self.files.iter().map(|text| text.parse().map_err(Error::from)).collect()
    }
}

pub(crate) async fn delete(store: &Store, deletion: &Deletion) -> Result<Changes> {
    let references = deletion.references()?;
    let target = Target::of(store, one_target(&references)?).await?;
    let there = There::of(&target).await?;
    let mut paths = BTreeSet::new();
    for reference in &references {
        paths.extend(there.below(reference, deletion.recursive)?);
    }
    let mut open = target.open();
    paths.iter().try_for_each(|path| open.delete_file(path))?;
    target.finish(open, Edit::new("delete file"), Vec::new(), paths.into_iter().collect()).await
}

/// One commit has one branch.
fn one_target(references: &[Reference]) -> Result<&Reference> {
    let usage = |what: String| Error::Usage { verb: "delete file", what };
    let same = |a: &Reference, b: &Reference| (&a.repo, &a.target) == (&b.repo, &b.target);
    let Some((first, others)) = references.split_first() else { return Err(usage("no file is named".into())) };
    match others.iter().find(|other| !same(first, other)) {
        Some(other) => Err(usage(format!("{first} and {other} are on different branches; delete them separately"))),
        None => Ok(first),
    }
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
            false if paths.is_empty() && path == "/" => Err(usage(format!("`{reference}` has no file"))),
            false if paths.is_empty() => match self.tree.file(path) {
                Err(unknown) => Err(unknown.into()),
                Ok(file) => Ok(vec![file.path.clone()]),
            },
            false if recursive => Ok(paths),
            false => {
                let files = count(paths.len() as u64, "file");
                Err(usage(format!("`{path}` is a directory with {files}; add -r to delete them all")))
            }
        }
    }
}
