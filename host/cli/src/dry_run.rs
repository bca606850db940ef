//! `spout dry-run`: what a pipeline makes of a few real messages, without a commit.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use spout_base::terminal;
use spout_data::Period;
use spout_pipeline::{Column, DryRun as Tried, DryRunOptions, End, Letter, Step};
use spout_repo::Store;
use spout_spec::{OnError, load_every};

use super::{
    Global,
    cells::Sheet,
    findings::{self, examine_all},
    print::{Printer, count, grouped, short},
};

/// Read a few real messages and show what each handler makes of them; nothing is committed or acknowledged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout dry-run my.yaml                       20 messages, from where the next run would go on
  spout dry-run my.yaml --rows 5 --for 1m     5 messages, for which it waits up to a minute
  spout dry-run my.yaml --anew                as if nothing had been committed yet
  head -20 events.ndjson | spout dry-run in.yaml    a spec with `stdin: {}`
  spout dry-run my.yaml --json | jq '.steps[] | {after, of}'

The source, its plugin, the decoder and the handlers are the real ones. Nothing is kept: no repo is made, no branch claimed, no marker
moved, no consumer opened. Handlers with state go on with that of the last commit, and what they hold back until a commit is cut is shown.
Sources that others notice, such as ports, or that would make something that stays, such as PostgreSQL's slots, are refused unless
--side-effects says that this is wanted.")]
pub(super) struct DryRun {
    /// Spec files, YAML or JSON, with one or more pipelines each.
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Messages to read; as many rows are shown after each handler.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rows: u32,
    /// How long to wait for them.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    time: Period,
    /// Begin where a first run would, whatever is committed.
    #[arg(long)]
    anew: bool,
    /// Also where the source, or those who send, notice it.
    #[arg(long)]
    side_effects: bool,
}

impl DryRun {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (specs, wrong) = load_every(&self.specs);
        let (examined, findings) = Box::pin(examine_all(specs, wrong, global)).await;
        findings::all(&findings, printer.json())?;
        let store = match Store::open_existing(&global.store).await {
            Ok(store) => Some(store),
            Err(spout_repo::Error::NoStore { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let options = DryRunOptions {
            messages: u64::from(self.rows),
            shown: self.rows as usize,
            time: self.time.0,
            anew: self.anew,
            harmful: self.side_effects,
        };
        for parts in examined.into_iter().filter_map(|(_, examined)| examined.parts) {
            let tried = Box::pin(parts.dry_run(store.as_ref(), &options)).await?;
            if printer.json() { printer.value(&tried)? } else { show(&tried, printer)? }
        }
        Ok(())
    }
}

fn show(tried: &Tried, printer: &mut Printer) -> Result<()> {
    let Tried { pipeline, after, messages, end, partitions, steps, dead_letters, dead_letters_of, empty, notes } =
        tried;
    let from = after
        .as_deref()
        .map_or_else(|| "from where a first run begins".to_owned(), |id| format!("after commit {}", short(id)));
    let why = match end {
        End::Enough => "",
        End::Idle => "; the source has no more for now",
        End::Ended => "; the source has ended",
        End::Time => "; there was no more time (`--for`)",
    };
    printer.line(format!("{pipeline}: {} read {from}{why}; nothing was committed", count(*messages, "message")))?;
    for read in partitions.iter().filter(|read| read.next > read.from) {
        let label = if read.label.is_empty() { String::new() } else { format!(" ({})", read.label) };
        let producer = if read.producer.is_empty() { String::new() } else { format!("{}, ", read.producer) };
        printer
            .line(format!("  {producer}partition {}{label}: offsets {}..{}", read.partition, read.from, read.next))?;
    }
    if *empty > 0 {
        printer.line(format!("  {} held no row", count(*empty, "message")))?;
    }
    let width = printer.width();
    for step in steps {
        printer.line("")?;
        lines(step, width).into_iter().try_for_each(|line| printer.line(line))?;
    }
    if *dead_letters_of > 0 {
        let of = if *dead_letters_of > dead_letters.len() as u64 {
            format!(", the first {}", dead_letters.len())
        } else {
            String::new()
        };
        printer.line(format!("\n{}{of}", count(*dead_letters_of, "dead letter")))?;
        dead_letters.iter().flat_map(letter).try_for_each(|line| printer.line(line))?;
    }
    notes.iter().try_for_each(|note| printer.line(format!("\nnote: {note}")))?;
    printer.line("")
}

fn lines(step: &Step, width: Option<usize>) -> Vec<String> {
    let Step { after, columns, rows, of, filtered, late } = step;
    let shown = if (rows.len() as u64) < *of { format!("{} of ", grouped(rows.len() as u64)) } else { String::new() };
    let mut title = format!("{after}: {shown}{}", count(*of, "row"));
    for (rows, what) in [(filtered, "filtered"), (late, "late")] {
        if *rows > 0 {
            title += &format!(", {} {what}", grouped(*rows));
        }
    }
    let types: Vec<String> = columns.iter().map(|Column { name, kind }| format!("{name}: {kind}")).collect();
    let types = format!("  {}", types.join(", "));
    let heads: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut lines = vec![title];
    if !columns.is_empty() {
        lines.push(width.map_or_else(|| types.clone(), |width| terminal::cut(&types, width)));
    }
    if !rows.is_empty() {
        lines.extend(Sheet::new(width).lines(&heads, rows));
    }
    lines
}

fn letter(letter: &Letter) -> [String; 2] {
    let Letter { partition, offset, stage, code, reason, value, then } = letter;
    let then = match then {
        OnError::Fail => "; a run stops here",
        OnError::Drop => "; a run drops it",
        OnError::DeadLetter => "",
    };
    [
        format!("  partition {partition}, offset {offset}: by {stage}, {code}: {reason}{then}"),
        format!("    {}", terminal::cut(value, 100)),
    ]
}
