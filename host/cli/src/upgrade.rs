//! `spout upgrade`: brings a store to the newest version of the format.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spout_repo::{Upgraded, upgrade};

use super::{
    Global,
    busy::Busy,
    print::{Printer, count},
};

/// Bring a store to the newest version of its format.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout upgrade --dry-run               which version the store is of, and what would be done
  spout upgrade --store s3://lake/prod

A store says which version of the format it is of. This spout reads all that came before its own, and an upgrade goes from each
version to the next: a step makes what the next one needs, and only then does the store say that it is of that version. Until
then, the spout that wrote it reads it as before; from then on, one that does not know the version refuses the store (E0590).
An upgrade that was interrupted goes on where it was. Stop what writes to the store before, and keep a copy of it if you may
want to go back.")]
pub(super) struct Upgrade {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    store: &'a str,
    dry_run: bool,
    #[serde(flatten)]
    upgraded: &'a Upgraded,
}

impl Upgrade {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = if self.dry_run { global.store().await? } else { global.store_to_write().await? };
        let busy = Busy::new(printer);
        busy.say(format!("upgrading {}", store.url()));
        let upgraded = upgrade(&store, self.dry_run).await?;
        drop(busy);
        if printer.json() {
            return printer.value(&Line { store: store.url(), dry_run: self.dry_run, upgraded: &upgraded });
        }
        for step in &upgraded.steps {
            printer.line(format!("version {}: {}", step.to, step.what))?;
        }
        let (url, Upgraded { from, to, steps }) = (store.url(), &upgraded);
        let before = if *from == 0 { "it said no version before".to_owned() } else { format!("it was of {from}") };
        let steps = count(steps.len() as u64, "step");
        printer.line(match (upgraded.steps.is_empty(), self.dry_run) {
            (true, _) => format!("{url} is of format version {from}, the newest that this spout knows; nothing to do"),
            (false, true) => format!("{url} would be of format version {to} after {steps}; nothing was changed"),
            (false, false) => format!("{url} is of format version {to} now; {before}"),
        })
    }
}
