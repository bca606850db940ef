//! All of a log: which versions there are, what they are of, and which files they name; for those who remove some.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use object_store::path::Path;
use serde::Deserialize;

use super::{
    actions::{Line, MetaData, Origin, Protocol},
    checkpoint::Made,
    log::{Log, sorted},
};
use crate::{error::Error, object::PARALLEL};

/// What a log consists of.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Sorted.
    pub(super) versions: Vec<u64>,
    checkpoints: Vec<u64>,
    hinted: Option<u64>,
    /// Everything, with sizes.
    pub(super) objects: Vec<(Path, u64)>,
    /// When the newest version was written, by its transaction.
    pub(super) at_ms: i64,
}

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.checkpoints.is_empty()
    }

    /// Whether there is anything before `version`.
    pub(super) fn is_older(&self, version: u64) -> bool {
        self.versions.iter().chain(&self.checkpoints).any(|at| *at < version)
    }

    /// What is before `version`, oldest first.
    pub(super) fn older(&self, version: u64) -> impl Iterator<Item = (&Path, u64)> {
        let number = |path: &Path| path.filename()?.get(..20)?.parse::<u64>().ok();
        let old = move |(path, _): &&(Path, u64)| number(path).is_some_and(|at| at < version);
        self.objects.iter().filter(old).map(|(path, size)| (path, *size))
    }
}

/// A line of a version that adds a file.
#[derive(Debug, Deserialize)]
struct AddLine {
    add: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    path: String,
}

impl Log {
    /// All that is there, however far the hint is.
    pub(super) async fn history(&self) -> Result<History, Error> {
        let objects = self.all().await?;
        let listing = sorted(&objects);
        let hinted = self.hinted().await?;
        let at_ms = match listing.versions.last() {
            Some(newest) => self.said_by(*newest).await?.and_then(|line| line.txn).and_then(|txn| txn.last_updated),
            None => None,
        };
        let (versions, checkpoints) = (listing.versions, listing.checkpoints);
        Ok(History { versions, checkpoints, hinted, objects, at_ms: at_ms.unwrap_or_default() })
    }

    /// The version that the commit of `sequence` is in: the newest that is of no later one.
    pub(super) async fn version_of(&self, history: &History, sequence: u64) -> Result<Option<u64>, Error> {
        let (mut from, mut to) = (0, history.versions.len());
        while from < to {
            let middle = from + (to - from) / 2;
            let version = history.versions.get(middle).copied().unwrap_or_default();
            match self.said_by(version).await?.and_then(|line| line.txn) {
                Some(txn) if txn.version <= sequence => from = middle + 1,
                Some(_) => to = middle,
                None => return Ok(None),
            }
        }
        Ok(from.checked_sub(1).and_then(|at| history.versions.get(at).copied()))
    }

    /// What the table is at `version`, and the record that it is.
    pub(super) async fn described(
        &self,
        history: &History,
        version: u64,
    ) -> Result<Option<((Protocol, MetaData), Origin)>, Error> {
        let Some(said) = self.said_by(version).await? else { return Ok(None) };
        let Some(origin) = said.origin() else { return Ok(None) };
        let described = if origin.described == version {
            Line::default()
        } else {
            self.said_by(origin.described).await?.unwrap_or_default()
        };
        let mut found = said.or(described);
        let checkpoint = history.checkpoints.iter().rev().find(|at| **at <= version);
        if let (false, Some(checkpoint)) = (found.is_complete(), checkpoint)
            && let Ok(line) = self.said_by_checkpoint(*checkpoint).await?
        {
            found = found.or(line);
        }
        let Line { protocol: Some(protocol), meta_data: Some(meta), .. } = found else { return Ok(None) };
        Ok(Some(((protocol, meta), origin)))
    }

    /// The files that versions from `first` on add, as they name them; `None` if one cannot be read.
    pub(super) async fn added(&self, history: &History, first: u64) -> Result<Option<BTreeSet<String>>, Error> {
        let mut all = BTreeSet::new();
        let versions = history.versions.iter().copied().filter(|version| *version >= first);
        let mut read = stream::iter(versions).map(|version| self.bytes(version)).buffered(PARALLEL);
        while let Some(bytes) = read.next().await {
            let Some(bytes) = bytes? else { return Ok(None) };
            let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(None) };
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                match serde_json::from_str::<AddLine>(line) {
                    Ok(line) => all.extend(line.add.map(|add| add.path)),
                    Err(_) => return Ok(None),
                }
            }
        }
        Ok(Some(all))
    }

    /// Makes `version` one that readers can begin at.
    pub(super) async fn begin_at(&self, version: u64, made: Made, history: &History) -> Result<(), Error> {
        match history.hinted {
            Some(hinted) if hinted >= version && history.checkpoints.contains(&version) => Ok(()),
            // Readers begin at the newer one; this one is for those who ask for an older version.
            Some(hinted) if hinted > version => self.put_checkpoint_beside(version, made).await,
            _ => self.put_checkpoint(version, made).await,
        }
    }
}
