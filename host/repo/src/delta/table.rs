//! One table: what its log says so far, and how it goes on with the branch.
//!
//! **Invariant**: a version is in the log only after every file it adds is durably there.

use object_store::path::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::error::{Coded, Kind};

use super::{
    actions::{Action, CommitInfo, MetaData, Origin, Protocol, Txn, lines},
    checkpoint,
    columns::describe,
    commits::{Commits, Stamp},
    home::{self, Home},
    live::{Count, Live, Slots, Touched},
    log::{Added, Log, Tip},
    version::{Change, add, names},
};
use crate::{
    error::Error,
    log::{Commit, Moved},
};

/// How versions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// After what is there.
    Follow,
    /// In place of what is there, where that is not the same.
    Rebuild,
}

/// A table that is being published.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    root: Path,
    log: Log,
    app: String,
    mode: Mode,
    every: u64,
    live: Live,
    tip: Option<Written>,
    /// Whether the columns may be others than the log says.
    unsure: bool,
    /// The files that the log names, where they are not those before the next commit.
    stalled: Option<Slots>,
    /// The columns left out that were warned of.
    pub(super) left_out: Option<String>,
    written: u64,
}

/// What the log says.
#[derive(Clone, Debug)]
struct Written {
    version: u64,
    checkpoint: Option<u64>,
    protocol: Protocol,
    meta: MetaData,
    described: u64,
    count: Count,
    stamp: Stamp,
}

/// What people see of a table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PublishedTable {
    /// The directory of its files.
    pub table: String,
    /// The root of the Delta table, for readers.
    pub root: String,
    /// Its newest version; `None` if nothing was published yet.
    pub version: Option<u64>,
    /// The commit that the version is.
    pub commit: Option<String>,
    /// The sequence of that commit.
    pub sequence: Option<u64>,
    /// Parquet files in it.
    pub files: Option<u64>,
    /// Versions that were written just now.
    pub written: u64,
    /// Columns that readers could not take, with their types.
    pub left_out: Option<String>,
}

impl Table {
    /// The table with the files `live`, which are those of the commit of sequence `at`.
    ///
    /// # Errors
    /// [`Error::DeltaLog`] if its log does not go with the branch.
    pub(super) async fn open(
        commits: &Commits,
        name: &str,
        live: Live,
        at: u64,
        (mode, every): (Mode, u64),
    ) -> Result<Self, Error> {
        let root = home::root(&commits.repo.layout, &commits.branch, name)?;
        let app = commits.app();
        let log = Log::new(&commits.repo.objects, &root, &app)?;
        let mut table = Self {
            name: name.to_owned(),
            root,
            log,
            app,
            mode,
            every,
            live,
            tip: None,
            unsure: true,
            stalled: None,
            left_out: None,
            written: 0,
        };
        let tip = match mode {
            Mode::Rebuild => None,
            Mode::Follow => table.log.tip().await?.map_err(|reason| wrong(&table.log, commits, reason))?,
        };
        match tip {
            Some(tip) => table.go_on(commits, tip, at).await?,
            None if !table.live.is_empty() => table.stalled = Some(Slots::new()),
            None => {}
        }
        Ok(table)
    }

    /// Takes the end of the log. Where it names other files than the commit `at` has, it was left behind.
    async fn go_on(&mut self, commits: &Commits, tip: Tip, at: u64) -> Result<(), Error> {
        let record = commits.at(tip.sequence).await?;
        let said = tip.origin.as_ref().map(|origin| origin.record.as_str());
        match &record {
            None if commits.is_collected(tip.sequence).await? => {}
            Some(record) if said.is_none_or(|said| said == record.id) => {}
            _ => {
                let reason = format!("version {} is not a commit of sequence {}", tip.version, tip.sequence);
                return Err(wrong(&self.log, commits, reason));
            }
        }
        if tip.sequence > at && record.is_some() {
            return Err(Error::DeltaRace { log: self.log.shown(), sequence: tip.sequence });
        }
        let columns = tip.meta.partition_columns.clone();
        let mut count = Count::of(&self.live.slots(&columns));
        if let Some(origin) = tip.origin.as_ref().filter(|origin| !count.is_of(origin)) {
            let reason = format!("version {} does not have the files of sequence {}", tip.version, tip.sequence);
            if record.is_none() || tip.sequence >= at {
                return Err(wrong(&self.log, commits, reason));
            }
            let tree = commits.tree(tip.sequence).await?;
            let before = Live::of(&commits.repo.layout, self.root.clone(), &self.name, &tree).slots(&columns);
            count = Count::of(&before);
            if !count.is_of(origin) {
                return Err(wrong(&self.log, commits, reason));
            }
            self.stalled = Some(before);
        }
        self.left_out = tip.meta.left_out();
        let stamp = record.unwrap_or_else(|| Stamp {
            id: tip.origin.as_ref().map(|origin| origin.record.clone()).unwrap_or_default(),
            sequence: tip.sequence,
            at_ms: tip.at_ms,
            commit: tip.commit.clone(),
            compaction: false,
        });
        self.tip = Some(Written {
            version: tip.version,
            checkpoint: tip.checkpoint,
            protocol: tip.protocol,
            meta: tip.meta,
            described: tip.origin.as_ref().map_or(tip.version, |origin| origin.described),
            count,
            stamp,
        });
        Ok(())
    }

    /// The sequence that the log of a table names; `None` if there is none that can be read.
    pub(super) async fn published(commits: &Commits, name: &str) -> Result<Option<u64>, Error> {
        let root = home::root(&commits.repo.layout, &commits.branch, name)?;
        let log = Log::new(&commits.repo.objects, &root, &commits.app())?;
        Ok(log.tip().await?.ok().flatten().map(|tip| tip.sequence))
    }

    /// What a log says, without looking at the files of the branch.
    pub(super) async fn look(commits: &Commits, name: &str) -> Result<PublishedTable, Error> {
        let root = home::root(&commits.repo.layout, &commits.branch, name)?;
        let log = Log::new(&commits.repo.objects, &root, &commits.app())?;
        let tip = log.tip().await?.map_err(|reason| wrong(&log, commits, reason))?;
        let origin = tip.as_ref().and_then(|tip| tip.origin.as_ref());
        Ok(PublishedTable {
            table: home::shown(name),
            root: log.table_shown(),
            version: tip.as_ref().map(|tip| tip.version),
            commit: tip.as_ref().and_then(|tip| commit_id(tip.commit.as_deref())),
            sequence: tip.as_ref().map(|tip| tip.sequence),
            files: origin.map(|origin| origin.files),
            written: 0,
            left_out: tip.as_ref().and_then(|tip| tip.meta.left_out()),
        })
    }

    /// That another publisher writes the log.
    pub(super) fn race(&self) -> Error {
        Error::DeltaRace { log: self.log.shown(), sequence: self.sequence().unwrap_or_default() }
    }

    pub(super) fn sequence(&self) -> Option<u64> {
        self.tip.as_ref().map(|tip| tip.stamp.sequence)
    }

    /// Publishes what `commit` puts and deletes in this table.
    pub(super) async fn follow(
        &mut self,
        commits: &mut Commits,
        stamp: &Stamp,
        commit: &Commit<Moved>,
    ) -> Result<(), Error> {
        let touched = self.live.touched(commit, |path| Home::of(path).table == self.name);
        if touched.is_empty() {
            return Ok(());
        }
        let old = self.partition();
        let base = if self.live.is_replaced_by(&touched) { Vec::new() } else { old.clone() };
        let stalled = self.stalled.take();
        let whole = stalled.is_some()
            || self.live.entangled(commit)
            || self.live.columns_of(put(commit, &touched), &base) != old;
        let before = match stalled {
            Some(before) => before,
            None if whole => self.live.slots(&old),
            None => self.live.slots_of(&touched, &old),
        };
        let schemas = self.live.schema_keys();
        self.live.apply(commit, &touched);
        let partition = if whole { self.live.partition_columns(&base) } else { old.clone() };
        self.unsure |= partition != old || schemas != self.live.schema_keys();
        let after = if whole { self.live.slots(&partition) } else { self.live.slots_of(&touched, &partition) };
        self.change(commits, stamp, Change { before, after, partition, whole }).await
    }

    /// Publishes `live` as what the table is from now on.
    pub(super) async fn move_to(&mut self, commits: &mut Commits, stamp: &Stamp, live: Live) -> Result<(), Error> {
        let old = self.partition();
        let before = self.stalled.take().unwrap_or_else(|| self.live.slots(&old));
        let partition = live.partition_columns(if self.live.is_empty() { &[] } else { &old });
        self.live = live;
        self.unsure = true;
        let after = self.live.slots(&partition);
        self.change(commits, stamp, Change { before, after, partition, whole: true }).await
    }

    /// Publishes what the log lacks, and the checkpoint if that is all that is missing.
    pub(super) async fn catch_up(&mut self, commits: &mut Commits, stamp: &Stamp) -> Result<(), Error> {
        if self.stalled.is_none() {
            return self.checkpoint_if_due(commits).await;
        }
        let live = self.live.clone();
        self.move_to(commits, stamp, live).await
    }

    fn partition(&self) -> Vec<String> {
        self.tip.as_ref().map(|tip| tip.meta.partition_columns.clone()).unwrap_or_default()
    }

    /// Where a change cannot be published as it is, the log stays as it was, and the next change takes it along.
    async fn change(&mut self, commits: &mut Commits, stamp: &Stamp, change: Change) -> Result<(), Error> {
        if change.is_nothing() {
            return Ok(());
        }
        let done = self.publish(commits, stamp, &change).await;
        if done.as_ref().is_err_and(|error| matches!(error.kind(), Kind::Spec | Kind::Corrupt)) {
            let mut before = if change.whole { Slots::new() } else { self.live.slots(&change.partition) };
            before.retain(|name, _| !change.after.contains_key(name));
            before.extend(change.before);
            self.stalled = Some(before);
        }
        done
    }

    async fn publish(&mut self, commits: &mut Commits, stamp: &Stamp, change: &Change) -> Result<(), Error> {
        let meta = self.described(commits, stamp, &change.partition).await?;
        change.deliver(commits, &self.root).await?;
        let old = self.tip.as_ref();
        let version = old.map_or(0, |tip| tip.version + 1);
        let protocol = Protocol::of(&meta.columns(), old.map(|tip| &tip.protocol));
        let (new_protocol, new_meta) =
            (old.is_none_or(|tip| tip.protocol != protocol), old.is_none_or(|tip| tip.meta != meta));
        let described = old.filter(|_| !(new_protocol || new_meta)).map_or(version, |tip| tip.described);
        let count = change.count(old.map(|tip| tip.count).unwrap_or_default());
        let origin = count.origin(stamp, described);
        let (gone, come) = change.files(commits, stamp, &meta).await?;
        let info = CommitInfo::new(stamp, change.operation(stamp), origin.clone());
        let mut actions = vec![Action::CommitInfo(Box::new(info))];
        // A version that changes one of the two says both, so that the end of a log can be read from one version.
        if described == version {
            actions.extend([Action::Protocol(protocol.clone()), Action::MetaData(Box::new(meta.clone()))]);
        }
        actions.push(Action::Txn(Txn::new(&self.app, stamp)));
        actions.extend(gone.into_iter().map(Action::Remove));
        actions.extend(come.into_iter().map(Action::Add));
        self.write(version, lines(&actions)?, &origin).await?;
        self.tip = Some(Written {
            version,
            checkpoint: self.tip.as_ref().and_then(|tip| tip.checkpoint),
            protocol,
            meta,
            described,
            count,
            stamp: stamp.clone(),
        });
        self.unsure = false;
        self.warn_left_out();
        self.checkpoint_if_due(commits).await
    }

    async fn described(&self, commits: &mut Commits, stamp: &Stamp, partition: &[String]) -> Result<MetaData, Error> {
        let old = self.tip.as_ref().map(|tip| &tip.meta);
        match old.filter(|_| !self.unsure || self.live.is_empty()) {
            Some(meta) => Ok(meta.clone()),
            None => describe(commits, stamp, &self.name, (&self.live, partition), old).await,
        }
    }

    async fn write(&mut self, version: u64, bytes: bytes::Bytes, origin: &Origin) -> Result<(), Error> {
        let new = match self.mode {
            Mode::Rebuild => self.log.enforce(version, bytes).await?,
            Mode::Follow => match self.log.add(version, bytes, origin).await? {
                Added::Done => true,
                Added::Taken => return Err(self.race()),
            },
        };
        self.written += u64::from(new);
        Ok(())
    }

    fn warn_left_out(&mut self) {
        let left_out = self.tip.as_ref().and_then(|tip| tip.meta.left_out());
        if let Some(columns) = left_out.as_ref().filter(|_| left_out != self.left_out) {
            tracing::warn!(
                table = home::shown(&self.name),
                columns,
                "the Delta table is published without columns that readers cannot take"
            );
        }
        self.left_out = left_out;
    }

    async fn checkpoint_if_due(&mut self, commits: &mut Commits) -> Result<(), Error> {
        let Some(tip) = &mut self.tip else { return Ok(()) };
        if tip.version - tip.checkpoint.unwrap_or(0) < self.every {
            return Ok(());
        }
        let columns = names(&tip.meta);
        let mut adds = Vec::new();
        for (name, slot) in &self.live.slots(&tip.meta.partition_columns) {
            adds.push(add(commits, &tip.stamp, (name, slot), &columns, false).await?);
        }
        let txn = Txn::new(&self.app, &tip.stamp);
        let made = checkpoint::make(&tip.protocol, &tip.meta, &txn, adds.into_iter())?;
        self.log.put_checkpoint(tip.version, made).await?;
        tip.checkpoint = Some(tip.version);
        Ok(())
    }

    /// Takes away versions behind the newest one, which a rebuild did not write.
    pub(super) async fn end(&self) -> Result<(), Error> {
        self.log.truncate(self.tip.as_ref().map_or(0, |tip| tip.version + 1)).await
    }

    /// Its current state; versions written since the last call are reported once.
    pub(super) fn take_published(&mut self) -> PublishedTable {
        let written = std::mem::take(&mut self.written);
        let tip = self.tip.as_ref();
        PublishedTable {
            table: home::shown(&self.name),
            root: self.log.table_shown(),
            version: tip.map(|tip| tip.version),
            commit: tip.and_then(|tip| commit_id(tip.stamp.commit.as_deref())),
            sequence: tip.map(|tip| tip.stamp.sequence),
            files: tip.map(|tip| tip.count.files),
            written,
            left_out: self.left_out.clone(),
        }
    }
}

/// The paths of the tables that `commit` puts.
fn put<'a>(commit: &'a Commit<Moved>, touched: &'a Touched) -> impl Iterator<Item = &'a str> {
    let files = commit.files.iter().filter(|file| touched.contains_key(&file.path) && file.table.is_some());
    files.map(|file| file.path.as_str())
}

fn wrong(log: &Log, commits: &Commits, reason: impl Into<String>) -> Error {
    let (repo, branch) = (commits.repo.name().to_owned(), commits.branch.clone());
    Error::DeltaLog { log: log.shown(), repo, branch, reason: reason.into() }
}

/// The id in `repo@<commit id>`.
fn commit_id(commit: Option<&str>) -> Option<String> {
    Some(commit?.rsplit_once('@')?.1.to_owned())
}
