//! The verb that makes a pipeline go on somewhere else: what was asked for, as entries of its marker.

mod pipeline;

use async_trait::async_trait;
use spout_api::{
    Api as _, Destination, Error, Local, MarkerBytes, Markers, OwnMarker, Reference, Result, Seek, SeekTo, ShownMarker,
    Sought, branch, within,
};
use spout_base::reach::Reach;
use spout_data::{Marker, PartitionId, PartitionMarker, Position};
use spout_plugin::Plugins;
use spout_producer::Goal;
use spout_repo::{MASTER, Store};

use self::pipeline::Pipeline;
use super::{Managed, Statuses};

const VERB: &str = "marker seek";

/// Moves the markers of a store's pipelines.
#[derive(Debug)]
pub struct Seeker {
    local: Local,
    managed: Managed,
    /// What the sources are built with that are asked where they begin and end.
    plugins: Plugins,
    /// What the pipelines of this process are doing.
    statuses: Statuses,
}

fn usage<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Usage { verb: VERB, what: what.into() })
}

impl Seeker {
    /// Moves those of `store`, for somebody whose specs may reach so much of the machine that runs them.
    #[must_use]
    pub fn new(store: Store, plugins: Plugins, allowed: &[Reach]) -> Self {
        let managed = Managed::new(store.clone(), allowed);
        Self { managed, local: Local::new(store), plugins, statuses: Statuses::default() }
    }

    /// The same beside pipelines of this process. What a branch says of its writer tells only whether another process may be there.
    #[must_use]
    pub fn beside(self, statuses: Statuses) -> Self {
        Self { statuses, ..self }
    }

    /// Refuses a pipeline that this process runs.
    fn at_rest(&self, pipeline: &str, branch: &str) -> Result<()> {
        let status = self.statuses.all().remove(pipeline);
        if status.is_some_and(|status| status.state.is_at_work()) {
            Err(Error::InUse { branch: format!("{pipeline}@{branch}"), by: "this server".to_owned() })
        } else {
            Ok(())
        }
    }

    /// Where partitions are to go on, and what becomes of the file that shows it.
    async fn destination(
        &self,
        wanted: &SeekTo,
        (head, now): (&Reference, &Marker),
        pipeline: Option<&Pipeline>,
    ) -> Result<(Marker, ShownMarker)> {
        let own = |marker: OwnMarker| {
            let file = pipeline.and_then(Pipeline::marker_file).map(str::to_owned);
            match (file, pipeline.is_some_and(Pipeline::is_spout)) {
                (None, _) => ShownMarker::Nowhere,
                (Some(file), true) => ShownMarker::Own(file, marker),
                (Some(file), false) => ShownMarker::Host(file),
            }
        };
        let ask = async |goal| match pipeline {
            Some(pipeline) => {
                let known = (self.local.store(), now);
                pipeline.seek(known, wanted.producer.as_deref(), goal, &self.plugins).await
            }
            None => usage("earliest and latest ask the source; name the spec with --spec FILE"),
        };
        let entries = match &wanted.to {
            Destination::Earliest => ask(Goal::Earliest).await?,
            Destination::Latest => ask(Goal::Latest).await?,
            Destination::Offset(offset) if pipeline.is_some() => ask(Goal::Offset(*offset)).await?,
            Destination::Offset(offset) => {
                each(now, |entry| PartitionMarker { position: Position::at(*offset), ..entry })
            }
            Destination::Commit(commit) => {
                let commit = within(&head.repo, &head.target, commit, VERB)?;
                let then = self.local.marker(&commit).await?.marker;
                let spout = pipeline.is_some_and(Pipeline::is_spout);
                let entries = if spout { with_token(now, then.partitions.get(&PartitionId::default())) } else { then };
                return Ok((entries, own(OwnMarker::As(commit))));
            }
            Destination::Marker(bytes) => {
                let entries = self.given(&bytes.0, now, pipeline).await?;
                return Ok((entries, own(OwnMarker::Bytes(bytes.0.clone().into()))));
            }
        };
        Ok((entries, own(OwnMarker::Nothing)))
    }

    /// The marker of a spout whose bytes somebody gives; that of a command is files, and nothing else.
    async fn given(&self, bytes: &[u8], now: &Marker, pipeline: Option<&Pipeline>) -> Result<Marker> {
        let Some(pipeline) = pipeline.filter(|pipeline| pipeline.is_spout()) else {
            return usage(
                "--to-file is for spouts, whose marker is bytes of their own; name the spec with --spec FILE",
            );
        };
        if bytes.len() > MarkerBytes::MOST {
            return usage(format!("a marker has at most {} bytes, and this has more", MarkerBytes::MOST));
        }
        let keeps_files = pipeline.keeps_files(&self.plugins).await?;
        if keeps_files && pipeline.marker_file().is_none() {
            return usage("a command has a marker only where `spout.marker` of its spec names the file");
        }
        if keeps_files {
            return Ok(Marker::default());
        }
        let position = Position { offset: 0, token: Some(bytes.to_owned()) };
        Ok(with_token(now, Some(&PartitionMarker { position, ..PartitionMarker::default() })))
    }
}

#[async_trait]
impl Markers for Seeker {
    async fn seek(&self, output: &str, wanted: &SeekTo) -> Result<Sought> {
        let (repo, _) = branch(output, MASTER);
        let pipeline = Pipeline::find(repo, wanted.spec.as_ref(), &self.managed).await?;
        let (_, branch) = branch(output, pipeline.as_ref().map_or(MASTER, Pipeline::branch));
        let reference = Reference::head(repo, branch);
        if !wanted.force {
            self.at_rest(repo, branch)?;
        }
        let now = self.local.marker(&reference).await?.marker;
        let (entries, shown) = self.destination(wanted, (&reference, &now), pipeline.as_ref()).await?;
        let entries = chosen(entries, wanted)?;
        let stopped = pipeline.as_ref().is_some_and(|pipeline| pipeline.stopped);
        let (repo, branch) = (repo.to_owned(), branch.to_owned());
        let seek = Seek { repo, branch, entries, shown, why: wanted.why.clone(), force: wanted.force || stopped };
        self.local.seek(&seek).await
    }
}

/// Those entries that are meant.
fn chosen(entries: Marker, wanted: &SeekTo) -> Result<Marker> {
    let named = |(id, entry): &(&PartitionId, &PartitionMarker)| {
        let producer = wanted.producer.as_ref().is_none_or(|producer| entry.producer == *producer);
        let partition = |text: &String| *text == entry.label || *text == id.number.to_string();
        producer && (wanted.partitions.is_empty() || wanted.partitions.iter().any(partition))
    };
    let kept = entries.partitions.iter().filter(named).map(|(&id, entry)| (id, entry.clone()));
    let kept = Marker { partitions: kept.collect() };
    let all = wanted.partitions.is_empty() && wanted.producer.is_none();
    if kept.partitions.is_empty() && !all {
        return usage("no partition is called so; `spout marker show` lists them");
    }
    Ok(kept)
}

fn each(marker: &Marker, change: impl Fn(PartitionMarker) -> PartitionMarker) -> Marker {
    let changed =
        marker.partitions.iter().map(|(&id, entry)| (id, PartitionMarker { ended: false, ..change(entry.clone()) }));
    Marker { partitions: changed.collect() }
}

/// The one partition of a spout, whose offset counts commits, with the token of `then`.
fn with_token(now: &Marker, then: Option<&PartitionMarker>) -> Marker {
    let token = then.and_then(|then| then.position.token.clone());
    each(now, |entry| {
        let position = Position { offset: entry.position.offset, token: token.clone() };
        PartitionMarker { position, ..entry }
    })
}
