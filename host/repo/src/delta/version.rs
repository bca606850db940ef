//! The next version of a table: which files come and go, and the actions that say so.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::{
    actions::{Add, MetaData, Operation, Remove},
    commits::{Commits, Stamp},
    home,
    live::{Count, Slot, Slots},
    stats,
};
use crate::{error::Error, log::Place, object::Step};

/// Files that are put into a table at once.
const PARALLEL: usize = 8;

/// What a commit does to the files of a table.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) before: Slots,
    pub(super) after: Slots,
    /// The partition columns from now on.
    pub(super) partition: Vec<String>,
    /// Whether these are all files of the table.
    pub(super) whole: bool,
}

impl Change {
    /// Files that are no longer part of the table.
    pub(super) fn gone(&self) -> impl Iterator<Item = (&String, &Slot)> {
        self.before.iter().filter(|(name, _)| !self.after.contains_key(*name))
    }

    /// Files that are new, or whose partition values are.
    pub(super) fn come(&self) -> impl Iterator<Item = (&String, &Slot)> {
        let same = |name: &String, slot: &Slot| self.before.get(name).is_some_and(|there| there.values == slot.values);
        self.after.iter().filter(move |(name, slot)| !same(name, slot))
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.gone().next().is_none() && self.come().next().is_none()
    }

    /// What there is after it.
    pub(super) fn count(&self, mut count: Count) -> Count {
        self.gone().for_each(|(name, _)| count.remove(name));
        self.come().filter(|(name, _)| !self.before.contains_key(*name)).for_each(|(name, _)| count.add(name));
        count
    }

    pub(super) fn operation(&self, stamp: &Stamp) -> Operation {
        match (!stamp.compaction, self.come().next().is_none(), self.gone().next().is_none()) {
            (false, ..) => Operation::Compact,
            (_, true, _) => Operation::Delete,
            (_, _, true) => Operation::Append,
            _ => Operation::Overwrite,
        }
    }

    /// Makes sure that what comes is below `root` under its name.
    ///
    /// # Errors
    /// What reading and writing can end with.
    pub(super) async fn deliver(&self, commits: &Commits, root: &Path) -> Result<(), Error> {
        let missing = self.come().filter(|(_, slot)| !slot.in_place);
        let put = missing.map(|(name, slot)| put(commits, root, name, slot));
        stream::iter(put.collect::<Vec<_>>()).buffer_unordered(PARALLEL).try_collect().await
    }

    /// All that the log has to say of files.
    ///
    /// # Errors
    /// Those of finding a schema.
    pub(super) async fn files(
        &self,
        commits: &mut Commits,
        stamp: &Stamp,
        meta: &MetaData,
    ) -> Result<(Vec<Remove>, Vec<Add>), Error> {
        let rows_change = !stamp.compaction;
        let gone = self.gone().map(|(name, slot)| remove(name, slot, stamp, rows_change)).collect();
        let columns = names(meta);
        let mut come = Vec::new();
        for (name, slot) in self.come() {
            let new = rows_change && !self.before.contains_key(name);
            come.push(add(commits, stamp, (name, slot), &columns, new).await?);
        }
        Ok((gone, come))
    }
}

/// The names of the columns that statistics may mention.
pub(super) fn names(meta: &MetaData) -> HashSet<String> {
    meta.columns().into_iter().map(|field| field.name).collect()
}

pub(super) async fn add(
    commits: &mut Commits,
    stamp: &Stamp,
    (name, slot): (&str, &Slot),
    columns: &HashSet<String>,
    data_change: bool,
) -> Result<Add, Error> {
    let table = &slot.held.table;
    let schema = commits.schema(&table.schema, stamp.sequence).await?;
    Ok(Add {
        path: home::url(name),
        partition_values: values(slot),
        size: slot.held.blob.size,
        modification_time: stamp.at_ms,
        data_change,
        stats: stats::text(table.rows, &table.columns, &schema, |name| columns.contains(name)),
    })
}

fn remove(name: &str, slot: &Slot, stamp: &Stamp, data_change: bool) -> Remove {
    Remove {
        path: home::url(name),
        deletion_timestamp: stamp.at_ms,
        data_change,
        extended_file_metadata: true,
        partition_values: values(slot),
        size: slot.held.blob.size,
    }
}

fn values(slot: &Slot) -> BTreeMap<String, Option<String>> {
    slot.values.clone()
}

async fn put(commits: &Commits, root: &Path, name: &str, slot: &Slot) -> Result<(), Error> {
    let to = home::below(root, name)?;
    let (objects, blob) = (&commits.repo.objects, &slot.held.blob);
    let Place::Object(object) = &blob.place else {
        let bytes = commits.bytes(&to, blob).await?;
        return objects.create_fresh(Step::DeltaCopy, &to, bytes).await;
    };
    let from = commits.repo.layout.object(object);
    if objects.copy(Step::DeltaCopy, &from, &to).await? {
        Ok(())
    } else {
        let (object, path) = (objects.shown(&from), objects.shown(&to));
        Err(Error::DamagedFile { object, path, reason: "it is missing".to_owned() })
    }
}
