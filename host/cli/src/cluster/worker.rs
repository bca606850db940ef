//! `spout worker`: one of the processes that share the pipelines of a store.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use spout_base::reach::Reach;
use spout_data::ByteSize;
use spout_keeper::{Bounds, Provisions, Wanted};
use spout_pipeline::{RunOptions, Until};
use spout_spec::Loaded;

use super::{Joining, attending::attend_all, seen::Seen};
use crate::{Global, certificate::Certificate, error::Error, print::Printer, ui::Ui};

/// Share the pipelines of a store with other processes, on this machine or others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openssl rand -hex 32 > token
  spout create pipeline -f my.yaml --store ./store      what is to run
  spout worker --store ./store --join-token token       as many of these as there are cores or hosts
  spout worker --store s3://bucket/prefix --listen 10.0.0.7:1654 --join-token token --cert me.pem --key me.key --ca ca.pem
  spout worker --store ./store --join-token token --ui               with the console, which is at the address that is printed
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
    /// Cut commits early, also of pipelines that another process leads, when this one uses more memory than this.
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<ByteSize>,
    /// What pipelines may reach of this machine: commands (programs outside the sandbox), files, environment, network (connections
    /// to others), ports; may be repeated. Everything that their specs grant, unless something is named here; the process gets no
    /// part in those that want more.
    #[arg(long = "allow", value_name = "WHAT")]
    allowed: Vec<Reach>,
    /// Memory that all instances of a plugin of a pipeline may have here together, where its spec allows more.
    #[arg(long, value_name = "SIZE")]
    plugin_memory: Option<ByteSize>,
    #[command(flatten)]
    ui: Ui,
    #[command(flatten)]
    certificate: Certificate,
}

impl Worker {
    pub(crate) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = global.store_to_serve().await?;
        let allowed = if self.allowed.is_empty() { Reach::ALL.to_vec() } else { self.allowed.clone() };
        let bounds = Bounds { allowed, plugin_memory: self.plugin_memory.map(|size| size.0) };
        let provisions = Provisions::new(&store, &global.open_plugins()?, bounds);
        let memory_high = self.memory_high.map(|size| size.0);
        let options =
            RunOptions { until: Until::Stopped, json: printer.json(), memory_high, access: None, leads: None };
        let settings = self.joining.settings(&self.certificate, self.ui.is_wanted())?;
        let seen = Seen::open(&provisions, (&self.ui, &self.certificate), global, printer).await?;
        attend_all(provisions, settings, seen, options, BTreeSet::new(), printer).await
    }
}

/// Has the store run `specs`, and takes part in that until they are over, as `until` says.
pub(crate) async fn run(
    specs: &[Loaded],
    joining: &Joining,
    (ui, certificate): (&Ui, &Certificate),
    (until, memory_high, reprocess): (Until, Option<u64>, bool),
    global: &Global,
    printer: &mut Printer,
) -> Result<()> {
    let store = global.store_to_serve().await?;
    let provisions = Provisions::new(&store, &global.open_plugins()?, Bounds::default());
    let wanted = specs.iter().map(|loaded| {
        let base = std::path::absolute(&loaded.base_dir);
        let base = base.map_err(|source| Error::ReadFile { path: loaded.base_dir.clone(), source })?;
        Ok(Wanted::of_loaded(loaded, &base))
    });
    let wanted = wanted.collect::<Result<Vec<Wanted>, Error>>()?;
    provisions.want(&wanted, reprocess).await?;
    let only = wanted.iter().map(|one| one.name.clone()).collect();
    let options = RunOptions { until, json: printer.json(), memory_high, access: None, leads: None };
    let settings = joining.settings(certificate, ui.is_wanted())?;
    let seen = Seen::open(&provisions, (ui, certificate), global, printer).await?;
    attend_all(provisions, settings, seen, options, only, printer).await
}
