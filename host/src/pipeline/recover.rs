//! Where a pipeline goes on: the head's marker, the handlers' state, the schema all partitions keep to.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};

use super::{Error, TookOver, build::Parts};
use crate::{
    data::{Marker, Part},
    node::States,
    producer::{SchemaPin, SchemaText},
    repo::{BranchWriter, Commit, Repo, Store},
};

/// Name that the decoder's schema is stored under, beside the handlers' states.
const SCHEMA: &str = "decoder/schema";

/// What a restart begins with.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) repo: Repo,
    pub(super) writer: BranchWriter,
    pub(super) marker: Marker,
    pub(super) head: Option<String>,
    /// Who wrote the branch before and may still do so.
    pub(super) took_over: Option<TookOver>,
    pub(super) states: States,
    pub(super) pin: SchemaPin,
}

/// Takes the branch over and reads its head.
pub(super) async fn recover(parts: &Parts, store: &Store) -> Result<Recovered, Error> {
    let branch = parts.spec.commit.branch.clone();
    let failed = |source| Error::Repo {
        pipeline: parts.name.clone(),
        branch: branch.clone(),
        doing: "open",
        source: Box::new(source),
    };
    let repo = store.repo_or_create(&parts.name, &parts.spec.description).await.map_err(failed)?;
    let writer = repo.writer(&branch, &parts.name).await.map_err(failed)?;
    let mut states: States = writer.state().await.map_err(failed)?;
    let schema = states.remove(SCHEMA).map(|text| pinned(&text)).transpose();
    let schema = schema.map_err(|reason| Error::Spec { pipeline: parts.name.clone(), reason })?;
    Ok(Recovered {
        marker: writer.marker().clone(),
        head: writer.head().map(|head| head.id.clone()),
        took_over: writer
            .took_over()
            .map(|holder| TookOver { from: holder.process.to_string(), last_seen_ms: holder.seen_ms }),
        repo,
        writer,
        states,
        pin: SchemaPin::new(schema),
    })
}

/// The state of a commit: the handlers' own, and the schema that later decoders have to keep to.
pub(super) async fn states(mut states: BTreeMap<String, Part>, pin: &SchemaPin) -> BTreeMap<String, Part> {
    // A schema with a type that has no word is not pinned: its decoder settles it by itself each time.
    if let Some(text) = pin.get().await.and_then(|schema| SchemaText::print(&schema).ok()) {
        states.insert(SCHEMA.to_owned(), Part::from(text.to_string().into_bytes()));
    }
    states
}

/// The columns that the decoder keeps to since `commit`: declared, or settled by what it met first.
///
/// # Errors
/// A commit whose state cannot be read.
pub async fn settled(repo: &Repo, commit: &Commit) -> Result<Option<SchemaRef>, Error> {
    let text = repo.state_part(commit, SCHEMA).await.map_err(|source| Error::Repo {
        pipeline: commit.pipeline.clone(),
        branch: commit.branch.clone(),
        doing: "read",
        source: Box::new(source),
    })?;
    let schema = text.map(|text| pinned(&text)).transpose();
    schema.map_err(|reason| Error::Spec { pipeline: commit.pipeline.clone(), reason })
}

fn pinned(text: &[u8]) -> Result<SchemaRef, String> {
    let text: SchemaText =
        serde_json::from_slice(text).map_err(|error| format!("the stored schema cannot be read: {error}"))?;
    let schema: Schema = text.parse()?;
    Ok(Arc::new(schema))
}
