//! `spout marker seek`: makes a pipeline go on somewhere else.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{ArgGroup, Args};
use spout_api::{Destination, MarkerBytes, SeekTo, Sought};
use spout_data::{PartitionId, PartitionMarker};

use crate::{
    Global,
    commit::print_made,
    error::Error,
    managed,
    print::{Printer, Table},
};

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
  spout --server URL marker seek github-events --to 1200          by a server, to one who may run the pipeline

The pipeline has to be stopped. What it has committed stays as it is: messages that are read again are committed again, those
that are passed over are missing, and handlers keep their state (`spout run --reset-node` empties one). `spout revert branch` takes
data, state and marker back together. Partitions that are not named go on where they are.

--to earliest and latest ask the source, which takes the spec: that of --spec, or of a pipeline that was created with `spout create
pipeline`. A spout has its own marker: --to earliest removes it, --to-file replaces it, --to-commit brings back what it was."
)]
pub(crate) struct Seek {
    /// The output of the pipeline: `repo`, or `repo@branch`.
    #[arg(value_name = "REPO[@BRANCH]")]
    repo: String,
    /// `earliest`, `latest`, or an offset.
    #[arg(long, value_name = "WHERE", group = "where", value_parser = destination)]
    to: Option<Destination>,
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

fn destination(text: &str) -> Result<Destination, String> {
    match text {
        "earliest" => Ok(Destination::Earliest),
        "latest" => Ok(Destination::Latest),
        offset => offset.parse().map(Destination::Offset).map_err(|_| "write earliest, latest or an offset".to_owned()),
    }
}

fn usage<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Usage { verb: "marker seek", what: what.into() }.into())
}

impl Seek {
    pub(crate) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let wanted = self.wanted()?;
        shown(&global.moving(&self.repo).await?.seek(&self.repo, &wanted).await?, printer)
    }

    fn wanted(&self) -> Result<SeekTo> {
        let to = match (&self.to, &self.to_commit, &self.to_file) {
            (Some(to), ..) => to.clone(),
            (_, Some(commit), _) => Destination::Commit(commit.clone()),
            (_, _, Some(file)) => Destination::Marker(MarkerBytes(read(file)?)),
            (None, None, None) => return usage("say where: --to, --to-commit or --to-file"),
        };
        let spec = self.spec.as_deref().map(managed::read_one).transpose()?;
        let (partitions, producer) = (self.partition.clone(), self.producer.clone());
        Ok(SeekTo { to, partitions, producer, spec, why: self.why.clone(), force: self.force })
    }
}

/// Prints which partitions were moved, and by which commit.
pub(crate) fn shown(sought: &Sought, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(sought);
    }
    print_made(&sought.made, "marker moved", printer)?;
    match moved(sought).next() {
        Some(_) => printer.table(&before_and_after(sought)),
        // That of a command is files.
        None => Ok(()),
    }
}

/// What may be a marker, and a byte more of what is none.
fn read(file: &Path) -> Result<Vec<u8>> {
    let most = MarkerBytes::MOST as u64 + 1;
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().take(most).read_to_end(&mut bytes),
        _ => File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
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
