//! The `_delta_log` of one table: finding its end, adding a version, and taking wrong ones away.
//!
//! **Invariant**: a version is written by one conditional creation, and none is written before the one below it.

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{
    actions::{Line, MetaData, Origin, Protocol, Txn},
    checkpoint, home,
};
use crate::{
    error::Error,
    object::{Created, Objects, Step},
};

const HINT: &str = "_last_checkpoint";

/// The log of a table.
#[derive(Clone, Debug)]
pub(super) struct Log {
    objects: Objects,
    root: Path,
    /// Who is named in the transactions of its versions.
    app: String,
}

/// The end of a log.
#[derive(Clone, Debug)]
pub(super) struct Tip {
    pub(super) version: u64,
    pub(super) sequence: u64,
    pub(super) at_ms: i64,
    /// The commit that it is, as people write it.
    pub(super) commit: Option<String>,
    pub(super) protocol: Protocol,
    pub(super) meta: MetaData,
    /// The record that it is; not known where only a checkpoint is left of it.
    pub(super) origin: Option<Origin>,
    /// The newest checkpoint that readers find at once.
    pub(super) checkpoint: Option<u64>,
}

/// What became of a version.
#[derive(Debug)]
pub(super) enum Added {
    /// It has the expected content, whoever wrote it.
    Done,
    /// It says something else.
    Taken,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hint {
    version: u64,
    size: u64,
    size_in_bytes: u64,
    num_of_add_files: u64,
}

/// Versions that are there, and checkpoints, sorted; and the checkpoint that the hint names.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) versions: Vec<u64>,
    pub(super) checkpoints: Vec<u64>,
    hinted: Option<u64>,
}

impl Log {
    pub(super) fn new(objects: &Objects, table: &Path, app: &str) -> Result<Self, Error> {
        Ok(Self { objects: objects.clone(), root: home::below(table, "_delta_log")?, app: app.to_owned() })
    }

    fn at(&self, name: &str) -> Path {
        self.root.clone().join(name)
    }

    fn version(&self, version: u64) -> Path {
        self.at(&format!("{version:020}.json"))
    }

    fn checkpoint(&self, version: u64) -> Path {
        self.at(&format!("{version:020}.checkpoint.parquet"))
    }

    /// The end of the log, or what is wrong with it.
    pub(super) async fn tip(&self) -> Result<Result<Option<Tip>, String>, Error> {
        let listing = self.listing().await?;
        let checkpoint = listing.checkpoints.last().copied();
        let Some(version) = listing.versions.last().copied().max(checkpoint) else { return Ok(Ok(None)) };
        let first = checkpoint.map_or(0, |checkpoint| checkpoint + 1);
        if !listing.versions.iter().copied().filter(|at| *at >= first).eq(first..=version) {
            return Ok(Err(format!("a version between {first} and {version} is missing")));
        }
        let newest = if listing.versions.contains(&version) {
            match self.said_by(version).await? {
                Some(line) if line.txn.is_some() => line,
                _ => return Ok(Err(format!("version {version} cannot be read, or another program wrote it"))),
            }
        } else {
            Line::default()
        };
        let info = newest.info();
        let commit = info.as_ref().and_then(|info| info.user_metadata.clone());
        let origin = info.map(|info| info.spout);
        let described = match &origin {
            Some(origin) if origin.described != version => self.said_by(origin.described).await?.unwrap_or_default(),
            _ => Line::default(),
        };
        let mut found = newest.or(described);
        if let (false, Some(checkpoint)) = (found.is_complete(), checkpoint) {
            match self.said_by_checkpoint(checkpoint).await? {
                Ok(line) => found = found.or(line),
                Err(reason) => return Ok(Err(format!("checkpoint {checkpoint} cannot be read: {reason}"))),
            }
        }
        let Line { protocol: Some(protocol), meta_data: Some(meta), txn: Some(txn), .. } = found else {
            return Ok(Err("it does not say what the table is, or how far it was published".into()));
        };
        Ok(Ok(Some(Tip {
            version,
            sequence: txn.version,
            at_ms: txn.last_updated.unwrap_or_default(),
            commit,
            protocol,
            meta,
            origin,
            checkpoint: listing.hinted,
        })))
    }

    /// All that a version says, if it is there and can be read; of transactions only ours.
    pub(super) async fn said_by(&self, version: u64) -> Result<Option<Line>, Error> {
        let bytes = self.objects.find(&self.version(version)).await?;
        Ok(bytes.and_then(|bytes| Some(self.together(read(&bytes)?))))
    }

    pub(super) async fn said_by_checkpoint(&self, version: u64) -> Result<Result<Line, String>, Error> {
        Ok(match self.objects.find(&self.checkpoint(version)).await? {
            Some(bytes) => checkpoint::state(bytes).map(|lines| self.together(lines)),
            None => Err("it is missing".into()),
        })
    }

    fn together(&self, lines: Vec<Line>) -> Line {
        let ours = |txn: &Txn| txn.app_id == self.app;
        let own = |line: Line| Line { txn: line.txn.filter(ours), ..line };
        lines.into_iter().map(own).fold(Line::default(), Line::or)
    }

    /// What is there from the newest checkpoint on.
    async fn listing(&self) -> Result<Listing, Error> {
        let hinted = self.hinted().await?;
        if let Some(version) = hinted {
            let from = self.at(&format!("{version:020}"));
            let listing = sorted(&self.objects.list_from(&self.root, &from).await?);
            if listing.checkpoints.contains(&version) {
                return Ok(Listing { hinted, ..listing });
            }
        }
        Ok(sorted(&self.all().await?))
    }

    pub(super) async fn hinted(&self) -> Result<Option<u64>, Error> {
        let hint = self.objects.find(&self.at(HINT)).await?;
        Ok(hint.and_then(|bytes| Some(serde_json::from_slice::<Hint>(&bytes).ok()?.version)))
    }

    /// Writes `version`, which says `origin` among other things.
    pub(super) async fn add(&self, version: u64, bytes: bytes::Bytes, origin: &Origin) -> Result<Added, Error> {
        let path = self.version(version);
        match self.objects.create(Step::DeltaLog, &path, bytes).await? {
            Created::Ours => Ok(Added::Done),
            Created::Others => {
                let said = self.said_by(version).await?.and_then(|line| line.origin());
                Ok(if said.as_ref() == Some(origin) { Added::Done } else { Added::Taken })
            }
            Created::Nothing(source) => Err(self.objects.unwritten(&path, source)),
            Created::Unknown(source) => {
                Err(Error::Unconfirmed { object: self.objects.shown(&path), source: source.into() })
            }
        }
    }

    /// Writes the version as it has to be; whether it was not so before.
    pub(super) async fn enforce(&self, version: u64, bytes: bytes::Bytes) -> Result<bool, Error> {
        match self.objects.find(&self.version(version)).await? {
            Some(there) if there == bytes => return Ok(false),
            Some(_) => self.truncate(version).await?,
            None => {}
        }
        let path = self.version(version);
        match self.objects.create(Step::DeltaLog, &path, bytes).await? {
            Created::Ours => Ok(true),
            Created::Nothing(source) | Created::Unknown(source) => Err(self.objects.unwritten(&path, source)),
            Created::Others => Err(Error::DeltaRace { log: self.shown(), sequence: 0 }),
        }
    }

    /// Takes away `version` and all later ones, newest first, so that readers see an earlier state and never a gap.
    pub(super) async fn truncate(&self, version: u64) -> Result<(), Error> {
        if self.hinted().await?.is_some_and(|hinted| hinted >= version) {
            self.objects.delete(Step::Delete, &self.at(HINT)).await?;
        }
        let listing = sorted(&self.all().await?);
        for checkpoint in listing.checkpoints.iter().rev().filter(|at| **at >= version) {
            self.objects.delete(Step::Delete, &self.checkpoint(*checkpoint)).await?;
        }
        for at in listing.versions.iter().rev().filter(|at| **at >= version) {
            self.objects.delete(Step::Delete, &self.version(*at)).await?;
        }
        Ok(())
    }

    /// Writes the checkpoint of `version`, and then the hint that it is there. Publishers make the same one, so that it
    /// may be written over.
    pub(super) async fn put_checkpoint(&self, version: u64, made: checkpoint::Made) -> Result<(), Error> {
        let checkpoint::Made { bytes, actions, adds } = made;
        let hint = Hint { version, size: actions, size_in_bytes: bytes.len() as u64, num_of_add_files: adds };
        self.objects.overwrite(Step::DeltaCheckpoint, &self.checkpoint(version), bytes).await?;
        let hint = serde_json::to_vec(&hint).map_err(|source| Error::encode("a Delta log", source))?;
        self.objects.overwrite(Step::DeltaHint, &self.at(HINT), hint.into()).await
    }

    /// The same without the hint.
    pub(super) async fn put_checkpoint_beside(&self, version: u64, made: checkpoint::Made) -> Result<(), Error> {
        self.objects.overwrite(Step::DeltaCheckpoint, &self.checkpoint(version), made.bytes).await
    }

    /// Everything that is in the log.
    pub(super) async fn all(&self) -> Result<Vec<(Path, u64)>, Error> {
        self.objects.list(&self.root).await
    }

    /// What a version says, as it is written.
    pub(super) async fn bytes(&self, version: u64) -> Result<Option<bytes::Bytes>, Error> {
        self.objects.find(&self.version(version)).await
    }

    /// The table as readers find it.
    pub(super) fn table_shown(&self) -> String {
        let log = self.shown();
        log.rsplit_once('/').map_or_else(|| log.clone(), |(table, _)| table.to_owned())
    }

    /// The log as people find it.
    pub(super) fn shown(&self) -> String {
        self.objects.shown(&self.root)
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Line>> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).ok()).collect()
}

pub(super) fn sorted(listed: &[(Path, u64)]) -> Listing {
    let mut listing = Listing::default();
    for name in listed.iter().filter_map(|(path, _)| path.filename()) {
        let Some((digits, rest)) = name.split_once('.').filter(|(digits, _)| digits.len() == 20) else { continue };
        let Ok(version) = digits.parse() else { continue };
        match rest {
            "json" => listing.versions.push(version),
            "checkpoint.parquet" => listing.checkpoints.push(version),
            _ => {}
        }
    }
    listing
}
