//! `spout worker`: one of the processes that share the pipelines of a store.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use spout_data::ByteSize;
use spout_keeper::{Provisions, Wanted};
use spout_pipeline::{RunOptions, Until};
use spout_spec::Loaded;

use super::{Joining, attend_all};
use crate::{Global, error::Error, print::Printer};

/// Share the pipelines of a store with other processes, on this machine or others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openssl rand -hex 32 > token
  spout create pipeline -f my.yaml --store ./store      what is to run
  spout worker --store ./store --join-token token       as many of these as there are cores or hosts
  spout worker --store s3://bucket/prefix --listen 10.0.0.7:1654 --join-token token --cert me.pem --key me.key --ca ca.pem
  spout worker --store ./store --join-token token --label zone=a     for pipelines whose spec says `cluster: {labels: {zone: a}}`

All processes are equal, and know each other by the store alone. Whoever claims the branch of a pipeline leads it: it says which
partitions each process reads, and commits. The others read, decode, run the handlers without state and write files that nobody
sees before the leader's commit. Any of them may join, leave or die at any time: what was not committed is read again, and a leader
that is silent for five seconds is replaced.

Ctrl-C or SIGTERM: partitions are given back, what was read is committed, exit code 0. A second one stops at once. SIGHUP: the
pipelines that this process leads commit and continue.")]
pub(crate) struct Worker {
    #[command(flatten)]
    joining: Joining,
    /// Cut commits early when the process uses more memory than this.
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<ByteSize>,
}

impl Worker {
    pub(crate) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = global.store_to_serve().await?;
        let provisions = Provisions::new(&store, &global.open_plugins()?);
        let memory_high = self.memory_high.map(|size| size.0);
        let options =
            RunOptions { until: Until::Stopped, json: printer.json(), memory_high, access: None, leads: None };
        attend_all(provisions, &self.joining, options, BTreeSet::new(), printer).await
    }
}

/// Has the store run `specs`, and takes part in that until they are over, as `until` says.
pub(crate) async fn run(
    specs: &[Loaded],
    joining: &Joining,
    (until, memory_high, reprocess): (Until, Option<u64>, bool),
    global: &Global,
    printer: &mut Printer,
) -> Result<()> {
    let store = global.store_to_serve().await?;
    let provisions = Provisions::new(&store, &global.open_plugins()?);
    let wanted = specs.iter().map(|loaded| {
        let base = std::path::absolute(&loaded.base_dir);
        let base = base.map_err(|source| Error::ReadFile { path: loaded.base_dir.clone(), source })?;
        Ok(Wanted::of_loaded(loaded, &base))
    });
    let wanted = wanted.collect::<Result<Vec<Wanted>, Error>>()?;
    provisions.want(&wanted, reprocess).await?;
    let only = wanted.iter().map(|one| one.name.clone()).collect();
    let options = RunOptions { until, json: printer.json(), memory_high, access: None, leads: None };
    attend_all(provisions, joining, options, only, printer).await
}
