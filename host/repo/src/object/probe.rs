//! A store is tried out before it is trusted: only one of several concurrent writers can create a name, and nothing of
//! somebody else is where repos will be.
//!
//! A proof is left in the store, so that opening it again costs one look. It is named after the place it was gained at:
//! a bucket that was copied to another service is tried out there.
//!
//! **Invariant**: nothing outside [`DIRECTORY`] is written here.

use std::{path::Path as FilePath, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use object_store::path::Path;
use serde_json::json;
use spout_base::{clock, panicked::go_on};

use super::{Created, Objects, PARALLEL, Step};
use crate::{error::Error, layout::Layout, path};

/// Beside `repos/`, so that it is never taken for one.
const DIRECTORY: &str = ".spout-probe";
const ROUNDS: usize = 6;
const WRITERS: usize = 8;
/// Bodies of every other round: a service that looks before it reads the body leaves more time in between.
const LARGE: usize = 64 << 10;

/// Where the proof for `place` is kept.
pub(crate) fn proof(place: &str) -> Path {
    let place: String = place.chars().take(16).collect();
    Path::from(format!("{DIRECTORY}/ok-v1-{place}.json"))
}

/// Lets the store be written, if it was tried out before or passes now.
///
/// # Errors
/// [`Error::NotExclusive`], [`Error::Foreign`], or what reading and writing can end with.
pub(crate) async fn admit(objects: &Objects, proof: &Path) -> Result<(), Error> {
    if objects.find(proof).await?.is_some() {
        return Ok(());
    }
    foreign(objects).await?;
    match objects.root() {
        Some(root) => alone(objects, &root).await?,
        None => race(objects).await?,
    }
    let text = json!({"version": 1, "what": "a name could be created only once here, whoever asked", "at_ms": clock::wall_ms()});
    match objects.create(Step::Probe, proof, text.to_string().into()).await? {
        // Another host that opens the store for the first time at this moment has come to the same result.
        Created::Ours | Created::Others => Ok(()),
        Created::Nothing(source) | Created::Unknown(source) => Err(objects.unwritten(proof, source)),
    }
}

/// What a store did when it was tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriedOut {
    /// How long it took to create an object.
    pub took: Duration,
    /// How far its clock is ahead of this machine's, in milliseconds, to a second; less than 0 where it is behind. None where it does
    /// not say.
    pub ahead_ms: Option<i64>,
}

/// Tries out again whether it keeps two writers apart, and how its clock goes. Nothing of that stays.
///
/// # Errors
/// As [`admit`].
pub(crate) async fn try_out(objects: &Objects) -> Result<TriedOut, Error> {
    let directory = objects.root().map(|root| root.join(DIRECTORY));
    let was_there = directory.as_ref().is_some_and(|directory| directory.exists());
    let tried = tried_out(objects).await;
    if let Some(directory) = directory.filter(|_| !was_there) {
        // One that is not empty is used by somebody else by now.
        drop(std::fs::remove_dir(directory));
    }
    tried
}

async fn tried_out(objects: &Objects) -> Result<TriedOut, Error> {
    match objects.root() {
        Some(root) => alone(objects, &root).await?,
        None => race(objects).await?,
    }
    let path = Path::from(format!("{DIRECTORY}/{}", clock::nonce()));
    let (begun, at_ms) = (clock::now(), clock::wall_ms());
    objects.try_create(Step::Probe, &path, "clock".into()).await.map_err(|source| objects.unwritten(&path, source))?;
    let took = begun.elapsed();
    let made_ms = objects.made_ms(&path).await;
    clear(objects, &path).await;
    // It was made between the two moments.
    let middle = at_ms.saturating_add(i64::try_from(took.as_millis() / 2).unwrap_or_default());
    Ok(TriedOut { took, ahead_ms: made_ms?.map(|made| made.saturating_sub(middle)) })
}

/// Whether something else is where repos will be. What is beside them does not disturb us.
async fn foreign(objects: &Objects) -> Result<(), Error> {
    let alien = |path: &Path, what| Err(Error::Foreign { object: objects.shown(path), what });
    let own = Path::from("repo.json");
    if objects.size(&own).await?.is_some() {
        return alien(&own, "it describes a repo, so this place is inside a store");
    }
    let (directories, files) = objects.entries(&Layout::repos()).await?;
    if let Some(file) = files.first() {
        return alien(&Layout::repos().join(file.as_str()), "`repos` may contain only repos, and this is a file");
    }
    let ours = stream::iter(&directories).map(|name| is_repo(objects, name)).buffered(PARALLEL);
    let ours: Vec<bool> = ours.try_collect().await?;
    match directories.iter().zip(ours).find(|(_, ours)| !ours) {
        Some((name, _)) => {
            alien(&Layout::repos().join(name.as_str()), "`repos` may contain only repos, and this is not one")
        }
        None => Ok(()),
    }
}

/// Also one that lost its description, which is for `fsck` to say, and one whose creation was broken off.
async fn is_repo(objects: &Objects, name: &str) -> Result<bool, Error> {
    let layout = Layout::of(name);
    if path::repo_name(name).is_ok() && objects.size(&layout.about()).await?.is_some() {
        return Ok(true);
    }
    let (directories, files) = objects.entries(&layout.root()).await?;
    Ok(directories.iter().any(|name| name == "branches") || directories.is_empty() && files.is_empty())
}

/// A kernel creates a name once; what is left to see is whether this file system can link at all.
async fn alone(objects: &Objects, root: &FilePath) -> Result<(), Error> {
    let path = Path::from(format!("{DIRECTORY}/{}", clock::nonce()));
    if let Err(source) = objects.try_create(Step::Probe, &path, "first".into()).await {
        let directory = root.join(DIRECTORY);
        let unable = match tokio::task::spawn_blocking(move || cannot_link(&directory)).await {
            Ok(unable) => unable,
            Err(ended) => {
                go_on::<()>(Err(ended));
                false
            }
        };
        return Err(if unable {
            not_exclusive(objects, "its file system cannot link files".to_owned())
        } else {
            objects.unwritten(&path, source)
        });
    }
    let second = objects.try_create(Step::Probe, &path, "second".into()).await;
    let there = objects.find(&path).await?;
    clear(objects, &path).await;
    match (second, there) {
        (Err(object_store::Error::AlreadyExists { .. }), Some(there)) if there == "first" => Ok(()),
        (Ok(()), _) | (_, Some(_)) => {
            Err(not_exclusive(objects, "a file was created over one that was there".to_owned()))
        }
        (Err(source), None) => Err(objects.unwritten(&path, source)),
    }
}

/// Whether a file can be made here and cannot be linked.
fn cannot_link(directory: &FilePath) -> bool {
    let (file, link) = (directory.join("file"), directory.join("link"));
    let cannot = std::fs::write(&file, "").is_ok() && std::fs::hard_link(&file, &link).is_err();
    drop(std::fs::remove_file(&link));
    drop(std::fs::remove_file(&file));
    cannot
}

/// Several writers ask for one fresh name at the same time, several times.
async fn race(objects: &Objects) -> Result<(), Error> {
    let mut proved = 0u32;
    let mut unclear = None;
    for round in 0..ROUNDS {
        match heat(objects, round).await? {
            Heat::Won => proved += 1,
            Heat::Unclear(error) => unclear = error.or(unclear),
        }
    }
    match (proved, unclear) {
        (1.., _) => Ok(()),
        (0, Some(error)) => Err(error),
        (0, None) => Err(not_exclusive(objects, "no writer could take a free name".to_owned())),
    }
}

/// How one race ended.
enum Heat {
    /// One writer got the name, all others were told that it is taken.
    Won,
    /// Answers were lost, so that it proves nothing.
    Unclear(Option<Error>),
}

async fn heat(objects: &Objects, round: usize) -> Result<Heat, Error> {
    let path = Path::from(format!("{DIRECTORY}/{}", clock::nonce()));
    let size = if round.is_multiple_of(2) { 1 } else { LARGE };
    let bodies: Vec<Bytes> = (b'a'..).take(WRITERS).map(|letter| vec![letter; size].into()).collect();
    let asked = bodies.iter().map(|body| objects.try_create(Step::Probe, &path, body.clone()));
    let answers = join_all(asked).await;
    let there = objects.find(&path).await;
    clear(objects, &path).await;
    let there = there?;
    let winners: Vec<usize> = (0..WRITERS).filter(|&at| answers[at].is_ok()).collect();
    match winners.as_slice() {
        [only] if there.as_ref() == Some(&bodies[*only]) => Ok(Heat::Won),
        [_] => Err(not_exclusive(objects, "a name that one writer took holds something else".to_owned())),
        [] => {
            let failed = answers.into_iter().filter_map(Result::err);
            let mut failed = failed.filter(|error| !matches!(error, object_store::Error::AlreadyExists { .. }));
            Ok(Heat::Unclear(failed.next().map(|source| objects.unwritten(&path, source))))
        }
        many => {
            let what = format!("{} of {WRITERS} writers took the same name at the same time", many.len());
            Err(not_exclusive(objects, what))
        }
    }
}

fn not_exclusive(objects: &Objects, what: String) -> Error {
    Error::NotExclusive { store: objects.url().to_owned(), what }
}

/// What cannot be removed is a few bytes that nobody looks at.
async fn clear(objects: &Objects, path: &Path) {
    if let Err(error) = objects.delete(Step::Delete, path).await {
        tracing::debug!(%error, "a probe was left behind");
    }
}
