//! `fsck`: re-reads everything of a store and names what is wrong; repairs what can be repaired without losing anything.

mod leftovers;
mod objects;
mod reading;
mod records;
mod repair;
mod tables;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_format::sha256;

use self::reading::Here;
pub use self::reading::{ReadDone, ReadPart, ReadsParts};

use crate::{
    error::Error,
    log::{Blob, seal},
    repo::{Repo, Store},
};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Records, and names and sizes of objects.
    Structure,
    /// The bytes of every object too.
    Everything,
    /// Everything, and every table is decoded and compared with what its record says of rows and values.
    Decoded,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing: space that nothing uses.
    Note,
    /// Odd, and nothing is lost.
    Warning,
    /// Something committed is not what was written.
    Error,
}

/// What can be done about a finding without losing anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// It is made from the records, or left by a broken write: it can go.
    Remove(super::fsck::repair::Removed),
    /// `repo.json` can be written again.
    Describe(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The object, as people find it.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What cannot be read, or is not to be trusted, because of it.
    pub affects: String,
    /// What was done about it, where it was repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired: Option<String>,
    #[serde(skip)]
    remedy: Option<Remedy>,
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Table files that were decoded.
    pub tables: u64,
}

impl Report {
    /// Whether nothing committed is damaged, or what was is repaired.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error || finding.repaired.is_some())
    }

    /// Both together, the worst first.
    #[must_use]
    pub fn with(mut self, more: Self) -> Self {
        self.findings.extend(more.findings);
        self.sort();
        Self {
            findings: self.findings,
            repos: self.repos + more.repos,
            branches: self.branches + more.branches,
            commits: self.commits + more.commits,
            claims: self.claims + more.claims,
            blobs: self.blobs + more.blobs,
            bytes: self.bytes + more.bytes,
            tables: self.tables + more.tables,
        }
    }

    fn sort(&mut self) {
        self.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.object.cmp(&b.object)));
    }

    fn find(&mut self, severity: Severity, object: String, what: impl Into<String>, affects: impl Into<String>) {
        let (what, affects) = (what.into(), affects.into());
        self.findings.push(Finding { severity, object, what, affects, repaired: None, remedy: None });
    }

    /// The remedy of what was found last.
    fn remedy(&mut self, remedy: Remedy) {
        if let Some(finding) = self.findings.last_mut() {
            finding.remedy = Some(remedy);
        }
    }
}

/// Checks one repo, or all.
///
/// # Errors
/// Only where the store itself cannot be listed, or `only` is not there: what is damaged is a finding.
pub async fn fsck(store: &Store, only: Option<&str>, depth: Depth) -> Result<Report, Error> {
    fsck_by(store, only, depth, &Here(store)).await
}

/// The same, where `readers` read the bytes.
///
/// # Errors
/// As [`fsck`], and those of `readers`.
pub async fn fsck_by<R: ReadsParts>(
    store: &Store,
    only: Option<&str>,
    depth: Depth,
    readers: &R,
) -> Result<Report, R::Error> {
    let mut report = Report::default();
    let names = store.names().await?;
    let names = match only {
        Some(name) if !names.iter().any(|there| there == name) => vec![store.repo(name).await?.name().to_owned()],
        Some(name) => vec![name.to_owned()],
        None => names,
    };
    for name in names {
        let repo = Repo::new(store.objects().clone(), &name);
        // A deletion that was killed may have left directories, which are no repo.
        if store.is_deleted(&name).await? || !repo.objects.any(&repo.layout.root()).await? {
            continue;
        }
        report.repos += 1;
        about(&repo, &mut report).await?;
        let named = records::check(&repo, depth, &mut report).await?;
        objects::check(&repo, depth, named, readers, &mut report).await?;
        leftovers::check(&repo, &mut report);
    }
    report.sort();
    Ok(report)
}

/// Checks as [`fsck`], then does what is safe: removes what was made from records and is damaged, and what broken writes
/// left, and writes a `repo.json` again. Says what it did in each finding. Run it while no pipeline writes the store.
///
/// # Errors
/// As [`fsck`], and those of writing.
pub async fn repair(store: &Store, only: Option<&str>, depth: Depth) -> Result<Report, Error> {
    repair_by(store, only, depth, &Here(store)).await
}

/// The same, where `readers` read the bytes.
///
/// # Errors
/// As [`repair`], and those of `readers`.
pub async fn repair_by<R: ReadsParts>(
    store: &Store,
    only: Option<&str>,
    depth: Depth,
    readers: &R,
) -> Result<Report, R::Error> {
    let mut report = fsck_by(store, only, depth, readers).await?;
    for finding in &mut report.findings {
        if let Some(remedy) = finding.remedy.take() {
            finding.repaired = repair::apply(store, &remedy).await?;
        }
    }
    Ok(report)
}

async fn about(repo: &Repo, report: &mut Report) -> Result<(), Error> {
    let path = repo.layout.about();
    let object = repo.objects.shown(&path);
    let affects = format!("repo {} cannot be opened by name", repo.name());
    let wrong = match repo.objects.find(&path).await? {
        None => Some("it is missing".to_owned()),
        Some(bytes) => seal::unseal(&object, &bytes).err().map(reason),
    };
    if let Some(wrong) = wrong {
        report.find(Severity::Error, object, wrong, affects);
        report.remedy(Remedy::Describe(repo.name().to_owned()));
    }
    Ok(())
}

/// What is wrong with bytes of this length, and maybe content.
fn mismatch(blob: &Blob, size: u64, bytes: Option<&[u8]>) -> Option<String> {
    if size != blob.size {
        return Some(format!("it has {size} bytes, but {} were committed", blob.size));
    }
    let same = bytes.is_none_or(|bytes| sha256(bytes) == blob.sha256);
    (!same).then(|| "its bytes do not match their hash".to_owned())
}

/// What is wrong, without the object's name and the advice to run what is running.
fn reason(error: Error) -> String {
    match error {
        Error::BadRecord { reason, .. } | Error::DamagedFile { reason, .. } | Error::BadIndex { reason, .. } => reason,
        Error::MissingRecord { .. } => "it is missing".to_owned(),
        Error::Read { source, .. } => format!("it cannot be read: {source}"),
        other => other.to_string(),
    }
}
