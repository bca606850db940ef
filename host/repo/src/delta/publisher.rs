//! Follows a branch and keeps its tables up to date.
//!
//! A publisher goes through the commits in order and is done with all tables of one before it looks at the next. So the
//! newest commit that any log names is where all of them are, but for those that the same commit touches and a crash kept
//! it from, and those that could not be published: their logs show it, see [`Table::open`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use spout_base::error::{Coded, Kind};
use spout_format::Format;

use super::{
    checkpoint,
    commits::{Commits, Files, Stamp},
    home::{self, Home},
    live::Live,
    table::{Mode, PublishedTable, Table},
};
use crate::{
    error::Error,
    log::{Commit, Moved},
    repo::Repo,
    tree::Tree,
};

/// How often publishing starts again because another publisher was faster.
const ATTEMPTS: u32 = 5;
/// Commits that one version takes along where publishing is at least so many behind.
const TOGETHER: usize = if cfg!(test) { 4 } else { 128 };

/// Publishes the tables of one branch. Everything it knows it can read again, so that dropping it at any time is fine.
#[derive(Debug)]
pub struct Publisher {
    commits: Commits,
    every: u64,
    /// A sequence that a log was seen to name.
    known: u64,
    /// Columns left out that need not be warned of.
    said: Option<String>,
    state: Option<Published>,
}

/// How far the tables are.
#[derive(Debug)]
struct Published {
    mode: Mode,
    sequence: u64,
    tables: BTreeMap<String, Table>,
    /// Tables whose log cannot be gone on with.
    broken: BTreeSet<String>,
    failures: Vec<(String, Error)>,
    /// What comes next, as far as it was read.
    next: VecDeque<(Stamp, Files)>,
}

/// How much is published by one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    /// All there is, each commit as a version of its own.
    Commit,
    /// One version.
    Some,
}

/// What came of publishing.
#[derive(Debug, Default)]
pub struct Publication {
    /// The tables, sorted.
    pub tables: Vec<PublishedTable>,
    /// Tables that could not be published, and why not; they stay as they were.
    pub failures: Vec<(String, Error)>,
    /// Whether commits are left that were not published.
    pub behind: bool,
}

impl Publisher {
    /// A publisher of the tables of `branch`.
    #[must_use]
    pub fn new(repo: &Repo, branch: &str) -> Self {
        Self { commits: Commits::new(repo, branch), every: checkpoint::EVERY, known: 0, said: None, state: None }
    }

    /// The same with a checkpoint every so many versions.
    #[must_use]
    pub fn checkpoint_every(mut self, versions: u64) -> Self {
        self.every = versions.max(1);
        self
    }

    /// The same after these columns, which readers cannot take, were warned of.
    #[must_use]
    pub fn after_warning(mut self, left_out: &[String]) -> Self {
        self.said = (!left_out.is_empty()).then(|| left_out.join(", "));
        self
    }

    /// Publishes every commit that is not published yet. What fails for one table does not keep the others.
    ///
    /// # Errors
    /// What reading the branch and writing can end with. The next call goes on where this one stopped.
    pub async fn publish(&mut self) -> Result<Publication, Error> {
        self.publish_by(Grain::Commit).await
    }

    /// Publishes the next commit; or many as one version, where publishing is far behind and they only put files.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_some(&mut self) -> Result<Publication, Error> {
        self.publish_by(Grain::Some).await
    }

    async fn publish_by(&mut self, grain: Grain) -> Result<Publication, Error> {
        let mut attempt = 1;
        loop {
            let state = match self.state.take() {
                Some(state) => Ok(state),
                None => self.start().await,
            };
            let done = match state {
                Ok(state) => self.follow(state, grain).await,
                Err(error) => Err(error),
            };
            match done {
                Err(Error::DeltaRace { sequence, .. }) if sequence > self.known => self.known = sequence,
                Err(Error::DeltaRace { .. }) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    /// Rebuilds the logs of all tables from the commits. What is there and right stays; from the first version that is
    /// not, later ones are taken away, newest first, before it is written again: readers see earlier states meanwhile.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn rebuild(&mut self) -> Result<Publication, Error> {
        self.state = None;
        let state = Published::new(Mode::Rebuild, 0);
        let done = self.follow(state, Grain::Commit).await?;
        if let Some(state) = self.state.take() {
            for table in state.tables.values() {
                table.end().await?;
            }
            self.sweep(&state).await?;
        }
        Ok(done)
    }

    /// Takes away logs of tables that the branch never had.
    async fn sweep(&self, state: &Published) -> Result<(), Error> {
        let repo = &self.commits.repo;
        let all = home::tables(&repo.layout, &self.commits.branch);
        let listed = repo.objects.list(&all).await?;
        let logs =
            listed.iter().filter_map(|(path, _)| path.as_ref().strip_prefix(all.as_ref())?.split_once("/_delta_log/"));
        let names: BTreeSet<_> = logs.map(|(name, _)| name.trim_start_matches('/').to_owned()).collect();
        for name in names.iter().filter(|name| !state.tables.contains_key(*name)) {
            let live = self.empty(name)?;
            Table::open(&self.commits, name, live, 0, (Mode::Rebuild, self.every)).await?.end().await?;
        }
        Ok(())
    }

    fn empty(&self, name: &str) -> Result<Live, Error> {
        let layout = &self.commits.repo.layout;
        Ok(Live::new(layout, home::root(layout, &self.commits.branch, name)?))
    }

    fn live(&self, name: &str, tree: &Tree) -> Result<Live, Error> {
        let layout = &self.commits.repo.layout;
        Ok(Live::of(layout, home::root(layout, &self.commits.branch, name)?, name, tree))
    }

    /// Where publishing goes on.
    async fn start(&mut self) -> Result<Published, Error> {
        let (newest, tree) = self.commits.head().await?;
        let mut at = self.known;
        for name in tables_of(&tree) {
            let said = Table::published(&self.commits, &name).await?;
            at = at.max(said.filter(|sequence| *sequence <= newest).unwrap_or(0));
        }
        let Some(stamp) = self.commits.at(at).await? else { return self.start_at_boundary(at).await };
        let tree = self.commits.tree(at).await?;
        let mut state = Published::new(Mode::Follow, at);
        let mut names = tables_of(&tree);
        if let Some((_, Files::Changed(commit))) = self.commits.after(at - 1).await? {
            names.extend(touched(&commit));
        }
        for name in names {
            let live = self.live(&name, &tree)?;
            self.open(&mut state, &name, live, at).await?;
            if let Some(table) = state.tables.get_mut(&name) {
                let done = table.catch_up(&mut self.commits, &stamp).await;
                state.settle(&name, done)?;
            }
        }
        Ok(state)
    }

    /// Where publishing goes on if the commit `at` was collected: a collection brings tables up to date, so that they are
    /// what they were where history begins.
    async fn start_at_boundary(&mut self, at: u64) -> Result<Published, Error> {
        let boundary = self.commits.boundary().await?;
        if at == 0 || boundary <= at {
            return Ok(Published::new(Mode::Follow, 0));
        }
        let tree = self.commits.tree(boundary).await?;
        let mut state = Published::new(Mode::Follow, boundary);
        let stamp = self.commits.at(boundary).await?;
        for name in tables_of(&tree) {
            let live = self.live(&name, &tree)?;
            self.open(&mut state, &name, live, boundary).await?;
            if let (Some(table), Some(stamp)) = (state.tables.get_mut(&name), &stamp) {
                let done = table.catch_up(&mut self.commits, stamp).await;
                state.settle(&name, done)?;
            }
        }
        Ok(state)
    }

    async fn open(&self, state: &mut Published, name: &str, live: Live, at: u64) -> Result<(), Error> {
        match Table::open(&self.commits, name, live, at, (state.mode, self.every)).await {
            Ok(mut table) => {
                table.left_out = table.left_out.or_else(|| self.said.clone());
                state.tables.insert(name.to_owned(), table);
                Ok(())
            }
            Err(error) if error.kind() == Kind::Corrupt => {
                state.broken.insert(name.to_owned());
                state.settle(name, Err(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn follow(&mut self, mut state: Published, grain: Grain) -> Result<Publication, Error> {
        let together = if grain == Grain::Some { TOGETHER } else { 1 };
        loop {
            self.read(&mut state, together).await?;
            let Some((stamp, files)) = state.take(together) else { break };
            match files {
                Files::Changed(commit) => self.apply(&mut state, &stamp, &commit).await?,
                Files::All(tree) => self.replace(&mut state, &stamp, &tree).await?,
            }
            state.sequence = stamp.sequence;
            if grain == Grain::Some {
                self.read(&mut state, 1).await?;
                break;
            }
        }
        let (failures, behind) = (std::mem::take(&mut state.failures), !state.next.is_empty());
        let tables = state.tables.values_mut().map(Table::take_published).collect();
        self.state = Some(state);
        Ok(Publication { tables, failures, behind })
    }

    /// Reads what comes next, up to `count` of them.
    async fn read(&self, state: &mut Published, count: usize) -> Result<(), Error> {
        while state.next.len() < count {
            let after = state.next.back().map_or(state.sequence, |(stamp, _)| stamp.sequence);
            match self.commits.after(after).await? {
                Some(next) => state.next.push_back(next),
                None => break,
            }
        }
        Ok(())
    }

    /// Publishes a commit that puts and deletes.
    async fn apply(&mut self, state: &mut Published, stamp: &Stamp, commit: &Commit<Moved>) -> Result<(), Error> {
        let mut names = touched(commit);
        names.retain(|name| !state.broken.contains(name));
        for name in names {
            if !state.tables.contains_key(&name) && puts_rows(commit, &name) {
                let live = self.empty(&name)?;
                self.open(state, &name, live, state.sequence).await?;
            }
            let Some(table) = state.tables.get_mut(&name) else { continue };
            let done = match table.sequence() {
                // Another publisher was here while we were on our way.
                Some(sequence) if sequence >= commit.header.sequence => Err(table.race()),
                _ => table.follow(&mut self.commits, stamp, commit).await,
            };
            state.settle(&name, done)?;
        }
        Ok(())
    }

    /// Publishes a record whose files are not made of those before it.
    async fn replace(&mut self, state: &mut Published, stamp: &Stamp, tree: &Tree) -> Result<(), Error> {
        let mut names = tables_of(tree);
        names.extend(state.tables.keys().cloned());
        names.retain(|name| !state.broken.contains(name));
        for name in names {
            if !state.tables.contains_key(&name) {
                let live = self.empty(&name)?;
                self.open(state, &name, live, state.sequence).await?;
            }
            let live = self.live(&name, tree)?;
            let Some(table) = state.tables.get_mut(&name) else { continue };
            let done = match table.sequence() {
                Some(sequence) if sequence >= stamp.sequence => Err(table.race()),
                _ => table.move_to(&mut self.commits, stamp, live).await,
            };
            state.settle(&name, done)?;
        }
        Ok(())
    }
}

impl Published {
    fn new(mode: Mode, sequence: u64) -> Self {
        let (tables, broken, failures, next) = Default::default();
        Self { mode, sequence, tables, broken, failures, next }
    }

    /// What is published next: one commit, or as one all that follow each other and only put files, if `together` are there.
    fn take(&mut self, together: usize) -> Option<(Stamp, Files)> {
        let many = self.next.len() >= together;
        let (mut stamp, mut files) = self.next.pop_front()?;
        while many
            && let Some((next, Files::Changed(more))) = self.next.front_mut()
            && let Files::Changed(commit) = &mut files
            && only_puts(&stamp, commit)
            && only_puts(next, more)
        {
            let mut puts = std::mem::take(&mut commit.files);
            puts.append(&mut more.files);
            more.files = puts;
            (stamp, files) = self.next.pop_front()?;
        }
        Some((stamp, files))
    }

    /// Keeps the error of one table; one of the store or the branch ends all.
    fn settle(&mut self, name: &str, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            Err(error) if matches!(error.kind(), Kind::Spec | Kind::Corrupt) => {
                let table = home::shown(name);
                self.failures.retain(|(known, _)| *known != table);
                self.failures.push((table, error));
                Ok(())
            }
            done => {
                self.failures.retain(|(known, _)| *known != home::shown(name));
                done
            }
        }
    }
}

/// Whether a commit can be one with another: it takes nothing away, and its rows are new.
fn only_puts(stamp: &Stamp, commit: &Commit<Moved>) -> bool {
    commit.removed.is_empty() && !stamp.compaction
}

/// The tables that have files in `tree`.
fn tables_of(tree: &Tree) -> BTreeSet<String> {
    let parquet = tree.files().filter(|file| file.format == Some(Format::Parquet));
    parquet.map(|file| Home::of(&file.path).table).collect()
}

/// The directories in which `commit` puts or deletes.
fn touched(commit: &Commit<Moved>) -> BTreeSet<String> {
    let paths = commit.files.iter().map(|file| &file.path).chain(&commit.removed);
    paths.map(|path| Home::of(path).table).collect()
}

fn puts_rows(commit: &Commit<Moved>, name: &str) -> bool {
    let parquet = |format: Format| format == Format::Parquet;
    let mut files = commit.files.iter().filter(|file| file.table.as_ref().is_some_and(|table| parquet(table.format)));
    files.any(|file| Home::of(&file.path).table == name)
}

/// The tables of `branch` as they are published now.
///
/// # Errors
/// Those of reading the branch. A log that cannot be read is among the failures.
pub async fn published(repo: &Repo, branch: &str) -> Result<Publication, Error> {
    let commits = Commits::new(repo, branch);
    let mut all = Publication::default();
    let (_, tree) = commits.head().await?;
    for name in tables_of(&tree) {
        match Table::look(&commits, &name).await {
            Ok(table) => all.tables.push(table),
            Err(error) if error.kind() == Kind::Corrupt => all.failures.push((home::shown(&name), error)),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
