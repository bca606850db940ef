//! `spout tap`: rows of a running pipeline as they pass a handler.

use anyhow::Result;
use clap::Args;
use futures::StreamExt as _;
use spout_api::Tapped;

use super::{
    Global,
    cells::Sheet,
    print::{Printer, count, grouped},
};

/// Show rows of a running pipeline as they leave a handler, without touching its commits.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout tap github-events                      rows as they leave the last handler
  spout tap github-events/decode               as they leave the decoder, before any handler
  spout tap github-events/pushes --rows 20     the first 20 that leave the handler `pushes`
  spout tap github-events --every 1000         one row of a thousand
  spout tap github-events --json | jq -c '.rows[]'
  spout --server http://127.0.0.1:1653 tap github-events

The pipeline is one that a `spout run` or `spout serve` of this machine runs, or the server. It waits for nobody: what comes faster than
it is read, or is very large, is left out, and how much that was is said. Through a server, rows of the last handler take the scope
`read` of the pipeline's repo, all others `run`: handlers after them may take out what readers are not to see.")]
pub(super) struct Tap {
    /// The pipeline, and a handler of it after a slash: `decode` for the decoder, the last handler where none is named.
    #[arg(value_name = "PIPELINE[/HANDLER]")]
    what: String,
    /// Show one of so many rows.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Stop after so many rows; without it, at Ctrl-C.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
}

impl Tap {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (pipeline, handler) = match self.what.split_once('/') {
            Some((pipeline, handler)) => (pipeline, Some(handler)),
            None => (self.what.as_str(), None),
        };
        let process = global.running(pipeline).await?;
        let mut samples = process.tap(pipeline, handler, self.every, self.rows).await?;
        let mut sheet = Sheet::new(printer.width());
        let (mut missed, mut left_out) = (0, None);
        while let Some(tapped) = samples.next().await {
            let tapped = tapped?;
            if printer.json() {
                printer.value(&tapped)?;
                continue;
            }
            // Between two samples: behind the last one nobody asked for more.
            if let Some(left_out) = left_out.take() {
                printer.line(left_out)?;
            }
            if tapped.missed > missed {
                let rows = count(tapped.missed - missed, "row");
                left_out = Some(format!("… {rows} left out, of {} so far", grouped(tapped.of)));
                missed = tapped.missed;
            }
            let Tapped { columns, rows, .. } = tapped;
            sheet.lines(&columns, &rows).into_iter().try_for_each(|line| printer.line(line))?;
        }
        Ok(())
    }
}
