//! `fsck`: re-reads everything of a store and names what is wrong. It repairs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path as FilePath,
};

use futures::{StreamExt, stream};
use serde::Serialize;

use super::{
    Error, Repo, Store,
    branch::{self, Layout},
    format::sha256,
    object::PARALLEL,
    record::{self, Blob, Commit, Place, Record},
    tree::Tree,
};
use crate::data::Marker;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Records, and names and sizes of objects.
    Structure,
    /// The bytes of every object too.
    Everything,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing: space that nothing uses.
    Note,
    /// Odd, and nothing is lost.
    Warning,
    /// Something committed is not what was written.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The object, as people find it.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What cannot be read, or is not to be trusted, because of it.
    pub affects: String,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Repos looked at.
    pub repos: u64,
    /// Branches looked at.
    pub branches: u64,
    /// Commits read.
    pub commits: u64,
    /// Claims read.
    pub claims: u64,
    /// Runs of bytes named by commits: files, pieces of files, handler snapshots.
    pub blobs: u64,
    /// Bytes that were read and hashed, inline ones included.
    pub bytes: u64,
}

impl Report {
    /// Whether nothing committed is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }

    fn find(&mut self, severity: Severity, object: String, what: impl Into<String>, affects: impl Into<String>) {
        self.findings.push(Finding { severity, object, what: what.into(), affects: affects.into() });
    }
}

/// Checks one repo, or all.
///
/// # Errors
/// Only where the store itself cannot be listed, or `only` is not there: what is damaged is a finding.
pub async fn fsck(store: &Store, only: Option<&str>, depth: Depth) -> Result<Report, Error> {
    let mut report = Report::default();
    let names = store.names().await?;
    let names = match only {
        Some(name) if !names.iter().any(|there| there == name) => vec![store.repo(name).await?.name().to_owned()],
        Some(name) => vec![name.to_owned()],
        None => names,
    };
    for name in names {
        let repo = Repo::new(store.objects().clone(), &name);
        report.repos += 1;
        about(store, &repo, &mut report).await?;
        let mut named = BTreeMap::new();
        for branch in repo.branch_names().await? {
            report.branches += 1;
            Check { repo: &repo, branch: &branch, report: &mut report, named: &mut named }.run().await?;
        }
        objects(&repo, depth, &named, &mut report).await?;
        leftovers(&repo, &mut report);
    }
    report.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.object.cmp(&b.object)));
    Ok(report)
}

async fn about(store: &Store, repo: &Repo, report: &mut Report) -> Result<(), Error> {
    let path = repo.layout.about();
    let object = store.objects().shown(&path);
    let affects = format!("repo {} cannot be opened by name", repo.name());
    match store.objects().find(&path).await? {
        None => report.find(Severity::Error, object, "it is missing", affects),
        Some(bytes) => {
            if let Err(error) = record::unseal(&object, &bytes) {
                report.find(Severity::Error, object, reason(error), affects);
            }
        }
    }
    Ok(())
}

/// What a record says of an object in `data/`, and the first commit that says so.
struct Named {
    blob: Blob,
    what: String,
}

/// One branch being checked.
struct Check<'a> {
    repo: &'a Repo,
    branch: &'a str,
    report: &'a mut Report,
    named: &'a mut BTreeMap<String, Named>,
}

impl Check<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        let (objects, layout) = (&self.repo.objects, &self.repo.layout);
        let mut sequences = BTreeSet::new();
        for (path, _) in objects.list(&layout.branch(self.branch)).await? {
            match Layout::sequence(&path) {
                Some(sequence) => drop(sequences.insert(sequence)),
                None => self.report.find(Severity::Warning, objects.shown(&path), "it is no record", "nothing"),
            }
        }
        let newest = sequences.last().copied().unwrap_or(0);
        let mut read = stream::iter(1..=newest)
            .map(|sequence| {
                let path = layout.record(self.branch, sequence);
                async move { (objects.shown(&path), sequence, objects.find(&path).await) }
            })
            .buffered(PARALLEL);
        let mut before: Option<Record> = None;
        let mut history = History::new(self.repo.name(), self.branch);
        while let Some((object, sequence, bytes)) = read.next().await {
            let affects = format!("branch {} of repo {} from sequence {sequence} on", self.branch, self.repo.name());
            let record = match bytes {
                Ok(Some(bytes)) => record::parse(&object, &bytes).and_then(|record| {
                    branch::placed(&record, self.branch, sequence)
                        .map_err(|reason| Error::BadRecord { object: object.clone(), reason })?;
                    Ok(record)
                }),
                Ok(None) => Err(Error::MissingRecord { object: object.clone() }),
                Err(error) => Err(error),
            };
            match record {
                Err(error) => {
                    self.report.find(Severity::Error, object, reason(error), affects);
                    before = None;
                    history.broken = true;
                }
                Ok(record) => {
                    let link = before.as_ref().map_or(Ok(()), |before| branch::follows(before, &record));
                    if let Err(what) = link {
                        self.report.find(Severity::Error, object.clone(), what, affects);
                    }
                    match &record {
                        Record::Commit(commit) => {
                            check_commit(commit, &object, &mut history, self.named, self.report);
                        }
                        Record::Claim(_) => self.report.claims += 1,
                    }
                    before = Some(record);
                }
            }
        }
        Ok(())
    }
}

/// What the commits of a branch add up to so far.
struct History {
    parent: Option<String>,
    marker: Marker,
    tree: Tree,
    /// A record is missing, so that what follows cannot be compared with what was before.
    broken: bool,
}

impl History {
    fn new(repo: &str, branch: &str) -> Self {
        Self { parent: None, marker: Marker::default(), tree: Tree::new(repo, branch), broken: false }
    }
}

fn check_commit(
    commit: &Commit,
    object: &str,
    history: &mut History,
    named: &mut BTreeMap<String, Named>,
    report: &mut Report,
) {
    report.commits += 1;
    let affects = format!("commit {}", commit.id);
    if !history.broken {
        if commit.parent != history.parent {
            let (expected, found) = (shown(&history.parent), shown(&commit.parent));
            report.find(Severity::Error, object.to_owned(), format!("its parent is {found}, not {expected}"), &affects);
        }
        if let Some(what) = marker_break(&history.marker, commit) {
            report.find(Severity::Error, object.to_owned(), what, format!("the marker from {affects} on"));
        }
        if let Some(path) = commit.removed.iter().find(|path| history.tree.get(path).is_none()) {
            report.find(
                Severity::Error,
                object.to_owned(),
                format!("it removes {path}, which was not there"),
                &affects,
            );
        }
    }
    history.parent = Some(commit.id.clone());
    history.marker = commit.marker.clone();
    if let Err(error) = history.tree.apply(object, &commit.clone().light()) {
        report.find(Severity::Error, object.to_owned(), reason(error), format!("the tables of {affects}"));
    }
    let files = commit.files.iter().map(|file| (file.path.clone(), &file.blob));
    let state = commit.state.iter().map(|(key, blob)| (format!("the state of handler `{key}`"), blob));
    for (what, blob) in files.chain(state) {
        report.blobs += 1;
        let what = format!("{what} of commit {}", commit.id);
        match &blob.place {
            Place::Object(name) => {
                named.entry(name.clone()).or_insert_with(|| Named { blob: blob.clone(), what });
            }
            Place::Inline(bytes) => {
                report.bytes += bytes.len() as u64;
                if let Some(wrong) = mismatch(blob, bytes.len() as u64, Some(bytes)) {
                    report.find(Severity::Error, object.to_owned(), wrong, what);
                }
            }
            Place::Record(_) => report.find(Severity::Error, object.to_owned(), "a file in it has no place", what),
        }
    }
}

/// Where the marker of `commit` does not go on from `before`.
fn marker_break(before: &Marker, commit: &Commit) -> Option<String> {
    let at = |marker: &Marker, partition| Some(marker.partitions.get(partition)?.position.offset);
    let starts = commit.advance.iter().find_map(|(partition, from)| {
        let expected = at(before, partition);
        (expected != *from).then(|| {
            format!(
                "partition {partition} starts at {}, but the commit before ends at {}",
                offset(*from),
                offset(expected)
            )
        })
    });
    let moves = || {
        before.partitions.iter().find_map(|(partition, there)| {
            let moved = at(&commit.marker, partition) != Some(there.position.offset);
            let back = at(&commit.marker, partition).is_none_or(|to| to < there.position.offset)
                && !commit.jumped.contains_key(partition);
            (back || moved && !commit.advance.contains_key(partition))
                .then(|| format!("partition {partition} moves back, or moves without saying so"))
        })
    };
    starts.or_else(moves)
}

fn offset(offset: Option<u64>) -> String {
    offset.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string())
}

fn shown(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or("none")
}

/// What is wrong with bytes of this length, and maybe content.
fn mismatch(blob: &Blob, size: u64, bytes: Option<&[u8]>) -> Option<String> {
    if size != blob.size {
        return Some(format!("it has {size} bytes, {} were committed", blob.size));
    }
    let same = bytes.is_none_or(|bytes| sha256(bytes) == blob.sha256);
    (!same).then(|| "its bytes do not match their hash".to_owned())
}

/// Objects that records name, and objects that none does.
async fn objects(repo: &Repo, depth: Depth, named: &BTreeMap<String, Named>, report: &mut Report) -> Result<(), Error> {
    let mut there = BTreeMap::new();
    for (path, size) in repo.objects.list(&repo.layout.data()).await? {
        let name = path.filename().unwrap_or_default().to_owned();
        if !named.contains_key(&name) {
            let what = format!(
                "no commit names it ({size} bytes): one that was not finished left it, or is being written now"
            );
            report.find(Severity::Note, repo.objects.shown(&path), what, "nothing");
        }
        there.insert(name, size);
    }
    for (name, Named { blob, what }) in named {
        let path = repo.layout.object(name);
        let object = repo.objects.shown(&path);
        let wrong = match (there.get(name), depth) {
            (None, _) => Some("it is missing".to_owned()),
            (Some(&size), Depth::Structure) => mismatch(blob, size, None),
            (Some(_), Depth::Everything) => match repo.objects.find(&path).await {
                Ok(Some(bytes)) => {
                    report.bytes += bytes.len() as u64;
                    mismatch(blob, bytes.len() as u64, Some(&bytes))
                }
                Ok(None) => Some("it is missing".to_owned()),
                Err(error) => Some(reason(error)),
            },
        };
        if let Some(wrong) = wrong {
            report.find(Severity::Error, object, wrong, what);
        }
    }
    Ok(())
}

/// Files of broken writes: the store stages `name#1` before it links it to `name`, and its listings leave them out.
fn leftovers(repo: &Repo, report: &mut Report) {
    let Some(root) = repo.objects.root() else { return };
    let mut directories = vec![root.join(repo.layout.root().as_ref())];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                Ok(_) if is_staged(&path) => {
                    let what = "a write that was broken off left it; remove it while no pipeline writes the repo";
                    report.find(Severity::Note, path.display().to_string(), what, "nothing");
                }
                _ => {}
            }
        }
    }
}

fn is_staged(path: &FilePath) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let digits = name.and_then(|name| name.rsplit_once('#')).map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is wrong, without the object's name and the advice to run what is running.
fn reason(error: Error) -> String {
    match error {
        Error::BadRecord { reason, .. } | Error::DamagedFile { reason, .. } => reason,
        Error::MissingRecord { .. } => "it is missing".to_owned(),
        Error::Read { source, .. } => format!("it cannot be read: {source}"),
        other => other.to_string(),
    }
}
