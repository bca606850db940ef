//! `spout marker seek`: makes a pipeline go on somewhere else.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{ArgGroup, Args};
use spout_api::{Api as _, Local, OwnMarker, Reference, Seek as ApiSeek, ShownMarker, Sought, branch, within};
use spout_data::{Marker, PartitionId, PartitionMarker, Position};
use spout_producer::Goal;
use spout_repo::MASTER;

use super::pipeline::Pipeline;
use crate::{
    Global,
    commit::print_made,
    error::Error,
    print::{Printer, Table},
};

/// Bytes of a spout's marker.
const MOST: usize = 1 << 20;

/// Make a pipeline go on somewhere else, by a commit of its own.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("where").required(true)),
    after_help = "Examples:
  spout marker seek github-events --to 1200 --partition 3
  spout marker seek github-events --to earliest --spec my.yaml    the oldest messages that the source has
  spout marker seek github-events --to latest --producer orders   of a pipeline that the store has by name
  spout marker seek github-events --to-commit '~5' --why 'a bad plugin'
  spout marker seek feed --to-file place.txt --spec feed.yaml     the marker of a spout

The pipeline has to be stopped. What it has committed stays as it is: messages that are read again are committed again, those
that are passed over are missing, and handlers keep their state (`spout run --reset-node` empties one). `spout revert branch` takes
data, state and marker back together. Partitions that are not named go on where they are.

--to earliest and latest ask the source, which takes the spec: that of --spec, or of a pipeline that was created with `spout create
pipeline`. A spout has its own marker: --to earliest removes it, --to-file replaces it, --to-commit brings back what it was."
)]
pub(super) struct Seek {
    /// The output of the pipeline: `repo`, or `repo@branch`.
    #[arg(value_name = "REPO[@BRANCH]")]
    repo: String,
    /// `earliest`, `latest`, or an offset.
    #[arg(long, value_name = "WHERE", group = "where", value_parser = goal)]
    to: Option<Goal>,
    /// Where it was at this commit: `~2`, an id, a tag, a moment in braces.
    #[arg(long, value_name = "COMMIT", group = "where")]
    to_commit: Option<String>,
    /// The bytes of this file become the marker of a spout; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "where")]
    to_file: Option<PathBuf>,
    /// Only this partition, by its number or label; may be repeated.
    #[arg(long, value_name = "PARTITION")]
    partition: Vec<String>,
    /// Only the partitions of this producer, where there are several.
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The spec of the pipeline.
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Why, for those who read the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Take the branch away from who may still write it; that writer stops.
    #[arg(long)]
    force: bool,
}

fn goal(text: &str) -> Result<Goal, String> {
    match text {
        "earliest" => Ok(Goal::Earliest),
        "latest" => Ok(Goal::Latest),
        offset => offset.parse().map(Goal::Offset).map_err(|_| "write earliest, latest or an offset".to_owned()),
    }
}

fn usage<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Usage { verb: "marker seek", what: what.into() }.into())
}

impl Seek {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = global.store_to_write().await?;
        let (repo, _) = branch(&self.repo, MASTER);
        let pipeline = Pipeline::find(repo, self.spec.as_deref(), &store).await?;
        let (_, branch) = branch(&self.repo, pipeline.as_ref().map_or(MASTER, Pipeline::branch));
        let local = Local::new(store);
        let reference = Reference::head(repo, branch);
        let now = local.marker(&reference).await?.marker;
        let (entries, shown) = self.goal(&local, (&reference, &now), pipeline.as_ref(), global).await?;
        let entries = self.chosen(entries)?;
        let stopped = pipeline.as_ref().is_some_and(|pipeline| pipeline.stopped);
        let (repo, branch) = (repo.to_owned(), branch.to_owned());
        let seek = ApiSeek { repo, branch, entries, shown, why: self.why.clone(), force: self.force || stopped };
        let sought = local.seek(&seek).await?;
        if printer.json() {
            return printer.value(&sought);
        }
        print_made(&sought.made, "marker moved", printer)?;
        match moved(&sought).next() {
            Some(_) => printer.table(&before_and_after(&sought)),
            // That of a command is files.
            None => Ok(()),
        }
    }

    /// Where partitions are to go on, and what becomes of the file that shows it.
    async fn goal(
        &self,
        local: &Local,
        (head, now): (&Reference, &Marker),
        pipeline: Option<&Pipeline>,
        global: &Global,
    ) -> Result<(Marker, ShownMarker)> {
        let own = |marker: OwnMarker| {
            let file = pipeline.and_then(Pipeline::marker_file).map(str::to_owned);
            match (file, pipeline.is_some_and(Pipeline::is_spout)) {
                (None, _) => ShownMarker::Nowhere,
                (Some(file), true) => ShownMarker::Own(file, marker),
                (Some(file), false) => ShownMarker::Host(file),
            }
        };
        match (&self.to, &self.to_commit, &self.to_file) {
            (Some(goal), ..) => {
                let entries = match (pipeline, goal) {
                    (Some(pipeline), _) => {
                        pipeline.seek((local.store(), now), self.producer.as_deref(), *goal, global).await?
                    }
                    (None, Goal::Offset(offset)) => {
                        each(now, |entry| PartitionMarker { position: Position::at(*offset), ..entry })
                    }
                    (None, _) => return usage("earliest and latest ask the source; name the spec with --spec FILE"),
                };
                Ok((entries, own(OwnMarker::Nothing)))
            }
            (_, Some(commit), _) => {
                let commit = within(&head.repo, &head.target, commit, "marker seek")?;
                let then = local.marker(&commit).await?.marker;
                let spout = pipeline.is_some_and(Pipeline::is_spout);
                let entries = if spout { with_token(now, then.partitions.get(&PartitionId::default())) } else { then };
                Ok((entries, own(OwnMarker::As(commit))))
            }
            (_, _, Some(file)) => {
                let Some(pipeline) = pipeline.filter(|pipeline| pipeline.is_spout()) else {
                    return usage(
                        "--to-file is for spouts, whose marker is bytes of their own; name the spec with --spec FILE",
                    );
                };
                let bytes = read(file)?;
                if bytes.len() > MOST {
                    return usage(format!(
                        "a marker has at most {MOST} bytes, and {} has {}",
                        file.display(),
                        bytes.len()
                    ));
                }
                let keeps_files = pipeline.keeps_files(global).await?;
                if keeps_files && pipeline.marker_file().is_none() {
                    return usage("a command has a marker only where `spout.marker` of its spec names the file");
                }
                let entries = if keeps_files {
                    Marker::default()
                } else {
                    let position = Position { offset: 0, token: Some(bytes.clone()) };
                    with_token(now, Some(&PartitionMarker { position, ..PartitionMarker::default() }))
                };
                Ok((entries, own(OwnMarker::Bytes(bytes.into()))))
            }
            (None, None, None) => usage("say where: --to, --to-commit or --to-file"),
        }
    }

    /// Those entries that the command line names.
    fn chosen(&self, entries: Marker) -> Result<Marker> {
        let named = |(id, entry): &(&PartitionId, &PartitionMarker)| {
            let producer = self.producer.as_ref().is_none_or(|producer| entry.producer == *producer);
            let partition = |text: &String| *text == entry.label || *text == id.number.to_string();
            producer && (self.partition.is_empty() || self.partition.iter().any(partition))
        };
        let all = self.partition.is_empty() && self.producer.is_none();
        let kept: Marker = Marker {
            partitions: entries.partitions.iter().filter(named).map(|(&id, entry)| (id, entry.clone())).collect(),
        };
        if kept.partitions.is_empty() && !all {
            return usage("no partition is called so; `spout marker show` lists them");
        }
        Ok(kept)
    }
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

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().read_to_end(&mut bytes).map(drop),
        _ => fs::read(file).map(|read| bytes = read),
    };
    read.map_err(|source| Error::ReadFile { path: file.to_owned(), source })?;
    Ok(bytes)
}

/// The partitions that moved.
fn moved(sought: &Sought) -> impl Iterator<Item = (&PartitionId, &PartitionMarker)> {
    sought.after.partitions.iter().filter(|(id, entry)| sought.before.partitions.get(id) != Some(entry))
}

fn before_and_after(sought: &Sought) -> Table {
    let shown = |entry: Option<&PartitionMarker>| match entry {
        None => "-".to_owned(),
        Some(PartitionMarker { position, ended, .. }) => {
            let token = position.token.as_ref().map(|token| format!(" +{} bytes", token.len())).unwrap_or_default();
            format!("{}{token}{}", position.offset, if *ended { " ended" } else { "" })
        }
    };
    Table::new(
        &["producer", ">partition", "label", ">before", ">after"],
        moved(sought).map(|(id, entry)| {
            let before = shown(sought.before.partitions.get(id));
            vec![entry.producer.clone(), id.number.to_string(), entry.label.clone(), before, shown(Some(entry))]
        }),
    )
}
