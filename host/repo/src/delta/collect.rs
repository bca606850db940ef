//! Collection of what the publisher keeps: copies that no version names, and versions of a history that is gone.
//!
//! A log has the least and greatest values of files, and copies are files; so deleted rows are only gone when both go with the
//! commits that had them. Order makes it safe. (1) Copies are listed. (2) Tables are brought up to date: whatever copy was
//! listed belongs to a commit that is a version now. (3) Boundaries become durable, which is not done here. (4) The version
//! that a boundary's commit is gets a checkpoint, then the versions before it go, oldest first: readers see the same table
//! at every step. (5) Copies that no version names any more go.
//!
//! **Invariant**: nothing that a version at or behind the boundary needs is removed, and nothing is removed that is not the
//! publisher's own.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use spout_base::clock;

use super::{
    actions::Txn,
    checkpoint,
    commits::{Commits, Stamp},
    history::History,
    home,
    live::{COPY, Count, Live},
    log::Log,
    publisher::Publisher,
    version::{add, names},
};
use crate::{
    collected::{Collect, Collected},
    error::Error,
    layout::Layout,
    object::{Objects, Step},
    repo::Repo,
};

/// Objects of the tables of one branch that are the publisher's, by table.
type Tables = BTreeMap<String, Mine>;

/// What the publisher keeps of one table.
#[derive(Debug, Default)]
struct Mine {
    has_log: bool,
    /// Names below the root, sizes and times.
    copies: Vec<(String, u64, i64)>,
}

/// A collection of the tables of a repo.
#[derive(Debug)]
pub(crate) struct Collection {
    branches: BTreeMap<String, Tables>,
    how: Collect,
}

impl Collection {
    /// Takes the publisher's objects out of `listed`, and brings the tables up to date that there are.
    ///
    /// # Errors
    /// What publishing can end with.
    pub(crate) async fn begin(repo: &Repo, listed: &[(String, u64, i64)], how: Collect) -> Result<Self, Error> {
        let mut branches: BTreeMap<String, Tables> = BTreeMap::new();
        for (name, size, at) in listed {
            let Some((branch, rest)) = name.strip_prefix("tables/").and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let tables = branches.entry(branch.to_owned()).or_default();
            if let Some((table, _)) = rest.split_once("/_delta_log/") {
                tables.entry(table.to_owned()).or_default().has_log = true;
            } else if let Some((table, copy)) = copy(rest) {
                tables.entry(table).or_default().copies.push((copy, *size, *at));
            }
        }
        for (branch, tables) in &branches {
            let state = repo.state(branch).await?;
            let there = !state.is_new() && !state.deleted;
            if there && !how.dry_run && tables.values().any(|mine| mine.has_log) {
                Publisher::new(repo, branch).publish().await?;
            }
        }
        Ok(Self { branches, how })
    }

    /// Removes what no kept version needs, now that history begins at `boundaries`.
    ///
    /// # Errors
    /// Those of reading the branches and logs, and of deleting.
    pub(crate) async fn collect(self, repo: &Repo, boundaries: &[(String, u64)]) -> Result<Collected, Error> {
        let mut gone = Collected::default();
        for (branch, tables) in self.branches {
            let state = repo.state(&branch).await?;
            let there = !state.is_new() && !state.deleted;
            let boundary = boundaries.iter().find(|(name, _)| *name == branch).map_or(0, |(_, first)| *first);
            let mut commits = Commits::new(repo, &branch);
            for (name, mine) in tables {
                let root = home::root(&repo.layout, &branch, &name)?;
                let table = Table {
                    objects: &repo.objects,
                    layout: &repo.layout,
                    log: Log::new(&repo.objects, &root, &commits.app())?,
                    root,
                    name,
                    boundary: there.then_some(boundary),
                };
                if let Some(needed) = table.trim(&mut commits, (self.how, !mine.copies.is_empty()), &mut gone).await? {
                    table.copies(&mine.copies, &needed, self.how, &mut gone).await?;
                }
            }
        }
        Ok(gone)
    }
}

/// The table and the name below its root of a copy, by its name below the tables of the branch.
fn copy(name: &str) -> Option<(String, String)> {
    let (directory, file) = name.rsplit_once('/')?;
    if !file.starts_with(COPY) {
        return None;
    }
    let mut segments: Vec<&str> = directory.split('/').collect();
    let partition = |segment: &&str| segment.find('=').is_some_and(|at| at > 0);
    while segments.last().is_some_and(partition) {
        segments.pop();
    }
    let table = segments.join("/");
    let below = name.strip_prefix(&table)?.trim_start_matches('/').to_owned();
    Some((table, below))
}

/// One table being collected.
struct Table<'a> {
    objects: &'a Objects,
    layout: &'a Layout,
    log: Log,
    root: Path,
    name: String,
    /// Where the history of its branch begins; none if there is no such branch any more.
    boundary: Option<u64>,
}

impl Table<'_> {
    /// Removes versions that are no history any more; the files that the others name, as their log does, if that is `wanted`.
    /// `None` where the log is not one that we can tell anything of.
    async fn trim(
        &self,
        commits: &mut Commits,
        (how, wanted): (Collect, bool),
        gone: &mut Collected,
    ) -> Result<Option<BTreeSet<String>>, Error> {
        let history = self.log.history().await?;
        if history.is_empty() {
            return Ok(Some(BTreeSet::new()));
        }
        let Some(boundary) = self.boundary else { return self.remove(&history, how, gone).await.map(Some) };
        let Some(first) = self.log.version_of(&history, boundary).await? else {
            // All versions are of commits that are kept, if the log is whole.
            let whole = history.versions.first() == Some(&0);
            return if whole && wanted { self.log.added(&history, 0).await } else { Ok(None) };
        };
        let Some((line, origin)) = self.log.described(&history, first).await? else { return Ok(None) };
        let tree = commits.tree(boundary.max(1)).await?;
        let live = Live::of(self.layout, self.root.clone(), &self.name, &tree);
        let slots = live.slots(&line.1.partition_columns);
        if !Count::of(&slots).is_of(&origin) && !how.dry_run {
            // It names files of before the boundary, and could not be brought up to date: it tells of what is gone.
            return self.remove(&history, how, gone).await.map(Some);
        }
        if history.is_older(first) && !how.dry_run {
            let (protocol, meta) = line;
            let stamp = Stamp {
                id: origin.record.clone(),
                sequence: boundary.max(1),
                at_ms: history.at_ms,
                commit: None,
                compaction: false,
            };
            let columns = names(&meta);
            let mut adds = Vec::with_capacity(slots.len());
            for (name, slot) in &slots {
                adds.push(add(commits, &stamp, (name, slot), &columns, false).await?);
            }
            let txn = Txn::new(&commits.app(), &Stamp { sequence: origin.sequence, ..stamp });
            let made = checkpoint::make(&protocol, &meta, &txn, adds.into_iter())?;
            self.log.begin_at(first, made, &history).await?;
        }
        for (path, size) in history.older(first) {
            if !how.dry_run {
                self.objects.delete(Step::Delete, path).await?;
            }
            (gone.objects, gone.bytes) = (gone.objects + 1, gone.bytes + size);
        }
        let added = if wanted { self.log.added(&history, first).await? } else { None };
        let Some(mut needed) = added else { return Ok(None) };
        needed.extend(slots.keys().map(|name| home::url(name)));
        Ok(Some(needed))
    }

    /// Removes the log, newest version first; nothing is needed then.
    async fn remove(&self, history: &History, how: Collect, gone: &mut Collected) -> Result<BTreeSet<String>, Error> {
        if !how.dry_run {
            self.log.truncate(0).await?;
        }
        for (_, size) in &history.objects {
            (gone.objects, gone.bytes) = (gone.objects + 1, gone.bytes + size);
        }
        Ok(BTreeSet::new())
    }

    async fn copies(
        &self,
        copies: &[(String, u64, i64)],
        needed: &BTreeSet<String>,
        how: Collect,
        gone: &mut Collected,
    ) -> Result<(), Error> {
        let young_from = clock::wall_ms().saturating_sub(how.min_age_ms);
        for (name, size, at) in copies.iter().filter(|(name, ..)| !needed.contains(&home::url(name))) {
            if *at > young_from {
                gone.young += 1;
                continue;
            }
            if !how.dry_run {
                self.objects.delete(Step::Delete, &home::below(&self.root, name)?).await?;
            }
            (gone.objects, gone.bytes) = (gone.objects + 1, gone.bytes + size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_its_table() {
        let check = |name: &str, expected: Option<(&str, &str)>| {
            let found = copy(name);
            assert_eq!(found.as_ref().map(|(table, below)| (table.as_str(), below.as_str())), expected, "{name}");
        };
        check("t/copy-1.parquet", Some(("t", "copy-1.parquet")));
        check("t/u/day=1/p=a b/copy-1.parquet", Some(("t/u", "day=1/p=a b/copy-1.parquet")));
        check("t/=x/copy-1.parquet", Some(("t/=x", "copy-1.parquet")));
        check("t/0123.parquet", None);
    }
}
