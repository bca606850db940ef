//! `spout pipeline skip`: passes over messages that cannot be processed.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use spout_api::SkipPast;

use crate::{Global, managed, marker::seek, print::Printer};

/// Have a pipeline pass over one message, or some, that it would read, by a commit of its own.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout pipeline skip github-events --partition 3                     the message that it would read next
  spout pipeline skip github-events --partition 3 --offset 1200 --why 'it crashes the decoder'
  spout pipeline skip github-events --partition 3 --offset 1200 --count 50
  spout pipeline skip events --partition part-0.ndjson --spec events.yaml

The pipeline has to be paused, or to have failed. --offset says where the skip begins. Messages before it that are not committed yet are
read as ever, and what is passed over waits in the marker until it is reached; that is for streams read by partition. Other sources are
skipped where they go on: there each message can be committed with `commit: {flush: {rows: 1}}`, or all of them passed over with --count.
What is passed over is in no file and no dead letter; `spout pipeline seek` goes back to it.")]
pub(super) struct Skip {
    /// The output of the pipeline: `repo`, or `repo@branch`.
    #[arg(value_name = "REPO[@BRANCH]")]
    repo: String,
    /// The partition, by its number or label.
    #[arg(long, value_name = "PARTITION")]
    partition: String,
    /// The offset of the first message to pass over [default: where the partition goes on]
    #[arg(long, value_name = "OFFSET")]
    offset: Option<u64>,
    /// How many offsets are passed over.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    count: u64,
    /// Its producer, where there are several.
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

impl Skip {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let wanted = SkipPast {
            partition: self.partition.clone(),
            producer: self.producer.clone(),
            offset: self.offset,
            count: self.count,
            spec: self.spec.as_deref().map(managed::read_one).transpose()?,
            why: self.why.clone(),
            force: self.force,
        };
        seek::shown(&global.moving(&self.repo).await?.skip(&self.repo, &wanted).await?, printer)
    }
}
