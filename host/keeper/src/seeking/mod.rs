//! The verb that makes a pipeline go on somewhere else: what was asked for, as entries of its marker.

mod pipeline;

use async_trait::async_trait;
use spout_api::{
    Api as _, Destination, Error, Local, MarkerBytes, Markers, OwnMarker, Phase, Reference, Result, Seek, SeekTo,
    ShownMarker, SkipPast, Sought, branch, within,
};
use spout_base::reach::Reach;
use spout_data::{Marker, PartitionId, PartitionMarker, Passing, Position};
use spout_plugin::Plugins;
use spout_producer::Goal;
use spout_repo::{MASTER, Store};

use self::pipeline::Pipeline;
use super::{Managed, Ran, Statuses};

const VERB: &str = "marker seek";
/// Most places of a partition that wait to be passed over.
const MOST_PASSING: usize = 1000;

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
    pub fn beside(self, statuses: Statuses, ran: Option<Ran>) -> Self {
        Self { managed: self.managed.beside(statuses.clone(), ran), statuses, ..self }
    }

    /// Refuses a pipeline that this process runs.
    fn at_rest(&self, pipeline: &str, branch: &str) -> Result<()> {
        if self.statuses.one(pipeline).is_some_and(|status| status.state.is_at_work()) {
            Err(Error::InUse { branch: format!("{pipeline}@{branch}"), by: "the process that was asked".to_owned() })
        } else {
            Ok(())
        }
    }

    /// Whether this process has stopped it, so that whatever the branch says of its writer, nobody writes.
    fn has_paused(&self, pipeline: &str) -> bool {
        self.statuses.one(pipeline).is_some_and(|status| status.state == Phase::Stopped)
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
        let stopped = pipeline.as_ref().is_some_and(|pipeline| pipeline.stopped) || self.has_paused(repo);
        let (repo, branch) = (repo.to_owned(), branch.to_owned());
        let seek = Seek { repo, branch, entries, shown, why: wanted.why.clone(), force: wanted.force || stopped };
        self.local.seek(&seek).await
    }

    async fn skip(&self, output: &str, wanted: &SkipPast) -> Result<Sought> {
        let (repo, _) = branch(output, MASTER);
        let pipeline = Pipeline::find(repo, wanted.spec.as_ref(), &self.managed).await?;
        let (_, branch) = branch(output, pipeline.as_ref().map_or(MASTER, Pipeline::branch));
        if !wanted.force {
            self.at_rest(repo, branch)?;
        }
        let now = self.local.marker(&Reference::head(repo, branch)).await?.marker;
        let (id, entry) = one(&now, wanted)?;
        let from = entry.position.offset;
        if let (Some(offset), Some(pipeline)) = (wanted.offset.filter(|offset| *offset > from), &pipeline)
            && pipeline.passes_over(&entry.producer)
        {
            return self.pass_over((repo, branch), (&now, id), offset, (wanted, pipeline)).await;
        }
        if let Some(offset) = wanted.offset.filter(|offset| *offset != from) {
            let refused = |why: String| Err(Error::NotSkipped { partition: wanted.partition.clone(), offset, why });
            return if offset < from {
                refused(format!("it is committed already: the partition goes on at {from}"))
            } else {
                let before = offset - from;
                refused(format!(
                    "the {before} offsets from {from} on are not committed yet, and would be passed over too; have them committed first (`commit: {{flush: {{rows: 1}}}}` makes a commit of each message), or pass over all of them: `--offset {from} --count {}`",
                    before.saturating_add(wanted.count)
                ))
            };
        }
        let to = from.saturating_add(wanted.count);
        let there = match &pipeline {
            // The source says what its place is there, where an offset alone is none.
            Some(pipeline) => {
                let known = (self.local.store(), &now);
                let sought = pipeline.seek(known, wanted.producer.as_deref(), Goal::Offset(to), &self.plugins).await?;
                sought.partitions.get(&id).map(|entry| entry.position.clone())
            }
            None if entry.position.token.is_some() => {
                return usage(
                    "its place is more than an offset, which takes the source; name the spec with --spec FILE",
                );
            }
            None => Some(Position::at(to)),
        };
        let Some(position) = there else { return usage("the source has no such partition any more") };
        if position.offset <= from {
            let why = format!("the source goes on at {} there", position.offset);
            return Err(Error::NotSkipped { partition: wanted.partition.clone(), offset: from, why });
        }
        let passing = entry.passing_from(position.offset);
        let skipped = (from, position.offset);
        let entry = PartitionMarker { position, ended: false, passing, ..entry };
        self.skipped((repo, branch), (id, entry), skipped, (wanted, pipeline.as_ref())).await
    }
}

impl Seeker {
    /// Has offsets of a partition passed over where they are reached; those before them are read as ever.
    async fn pass_over(
        &self,
        output: (&str, &str),
        (now, id): (&Marker, PartitionId),
        from: u64,
        (wanted, pipeline): (&SkipPast, &Pipeline),
    ) -> Result<Sought> {
        let Some(entry) = now.partitions.get(&id).cloned() else { return usage("no partition is called so") };
        let goal = Goal::Offset(from.saturating_add(wanted.count));
        let known = (self.local.store(), now);
        let sought = pipeline.seek(known, wanted.producer.as_deref(), goal, &self.plugins).await?;
        let Some(to) = sought.partitions.get(&id).map(|entry| entry.position.clone()) else {
            return usage("the source has no such partition any more");
        };
        if to.offset <= from {
            let why = format!("the source goes on at {} there", to.offset);
            return Err(Error::NotSkipped { partition: wanted.partition.clone(), offset: from, why });
        }
        let mut passing = entry.passing.clone();
        let skipped = (from, to.offset);
        passing.push(Passing { from, to });
        passing.sort_by_key(|one| (one.from, one.to.offset));
        passing.dedup();
        if passing.len() > MOST_PASSING {
            let what = format!(
                "at most {MOST_PASSING} places of a partition can wait to be passed over; run the pipeline first, or pass over several with --count"
            );
            return usage(what);
        }
        let entry = PartitionMarker { ended: false, passing, ..entry };
        self.skipped(output, (id, entry), skipped, (wanted, Some(pipeline))).await
    }

    /// Makes the commit that says what is passed over.
    async fn skipped(
        &self,
        (repo, branch): (&str, &str),
        (id, entry): (PartitionId, PartitionMarker),
        (from, to): (u64, u64),
        (wanted, pipeline): (&SkipPast, Option<&Pipeline>),
    ) -> Result<Sought> {
        let why = if wanted.why.is_empty() { String::new() } else { format!(": {}", wanted.why) };
        let why = format!("skip offsets {from} to {} of partition {}{why}", to.saturating_sub(1), wanted.partition);
        let shown = match pipeline.and_then(Pipeline::marker_file) {
            Some(file) => ShownMarker::Host(file.to_owned()),
            None => ShownMarker::Nowhere,
        };
        let stopped = pipeline.is_some_and(|pipeline| pipeline.stopped) || self.has_paused(repo);
        let (repo, branch) = (repo.to_owned(), branch.to_owned());
        let entries = Marker { partitions: [(id, entry)].into_iter().collect() };
        self.local.seek(&Seek { repo, branch, entries, shown, why, force: wanted.force || stopped }).await
    }
}

/// The partition that is meant.
fn one(marker: &Marker, wanted: &SkipPast) -> Result<(PartitionId, PartitionMarker)> {
    if wanted.count == 0 {
        return usage("--count says how many offsets are passed over, one at least");
    }
    let meant = |(id, entry): &(&PartitionId, &PartitionMarker)| {
        let producer = wanted.producer.as_ref().is_none_or(|producer| entry.producer == *producer);
        producer && (wanted.partition == entry.label || !id.is_replay() && wanted.partition == id.number.to_string())
    };
    let mut all = marker.partitions.iter().filter(meant);
    match (all.next(), all.next()) {
        (Some((id, entry)), None) => Ok((*id, entry.clone())),
        (None, _) => usage("no partition is called so; `spout marker show` lists them"),
        (Some(_), Some(_)) => usage("several partitions are called so; name the producer with --producer"),
    }
}

/// Those entries that are meant.
fn chosen(entries: Marker, wanted: &SeekTo) -> Result<Marker> {
    let named = |(id, entry): &(&PartitionId, &PartitionMarker)| {
        let producer = wanted.producer.as_ref().is_none_or(|producer| entry.producer == *producer);
        let partition = |text: &String| *text == entry.label || !id.is_replay() && *text == id.number.to_string();
        // What was replayed of dead letters is read again only where it is named.
        let meant =
            if wanted.partitions.is_empty() { !id.is_replay() } else { wanted.partitions.iter().any(partition) };
        producer && meant
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
    // Who goes back to what is passed over wants to read it.
    let moved =
        |entry: &PartitionMarker| PartitionMarker { ended: false, passing: Vec::new(), ..change(entry.clone()) };
    let changed = marker.partitions.iter().map(|(&id, entry)| (id, moved(entry)));
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
