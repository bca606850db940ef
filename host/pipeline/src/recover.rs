//! Where a pipeline goes on: the head's marker, the handlers' state, the schema all partitions keep to.

use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use spout_data::Marker;
use spout_format::Clash;
use spout_node::States;
use spout_producer::SchemaText;
use spout_repo::{BranchWriter, Commit, Finished, Repo, Store};

use super::{Error, TookOver, build::Parts, columns::Columns, spread::Leading};

impl Parts {
    /// The same, from the first message of its sources on, without anything that it committed before.
    #[must_use]
    pub fn reprocessing(self) -> Self {
        self.reprocess.store(true, Ordering::Relaxed);
        self
    }

    /// Whether it is still to begin anew.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        self.reprocess.load(Ordering::Relaxed)
    }
}

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
    pub(super) columns: Columns,
}

/// Takes the branch over and reads its head.
pub(super) async fn recover(parts: &Parts, store: &Store, leads: Option<&Leading>) -> Result<Recovered, Error> {
    let branch = parts.spec.commit.branch.clone();
    let failed = |source| Error::Repo {
        pipeline: parts.name.clone(),
        branch: branch.clone(),
        doing: "open",
        source: Box::new(source),
    };
    let repo = store.repo_or_create(&parts.name, &parts.spec.description).await.map_err(failed)?;
    // What this process itself does to the branch is nobody's claim.
    let mut seen = leads.map_or(0, |leads| leads.seen);
    if parts.reprocess.load(Ordering::Relaxed) {
        match repo.begin_anew(&branch).await.map_err(failed)? {
            None | Some(Finished::Committed(_)) => {
                parts.reprocess.store(false, Ordering::Relaxed);
                seen = seen.max(repo.holder(&branch).await.map_err(failed)?.0);
            }
            Some(Finished::Lost(winner)) => {
                return Err(Error::Lost { pipeline: parts.name.clone(), branch, winner: winner.header.id });
            }
            Some(Finished::Unknown(source)) => return Err(failed(*source)),
        }
    }
    let writer = match leads {
        Some(leads) => repo.leading_writer(&branch, &parts.name, &leads.leader, seen).await,
        None => repo.writer(&branch, &parts.name).await,
    };
    let writer = writer.map_err(failed)?;
    let mut states: States = writer.state().await.map_err(failed)?;
    let columns = Columns::restore(&parts.name, &parts.inputs, &mut states).await?;
    for (decoder, added) in columns.added() {
        let text = SchemaText::print(added).map_or_else(|_| added.to_string(), |text| text.to_string());
        tracing::info!("columns added to the schema of {decoder}: {text}");
    }
    Ok(Recovered {
        marker: writer.marker().clone(),
        head: writer.head().map(|head| head.header.id.clone()),
        took_over: writer
            .took_over()
            .map(|holder| TookOver { from: holder.process.to_string(), last_seen_ms: holder.seen_ms }),
        repo,
        writer,
        states,
        columns,
    })
}

/// What a run would go on with.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) repo: Repo,
    pub(super) head: Commit,
    pub(super) columns: Columns,
}

/// What a run on `store` would go on with, for those who only look: no branch is taken over. None if nothing is committed yet, or
/// it cannot be read: that is for a run to say, which waits where waiting helps.
///
/// # Errors
/// A decoder that declares other columns than the branch has settled.
pub(super) async fn before(parts: &Parts, store: &Store) -> Result<Option<Before>, Error> {
    let Ok(reference) = format!("{}@{}", parts.name, parts.spec.commit.branch).parse() else { return Ok(None) };
    let Ok((repo, head)) = store.resolve(&reference).await else { return Ok(None) };
    let mut states = States::new();
    for key in Columns::keys(&parts.inputs) {
        match repo.state_part(&head, &key).await {
            Ok(Some(text)) => drop(states.insert(key, text)),
            Ok(None) => {}
            Err(_) => return Ok(None),
        }
    }
    let columns = Columns::restore(&parts.name, &parts.inputs, &mut states).await?;
    Ok(Some(Before { repo, head, columns }))
}

/// Whether the rows to come go together with those that are committed. They are compared where the decoder's columns, the spec or a
/// plugin are not what they were; what the same pipeline makes was compared before.
///
/// # Errors
/// [`Error::Types`] names the first column that does not; and those of reading the head.
pub(super) async fn fits(
    parts: &Parts,
    (repo, head): (&Repo, Option<&Commit>),
    columns: &Columns,
    rows: Option<&SchemaRef>,
) -> Result<(), Error> {
    let (Some(head), Some(rows)) = (head, rows) else { return Ok(()) };
    let same = head.spec_digest == parts.digest && head.plugins == parts.digests;
    if same && columns.unchanged().await {
        return Ok(());
    }
    let target = parts.target();
    let replaced = target.overwrite.then_some(target.path.as_str());
    let found = repo.conflict(head, directory(&target.path), replaced, rows).await.map_err(|source| Error::Repo {
        pipeline: parts.name.clone(),
        branch: target.branch.clone(),
        doing: "read",
        source: Box::new(source),
    })?;
    match found {
        None => Ok(()),
        Some(Clash { column, left: there, right: new }) => Err(Error::Types {
            pipeline: parts.name.clone(),
            branch: target.branch,
            path: target.path,
            column,
            there,
            new,
        }),
    }
}

/// The directory that all data files of a path or template are below.
fn directory(path: &str) -> &str {
    let fixed = path.split('{').next().unwrap_or_default();
    let is_file = path.contains('{') || fixed.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if is_file { fixed.rfind('/').and_then(|at| fixed.get(..at)).unwrap_or_default() } else { fixed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_data_files_is_what_of_their_path_is_fixed() {
        let check = |path: &str, expected: &str| assert_eq!(directory(path), expected, "{path}");
        check("/", "/");
        check("/events/", "/events/");
        check("/events", "/events");
        check("/all.csv", "");
        check("/a/{commit}/{part}.csv", "/a");
        check("/a/x-{commit}.csv", "/a");
    }
}
